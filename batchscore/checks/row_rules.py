"""Expectations on single rows, turned into the kernel's rules.

Source: great_expectations 1.24, expectations/core and expectations/metrics/*_map_metrics (Spark engine).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from batchscore.checks.names import MANY, ONE, PAIR
from batchscore.checks.text_rules import json_args, like_args, regex_args, regex_list_args, strftime_args
from batchscore.checks.values import Unsupported, cast_bound, cast_set, is_number, is_plain_number, is_text, to_plain

Kwargs = Mapping[str, Any]
Kinds = list[pa.DataType]
Rule = tuple[str, dict[str, Any]]  # a kind of kernel rule, and its arguments
BOUNDS = frozenset({"min_value", "max_value", "strict_min", "strict_max"})
IGNORE_PAIR = ("both_values_are_missing", "either_value_is_missing", "neither")
IGNORE_MANY = ("all_values_are_missing", "any_value_is_missing", "never")


def _between(kwargs: Kwargs, kinds: Kinds, time_zone: str) -> Rule:
    low, high = (cast_bound(kwargs.get(name), kinds[0], time_zone) for name in ("min_value", "max_value"))
    if low is not None and high is not None and low > high:
        raise Unsupported("min_value is above max_value")
    return "between", bound_args(kwargs, to_plain(low), to_plain(high))


def bound_args(kwargs: Kwargs, low: Any, high: Any) -> dict[str, Any]:
    """Bounds as a rule's arguments.

    Raises:
        Unsupported: There is no bound, or strictness is not a boolean.
    """
    strict = {name: kwargs.get(name, False) for name in ("strict_min", "strict_max")}
    if low is None and high is None:
        raise Unsupported("it has neither min_value nor max_value")
    if not all(isinstance(value, bool) for value in strict.values()):
        raise Unsupported("strict_min or strict_max is not true or false")
    return {"min": low, "max": high, **strict}


def ignored_rows(kwargs: Kwargs, default: str) -> str:
    """Which rows a rule on several columns leaves out.

    Raises:
        Unsupported: `ignore_row_if` is unknown.
    """
    ignore = kwargs.get("ignore_row_if", default)
    if ignore not in (IGNORE_PAIR if default in IGNORE_PAIR else IGNORE_MANY):
        raise Unsupported("ignore_row_if is unknown")
    return str(ignore)


def _in_set(kwargs: Kwargs, kinds: Kinds, time_zone: str) -> Rule:
    return "in_set", {"values": [to_plain(v) for v in cast_set(kwargs.get("value_set"), kinds[0], time_zone)]}


def _not_in_set(kwargs: Kwargs, kinds: Kinds, time_zone: str) -> Rule:
    return "not_in_set", _in_set(kwargs, kinds, time_zone)[1]


def _lengths_between(kwargs: Kwargs, kinds: Kinds, _: str) -> Rule:
    limits = [kwargs.get(name) for name in ("min_value", "max_value")]
    _expect_lengths(kinds[0], limits)
    return "length_between", bound_args(kwargs, *limits)


def _lengths_equal(kwargs: Kwargs, kinds: Kinds, _: str) -> Rule:
    _expect_lengths(kinds[0], [kwargs.get("value", "")])
    return "length_equal", {"value": kwargs["value"]}


def _expect_lengths(kind: pa.DataType, values: list[Any]) -> None:
    if not (is_text(kind) or pa.types.is_binary(kind)):
        raise Unsupported(f"it measures a column of type {kind} as text")
    if not all(v is None or (isinstance(v, int) and not isinstance(v, bool)) for v in values):
        raise Unsupported("a length is not a whole number")


def _pair_greater(kwargs: Kwargs, kinds: Kinds, _: str) -> Rule:
    or_equal = kwargs.get("or_equal", False)
    if not isinstance(or_equal, bool):
        raise Unsupported("or_equal is not true or false")
    return "pair_greater", {"or_equal": or_equal, **_compared(kwargs, kinds, IGNORE_PAIR[0])}


def _pair_equal(kwargs: Kwargs, kinds: Kinds, _: str) -> Rule:
    return "pair_equal", _compared(kwargs, kinds, IGNORE_PAIR[0])


def _pair_in_set(kwargs: Kwargs, kinds: Kinds, time_zone: str) -> Rule:
    pairs = kwargs.get("value_pairs_set")
    if not isinstance(pairs, list) or not pairs or not all(isinstance(p, list) and len(p) == 2 for p in pairs):
        raise Unsupported("value_pairs_set is not a list of pairs")
    cast = [
        [
            None if v is None else to_plain(cast_set([v], kind, time_zone)[0])
            for v, kind in zip(pair, kinds, strict=True)
        ]
        for pair in pairs
    ]
    return "pair_in_set", {"pairs": cast, "ignore_row_if": ignored_rows(kwargs, IGNORE_PAIR[0])}


def _cast(value: Any, kind: pa.DataType, time_zone: str) -> Any:
    return None if value is None else to_plain(cast_set([value], kind, time_zone)[0])


def _all_equal(kwargs: Kwargs, kinds: Kinds, _: str) -> Rule:
    return "all_equal", _compared(kwargs, kinds, IGNORE_MANY[0])


def _all_different(kwargs: Kwargs, kinds: Kinds, _: str) -> Rule:
    return "all_different", _compared(kwargs, kinds, IGNORE_MANY[0])


def _sum_equal(kwargs: Kwargs, kinds: Kinds, _: str) -> Rule:
    total: Any = kwargs.get("sum_total")
    if not is_plain_number(total) or not all(is_number(kind) for kind in kinds):
        raise Unsupported("sum_total or a column is not a number")
    if any(pa.types.is_float32(kind) or pa.types.is_float16(kind) for kind in kinds):
        raise Unsupported("it adds floats of single precision")
    wide = [kind for kind in kinds if pa.types.is_decimal(kind)]
    if wide and (len(wide) < len(kinds) or any(kind.precision + len(kinds) > 38 or kind.scale > 18 for kind in wide)):
        raise Unsupported("it adds decimals to other numbers, or decimals without room for their sum")
    return "sum_equal", {"total": float(total), "ignore_row_if": ignored_rows(kwargs, IGNORE_MANY[0])}


def _compared(kwargs: Kwargs, kinds: Kinds, default: str) -> dict[str, Any]:
    """The arguments of a rule that compares columns with each other."""
    ignore = ignored_rows(kwargs, default)
    if len(kinds) < 2:
        raise Unsupported("it compares fewer than two columns")
    for i, left in enumerate(kinds):
        for right in kinds[i + 1 :]:
            if not _comparable(left, right):
                raise Unsupported(f"it compares columns of types {left} and {right}")
    return {"ignore_row_if": ignore}


def _comparable(left: pa.DataType, right: pa.DataType) -> bool:
    if is_number(left) and is_number(right):
        decimals = pa.types.is_decimal(left) or pa.types.is_decimal(right)
        return not (decimals and (pa.types.is_floating(left) or pa.types.is_floating(right)))
    if pa.types.is_timestamp(left) and pa.types.is_timestamp(right):
        return (left.tz is None) == (right.tz is None)
    same = (is_text, pa.types.is_date, pa.types.is_boolean)
    return any(check(left) and check(right) for check in same)


def _nothing(kind: str) -> Builder:
    return lambda *_: (kind, {})


Builder = Callable[[Kwargs, Kinds, str], Rule]
LIST = (MANY,)
REGEX, REGEXES = frozenset({"regex"}), frozenset({"regex_list", "match_on"})
LIKE, LIKES = frozenset({"like_pattern", "escape"}), frozenset({"like_pattern_list", "match_on", "escape"})
IGNORE = frozenset({"ignore_row_if"})

# GX type: which arguments name its columns, which others it may have, and what makes the rule.
ROW_RULES: dict[str, tuple[tuple[str, ...], frozenset[str], Builder]] = {
    "expect_column_values_to_not_be_null": (ONE, frozenset(), _nothing("not_null")),
    "expect_column_values_to_be_null": (ONE, frozenset(), _nothing("null")),
    "expect_column_values_to_be_between": (ONE, BOUNDS, _between),
    "expect_column_values_to_be_in_set": (ONE, frozenset({"value_set"}), _in_set),
    "expect_column_values_to_not_be_in_set": (ONE, frozenset({"value_set"}), _not_in_set),
    "expect_column_values_to_match_regex": (ONE, REGEX, regex_args("match_regex")),
    "expect_column_values_to_not_match_regex": (ONE, REGEX, regex_args("not_match_regex")),
    "expect_column_values_to_match_regex_list": (ONE, REGEXES, regex_list_args("any")),
    "expect_column_values_to_not_match_regex_list": (ONE, frozenset({"regex_list"}), regex_list_args("none")),
    "expect_column_values_to_match_like_pattern": (ONE, LIKE, like_args("any")),
    "expect_column_values_to_not_match_like_pattern": (ONE, LIKE, like_args("none")),
    "expect_column_values_to_match_like_pattern_list": (ONE, LIKES, like_args("any")),
    "expect_column_values_to_not_match_like_pattern_list": (ONE, LIKES, like_args("none")),
    "expect_column_values_to_be_json_parseable": (ONE, frozenset(), json_args),
    "expect_column_values_to_match_strftime_format": (ONE, frozenset({"strftime_format"}), strftime_args),
    "expect_column_value_lengths_to_be_between": (ONE, BOUNDS, _lengths_between),
    "expect_column_value_lengths_to_equal": (ONE, frozenset({"value"}), _lengths_equal),
    "expect_column_pair_values_a_to_be_greater_than_b": (PAIR, IGNORE | {"or_equal"}, _pair_greater),
    "expect_column_pair_values_to_be_equal": (PAIR, IGNORE, _pair_equal),
    "expect_column_pair_values_to_be_in_set": (PAIR, IGNORE | {"value_pairs_set"}, _pair_in_set),
    "expect_multicolumn_values_to_be_equal": (LIST, IGNORE, _all_equal),
    "expect_multicolumn_sum_to_equal": (LIST, IGNORE | {"sum_total"}, _sum_equal),
    "expect_select_column_values_to_be_unique_within_record": (LIST, IGNORE, _all_different),
}
