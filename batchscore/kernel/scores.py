"""What a model gives back, as Arrow columns: whole tensors, parts of them, maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from batchscore.errors import ScoringError
from batchscore.kernel.nested import leaf_type, to_lists, unnest
from batchscore.kernel.spec import OutputSpec

# Spark has no unsigned types and no half floats: each widens to the next type that holds every value.
ARROW_TYPES: dict[str, pa.DataType] = {
    "tensor(float)": pa.float32(),
    "tensor(double)": pa.float64(),
    "tensor(float16)": pa.float32(),
    "tensor(int8)": pa.int8(),
    "tensor(int16)": pa.int16(),
    "tensor(int32)": pa.int32(),
    "tensor(int64)": pa.int64(),
    "tensor(uint8)": pa.int16(),
    "tensor(uint16)": pa.int32(),
    "tensor(uint32)": pa.int64(),
    "tensor(uint64)": pa.decimal128(20, 0),
    "tensor(bool)": pa.bool_(),
    "tensor(string)": pa.string(),
}


def column_type(spec: OutputSpec) -> pa.DataType:
    """The type of an output column."""
    kind = ARROW_TYPES[spec.dtype]
    if spec.key_dtype:
        return kind if spec.key is not None else pa.map_(ARROW_TYPES[spec.key_dtype], kind)
    for pick in spec.picks or ():
        kind = kind if pick is not None else pa.list_(kind)
    return kind


def join_parts(parts: Sequence[Any]) -> Any:
    """The outputs of several calls as one: arrays end to end, or the list of maps of all rows."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else [row for part in parts for row in part]


def to_column(spec: OutputSpec, output: Any, rows: int) -> pa.Array:
    """One output column from a model output.

    Args:
        spec: Which tensor, which part of it.
        output: [n, ...] array, or a list of n maps.
        rows: n, as given to the model.

    Returns:
        [n] of `column_type(spec)`.

    Raises:
        ScoringError: The output has another number of rows, not the rank or width that the selector needs, or a row's
            map lacks the key.
    """
    if spec.key_dtype:
        return _map_column(spec, output, rows)
    tensor = np.asarray(output)
    shape = tensor.shape
    if not shape or shape[0] != rows:
        raise ScoringError(f"model output '{spec.tensor}': expected {rows} rows; found shape {list(shape)}.")
    if spec.picks is None:
        if any(size != 1 for size in shape[1:]):
            raise ScoringError(
                f"model output '{spec.tensor}': expected one value a row for '{spec.column}'; found shape "
                f"{list(shape)}. Name a part of it, as '{spec.tensor}[:, 0]', or all of it, as '{spec.tensor}[:, :]'."
            )
        return _to_arrow(tensor.reshape(rows), spec.dtype)
    if tensor.ndim != len(spec.picks) + 1 or any(
        pick is not None and pick >= size for pick, size in zip(spec.picks, shape[1:], strict=True)
    ):
        least = ", ".join(":" if pick is None else f"{pick + 1} or more" for pick in spec.picks)
        raise ScoringError(
            f"model output '{spec.tensor}': expected shape [{rows}, {least}] for '{spec.column}'; found shape "
            f"{list(shape)}."
        )
    part = tensor[(slice(None), *(slice(None) if pick is None else pick for pick in spec.picks))]
    return to_lists(_to_arrow(part.reshape(-1), spec.dtype), rows, part.shape[1:])


def find_bad_scores(columns: Mapping[str, pa.Array]) -> dict[str, np.ndarray]:
    """Rows in which a floating-point score is NaN or infinite: column to [n] bool, where there are any."""
    found = {name: _find_bad(column) for name, column in columns.items()}
    return {name: mask for name, mask in found.items() if mask is not None}


def _find_bad(column: pa.Array) -> np.ndarray | None:
    if pa.types.is_map(column.type):
        values, rows = column.items, np.repeat(np.arange(len(column)), np.diff(column.offsets.to_numpy()))
    elif leaf_type(column.type)[1]:
        nested = unnest(column)
        values, rows = nested.leaf, nested.rows
    else:
        values, rows = column, None
    if not pa.types.is_floating(values.type):
        return None
    found: np.ndarray = ~np.isfinite(values.to_numpy(zero_copy_only=False))
    if rows is None or not found.any():
        return found if found.any() else None
    whole = np.zeros(len(column), dtype=bool)
    whole[rows[found]] = True
    return whole


def _map_column(spec: OutputSpec, output: Any, rows: int) -> pa.Array:
    if not isinstance(output, list) or len(output) != rows:
        found = f"{len(output)} rows" if isinstance(output, list) else type(output).__name__
        raise ScoringError(f"model output '{spec.tensor}': expected a map for each of {rows} rows; found {found}.")
    if spec.key is None:
        return pa.array([list(row.items()) for row in output], column_type(spec))
    lacking = next((row for row in output if spec.key not in row), None)
    if lacking is not None:
        known = ", ".join(str(key) for key in list(lacking)[:10])
        raise ScoringError(
            f"model output '{spec.tensor}': expected the key {spec.key!r} for '{spec.column}' in every row's map; "
            f"found the keys {known}. Name one of these in model.outputs."
        )
    return pa.array([row[spec.key] for row in output], column_type(spec))


def _to_arrow(values: np.ndarray, dtype: str) -> pa.Array:
    target = ARROW_TYPES[dtype]
    if values.dtype == object or pa.types.is_string(target):
        return pa.array(values.tolist(), target)
    if pa.types.is_decimal(target):
        return pa.array([int(value) for value in values], target)
    return pa.array(np.ascontiguousarray(values)).cast(target)
