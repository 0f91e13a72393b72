"""Row rules on Arrow arrays: each kind of rule says which rows fail, with Great Expectations' semantics on Spark.

Nulls: a rule on one column leaves nulls out, except `not_null` and `null`. A rule on a pair leaves out the rows that
its `ignore_row_if` names; of the rest, `pair_greater` lets a row with one null pass (its condition is null) and
`pair_equal` fails it (Spark's null-safe equality). NaN is greater than any number and equal to NaN; -0.0 equals 0.0.
Numbers meet bounds as doubles, except decimals, which are compared exactly.
Source: Great Expectations 1.24, expectations/metrics/column_map_metrics and column_pair_map_metrics (Spark engine).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.kernel.spec import RuleSpec

Args = Mapping[str, Any]
Verdict = tuple[np.ndarray, int]

DATE = pa.date32()
MICROS = "us"
DECIMAL_DIGITS = 38  # Spark's largest precision
LINE_END = r"(?:\r\n|[\n\r\x{85}\x{2028}\x{2029}])\z"  # what Java's `$` may stand before, at the end of the text


def evaluate(rule: RuleSpec, columns: Mapping[str, pa.Array]) -> Verdict:
    """Find the rows that fail a rule.

    Shapes: n rows in each column.

    Args:
        rule: The rule; its `kind` is a key of `KINDS`.
        columns: Column name to array [n]; must hold the rule's columns, of the types it was compiled for.

    Returns:
        ([n] bool, true where the row fails; the number of rows evaluated, as GX counts them).
    """
    return KINDS[rule.kind](tuple(_decode(columns[name]) for name in rule.columns), rule.args)


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
        return pc.is_in(_as_integers(array), value_set=pa.array(values, pa.int64()))
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


def _decode(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _fits(value: Decimal, kind: pa.DataType) -> bool:
    """Whether a column of this decimal type can hold the value exactly."""
    if not value:
        return True
    exponent = value.normalize().as_tuple().exponent
    return isinstance(exponent, int) and -exponent <= kind.scale and value.adjusted() < kind.precision - kind.scale


def _as_integers(array: pa.Array) -> pa.Array:
    """Dates as days since 1970, timestamps as microseconds since 1970."""
    if pa.types.is_date(array.type):
        return array.cast(DATE).cast(pa.int32()).cast(pa.int64())
    return array.cast(pa.timestamp(MICROS, array.type.tz), safe=False).cast(pa.int64())


def _as_numpy(array: pa.Array) -> np.ndarray:
    """Numbers, dates and timestamps as numpy; floats as doubles; nulls as zero."""
    if pa.types.is_temporal(array.type):
        array = _as_integers(array)
    elif pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    elif pa.types.is_floating(array.type):
        array = array.cast(pa.float64())
    if array.null_count:
        array = pc.fill_null(array, 0)
    out: np.ndarray = array.to_numpy()
    return out


def _find_outside(array: pa.Array, args: Args) -> np.ndarray:
    low, high = args.get("min"), args.get("max")
    under, over = args.get("strict_min", False), args.get("strict_max", False)
    if pa.types.is_decimal(array.type):
        array = _widen(array)
        low, high = (None if v is None else _decimal_scalar(v) for v in (low, high))
    elif not _is_text(array.type):
        values = _as_numpy(array)
        fails = np.zeros(len(values), dtype=bool)
        if low is not None:
            fails |= values <= low if under else values < low  # false for NaN: it is above any bound
        if high is not None:
            fails |= ~(values < high if over else values <= high)  # true for NaN
        return fails
    fails = np.zeros(len(array), dtype=bool)
    if low is not None:
        fails |= to_bools(pc.less_equal(array, low) if under else pc.less(array, low))
    if high is not None:
        fails |= to_bools(pc.greater_equal(array, high) if over else pc.greater(array, high))
    return fails


def _widen(array: pa.Array) -> pa.Array:
    """Decimals with room for a common scale; integers are left to Arrow."""
    if not pa.types.is_decimal(array.type):
        return array
    return array.cast(pa.decimal256(array.type.precision, array.type.scale))


def _decimal_scalar(value: Any) -> pa.Scalar:
    number = to_decimal(value)
    exponent = number.as_tuple().exponent
    scale = max(0, -exponent) if isinstance(exponent, int) else 0
    return pa.scalar(number, pa.decimal256(DECIMAL_DIGITS + scale, scale))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _find_unlike(array: pa.Array, args: Args) -> np.ndarray:
    """Rows without a match. `line_end`: the pattern ends in Java's `$`, which may stand before a last line break."""
    fails = ~to_bools(pc.match_substring_regex(array, args["regex"]))
    if args.get("line_end"):
        where = np.flatnonzero(fails)
        cut = pc.replace_substring_regex(array.take(pa.array(where)), LINE_END, "")
        fails[where] = ~to_bools(pc.match_substring_regex(cut, args["regex"]))
    return fails


