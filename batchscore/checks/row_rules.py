"""Expectations on single rows, turned into the kernel's rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from batchscore.checks.regex import translate_regex
from batchscore.checks.values import Unsupported, cast_bound, cast_set, is_number, is_text, to_plain

Kwargs = Mapping[str, Any]
Rule = tuple[str, dict[str, Any]]  # a kind of kernel rule, and its arguments
BOUNDS = frozenset({"min_value", "max_value", "strict_min", "strict_max"})
IGNORE_ROW_IF = ("both_values_are_missing", "either_value_is_missing", "neither")


def _between(kwargs: Kwargs, kinds: list[pa.DataType], time_zone: str) -> Rule:
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


def _in_set(kwargs: Kwargs, kinds: list[pa.DataType], time_zone: str) -> Rule:
    return "in_set", {"values": [to_plain(v) for v in cast_set(kwargs.get("value_set"), kinds[0], time_zone)]}


def _not_in_set(kwargs: Kwargs, kinds: list[pa.DataType], time_zone: str) -> Rule:
    return "not_in_set", _in_set(kwargs, kinds, time_zone)[1]


def _regex_args(kwargs: Kwargs, kind: pa.DataType) -> dict[str, Any]:
    if not is_text(kind) or not isinstance(kwargs.get("regex"), str):
        raise Unsupported("it has no regex, or its column is no text")
    pattern, line_end = translate_regex(kwargs["regex"])
    return {"regex": pattern, "line_end": line_end}


def _lengths_between(kwargs: Kwargs, kinds: list[pa.DataType], _: str) -> Rule:
    bounds = [kwargs.get(name) for name in ("min_value", "max_value")]
    _expect_lengths(kinds[0], bounds)
    return "length_between", bound_args(kwargs, *bounds)


def _lengths_equal(kwargs: Kwargs, kinds: list[pa.DataType], _: str) -> Rule:
    _expect_lengths(kinds[0], [kwargs.get("value", "")])
    return "length_equal", {"value": kwargs["value"]}


def _expect_lengths(kind: pa.DataType, values: list[Any]) -> None:
    if not (is_text(kind) or pa.types.is_binary(kind)):
        raise Unsupported(f"it measures a column of type {kind} as text")
    if not all(v is None or (isinstance(v, int) and not isinstance(v, bool)) for v in values):
        raise Unsupported("a length is not a whole number")


def _pair_greater(kwargs: Kwargs, kinds: list[pa.DataType], _: str) -> Rule:
    or_equal = kwargs.get("or_equal", False)
    if not isinstance(or_equal, bool):
        raise Unsupported("or_equal is not true or false")
    return "pair_greater", {"or_equal": or_equal, **_pair_args(kwargs, kinds)}


def _pair_args(kwargs: Kwargs, kinds: list[pa.DataType]) -> dict[str, Any]:
    ignore = kwargs.get("ignore_row_if", IGNORE_ROW_IF[0])
    if ignore not in IGNORE_ROW_IF:
        raise Unsupported("ignore_row_if is unknown")
    if not _comparable(*kinds):
        raise Unsupported(f"it compares columns of types {kinds[0]} and {kinds[1]}")
    return {"ignore_row_if": ignore}


def _comparable(left: pa.DataType, right: pa.DataType) -> bool:
    if is_number(left) and is_number(right):
        decimals = pa.types.is_decimal(left) or pa.types.is_decimal(right)
        return not (decimals and (pa.types.is_floating(left) or pa.types.is_floating(right)))
    if pa.types.is_timestamp(left) and pa.types.is_timestamp(right):
        return (left.tz is None) == (right.tz is None)
    same = (is_text, pa.types.is_date, pa.types.is_boolean)
    return any(check(left) and check(right) for check in same)


Builder = Callable[[Kwargs, list[pa.DataType], str], Rule]
ONE = ("column",)
PAIR = ("column_A", "column_B")

# GX type: which arguments name its columns, which others it may have, and what makes the rule.
ROW_RULES: dict[str, tuple[tuple[str, ...], frozenset[str], Builder]] = {
    "expect_column_values_to_not_be_null": (ONE, frozenset(), lambda *_: ("not_null", {})),
    "expect_column_values_to_be_null": (ONE, frozenset(), lambda *_: ("null", {})),
    "expect_column_values_to_be_between": (ONE, BOUNDS, _between),
    "expect_column_values_to_be_in_set": (ONE, frozenset({"value_set"}), _in_set),
    "expect_column_values_to_not_be_in_set": (ONE, frozenset({"value_set"}), _not_in_set),
    "expect_column_values_to_match_regex": (
        ONE,
        frozenset({"regex"}),
        lambda kwargs, kinds, _: ("match_regex", _regex_args(kwargs, kinds[0])),
    ),
    "expect_column_values_to_not_match_regex": (
        ONE,
        frozenset({"regex"}),
        lambda kwargs, kinds, _: ("not_match_regex", _regex_args(kwargs, kinds[0])),
    ),
    "expect_column_value_lengths_to_be_between": (ONE, BOUNDS, _lengths_between),
    "expect_column_value_lengths_to_equal": (ONE, frozenset({"value"}), _lengths_equal),
    "expect_column_pair_values_a_to_be_greater_than_b": (
        PAIR,
        frozenset({"or_equal", "ignore_row_if"}),
        _pair_greater,
    ),
    "expect_column_pair_values_to_be_equal": (
        PAIR,
        frozenset({"ignore_row_if"}),
        lambda kwargs, kinds, _: ("pair_equal", _pair_args(kwargs, kinds)),
    ),
}
