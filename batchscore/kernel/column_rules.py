"""Rules on the values of one column: nulls are left out, except where the rule is about them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.kernel.arrays import Args, Verdict, as_numpy, decimal_scalar, find_in_set, is_text, to_bools, widen

LINE_END = r"(?:\r\n|[\n\r\x{85}\x{2028}\x{2029}])\z"  # what Java's `$` may stand before, at the end of the text


def _find_outside(array: pa.Array, args: Args) -> np.ndarray:
    low, high = args.get("min"), args.get("max")
    under, over = args.get("strict_min", False), args.get("strict_max", False)
    if pa.types.is_decimal(array.type):
        array = widen(array)
        low, high = (None if v is None else decimal_scalar(v) for v in (low, high))
    elif not is_text(array.type):
        values = as_numpy(array)
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


def _find_unlike(array: pa.Array, args: Args) -> np.ndarray:
    """Rows without a match. `line_end`: the pattern ends in Java's `$`, which may stand before a last line break."""
    fails = ~to_bools(pc.match_substring_regex(array, args["regex"]))
    if args.get("line_end"):
        where = np.flatnonzero(fails)
        cut = pc.replace_substring_regex(array.take(pa.array(where)), LINE_END, "")
        fails[where] = ~to_bools(pc.match_substring_regex(cut, args["regex"]))
    return fails


def _lengths(array: pa.Array) -> pa.Array:
    return pc.utf8_length(array) if is_text(array.type) else pc.binary_length(array)


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


def _find_nulls(arrays: tuple[pa.Array, ...], _: Args) -> Verdict:
    return to_bools(arrays[0].is_null()), len(arrays[0])


def _find_values(arrays: tuple[pa.Array, ...], _: Args) -> Verdict:
    return to_bools(arrays[0].is_valid()), len(arrays[0])


def _find_unlike_lists(array: pa.Array, args: Args) -> np.ndarray:
    """Rows that any of several patterns does not match (`all`), or rows that any of them matches (`none`)."""
    fails = np.zeros(len(array), dtype=bool)
    for pattern in args["patterns"]:
        unlike = _find_unlike(array, pattern)
        fails |= ~unlike if args["match_on"] == "none" else unlike
    return fails


def _find_like(array: pa.Array, args: Args) -> np.ndarray:
    """Rows that match as many of the SQL patterns as `match_on` asks for: any, all or none of them."""
    hits = [to_bools(pc.match_like(array, pattern)) for pattern in args["patterns"]]
    if args["match_on"] == "none":
        return np.asarray(np.any(hits, axis=0))
    return np.asarray(~(np.all if args["match_on"] == "all" else np.any)(hits, axis=0))


def _find_unparsable(parses: Callable[[str, Args], bool]) -> Callable[[pa.Array, Args], np.ndarray]:
    """Rows whose text does not parse; each different text is tried once."""

    def find(array: pa.Array, args: Args) -> np.ndarray:
        coded = array.dictionary_encode()
        good = np.array([value is not None and parses(value, args) for value in coded.dictionary.to_pylist()], bool)
        index = pc.fill_null(coded.indices, 0).to_numpy()
        return ~good[index] if len(good) else np.zeros(len(array), dtype=bool)

    return find


def _is_json(text: str, _: Args) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_time(text: str, args: Args) -> bool:
    try:
        dt.datetime.strptime(text, args["format"])
    except ValueError:
        return False
    return True


def _find_false(arrays: tuple[pa.Array, ...], _: Args) -> Verdict:
    """A verdict that Spark gave: false fails, null was not evaluated."""
    (passes,) = arrays
    return to_bools(pc.invert(passes)), len(passes) - passes.null_count


COLUMN_KINDS: dict[str, Callable[[tuple[pa.Array, ...], Args], Verdict]] = {
    "not_null": _find_nulls,
    "null": _find_values,
    "between": _on_values(_find_outside),
    "in_set": _on_values(lambda array, args: ~to_bools(find_in_set(array, args["values"]))),
    "not_in_set": _on_values(lambda array, args: to_bools(find_in_set(array, args["values"]))),
    "match_regex": _on_values(_find_unlike),
    "not_match_regex": _on_values(lambda array, args: ~_find_unlike(array, args)),
    "match_regexes": _on_values(_find_unlike_lists),
    "match_like": _on_values(_find_like),
    "length_between": _on_values(lambda array, args: _find_outside(_lengths(array), args)),
    "length_equal": _on_values(lambda array, args: as_numpy(_lengths(array)) != args["value"]),
    "json": _on_values(_find_unparsable(_is_json)),
    "strftime": _on_values(_find_unparsable(_is_time)),
    "passes": _find_false,
}
