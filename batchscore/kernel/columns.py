"""What is known of one column: counts, extremes, exact sums and distinct values, mergeable and plain as JSON."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.kernel.arrays import find_in_set
from batchscore.kernel.spec import TallySpec

EXACT = Context(prec=100)  # Python's own 28 digits would round
NAN = math.nan  # one object, so that a set holds it once


@dataclass(slots=True)
class ColumnTally:
    """What is known of one column.

    Attributes:
        rows: Rows seen.
        nulls: Of these, null.
        low: Smallest value; NaN only where nothing else was seen.
        high: Largest value; NaN is above any number.
        total: Sum of the finite values: int, Decimal, or the exact Fraction of batch sums of floats.
        beyond: Sum of the infinite and NaN values; 0.0 where there are none.
        mean: Mean of the values as doubles; None where there are none.
        squares: Sum of the squared distances from it.
        values: Distinct values; None once there were more than `max_values`.
        max_values: That limit.
        found: The wanted values that occurred.
    """

    rows: int = 0
    nulls: int = 0
    low: Any = None
    high: Any = None
    total: Any = None
    beyond: float = 0.0
    mean: float | None = None
    squares: float = 0.0
    values: set[Any] | None = field(default_factory=set)
    max_values: int = 1000
    found: set[Any] = field(default_factory=set)

    @property
    def sum(self) -> Any:
        """The sum of the values, as int, Decimal or float; None where there are none."""
        if isinstance(self.total, Fraction):
            return self.beyond if self.beyond != 0.0 else _to_float(self.total)
        return self.total

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; None for fewer than two values."""
        count = self.rows - self.nulls
        return math.sqrt(self.squares / (count - 1)) if self.mean is not None and count > 1 else None

    def add(self, array: pa.Array, spec: TallySpec) -> None:
        """Count one batch's values."""
        before = self.rows - self.nulls
        self.rows += len(array)
        self.nulls += array.null_count
        self.max_values = spec.max_values
        if array.null_count == len(array) or spec.stats == {"count"}:
            return
        array = _normalize(array.drop_null() if array.null_count else array)
        if "range" in spec.stats:
            self._widen(*_find_range(array))
        if "sum" in spec.stats:
            total, beyond = _sum(array)
            self.total = total if self.total is None else _plus(self.total, total)
            self.beyond += beyond
        if "spread" in spec.stats:
            self._spread(before, len(array), *_find_spread(array))
        if "found" in spec.stats:
            self.found |= _to_set(array.filter(find_in_set(array, spec.wanted)).unique())
        if "values" in spec.stats and self.values is not None:
            unique = array.unique()
            self.values = self.values | _to_set(unique) if len(unique) <= self.max_values else None
            self._cap()

    def to_plain(self) -> dict[str, Any]:
        """The fields as plain JSON; values that JSON lacks are tagged, such as `["date", "2013-10-01"]`."""
        plain = {f.name: _pack(getattr(self, f.name)) for f in fields(self)}
        for name in ("values", "found"):
            held = getattr(self, name)
            plain[name] = None if held is None else sorted((_pack(v) for v in held), key=repr)
        return plain

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> ColumnTally:
        """The tally that `to_plain` wrote."""
        values = {name: _unpack(value) for name, value in plain.items() if name not in ("values", "found")}
        for name in ("values", "found"):
            values[name] = None if plain[name] is None else {_unpack(v) for v in plain[name]}
        return ColumnTally(**values)

    def merge(self, other: ColumnTally) -> None:
        """Add another task's count of the same column."""
        if other.mean is not None:
            self._spread(self.rows - self.nulls, other.rows - other.nulls, other.mean, other.squares)
        self.rows += other.rows
        self.nulls += other.nulls
        self.max_values = max(self.max_values, other.max_values)
        if other.low is not None:
            self._widen(other.low, other.high)
        if other.total is not None:
            self.total = other.total if self.total is None else _plus(self.total, other.total)
        self.beyond += other.beyond
        self.found |= other.found
        self.values = None if self.values is None or other.values is None else self.values | other.values
        self._cap()

    def _spread(self, before: int, added: int, mean: float, squares: float) -> None:
        """Join two sets of values by the pairwise update of Chan, Golub and LeVeque (1979)."""
        if self.mean is None:
            self.mean, self.squares = mean, squares
            return
        apart, count = mean - self.mean, before + added
        self.squares += squares + apart * apart * (before * added / count)
        self.mean += apart * (added / count)

    def _cap(self) -> None:
        if self.values is not None and len(self.values) > self.max_values:
            self.values = None

    def _widen(self, low: Any, high: Any) -> None:
        self.low = low if self.low is None or _above(self.low, low) else self.low
        self.high = high if self.high is None or _above(high, self.high) else self.high


