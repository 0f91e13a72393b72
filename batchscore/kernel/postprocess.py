"""Columns computed from a model's outputs: probabilities, classes, categories, calibrated scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pyarrow as pa

from batchscore.errors import ScoringError
from batchscore.kernel.nested import leaf_type, replace_leaf, unnest
from batchscore.kernel.spec import StepSpec

_OPERATORS: Mapping[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def step_type(step: StepSpec, of: pa.DataType) -> pa.DataType | None:
    """The type of a step's column; None where it cannot be computed from a column of type `of`."""
    kind, depth = leaf_type(of)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    match step.do:
        case "softmax":
            return of if pa.types.is_floating(kind) and depth else None
        case "sigmoid":
            return of if pa.types.is_floating(kind) else None
        case "argmax":
            return (pa.string() if step.classes else pa.int64()) if number and depth == 1 else None
        case "pick":
            return of.value_type if depth else None
        case "categories":
            return pa.string() if number and not depth else None
        case _:
            return pa.float64() if number and not depth else None


def apply_steps(steps: Iterable[StepSpec], columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """The columns with those that the steps compute from them, in order.

    Args:
        steps: What to compute.
        columns: Output column to [n] values.

    Raises:
        ScoringError: An array has no value at the position that a step picks, or more classes than it names.
    """
    out = dict(columns)
    for step in steps:
        out[step.name] = _STEPS[step.do](step, out[step.of])
    return out


def _softmax(step: StepSpec, column: pa.Array) -> pa.Array:
    inner = column
    while pa.types.is_list(inner.type.value_type):
        inner = inner.flatten()
    leaf = inner.flatten()
    if not len(leaf):
        return column
    values = leaf.to_numpy(zero_copy_only=False).astype(np.float64)
    lengths = np.diff(inner.offsets.to_numpy())
    lengths = lengths[lengths > 0]
    starts = np.cumsum(lengths) - lengths
    with np.errstate(invalid="ignore"):  # infinite logits give NaN, which is a bad score
        grown = np.exp(values - np.repeat(np.maximum.reduceat(values, starts), lengths))
        shares = grown / np.repeat(np.add.reduceat(grown, starts), lengths)
    return replace_leaf(column, pa.array(shares).cast(leaf.type, safe=False))


def _sigmoid(step: StepSpec, column: pa.Array) -> pa.Array:
    depth = leaf_type(column.type)[1]
    leaf = unnest(column).leaf if depth else column
    values = leaf.to_numpy(zero_copy_only=False).astype(np.float64)
    small = np.exp(-np.abs(values))  # never overflows
    shares = np.where(values >= 0, 1 / (1 + small), small / (1 + small))
    made = pa.array(shares).cast(leaf.type, safe=False)
    return replace_leaf(column, made) if depth else made


def _argmax(step: StepSpec, column: pa.Array) -> pa.Array:
    lengths = np.diff(column.offsets.to_numpy())
    if (lengths < 1).any():
        raise ScoringError(f"model.postprocess '{step.name}': expected at least one value in '{step.of}'; found none.")
    if step.classes and (lengths != len(step.classes)).any():
        raise ScoringError(
            f"model.postprocess '{step.name}': expected {len(step.classes)} values in '{step.of}', one for each of its "
            f"classes; found {int(lengths[lengths != len(step.classes)][0])}. Name every class once, in order."
        )
    values = column.flatten().to_numpy(zero_copy_only=False)
    if not len(lengths):
        best = np.zeros(0, dtype=np.int64)
    elif (lengths == lengths[0]).all():
        best = values.reshape(len(lengths), -1).argmax(axis=1)
    else:
        ends = np.cumsum(lengths)
        best = np.array([values[end - n : end].argmax() for end, n in zip(ends, lengths, strict=True)], dtype=np.int64)
    return pa.array(step.classes, pa.string()).take(pa.array(best)) if step.classes else pa.array(best, pa.int64())


def _pick(step: StepSpec, column: pa.Array) -> pa.Array:
    offsets = column.offsets.to_numpy()
    lengths = np.diff(offsets)
    if (lengths <= step.index).any():
        raise ScoringError(
            f"model.postprocess '{step.name}': expected {step.index + 1} values or more in '{step.of}'; found "
            f"{int(lengths.min())}."
        )
    return column.flatten().take(pa.array(offsets[:-1] - offsets[0] + step.index))


def _categories(step: StepSpec, column: pa.Array) -> pa.Array:
    values = column.to_numpy(zero_copy_only=False)
    names = [name for name, _ in step.categories]
    chosen = np.full(len(values), -1)
    for position, (_, comparisons) in reversed(list(enumerate(step.categories))):
        meets = np.ones(len(values), dtype=bool)
        for operator, bound in comparisons:
            meets &= _OPERATORS[operator](values, bound)
        chosen[meets] = position
    words = pa.array([*names, step.otherwise], pa.string())
    return words.take(pa.array(np.where(chosen < 0, len(names), chosen)))


def _calibrate(step: StepSpec, column: pa.Array) -> pa.Array:
    known, wanted = np.array(step.points, dtype=np.float64).T
    values = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return pa.array(np.interp(values, known, wanted))


_STEPS: Mapping[str, Callable[[StepSpec, pa.Array], pa.Array]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "argmax": _argmax,
    "pick": _pick,
    "categories": _categories,
    "calibrate": _calibrate,
}
