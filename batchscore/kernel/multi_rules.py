"""Rules on several columns of a row, and which rows they leave out."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.kernel.arrays import Args, Verdict, as_numpy, decimal_scalar, find_in_set, is_text, to_bools, widen

Arrays = tuple[pa.Array, ...]
Find = Callable[[Arrays, Args], np.ndarray]
# `ignore_row_if`: whether a row is left out when all of its values are null, or when any is.
IGNORED: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray] | None] = {
    "both_values_are_missing": np.logical_and,
    "all_values_are_missing": np.logical_and,
    "either_value_is_missing": np.logical_or,
    "any_value_is_missing": np.logical_or,
    "neither": None,
    "never": None,
}


def _on_rows(find: Find) -> Callable[[Arrays, Args], Verdict]:
    """A rule that leaves out the rows of `ignore_row_if`."""

    def apply(arrays: Arrays, args: Args) -> Verdict:
        join = IGNORED[args["ignore_row_if"]]
        ignored = np.zeros(len(arrays[0]), dtype=bool)
        if join is not None:
            ignored = reduce(join, [to_bools(array.is_null()) for array in arrays])
        return find(arrays, args) & ~ignored, int(len(ignored) - ignored.sum())

    return apply


def _pair_values(left: pa.Array, right: pa.Array) -> tuple[Any, Any]:
    """Both sides as what numpy's comparisons take: doubles where one is a float; text and decimals as Arrow arrays."""
    if pa.types.is_decimal(left.type) or pa.types.is_decimal(right.type):
        return widen(left), widen(right)
    if is_text(left.type):
        return left, right
    return as_numpy(left), as_numpy(right)


def _find_not_greater(arrays: Arrays, args: Args) -> np.ndarray:
    left, right = arrays
    or_equal = bool(args.get("or_equal"))
    a, b = _pair_values(left, right)
    if isinstance(a, pa.Array):
        return to_bools(pc.less(a, b) if or_equal else pc.less_equal(a, b))
    passes = (a >= b) if or_equal else (a > b)
    passes |= np.isnan(a) if or_equal else np.isnan(a) & ~np.isnan(b)
    out: np.ndarray = ~passes & to_bools(left.is_valid()) & to_bools(right.is_valid())
    return out


def _find_unequal(left: pa.Array, right: pa.Array) -> np.ndarray:
    """Rows whose values differ; null equals null alone, as in Spark's `<=>`."""
    a, b = _pair_values(left, right)
    same = to_bools(pc.equal(a, b)) if isinstance(a, pa.Array) else (a == b) | (np.isnan(a) & np.isnan(b))
    nulls, others = to_bools(left.is_null()), to_bools(right.is_null())
    out: np.ndarray = (nulls != others) | (~same & ~nulls & ~others)
    return out


def _find_outside_pairs(arrays: Arrays, args: Args) -> np.ndarray:
    hits = np.zeros(len(arrays[0]), dtype=bool)
    for pair in args["pairs"]:
        same = [
            to_bools(array.is_null() if value is None else find_in_set(array, [value]))
            for array, value in zip(arrays, pair, strict=True)
        ]
        hits |= same[0] & same[1]
    return ~hits


def _find_any_equal(arrays: Arrays, _: Args) -> np.ndarray:
    pairs = [~_find_unequal(left, right) for left, right in combinations(arrays, 2)]
    return np.asarray(reduce(np.logical_or, pairs))


def _find_any_unequal(arrays: Arrays, _: Args) -> np.ndarray:
    return np.asarray(reduce(np.logical_or, [_find_unequal(arrays[0], other) for other in arrays[1:]]))


def _find_wrong_sums(arrays: Arrays, args: Args) -> np.ndarray:
    """Rows whose sum is another; null counts as zero, integers and decimals are added exactly."""
    whole = all(pa.types.is_integer(array.type) for array in arrays)
    exact = whole or all(pa.types.is_decimal(array.type) or pa.types.is_integer(array.type) for array in arrays)
    if exact and not whole:
        wide = [pc.fill_null(array.cast(pa.decimal256(60, 18)), 0) for array in arrays]
        return ~to_bools(pc.equal(reduce(pc.add, wide), decimal_scalar(args["total"])))
    numbers = [as_numpy(array) for array in arrays]
    if whole and sum(_reach(values) for values in numbers) >= 2**63:
        numbers = [values.astype(object) for values in numbers]
    elif not whole:
        numbers = [values.astype(np.float64) for values in numbers]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(reduce(np.add, numbers).astype(np.float64) != args["total"])


def _reach(values: np.ndarray) -> int:
    """The largest absolute value of integers."""
    return max(abs(int(values.max())), abs(int(values.min()))) if len(values) else 0


MULTI_KINDS: dict[str, Callable[[Arrays, Args], Verdict]] = {
    "pair_greater": _on_rows(_find_not_greater),
    "pair_equal": _on_rows(lambda arrays, _: _find_unequal(*arrays)),
    "pair_in_set": _on_rows(_find_outside_pairs),
    "all_equal": _on_rows(_find_any_unequal),
    "all_different": _on_rows(_find_any_equal),
    "sum_equal": _on_rows(_find_wrong_sums),
}
