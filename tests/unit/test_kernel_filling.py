"""Features as the model takes them: null policies, array shapes, lossy values, and the tensors made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchscore.errors import ScoringError
from batchscore.kernel.filling import fill_features, find_unfit
from batchscore.kernel.nested import unnest
from batchscore.kernel.reasons import Failures
from batchscore.kernel.spec import FeatureSpec, InputSpec
from batchscore.kernel.tensors import find_lossy, to_tensor

NAN = float("nan")
SHAPES = [
    (pa.array([[1, 2], [3, 4]]), [[2], [2]]),
    (pa.array([[1, 2], None, []]), [[2], [-1], [0]]),
    (pa.array([[[1, 2], [3, 4]], [[5], [6]], [[7]]]), [[2, 2], [2, 1], [1, 1]]),
    (pa.array([[[1, 2], [3]], [[4, 5], None], [], [[]]]), [[-1, -1], [-1, -1], [0, 0], [1, 0]]),
    (pa.array([[[[1], [2]], [[3], [4]]], [[[5, 6]]]]), [[2, 2, 1], [1, 1, 2]]),
    (pa.array([[1], [2, 3], [4]]).slice(1), [[2], [1]]),
    (pa.array([], pa.list_(pa.list_(pa.int64()))), []),
]


@pytest.mark.parametrize(("column", "expected"), SHAPES)
def test_shapes_of_arrays(column: pa.Array, expected: list[list[int]]) -> None:
    nested = unnest(column)
    assert nested.shapes.tolist() == expected
    assert len(nested.leaf) == len(nested.rows)


def fill(
    values: pa.Array, dtype: str, on_null: str = "quarantine", shape: tuple[int | None, ...] = (None, 1), **more: Any
) -> tuple[Any, list[Any]]:
    """(what is left of a feature after its policy, kind of reason and rows)."""
    failures = Failures(len(values))
    feature = FeatureSpec(name="a", on_null=on_null, impute=more.pop("impute", None))
    spec = InputSpec(tensor="x", dtype=dtype, features=("a",), shape=shape, **more)
    filled = fill_features([feature], [spec], {"a": values}, failures)
    told = [(r["kind"], np.flatnonzero(m).tolist()) for r, m in zip(failures.reasons, failures.masks, strict=True)]
    told += [(kind, np.flatnonzero(mask).tolist()) for kind, _, mask in find_unfit([spec], {"a": values}, filled)]
    return filled["a"].to_pylist(), told


FLOAT, INT = "tensor(float)", "tensor(int64)"
ARRAYS = {"shape": (None, 2), "depth": 1}
CUBES = {"shape": (None, 2, 2), "depth": 2}
FLAT = {"shape": (None, 2, 2), "depth": 1}
WIDE = {"shape": (None, 2), "stacked": True, "widths": (2,)}
OPEN = {"shape": (None, None), "depth": 1}
FILLED: list[tuple[str, pa.Array, str, str, dict[str, Any], list[Any], list[Any]]] = [
    ("int as nan", pa.array([1, None]), FLOAT, "nan", {}, [1.0, NAN], []),
    ("bool as nan", pa.array([True, None]), FLOAT, "nan", {}, [1.0, NAN], []),
    ("large int as nan", pa.array([2**60, None]), FLOAT, "nan", {}, [2.0**60, NAN], []),
    ("int imputed", pa.array([1, None]), INT, "impute", {"impute": -1}, [1, -1], []),
    ("bool imputed", pa.array([True, None]), "tensor(bool)", "impute", {"impute": False}, [True, False], []),
    ("bool imputed for an int", pa.array([True, None]), INT, "impute", {"impute": True}, [True, True], []),
    ("int set aside", pa.array([1, None]), INT, "quarantine", {}, [1, None], [("null", [1])]),
    ("string imputed", pa.array(["a", None]), "tensor(string)", "impute", {"impute": "?"}, ["a", "?"], []),
    ("decimal as nan", pa.array([None, 1], pa.decimal128(5, 2)), FLOAT, "nan", {}, [NAN, 1.0], []),
    ("int too fine", pa.array([2**24 + 1, 2**24 + 2, None]), FLOAT, "nan", {}, None, [("lossy", [0])]),
    ("int too large", pa.array([2**40, 1]), "tensor(int32)", "fail", {}, None, [("overflow", [0])]),
    ("array", pa.array([[1.0, 2.0], None]), FLOAT, "quarantine", ARRAYS, None, [("null", [1])]),
    ("null in an array", pa.array([[1.0, None], [1.0, 2.0]]), FLOAT, "quarantine", ARRAYS, None, [("null", [0])]),
    ("null in an array as nan", pa.array([[1, None]]), FLOAT, "nan", ARRAYS, [[1.0, NAN]], []),
    ("null array as nan", pa.array([[1.0, 2.0], None]), FLOAT, "nan", ARRAYS, [[1.0, 2.0], [NAN, NAN]], []),
    ("null arrays imputed", pa.array([None, [1, None]]), INT, "impute", {**ARRAYS, "impute": 7}, [[7, 7], [1, 7]], []),
    ("null cube imputed", pa.array([None, [[1, 2], [3, 4]]]), INT, "impute", {**CUBES, "impute": 0},
     [[[0, 0], [0, 0]], [[1, 2], [3, 4]]], []),
    ("flat cube imputed", pa.array([None, [1, 2, 3, 4]]), INT, "impute", {**FLAT, "impute": 0},
     [[0, 0, 0, 0], [1, 2, 3, 4]], []),
    ("null array of open size", pa.array([[1.0], None]), FLOAT, "nan", OPEN, None, [("null", [1])]),
    ("wrong length", pa.array([[1.0, 2.0], [1.0], []]), FLOAT, "fail", ARRAYS, None, [("bad_shape", [1, 2])]),
    ("wrong width", pa.array([[1.0, 2.0], [1.0], None]), FLOAT, "nan", WIDE, None, [("bad_shape", [1])]),
    ("width filled", pa.array([[1.0, 2.0], None]), FLOAT, "impute", WIDE | {"impute": 0}, [[1.0, 2.0], [0.0, 0.0]], []),
    ("wrong cube", pa.array([[[1], [2]], [[1, 2], [3, 4]]]), INT, "fail", CUBES, None, [("bad_shape", [0])]),
    ("ragged cube", pa.array([[[1, 2], [3]], [[1, 2], [3, 4]]]), INT, "fail", CUBES, None, [("bad_shape", [0])]),
    ("wrong flat cube", pa.array([[1, 2, 3], [1, 2, 3, 4]]), INT, "fail", FLAT, None, [("bad_shape", [0])]),
    ("any length", pa.array([[1.0, 2.0], [1.0]]), FLOAT, "fail", OPEN, [[1.0, 2.0], [1.0]], []),
    ("overflow in an array", pa.array([[1.0, 1e39], [1.0, 2.0]]), FLOAT, "fail", ARRAYS, None, [("overflow", [0])]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "dtype", "on_null", "more", "expected", "reasons"),
    [row[1:] for row in FILLED],
    ids=[r[0] for r in FILLED],
)
def test_policies(
    values: pa.Array, dtype: str, on_null: str, more: dict[str, Any], expected: list[Any] | None, reasons: list[Any]
) -> None:
    filled, told = fill(values, dtype, on_null, **more)
    assert told == reasons
    if expected is not None:
        np.testing.assert_equal(filled, expected)


def test_nulls_inside_arrays_fail_the_run_where_they_are_to() -> None:
    with pytest.raises(ScoringError, match=r"feature 'a': expected no nulls.*found 2 in one batch of 3 rows"):
        fill(pa.array([[1.0, None], None, [1.0, 2.0]]), FLOAT, "fail", **ARRAYS)


def test_a_feature_of_two_inputs_must_suit_both() -> None:
    specs = [InputSpec(tensor=d, dtype=d, features=("a",), shape=(None,)) for d in ("tensor(int8)", INT)]
    columns = {"a": pa.array([1, 300])}
    found = find_unfit(specs, columns, columns)
    assert [(kind, name, mask.tolist()) for kind, name, mask in found] == [("overflow", "a", [False, True])]


LOSSY = [
    (pa.array([2**24, -(2**24), None]), FLOAT, None),
    (pa.array([2**24 + 1, 1]), FLOAT, [True, False]),
    (pa.array([2**53 + 1, 2**53]), "tensor(double)", [True, False]),
    (pa.array([2**63 - 1, -(2**63)]), "tensor(double)", [True, False]),
    (pa.array([2049, 2048, 70000]), "tensor(float16)", [True, False, True]),
    (pa.array([0.1]), FLOAT, None),
    (pa.array([2**24 + 1]), INT, None),
    (pa.array([None], pa.int64()), FLOAT, None),
]


@pytest.mark.parametrize(("column", "dtype", "expected"), LOSSY)
def test_whole_numbers_that_a_float_rounds_are_found(column: pa.Array, dtype: str, expected: list[bool] | None) -> None:
    found = find_lossy(column, dtype)
    assert (None if found is None else found.tolist()) == expected


CUBE = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]
TENSORS: list[tuple[str, InputSpec, list[pa.Array], Any]] = [
    ("vector", InputSpec(tensor="x", dtype=INT, features=("a",), shape=(None,)), [pa.array([1, 2])], [1, 2]),
    ("side by side", InputSpec(tensor="x", dtype=FLOAT, features=("a", "b"), shape=(None, 2), stacked=True),
     [pa.array([1, 2]), pa.array([3.0, 4.0])], [[1, 3], [2, 4]]),
    ("strings", InputSpec(tensor="x", dtype="tensor(string)", features=("a",), shape=(None, 1), stacked=True),
     [pa.array(["u", "v"])], [["u"], ["v"]]),
    ("array", InputSpec(tensor="x", dtype=FLOAT, features=("a",), shape=(None, 2), depth=1),
     [pa.array([[1, 2], [3, 4]])], [[1, 2], [3, 4]]),
    ("arrays side by side", InputSpec(tensor="x", dtype=FLOAT, features=("a", "b"), shape=(None, 3, 2), stacked=True,
     depth=1), [pa.array([[1, 2, 3]]), pa.array([[4, 5, 6]])], [[[1, 4], [2, 5], [3, 6]]]),
    ("numbers and arrays side by side", InputSpec(tensor="x", dtype=FLOAT, features=("a", "b"), shape=(None, 3),
     stacked=True, widths=(1, 2)), [pa.array([1, 4]), pa.array([[2.0, 3.0], [5.0, 6.0]])], [[1, 2, 3], [4, 5, 6]]),
    ("cube", InputSpec(tensor="x", dtype=FLOAT, features=("a",), shape=(None, 2, 2), depth=2), [pa.array(CUBE)], CUBE),
    ("flat cube", InputSpec(tensor="x", dtype=FLOAT, features=("a",), shape=(None, 2, 2), depth=1),
     [pa.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])], CUBE),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "columns", "expected"), [row[1:] for row in TENSORS], ids=[r[0] for r in TENSORS])
def test_columns_become_tensors(spec: InputSpec, columns: list[pa.Array], expected: Any) -> None:
    tensor = to_tensor(spec, dict(zip(spec.features, columns, strict=True)))
    assert tensor.tolist() == expected
    assert tensor.flags.c_contiguous