def _lengths(array: pa.Array) -> pa.Array:
    return pc.utf8_length(array) if _is_text(array.type) else pc.binary_length(array)


def _on_values(find: Callable[[pa.Array, Args], np.ndarray]) -> Callable[[tuple[pa.Array, ...], Args], Verdict]:
    """A rule on one column that leaves nulls out; `find` may say anything about their rows."""

    def apply(arrays: tuple[pa.Array, ...], args: Args) -> Verdict:
        (array,) = arrays
        evaluated = len(array) - array.null_count
        if not evaluated:
            return np.zeros(len(array), dtype=bool), 0
        fails = find(array, args)
        if array.null_count:
            fails &= to_bools(array.is_valid())
        return fails, evaluated

    return apply


def _on_pair(find: Callable[[pa.Array, pa.Array, Args], np.ndarray]) -> Callable[[tuple[pa.Array, ...], Args], Verdict]:
    """A rule on two columns that leaves out the rows of `ignore_row_if`."""

    def apply(arrays: tuple[pa.Array, ...], args: Args) -> Verdict:
        left, right = arrays
        ignored = np.zeros(len(left), dtype=bool)
        ignore = args["ignore_row_if"]
        if ignore == "both_values_are_missing":
            ignored = to_bools(left.is_null()) & to_bools(right.is_null())
        elif ignore == "either_value_is_missing":
            ignored = to_bools(left.is_null()) | to_bools(right.is_null())
        return find(left, right, args) & ~ignored, int(len(left) - ignored.sum())

    return apply


def _pair_values(left: pa.Array, right: pa.Array) -> tuple[Any, Any]:
    """Both sides as what numpy's comparisons take: doubles where one is a float; text and decimals as Arrow arrays."""
    if pa.types.is_decimal(left.type) or pa.types.is_decimal(right.type):
        return _widen(left), _widen(right)
    if _is_text(left.type):
        return left, right
    return _as_numpy(left), _as_numpy(right)


def _find_not_greater(left: pa.Array, right: pa.Array, args: Args) -> np.ndarray:
    or_equal = bool(args.get("or_equal"))
    a, b = _pair_values(left, right)
    if isinstance(a, pa.Array):
        return to_bools(pc.less(a, b) if or_equal else pc.less_equal(a, b))
    passes = (a >= b) if or_equal else (a > b)
    passes |= np.isnan(a) if or_equal else np.isnan(a) & ~np.isnan(b)
    out: np.ndarray = ~passes & to_bools(left.is_valid()) & to_bools(right.is_valid())
    return out


def _find_unequal(left: pa.Array, right: pa.Array, _: Args) -> np.ndarray:
    a, b = _pair_values(left, right)
    same = to_bools(pc.equal(a, b)) if isinstance(a, pa.Array) else (a == b) | (np.isnan(a) & np.isnan(b))
    nulls, others = to_bools(left.is_null()), to_bools(right.is_null())
    out: np.ndarray = (nulls != others) | (~same & ~nulls & ~others)
    return out


def _find_nulls(arrays: tuple[pa.Array, ...], _: Args) -> Verdict:
    return to_bools(arrays[0].is_null()), len(arrays[0])


def _find_values(arrays: tuple[pa.Array, ...], _: Args) -> Verdict:
    return to_bools(arrays[0].is_valid()), len(arrays[0])


KINDS: dict[str, Callable[[tuple[pa.Array, ...], Args], Verdict]] = {
    "not_null": _find_nulls,
    "null": _find_values,
    "between": _on_values(_find_outside),
    "in_set": _on_values(lambda array, args: ~to_bools(find_in_set(array, args["values"]))),
    "not_in_set": _on_values(lambda array, args: to_bools(find_in_set(array, args["values"]))),
    "match_regex": _on_values(_find_unlike),
    "not_match_regex": _on_values(lambda array, args: ~_find_unlike(array, args)),
    "length_between": _on_values(lambda array, args: _find_outside(_lengths(array), args)),
    "length_equal": _on_values(lambda array, args: _as_numpy(_lengths(array)) != args["value"]),
    "pair_greater": _on_pair(_find_not_greater),
    "pair_equal": _on_pair(_find_unequal),
}