def _normalize(array: pa.Array) -> pa.Array:
    """Floats as doubles without -0.0; nanoseconds cut to microseconds; the rest as it is."""
    if pa.types.is_floating(array.type):
        return pc.add(array.cast(pa.float64()), 0.0)
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.timestamp("us", "UTC" if array.type.tz else None), safe=False)
    return array


def _find_range(array: pa.Array) -> tuple[Any, Any]:
    found = pc.min_max(array)
    low, high = found["min"].as_py(), found["max"].as_py()
    if isinstance(low, float) and pc.any(pc.is_nan(array)).as_py():
        high = NAN
        low = NAN if pc.all(pc.is_nan(array)).as_py() else low
    return low, high


def _sum(array: pa.Array) -> tuple[Any, float]:
    """(sum of the finite values, sum of the others)."""
    if pa.types.is_decimal(array.type):
        return pc.sum(array.cast(pa.decimal256(76, array.type.scale))).as_py(), 0.0
    values = array.to_numpy()
    if values.dtype.kind != "f":
        wide = values.astype(np.int64)  # high and low halves apart: the sum of 2^31 rows cannot overflow
        return int((wide >> 32).sum()) * 2**32 + int((wide & 0xFFFFFFFF).sum()), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(values.sum())
        if math.isfinite(total):
            return Fraction(total), 0.0
        finite = np.isfinite(values)
        rest = float(values[~finite].sum())
        total = float(values[finite].sum())
    return (Fraction(total), rest) if math.isfinite(total) else (Fraction(0), rest + total)


def _find_spread(array: pa.Array) -> tuple[float, float]:
    """(mean, sum of squared distances from it) of values as doubles."""
    values = array.cast(pa.float64(), safe=False).to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean())
        apart = values - mean
        return mean, float(np.dot(apart, apart))


def _plus(a: Any, b: Any) -> Any:
    return EXACT.add(a, b) if isinstance(a, Decimal) else a + b


def _to_float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _to_set(unique: pa.Array) -> set[Any]:
    return {NAN if _is_nan(v) else v for v in unique.to_pylist()}


def _above(a: Any, b: Any) -> bool:
    """Whether a is above b; NaN is above any number, and not above itself."""
    return not _is_nan(b) if _is_nan(a) else bool(a > b)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


UNPACK: dict[str, Callable[[str], Any]] = {
    "float": lambda text: NAN if text == "nan" else float(text),
    "Decimal": Decimal,
    "Fraction": Fraction,
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "bytes": bytes.fromhex,
}


def _pack(value: Any) -> Any:
    tag = type(value).__name__
    if isinstance(value, float):
        return value if math.isfinite(value) else [tag, repr(value)]
    if isinstance(value, (Decimal, Fraction)):
        return [tag, str(value)]
    if isinstance(value, dt.date):
        return [tag, value.isoformat()]
    return [tag, value.hex()] if isinstance(value, bytes) else value


def _unpack(value: Any) -> Any:
    return UNPACK[value[0]](value[1]) if isinstance(value, list) else value
