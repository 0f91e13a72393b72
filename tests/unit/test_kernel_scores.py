"""Model outputs as columns: numbers, arrays, strings, maps, and outputs that are not what was promised."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchscore.errors import ScoringError
from batchscore.kernel.scores import column_type, find_bad_scores, join_parts, to_column
from batchscore.kernel.spec import OutputSpec

Picks = tuple[int | None, ...] | None


def make_output(dtype: str, picks: Picks = None, **more: Any) -> OutputSpec:
    return OutputSpec(column="y", tensor="t", dtype=dtype, picks=picks, **more)


CUBE = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
COLUMNS = [
    (np.array([[1], [2]], np.int64), None, "tensor(int64)", [1, 2]),
    (np.array([[[1]], [[2]]], np.int8), None, "tensor(int8)", [1, 2]),
    (np.array(["a", "b"], object), None, "tensor(string)", ["a", "b"]),
    (np.array([["a", "b"], ["c", "d"]], object), (None,), "tensor(string)", [["a", "b"], ["c", "d"]]),
    (np.array([[0.0, 1.0], [0.5, 0.5]], np.float64), (1,), "tensor(double)", [1.0, 0.5]),
    (np.array([1.0, 2.0], np.float16), None, "tensor(float16)", [1.0, 2.0]),
    (np.array([True, False]), None, "tensor(bool)", [True, False]),
    (np.array([255, 0], np.uint8), None, "tensor(uint8)", [255, 0]),
    (np.array([2**64 - 1, 0], np.uint64), None, "tensor(uint64)", [decimal.Decimal(2**64 - 1), decimal.Decimal(0)]),
    (CUBE, (None, None), "tensor(float)", CUBE.tolist()),
    (CUBE, (None, 1), "tensor(float)", [[1.0, 3.0, 5.0], [7.0, 9.0, 11.0]]),
    (CUBE, (2, None), "tensor(float)", [[4.0, 5.0], [10.0, 11.0]]),
    (CUBE, (2, 1), "tensor(float)", [5.0, 11.0]),
    (np.zeros((2, 0), np.float32), (None,), "tensor(float)", [[], []]),
]


@pytest.mark.parametrize(("tensor", "picks", "dtype", "expected"), COLUMNS)
def test_tensors_become_columns(tensor: np.ndarray, picks: Picks, dtype: str, expected: list[Any]) -> None:
    spec = make_output(dtype, picks)
    column = to_column(spec, tensor, 2)
    assert (column.to_pylist(), column.type) == (expected, column_type(spec))


WRONG = [
    (np.ones((3, 2), np.float32), None, r"expected one value a row for 'y'; found shape \[3, 2\].*all of it, as 't\[:"),
    (np.ones((3, 2), np.float32), (2,), r"expected shape \[3, 3 or more\] for 'y'; found shape \[3, 2\]"),
    (np.ones((3, 2), np.float32), (None, 1), r"expected shape \[3, :, 2 or more\] for 'y'; found shape \[3, 2\]"),
    (np.ones((2,), np.float32), None, r"expected 3 rows; found shape \[2\]"),
    (np.float32(1), None, r"expected 3 rows; found shape \[\]"),
]


@pytest.mark.parametrize(("tensor", "picks", "message"), WRONG)
def test_outputs_of_another_shape_are_refused(tensor: np.ndarray, picks: Picks, message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        to_column(make_output("tensor(float)", picks), tensor, 3)


BY_NUMBER = [{0: 0.25, 1: 0.75}, {0: 1.0, 1: 0.0}]
BY_NAME = [{"no": 0.25, "yes": 0.75}, {"no": 1.0, "yes": 0.0}]
MAPS: list[tuple[list[dict[Any, float]], str, int | str | None, list[Any]]] = [
    (BY_NUMBER, "tensor(int64)", None, [[(0, 0.25), (1, 0.75)], [(0, 1.0), (1, 0.0)]]),
    (BY_NAME, "tensor(string)", None, [[("no", 0.25), ("yes", 0.75)], [("no", 1.0), ("yes", 0.0)]]),
    (BY_NUMBER, "tensor(int64)", 1, [0.75, 0.0]),
    (BY_NAME, "tensor(string)", "yes", [0.75, 0.0]),
]


@pytest.mark.parametrize(("output", "key_dtype", "key", "expected"), MAPS)
def test_maps_become_columns(output: list[Any], key_dtype: str, key: int | str | None, expected: list[Any]) -> None:
    spec = make_output("tensor(float)", key_dtype=key_dtype, key=key)
    column = to_column(spec, output, 2)
    assert (column.to_pylist(), column.type) == (expected, column_type(spec))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (BY_NAME, "expected the key 'maybe' for 'y' in every row's map; found the keys no, yes"),
        (BY_NAME[:1], "expected a map for each of 2 rows; found 1 rows"),
        (np.ones(2), "expected a map for each of 2 rows; found ndarray"),
    ],
)
def test_maps_that_are_not_as_promised_are_refused(output: Any, message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        to_column(make_output("tensor(float)", key_dtype="tensor(string)", key="maybe"), output, 2)


NAN, INF = float("nan"), float("inf")
BAD = [
    (pa.array([1.0, NAN, INF]), [False, True, True]),
    (pa.array([1.0, 2.0]), None),
    (pa.array([1, 2]), None),
    (pa.array(["a", "b"]), None),
    (pa.array([[1.0, 2.0], [NAN, 1.0], [], [1.0]]), [False, True, False, False]),
    (pa.array([[[1.0], [INF]], [[1.0], [2.0]]]), [True, False]),
    (pa.array([[1, 2]]), None),
    (pa.array([[(1, 0.5)], [(1, NAN), (2, 1.0)]], pa.map_(pa.int64(), pa.float32())), [False, True]),
]


@pytest.mark.parametrize(("column", "expected"), BAD)
def test_scores_that_are_not_finite_are_found(column: pa.Array, expected: list[bool] | None) -> None:
    found = find_bad_scores({"p": column}).get("p")
    assert (None if found is None else found.tolist()) == expected


def test_parts_of_several_calls_are_joined() -> None:
    assert join_parts([np.array([1, 2]), np.array([3])]).tolist() == [1, 2, 3]
    assert join_parts([BY_NAME[:1], BY_NAME[1:]]) == BY_NAME
