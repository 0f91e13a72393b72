"""Arrow arrays to tensors and back: no copy where dtypes agree, no loss in silence where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.errors import ScoringError
from batchscore.kernel.spec import InputSpec, OutputSpec

# ONNX Runtime's type strings to numpy; source: https://onnxruntime.ai/docs/api/python/api_summary.html
DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
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
    "tensor(bool)": pa.bool_(),
    "tensor(string)": pa.string(),
}


def find_overflows(column: pa.Array, dtype: str) -> np.ndarray | None:
    """Rows whose value the tensor's type cannot hold.

    Args:
        column: [n] numbers, nulls allowed.
        dtype: ONNX Runtime's type string.

    Returns:
        [n] bool, or None where no value of the column's type can overflow.
    """
    target = np.dtype(DTYPES[dtype])
    if target.kind not in "fiu" or pa.types.is_boolean(column.type) or pa.types.is_string(column.type):
        return None
    values = _numbers(column)
    if target.kind == "f":
        if values.dtype.kind != "f" or values.dtype.itemsize <= target.itemsize:
            return None
        limit = float(np.finfo(target).max)
        over = np.isfinite(values) & (np.abs(values) > limit)
    else:
        if values.dtype.kind not in "iu" or np.can_cast(values.dtype, target):
            return None
        bounds = np.iinfo(target)
        over = (values < bounds.min) | (values > bounds.max)
    return over if over.any() else None


def to_tensor(spec: InputSpec, columns: Mapping[str, pa.Array]) -> np.ndarray:
    """Stack feature columns into one model input.

    Args:
        spec: Which features, in which order, as which type.
        columns: Feature name to [n] values without nulls (NaN stands for null where the policy says so).

    Returns:
        [n] for rank 1, else [n, f], C-contiguous. One float32 column of a float input is not copied.
    """
    dtype = DTYPES[spec.dtype]
    arrays = [_column(columns[name], dtype) for name in spec.features]
    if spec.rank == 1:
        return arrays[0]
    if len(arrays) == 1:
        return arrays[0].reshape(-1, 1)
    out = np.empty((len(arrays[0]), len(arrays)), dtype=dtype)
    for position, array in enumerate(arrays):
        out[:, position] = array
    return out


def to_column(spec: OutputSpec, tensor: np.ndarray, rows: int) -> pa.Array:
    """One output column from a model output.

    Args:
        spec: Which tensor, which column of it.
        tensor: [n], [n, 1] or [n, k].
        rows: n, as given to the model.

    Raises:
        ScoringError: The tensor has another number of rows, or not the rank that the selector needs.
    """
    shape = tensor.shape
    if not shape or shape[0] != rows:
        raise ScoringError(f"model output '{spec.tensor}': expected {rows} rows; found shape {list(shape)}.")
    if spec.index is not None:
        if tensor.ndim != 2 or spec.index >= shape[1]:
            raise ScoringError(
                f"model output '{spec.tensor}': expected at least {spec.index + 1} columns for "
                f"'{spec.column}'; found shape {list(shape)}."
            )
        values = tensor[:, spec.index]
    else:
        if tensor.ndim > 2 or (tensor.ndim == 2 and shape[1] != 1):
            raise ScoringError(
                f"model output '{spec.tensor}': expected one value a row for '{spec.column}'; found shape "
                f"{list(shape)}. Name a column of it, as '{spec.tensor}[:, 0]'."
            )
        values = tensor.reshape(rows)
    target = ARROW_TYPES[spec.dtype]
    if values.dtype == object or pa.types.is_string(target):
        return pa.array(values.tolist(), target)
    return pa.array(np.ascontiguousarray(values)).cast(target)


def find_bad_scores(columns: Sequence[pa.Array]) -> np.ndarray | None:
    """Rows in which any floating-point score is NaN or infinite: [n] bool, or None where there is none."""
    bad: np.ndarray | None = None
    for column in columns:
        if pa.types.is_floating(column.type):
            found = ~np.isfinite(column.to_numpy(zero_copy_only=False))
            if found.any():
                bad = found if bad is None else bad | found
    return bad


def _numbers(column: pa.Array) -> np.ndarray:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(0, column.type))
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values


def _column(column: pa.Array, dtype: Any) -> np.ndarray:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values = column.to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=dtype)
