"""Distributions of single columns as counts: buckets that any number of tasks add up to the same whole."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MOST_BUCKETS = 512
MOST_VALUES = 1000  # distinct categories; where there are more, they are told apart by a hash alone
HASHES = 64
OTHERS = "(others)"
FEWEST_NAMED, MOST_NAMED = 20, 50  # rows that a category needs to keep its name, and categories that do
FINEST = 20  # low bits of a double that never matter
_ORDER = np.int64(0x7FFF_FFFF_FFFF_FFFF)
_EMPTY = np.zeros(0, dtype=np.int64)


@dataclass(slots=True)
class Distribution:
    """How the values of one column are distributed, among the rows that were looked at.

    Numbers are counted in buckets that do not depend on the data: doubles that agree in all but the lowest `shift`
    bits. Where more than `MOST_BUCKETS` are in use, `shift` grows by one and neighbours join, so that the counts of
    any split of the rows add up to the counts of the whole. Texts and booleans are counted value by value.

    Attributes:
        rows: Rows looked at.
        nulls: Of these, null or NaN.
        kind: `numeric`, `categorical`, or empty before the first row.
        shift: Low bits that a bucket leaves out.
        keys: [n] buckets in use, rising: the bits of a double, in the order of the numbers, without the low ones.
        counts: [n] rows in each.
        values: Category to rows; None once there were more than `MOST_VALUES`.
        hashed: [HASHES] rows by a hash of their category; empty for numbers.
    """

    rows: int = 0
    nulls: int = 0
    kind: str = ""
    shift: int = FINEST
    keys: np.ndarray = field(default_factory=lambda: _EMPTY)
    counts: np.ndarray = field(default_factory=lambda: _EMPTY)
    values: dict[str, int] | None = field(default_factory=dict)
    hashed: np.ndarray = field(default_factory=lambda: _EMPTY)

    def add(self, array: pa.Array, weight: int = 1) -> None:
        """Count the values of a batch, each for so many rows."""
        self.rows += weight * len(array)
        self.nulls += weight * array.null_count
        self.kind = self.kind or ("numeric" if is_numeric(array.type) else "categorical")
        held = array.drop_null() if array.null_count else array
        if self.kind == "numeric":
            self._add_numbers(to_doubles(held), weight)
        else:
            found = pc.value_counts(held.cast(pa.string()))
            values, counts = found.field("values").to_pylist(), weight * found.field("counts").to_numpy()
            places = np.fromiter((zlib.crc32(value.encode()) % HASHES for value in values), np.int64, len(values))
            self._add_hashed(np.bincount(places, counts, HASHES).astype(np.int64))
            if self.values is not None:
                self._add_values(dict(zip(values, counts.tolist(), strict=True)))

    def merge(self, other: Distribution) -> None:
        """Add what another task counted of the same column."""
        self.rows += other.rows
        self.nulls += other.nulls
        self.kind = self.kind or other.kind
        if other.values is None:
            self.values = None
        elif self.values is not None:
            self._add_values(other.values)
        self._add_buckets(other.keys, other.counts, other.shift)
        self._add_hashed(other.hashed)

    def coarsen(self, shift: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys and counts as they are with a larger `shift`."""
        return _join(self.keys >> (shift - self.shift), self.counts)

    def condensed(self, buckets: int) -> Distribution:
        """The same distribution in at most so many buckets, but two."""
        made = replace(self)
        made._narrow(buckets)
        return made

    def named(self, fewest: int = FEWEST_NAMED, most: int = MOST_NAMED) -> Distribution:
        """The same distribution with only its frequent categories by name, the others as one: names may tell of people.

        Args:
            fewest: Rows that a category needs.
            most: Categories that keep their name.
        """
        made = self.condensed(len(self.keys))
        if self.values:
            ranked = sorted(self.values.items(), key=lambda item: (-item[1], item[0]))
            kept = dict([item for item in ranked if item[1] >= fewest][:most])
            others = sum(self.values.values()) - sum(kept.values())
            made.values = {**kept, **({OTHERS: others} if others else {})}
        return made

    def quantiles(self, shares: Sequence[float]) -> list[float] | None:
        """The numbers that these shares of the rows do not exceed, to within a bucket; None without numbers."""
        if self.kind != "numeric" or not len(self.keys):
            return None
        low, high = edges_of(self.keys, self.shift)
        cumulated = np.cumsum(self.counts)
        places = np.minimum(np.searchsorted(cumulated, np.asarray(shares) * cumulated[-1]), len(low) - 1)
        with np.errstate(invalid="ignore"):
            middle = np.where(np.isfinite(high), low / 2 + high / 2, low)
        return [float(number) for number in middle[places]]

    def to_plain(self) -> dict[str, Any]:
        """The fields as plain JSON."""
        plain: dict[str, Any] = {"rows": self.rows, "nulls": self.nulls, "kind": self.kind}
        if self.kind == "numeric":
            steps = np.diff(self.keys, prepend=np.int64(0))  # short numbers, since keys are long ones
            plain |= {"shift": self.shift, "steps": steps.tolist(), "counts": self.counts.tolist()}
        if self.kind == "categorical":
            plain |= {"values": self.values, "hashed": self.hashed.tolist()}
        return plain

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> Distribution:
        """The distribution that `to_plain` wrote."""
        return Distribution(
            rows=plain["rows"],
            nulls=plain["nulls"],
            kind=plain["kind"],
            shift=plain.get("shift", FINEST),
            keys=np.cumsum(np.asarray(plain.get("steps", ()), dtype=np.int64)),
            counts=np.asarray(plain.get("counts", ()), dtype=np.int64),
            values=plain.get("values", {}),
            hashed=np.asarray(plain.get("hashed", ()), dtype=np.int64),
        )

    def _add_numbers(self, numbers: np.ndarray, weight: int) -> None:
        missing = np.isnan(numbers)
        if missing.any():
            self.nulls += weight * int(missing.sum())
            numbers = numbers[~missing]
        bits = (numbers + 0.0).view(np.int64)  # no -0.0
        ordered = np.where(bits < 0, bits ^ _ORDER, bits)
        keys, counts = np.unique(ordered >> self.shift, return_counts=True)
        self._add_buckets(keys, weight * counts, self.shift)

    def _add_buckets(self, keys: np.ndarray, counts: np.ndarray, shift: int) -> None:
        if not len(keys):
            return
        wide = max(self.shift, shift)
        mine, theirs = self.keys >> (wide - self.shift), keys >> (wide - shift)
        order = np.concatenate([mine, theirs])
        place = np.argsort(order, kind="stable")
        self.keys, self.counts = _join(order[place], np.concatenate([self.counts, counts])[place])
        self.shift = wide
        self._narrow(MOST_BUCKETS)

    def _narrow(self, most: int) -> None:
        most = max(most, 2)  # one for each sign stay
        while len(self.keys) > most:
            least = (-(-len(self.keys) // most) - 1).bit_length()  # a shift by one leaves at least half of the keys
            self.shift += least
            self.keys, self.counts = _join(self.keys >> least, self.counts)

    def _add_hashed(self, hashed: np.ndarray) -> None:
        if len(hashed):
            self.hashed = hashed + self.hashed if len(self.hashed) else hashed

    def _add_values(self, found: Mapping[str, int]) -> None:
        held = self.values or {}
        for value, count in found.items():
            held[value] = held.get(value, 0) + count
        self.values = held if len(held) <= MOST_VALUES else None


def is_numeric(kind: pa.DataType) -> bool:
    """Whether values of a type are counted as numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_watched(kind: pa.DataType) -> bool:
    """Whether the distribution of a column of this type is counted."""
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind)
    return bool(is_numeric(kind) or texts)


def to_doubles(array: pa.Array) -> np.ndarray:
    """An array without nulls as doubles."""
    doubles: np.ndarray = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return doubles


def edges_of(keys: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest number of each bucket."""
    low = np.asarray(keys, dtype=np.int64) << shift
    return _numbers(low), _numbers(low | np.int64((1 << shift) - 1))


def _numbers(ordered: np.ndarray) -> np.ndarray:
    numbers = np.where(ordered < 0, ordered ^ _ORDER, ordered).view(np.float64)
    beyond = np.isnan(numbers)  # a bucket that holds an infinity reaches into the bits of NaN
    return np.where(beyond, np.where(ordered < 0, -np.inf, np.inf), numbers)


def _join(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted keys, each once, with their counts added."""
    if not len(keys):
        return keys, counts
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(counts, starts)
