"""Arrow arrays to tensors: no copy where dtypes agree, no loss in silence where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.kernel.nested import leaf_type, unnest
from batchscore.kernel.spec import InputSpec

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
FLOATS = ("tensor(float)", "tensor(double)", "tensor(float16)")


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


def find_lossy(column: pa.Array, dtype: str) -> np.ndarray | None:
    """Rows whose whole number a floating-point tensor holds only rounded, such as 16,777,217 in a `tensor(float)`.

    Args:
        column: [n] numbers, nulls allowed.
        dtype: ONNX Runtime's type string.

    Returns:
        [n] bool, or None where there is none.
    """
    target = np.dtype(DTYPES[dtype])
    if target.kind != "f" or not pa.types.is_integer(column.type):
        return None
    exact = 2 ** (np.finfo(target).nmant + 1)  # every whole number up to here has a value of its own
    extremes = pc.min_max(column)
    low, high = extremes["min"].as_py(), extremes["max"].as_py()
    if low is None or (-exact <= low and high <= exact):
        return None
    values = _numbers(column)
    with np.errstate(over="ignore"):
        rounded = values.astype(target).astype(np.float64)
    held = rounded < 2.0**63  # the double above the largest bigint would wrap around
    back = np.where(held, rounded, 0.0).astype(np.int64)
    lossy = ~held | (back != values)
    return lossy if lossy.any() else None


def to_tensor(spec: InputSpec, columns: Mapping[str, pa.Array]) -> np.ndarray:
    """Build one model input from its feature columns.

    Args:
        spec: Which features, in which order, as which type and shape.
        columns: Feature name to [n] values without nulls (NaN stands for null where the policy says so); arrays of
            one shape.

    Returns:
        [n, *item] of the one feature, or [n, *item, f] of f features side by side, C-contiguous; [n, sum of widths]
        where numbers and arrays lie side by side. One float32 column of a float input is not copied.
    """
    if spec.widths:
        return _pack(spec, columns)
    blocks = [_block(spec, columns[name]) for name in spec.features]
    if not spec.stacked:
        return blocks[0]
    if len(blocks) == 1:
        return blocks[0].reshape(*blocks[0].shape, 1)
    out = np.empty((*blocks[0].shape, len(blocks)), dtype=DTYPES[spec.dtype])
    for position, block in enumerate(blocks):
        out[..., position] = block
    return out


def _pack(spec: InputSpec, columns: Mapping[str, pa.Array]) -> np.ndarray:
    dtype = DTYPES[spec.dtype]
    rows = len(columns[spec.features[0]])
    out = np.empty((rows, sum(spec.widths)), dtype=dtype)
    start = 0
    for name, width in zip(spec.features, spec.widths, strict=True):
        column = columns[name]
        leaf = unnest(column).leaf if leaf_type(column.type)[1] else column
        out[:, start : start + width] = _values(leaf, dtype).reshape(rows, width)
        start += width
    return out


def _block(spec: InputSpec, column: pa.Array) -> np.ndarray:
    dtype = DTYPES[spec.dtype]
    if not spec.depth:
        return _values(column, dtype)
    nested = unnest(column)
    sizes = nested.shapes[0] if len(column) else np.zeros(spec.depth, dtype=np.int64)
    shape = [int(size or 0) for size in spec.item] if spec.flat or not len(column) else sizes.tolist()
    return _values(nested.leaf, dtype).reshape(len(column), *shape)


def _numbers(column: pa.Array) -> np.ndarray:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(0, column.type))
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values


def _values(column: pa.Array, dtype: Any) -> np.ndarray:
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values = column.to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=dtype)
