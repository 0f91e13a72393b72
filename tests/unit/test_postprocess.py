# ruff: noqa: E501 - a table of steps, one case a line
"""Columns computed from a model's outputs: what each step gives, its type, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchscore.errors import ScoringError
from batchscore.kernel.postprocess import apply_steps, step_type
from batchscore.kernel.spec import StepSpec
from batchscore.thresholds import parse_comparisons

F32, F64, I64 = pa.float32(), pa.float64(), pa.int64()
NAN, INF = float("nan"), float("inf")
LOW_HIGH = (("low", (("<", 0.2),)), ("high", ((">=", 0.7),)), ("middle", ((">=", 0.2), ("<", 0.7))))
TABLE = ((0.0, 0.1), (0.5, 0.2), (1.0, 0.9))


def logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-np.float64(x))))


CASES: list[tuple[str, dict[str, Any], pa.Array, pa.DataType, list[Any]]] = [
    ("softmax", {"do": "softmax"}, pa.array([[0.0, 0.0], [1000.0, 0.0]], pa.list_(F64)), pa.list_(F64), [[0.5, 0.5], [1.0, 0.0]]),
    ("softmax of one class", {"do": "softmax"}, pa.array([[3.0], [-3.0]], pa.list_(F32)), pa.list_(F32), [[1.0], [1.0]]),
    ("softmax of any lengths", {"do": "softmax"}, pa.array([[], [2.0], [1.0, 1.0]], pa.list_(F64)), pa.list_(F64), [[], [1.0], [0.5, 0.5]]),
    ("softmax along the last dimension", {"do": "softmax"}, pa.array([[[0.0, 0.0], [9.0, 9.0]]], pa.list_(pa.list_(F64))), pa.list_(pa.list_(F64)), [[[0.5, 0.5], [0.5, 0.5]]]),
    ("softmax of no rows", {"do": "softmax"}, pa.array([], pa.list_(F64)), pa.list_(F64), []),
    ("sigmoid", {"do": "sigmoid"}, pa.array([0.0, 2.0, -800.0, 800.0, NAN], F64), F64, [0.5, logistic(2), 0.0, 1.0, NAN]),
    ("sigmoid of arrays", {"do": "sigmoid"}, pa.array([[0.0, 1.0]], pa.list_(F32)), pa.list_(F32), [[0.5, float(np.float32(logistic(1)))]]),
    ("argmax", {"do": "argmax"}, pa.array([[1.0, 3.0, 2.0], [5.0, 5.0, 1.0]], pa.list_(F32)), I64, [1, 0]),
    ("argmax of whole numbers", {"do": "argmax"}, pa.array([[1, 3], [2]], pa.list_(I64)), I64, [1, 0]),
    ("argmax with names", {"do": "argmax", "classes": ("no", "yes")}, pa.array([[1.0, 3.0], [2.0, 0.0]], pa.list_(F64)), pa.string(), ["yes", "no"]),
    ("argmax of no rows", {"do": "argmax"}, pa.array([], pa.list_(F64)), I64, []),
    ("pick", {"do": "pick", "index": 1}, pa.array([[1.0, 3.0], [2.0, 0.0]], pa.list_(F32)), F32, [3.0, 0.0]),
    ("pick of a sliced column", {"do": "pick", "index": 0}, pa.array([[1.0], [2.0, 0.0], [7.0]], pa.list_(F32)).slice(1), F32, [2.0, 7.0]),
    ("pick a row of a matrix", {"do": "pick", "index": 1}, pa.array([[[1], [2, 3]]], pa.list_(pa.list_(I64))), pa.list_(I64), [[2, 3]]),
    ("categories", {"do": "categories", "categories": LOW_HIGH}, pa.array([0.1, 0.2, 0.7, 0.69, NAN], F64), pa.string(), ["low", "middle", "high", "middle", None]),
    ("the first category that fits", {"do": "categories", "categories": (("a", (("<", 5.0),)), ("b", (("<", 9.0),)))}, pa.array([1, 7, 9], I64), pa.string(), ["a", "b", None]),
    ("categories with another for the rest", {"do": "categories", "categories": (("a", ((">", 5.0),)),), "otherwise": "rest"}, pa.array([6.0, 5.0, NAN], F32), pa.string(), ["a", "rest", "rest"]),
    ("calibrate", {"do": "calibrate", "points": TABLE}, pa.array([-1.0, 0.25, 0.5, 0.75, 2.0], F32), F64, [0.1, 0.15, 0.2, 0.55, 0.9]),
]  # fmt: skip


@pytest.mark.parametrize(("step", "column", "kind", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_steps(step: dict[str, Any], column: pa.Array, kind: pa.DataType, expected: list[Any]) -> None:
    spec = StepSpec(name="made", of="p", **step)
    made = apply_steps([spec], {"p": column})["made"]
    made.validate(full=True)
    assert made.type == step_type(spec, column.type) == kind
    if pa.types.is_string(kind):
        assert made.to_pylist() == expected
    else:
        for found, right in zip(made.to_pylist(), expected, strict=True):
            np.testing.assert_allclose(found, right, rtol=1e-15 if kind != F32 else 1e-7)


def test_steps_build_on_each_other() -> None:
    steps = [
        StepSpec(name="p", of="logits", do="softmax"),
        StepSpec(name="yes", of="p", do="pick", index=1),
        StepSpec(name="band", of="yes", do="categories", categories=LOW_HIGH),
        StepSpec(name="class", of="logits", do="argmax", classes=("no", "yes")),
    ]
    made = apply_steps(steps, {"logits": pa.array([[0.0, 0.0], [0.0, 9.0]], pa.list_(F64))})
    assert list(made) == ["logits", "p", "yes", "band", "class"]
    assert (made["band"].to_pylist(), made["class"].to_pylist()) == (["middle", "high"], ["no", "yes"])


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ({"do": "softmax"}, F64),
        ({"do": "softmax"}, pa.list_(I64)),
        ({"do": "sigmoid"}, I64),
        ({"do": "argmax"}, F64),
        ({"do": "argmax"}, pa.list_(pa.list_(F64))),
        ({"do": "argmax"}, pa.list_(pa.string())),
        ({"do": "pick"}, pa.string()),
        ({"do": "categories"}, pa.list_(F64)),
        ({"do": "categories"}, pa.bool_()),
        ({"do": "calibrate"}, pa.string()),
        ({"do": "calibrate"}, pa.map_(pa.string(), F32)),
    ],
)
def test_columns_that_a_step_does_not_fit(step: dict[str, Any], kind: pa.DataType) -> None:
    assert step_type(StepSpec(name="made", of="p", **step), kind) is None


@pytest.mark.parametrize(
    ("step", "column", "message"),
    [
        ({"do": "pick", "index": 2}, [[1.0, 2.0]], "'made': expected 3 values or more in 'p'; found 2"),
        ({"do": "argmax"}, [[1.0], []], "'made': expected at least one value in 'p'; found none"),
        ({"do": "argmax", "classes": ("a",)}, [[1.0], [1.0, 2.0]], "expected 1 values in 'p', one for each of its classes; found 2"),
    ],
)  # fmt: skip
def test_arrays_that_a_step_refuses(step: dict[str, Any], column: list[list[float]], message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        apply_steps([StepSpec(name="made", of="p", **step)], {"p": pa.array(column, pa.list_(F64))})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<0.2", (("<", 0.2),)),
        (" >= .5 ", ((">=", 0.5),)),
        (">=0.2 <0.7", ((">=", 0.2), ("<", 0.7))),
        (">=-1e-3, <=+2.", ((">=", -0.001), ("<=", 2.0))),
        (">1 and <2", ((">", 1.0), ("<", 2.0))),
        ("", None),
        ("0.2", None),
        ("=0.2", None),
        ("<", None),
        ("<x", None),
        ("<0.2 or >0.7", None),
        ("<1 2", None),
        ("<nan", None),
    ],
)
def test_comparisons(text: str, expected: Any) -> None:
    assert parse_comparisons(text) == expected
