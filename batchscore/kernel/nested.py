"""Array columns: the shape of each row's array, and the values of all rows in one run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True)
class Nested:
    """A column of arrays, taken apart.

    Attributes:
        leaf: [m] values of all rows, row after row, the last dimension fastest.
        rows: [m] the row that each value belongs to.
        shapes: [n, depth] sizes of each row's array; -1 throughout where it is null or not rectangular.
    """

    leaf: pa.Array
    rows: np.ndarray
    shapes: np.ndarray


def leaf_type(kind: pa.DataType) -> tuple[pa.DataType, int]:
    """The type of the values in a column, and how many arrays deep they lie; 0 for a plain column."""
    depth = 0
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind, depth = kind.value_type, depth + 1
    return kind, depth


def unnest(column: pa.Array) -> Nested:
    """Take a column of arrays apart; [n] arrays of one depth, nulls allowed at every level."""
    count, depth = len(column), leaf_type(column.type)[1]
    shapes = np.zeros((count, depth), dtype=np.int64)
    broken = np.zeros(count, dtype=bool)
    rows, level = np.arange(count), column
    for place in range(depth):
        if level.null_count:
            broken[rows[level.is_null().to_numpy(zero_copy_only=False)]] = True
        lengths = pc.fill_null(pc.list_value_length(level), 0).to_numpy(zero_copy_only=False)
        if place == 0:
            shapes[:, 0] = lengths
        elif len(lengths):
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            low, high = np.minimum.reduceat(lengths, starts), np.maximum.reduceat(lengths, starts)
            shapes[rows[starts], place] = high
            broken[rows[starts]] |= low != high
        rows, level = np.repeat(rows, lengths), level.flatten()
    shapes[broken] = -1
    return Nested(level, rows, shapes)


def replace_leaf(column: pa.Array, leaf: pa.Array) -> pa.Array:
    """The same arrays, null rows included, with other values: [m], in the order of `Nested.leaf`."""
    if leaf_type(column.type)[1] == 0:
        return leaf
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    mask = column.is_null() if column.null_count else None
    return pa.ListArray.from_arrays(offsets, replace_leaf(column.flatten(), leaf), mask=mask)


def fill_rows(column: pa.Array, value: Any, shape: Sequence[int]) -> pa.Array:
    """Put an array of a shape, with one value throughout, where a column of arrays is null."""
    for size in reversed(shape):
        value = [value] * size
    extended = pa.concat_arrays([column, pa.array([value], column.type)])
    places = np.where(column.is_null().to_numpy(zero_copy_only=False), len(column), np.arange(len(column)))
    return extended.take(pa.array(places))


def to_lists(values: pa.Array, rows: int, shape: Sequence[int]) -> pa.Array:
    """A column of arrays of one shape: [rows * product of shape] values to [rows] nested lists."""
    for place in reversed(range(len(shape))):
        count = rows * math.prod(shape[:place])
        values = pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * shape[place], pa.int32()), values)
    return values
