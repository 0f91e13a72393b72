"""Arrow arrays as comparisons need them: numbers as numpy, decimals with room, sets, and booleans without nulls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Args = Mapping[str, Any]
Verdict = tuple[np.ndarray, int]

DATE = pa.date32()
MICROS = "us"
DECIMAL_DIGITS = 38  # Spark's largest precision


def find_in_set(array: pa.Array, values: Sequence[Any]) -> pa.Array:
    """Whether each value is one of `values`; false for nulls.

    Args:
        array: [n] numbers, decimals, strings, booleans, dates or timestamps.
        values: Plain values; days since 1970 for dates, microseconds for timestamps.
    """
    kind = array.type
    if pa.types.is_decimal(kind):
        fitting = [d for d in map(to_decimal, values) if _fits(d, kind)]
        return pc.is_in(array, value_set=pa.array(fitting, kind))
    if pa.types.is_temporal(kind):
        return pc.is_in(as_integers(array), value_set=pa.array(values, pa.int64()))
    if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and any(isinstance(v, float) for v in values)):
        doubles = pc.add(array.cast(pa.float64(), safe=False), 0.0)  # -0.0 + 0.0 is 0.0: they hash differently
        return pc.is_in(doubles, value_set=pa.array([float(v) + 0.0 for v in values], pa.float64()))
    if pa.types.is_integer(kind):
        return pc.is_in(array.cast(pa.int64()), value_set=pa.array(values, pa.int64()))
    return pc.is_in(array, value_set=pa.array(values, kind))


def to_decimal(value: Any) -> Decimal:
    """A JSON number as the decimal that it reads as: 0.1 is one tenth."""
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def to_bools(array: pa.Array) -> np.ndarray:
    """An Arrow boolean array [n] as numpy, null as false."""
    filled = pc.fill_null(array, False) if array.null_count else array
    out: np.ndarray = filled.to_numpy(zero_copy_only=False)
    return out.astype(bool, copy=False)


def _fits(value: Decimal, kind: pa.DataType) -> bool:
    """Whether a column of this decimal type can hold the value exactly."""
    if not value:
        return True
    exponent = value.normalize().as_tuple().exponent
    return isinstance(exponent, int) and -exponent <= kind.scale and value.adjusted() < kind.precision - kind.scale


def as_integers(array: pa.Array) -> pa.Array:
    """Dates as days since 1970, timestamps as microseconds since 1970."""
    if pa.types.is_date(array.type):
        return array.cast(DATE).cast(pa.int32()).cast(pa.int64())
    return array.cast(pa.timestamp(MICROS, array.type.tz), safe=False).cast(pa.int64())


def as_numpy(array: pa.Array) -> np.ndarray:
    """Numbers, dates and timestamps as numpy; floats as doubles; nulls as zero."""
    if pa.types.is_temporal(array.type):
        array = as_integers(array)
    elif pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    elif pa.types.is_floating(array.type):
        array = array.cast(pa.float64())
    if array.null_count:
        array = pc.fill_null(array, 0)
    out: np.ndarray = array.to_numpy()
    return out


def widen(array: pa.Array) -> pa.Array:
    """Decimals with room for a common scale; integers are left to Arrow."""
    if not pa.types.is_decimal(array.type):
        return array
    return array.cast(pa.decimal256(array.type.precision, array.type.scale))


def decimal_scalar(value: Any) -> pa.Scalar:
    """A JSON number as an exact decimal with room for a common scale."""
    number = to_decimal(value)
    exponent = number.as_tuple().exponent
    scale = max(0, -exponent) if isinstance(exponent, int) else 0
    return pa.scalar(number, pa.decimal256(DECIMAL_DIGITS + scale, scale))


def is_text(kind: pa.DataType) -> bool:
    """Whether it is a string type."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
