"""Row rules on typed arrays: which rows fail, and how many were evaluated."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batchscore.kernel.rules import KINDS, evaluate
from batchscore.kernel.spec import RuleSpec

NAN, INF = float("nan"), float("inf")
UTC = pa.timestamp("us", "UTC")


def rule(kind: str, columns: tuple[str, ...], args: dict[str, Any]) -> RuleSpec:
    return RuleSpec(
        rule="input[0]",
        fingerprint="",
        expectation="",
        place="input",
        kind=kind,
        columns=columns,
        severity="critical",
        on_row_fail="quarantine",
        args=args,
    )


def day(text: str) -> int:
    return (dt.date.fromisoformat(text) - dt.date(1970, 1, 1)).days


def micros(text: str) -> int:
    return int((dt.datetime.fromisoformat(text) - dt.datetime(1970, 1, 1)) / dt.timedelta(microseconds=1))


def dates(*texts: str | None) -> list[dt.date | None]:
    return [None if t is None else dt.date.fromisoformat(t) for t in texts]


def times(*texts: str | None) -> list[dt.datetime | None]:
    return [None if t is None else dt.datetime.fromisoformat(t) for t in texts]


D = Decimal
A, B = ({"regex": letter, "line_end": False} for letter in "ab")
ONE_COLUMN = [
    # kind, type, values, args, rows that fail, rows evaluated
    ("not_null", pa.int64(), [1, None, 3], {}, [1], 3),
    ("not_null", pa.float64(), [NAN, None], {}, [1], 2),
    ("not_null", pa.null(), [None, None], {}, [0, 1], 2),
    ("null", pa.string(), ["", None], {}, [0], 2),
    ("null", pa.float32(), [NAN, None], {}, [0], 2),
    ("between", pa.int64(), [0, 1, 2, 3, None], {"min": 1.0, "max": 2.0}, [0, 3], 4),
    ("between", pa.int64(), [1, 2, 3], {"min": 1.0, "max": 3.0, "strict_min": True, "strict_max": True}, [0, 2], 3),
    ("between", pa.int64(), [2**53 + 1], {"min": None, "max": float(2**53)}, [], 1),  # as doubles, like GX
    ("between", pa.int8(), [-128, 127], {"min": 0.5, "max": None}, [0], 2),
    ("between", pa.float64(), [NAN, INF, -INF, 0.5], {"min": 0.0, "max": 1.0}, [0, 1, 2], 4),
    ("between", pa.float64(), [NAN, 0.0], {"min": 0.0, "max": None}, [], 2),  # NaN is above any bound
    ("between", pa.float64(), [NAN, 2.0], {"min": None, "max": 1.0}, [0, 1], 2),
    ("between", pa.float64(), [-0.0, 0.0], {"min": 0.0, "max": 0.0}, [], 2),
    ("between", pa.float64(), [-0.0], {"min": 0.0, "max": None, "strict_min": True}, [0], 1),
    ("between", pa.float32(), [0.1, 0.5], {"min": None, "max": 0.1}, [0, 1], 2),  # 0.1 as float is above 0.1 as double
    ("between", pa.decimal128(10, 2), [D("0.10"), D("0.30"), None], {"min": 0.1, "max": 0.3}, [], 2),
    ("between", pa.decimal128(38, 10), [D("0.3"), D("0.3000000001")], {"min": None, "max": 0.3}, [1], 2),
    ("between", pa.decimal128(38, 0), [D(10) ** 37, D(5)], {"min": 1e-20, "max": 1e30}, [0], 2),
    ("between", pa.string(), ["", "B", "é", "z", None], {"min": "A", "max": "z"}, [0, 2], 4),  # bytes decide
    ("between", pa.string(), ["a", "b"], {"min": "a", "max": "b", "strict_min": True, "strict_max": True}, [0, 1], 2),
    ("between", pa.date32(), dates("2013-01-01", "2013-12-31", None), {"min": day("2013-01-02"), "max": None}, [0], 2),
    (
        "between",
        UTC,
        times("2013-01-01T00:00:00", "2013-01-01T00:00:00.000001", None),
        {"min": None, "max": micros("2013-01-01T00:00:00")},
        [1],
        2,
    ),
    ("between", pa.timestamp("ns"), times("2013-01-01T00:00:01"), {"min": micros("2013-01-01"), "max": None}, [], 1),
    ("between", pa.float64(), [], {"min": 0.0, "max": 1.0}, [], 0),
    ("between", pa.null(), [None], {"min": 0.0, "max": 1.0}, [], 0),
    ("in_set", pa.int32(), [1, 2, None], {"values": [1, 2**40]}, [1], 2),
    ("in_set", pa.int64(), [1, 2], {"values": [1.0, 2.5]}, [1], 2),
    ("in_set", pa.int64(), [2**53 + 1], {"values": [2**53]}, [0], 1),  # whole numbers stay whole
    ("in_set", pa.float64(), [-0.0, NAN, 1.5, None], {"values": [0, 1.5]}, [1], 3),
    ("in_set", pa.float32(), [0.1, 0.5], {"values": [0.1, 0.5]}, [0], 2),
    ("in_set", pa.decimal128(4, 2), [D("0.30"), D("0.31"), D("0")], {"values": [0.3, 0.001, 12345, 0]}, [1], 3),
    ("in_set", pa.decimal128(2, 2), [D("0.00")], {"values": [0]}, [], 1),
    ("in_set", pa.string(), ["a", "", "Ä", None], {"values": ["", "Ä"]}, [0], 3),
    ("in_set", pa.bool_(), [True, False, None], {"values": [True]}, [1], 2),
    ("in_set", pa.date32(), dates("2013-01-01", "2013-01-02"), {"values": [day("2013-01-02")]}, [0], 2),
    ("in_set", UTC, times("2013-01-01T00:00:00", None), {"values": [micros("2013-01-01")]}, [], 1),
    ("in_set", pa.string(), ["a"], {"values": []}, [0], 1),
    ("not_in_set", pa.string(), ["a", "b", None], {"values": ["a"]}, [0], 2),
    ("not_in_set", pa.float64(), [0.0, -0.0, NAN], {"values": [0.0]}, [0, 1], 3),
    ("match_regex", pa.string(), ["ab", "xaby", "", None], {"regex": "^ab"}, [1, 2], 3),
    (
        "match_regex",
        pa.string(),
        ["a\n", "a\r\n", "a\u2028", "a\nb", "a"],
        {"regex": r"^a\z", "line_end": True},
        [3],
        5,
    ),
    ("match_regex", pa.string(), ["a\n\n"], {"regex": r"^a\z", "line_end": True}, [0], 1),
    ("match_regex", pa.large_string(), ["日本"], {"regex": "^..$"}, [], 1),
    ("not_match_regex", pa.string(), ["ab", "b", None], {"regex": "a"}, [0], 2),
    ("not_match_regex", pa.string(), ["a\n"], {"regex": r"a\z", "line_end": True}, [0], 1),
    ("length_between", pa.string(), ["", "é", "日本", "abc", None], {"min": 1, "max": 2}, [0, 3], 4),
    ("length_between", pa.string(), ["🙂"], {"min": 1, "max": 1}, [], 1),  # characters, not bytes
    ("length_between", pa.string(), ["ab"], {"min": 2, "max": None, "strict_min": True}, [0], 1),
    ("length_between", pa.binary(), [b"\xff\xfe"], {"min": 2, "max": 2}, [], 1),
    ("length_equal", pa.string(), ["ab", "a", None], {"value": 2}, [1], 2),
    ("match_regexes", pa.string(), ["ab", "a", "b", None], {"patterns": [A, B], "match_on": "all"}, [1, 2], 3),
    ("match_regexes", pa.string(), ["ab", "a", "c", None], {"patterns": [A, B], "match_on": "none"}, [0, 1], 3),
    ("match_like", pa.string(), ["ab", "b", None], {"patterns": ["a%"], "match_on": "any"}, [1], 2),
    ("match_like", pa.string(), ["ab", "a_", "a%"], {"patterns": ["a%", "%b"], "match_on": "all"}, [1, 2], 3),
    ("match_like", pa.string(), ["ab", "c", "a_"], {"patterns": [r"a\_", "c"], "match_on": "none"}, [1, 2], 3),
    ("match_like", pa.string(), ["a\nb"], {"patterns": ["a%b"], "match_on": "any"}, [], 1),
    ("json", pa.string(), ["{}", "{'a': 1}", "", "1", None], {}, [1, 2], 4),
    ("json", pa.string(), ["[" * 100_000], {}, [0], 1),
    ("json", pa.string(), [None, None], {}, [], 0),
    ("strftime", pa.string(), ["2013-10-01", "2013-02-30", "x", None], {"format": "%Y-%m-%d"}, [1, 2], 3),
    ("passes", pa.bool_(), [True, False, None], {}, [1], 2),
]


@pytest.mark.parametrize(("kind", "type_", "values", "args", "fails", "evaluated"), ONE_COLUMN)
def test_one_column(
    kind: str, type_: pa.DataType, values: list[Any], args: dict[str, Any], fails: list[int], evaluated: int
) -> None:
    array = pa.array(values, type_)
    found, count = evaluate(rule(kind, ("x",), args), {"x": array})
    assert found.dtype == bool
    assert found.shape == (len(values),)
    assert (np.flatnonzero(found).tolist(), count) == (fails, evaluated)


@pytest.mark.parametrize(("kind", "type_", "values", "args", "fails", "evaluated"), ONE_COLUMN)
def test_a_slice_gives_the_same(
    kind: str, type_: pa.DataType, values: list[Any], args: dict[str, Any], fails: list[int], evaluated: int
) -> None:
    """Arrow slices share buffers and start in the middle of their bitmaps."""
    array = pa.array([None, *values, None], type_).slice(1, len(values))
    found, count = evaluate(rule(kind, ("x",), args), {"x": array})
    assert (np.flatnonzero(found).tolist(), count) == (fails, evaluated)


BOTH, EITHER, NEITHER = "both_values_are_missing", "either_value_is_missing", "neither"
PAIRS = [
    # kind, left type, left, right type, right, args, fails, evaluated
    ("pair_greater", pa.int64(), [2, 1, 1], pa.int64(), [1, 1, 2], {"ignore_row_if": BOTH}, [1, 2], 3),
    ("pair_greater", pa.int64(), [2, 1, 1], pa.int64(), [1, 1, 2], {"ignore_row_if": BOTH, "or_equal": True}, [2], 3),
    ("pair_greater", pa.int64(), [None, 1, None], pa.int64(), [1, None, None], {"ignore_row_if": BOTH}, [], 2),
    ("pair_greater", pa.int64(), [None, 1, None], pa.int64(), [1, None, None], {"ignore_row_if": EITHER}, [], 0),
    ("pair_greater", pa.int64(), [None, 0], pa.int64(), [None, 1], {"ignore_row_if": NEITHER}, [1], 2),
    ("pair_greater", pa.int64(), [1], pa.float64(), [0.5], {"ignore_row_if": BOTH}, [], 1),
    ("pair_greater", pa.float64(), [NAN, NAN, 1.0], pa.float64(), [1.0, NAN, NAN], {"ignore_row_if": BOTH}, [1, 2], 3),
    (
        "pair_greater",
        pa.float64(),
        [NAN, NAN, 1.0],
        pa.float64(),
        [1.0, NAN, NAN],
        {"ignore_row_if": BOTH, "or_equal": True},
        [2],
        3,
    ),
    ("pair_greater", pa.float64(), [0.0], pa.float64(), [-0.0], {"ignore_row_if": BOTH}, [0], 1),
    ("pair_greater", pa.string(), ["b", "", None], pa.string(), ["a", "a", "a"], {"ignore_row_if": BOTH}, [1], 3),
    (
        "pair_greater",
        pa.decimal128(5, 2),
        [D("1.10")],
        pa.decimal128(38, 30),
        [D("1.1")],
        {"ignore_row_if": BOTH},
        [0],
        1,
    ),
    ("pair_greater", pa.decimal128(5, 2), [D("1.10")], pa.int64(), [1], {"ignore_row_if": BOTH}, [], 1),
    (
        "pair_greater",
        pa.date32(),
        dates("2013-01-02"),
        pa.date32(),
        dates("2013-01-01"),
        {"ignore_row_if": BOTH},
        [],
        1,
    ),
    ("pair_greater", UTC, times("2013-01-01"), UTC, times("2013-01-01"), {"ignore_row_if": BOTH}, [0], 1),
    ("pair_greater", pa.bool_(), [True, False], pa.bool_(), [False, True], {"ignore_row_if": BOTH}, [1], 2),
    ("pair_equal", pa.int64(), [1, 1, None, None], pa.int64(), [1, 2, 1, None], {"ignore_row_if": BOTH}, [1, 2], 3),
    ("pair_equal", pa.int64(), [1, None], pa.int64(), [2, 1], {"ignore_row_if": EITHER}, [0], 1),
    ("pair_equal", pa.int64(), [None, None], pa.int64(), [None, 1], {"ignore_row_if": NEITHER}, [1], 2),
    ("pair_equal", pa.float64(), [NAN, -0.0], pa.float64(), [NAN, 0.0], {"ignore_row_if": BOTH}, [], 2),
    ("pair_equal", pa.string(), ["a", None], pa.string(), ["b", "b"], {"ignore_row_if": BOTH}, [0, 1], 2),
    ("pair_equal", pa.decimal128(5, 2), [D("1.10")], pa.decimal128(5, 1), [D("1.1")], {"ignore_row_if": BOTH}, [], 1),
    ("pair_equal", pa.int64(), [], pa.int64(), [], {"ignore_row_if": BOTH}, [], 0),
]


@pytest.mark.parametrize(("kind", "left_type", "left", "right_type", "right", "args", "fails", "evaluated"), PAIRS)
def test_pairs(
    kind: str,
    left_type: pa.DataType,
    left: list[Any],
    right_type: pa.DataType,
    right: list[Any],
    args: dict[str, Any],
    fails: list[int],
    evaluated: int,
) -> None:
    columns = {"a": pa.array(left, left_type), "b": pa.array(right, right_type)}
    found, count = evaluate(rule(kind, ("a", "b"), args), columns)
    assert (np.flatnonzero(found).tolist(), count) == (fails, evaluated)


ALL, ANY, NEVER = "all_values_are_missing", "any_value_is_missing", "never"
DEC = pa.decimal128(10, 2)
SEVERAL = [
    # kind, types, columns, args, fails, evaluated
    (
        "pair_in_set",
        [pa.int64(), pa.string()],
        [[1, 1, None, None], ["a", "b", "a", None]],
        {"pairs": [[1, "a"], [None, "a"]], "ignore_row_if": BOTH},
        [1],
        3,
    ),
    (
        "pair_in_set",
        [DEC, pa.float64()],
        [[D("0.10"), D("0.20")], [NAN, 0.5]],
        {"pairs": [[0.1, 0.5], [0.2, 0.5]], "ignore_row_if": BOTH},
        [0],
        2,
    ),
    (
        "all_equal",
        [pa.int64()] * 3,
        [[1, 1, None, None], [1, 2, None, None], [1, 1, 1, None]],
        {"ignore_row_if": ALL},
        [1, 2],
        3,
    ),
    ("all_equal", [pa.int64()] * 2, [[1, None], [1, 2]], {"ignore_row_if": ANY}, [], 1),
    ("all_equal", [pa.int64()] * 2, [[None], [None]], {"ignore_row_if": NEVER}, [], 1),
    ("all_different", [pa.int64()] * 3, [[1, 1, None], [2, 2, None], [3, 1, 5]], {"ignore_row_if": ALL}, [1, 2], 3),
    ("all_different", [pa.float64()] * 2, [[NAN, 0.0], [NAN, -0.0]], {"ignore_row_if": ALL}, [0, 1], 2),
    ("sum_equal", [pa.int64()] * 2, [[1, 2, None], [1, None, None]], {"total": 2.0, "ignore_row_if": ALL}, [], 2),
    ("sum_equal", [pa.int64()] * 2, [[2**63 - 1, 1], [2**63 - 1, 1]], {"total": 2.0, "ignore_row_if": ALL}, [0], 2),
    ("sum_equal", [DEC] * 2, [[D("0.10"), D("0.10")], [D("0.20"), None]], {"total": 0.3, "ignore_row_if": ALL}, [1], 2),
    ("sum_equal", [pa.float64(), pa.int64()], [[0.5, INF], [1, 1]], {"total": 1.5, "ignore_row_if": ALL}, [1], 2),
]


@pytest.mark.parametrize(("kind", "types", "columns", "args", "fails", "evaluated"), SEVERAL)
def test_several_columns(
    kind: str,
    types: list[pa.DataType],
    columns: list[list[Any]],
    args: dict[str, Any],
    fails: list[int],
    evaluated: int,
) -> None:
    names = ("a", "b", "c")[: len(columns)]
    arrays = {n: pa.array(v, t) for n, v, t in zip(names, columns, types, strict=True)}
    found, count = evaluate(rule(kind, names, args), arrays)
    assert (np.flatnonzero(found).tolist(), count) == (fails, evaluated)


def test_a_condition_chooses_the_rows_that_are_asked_about() -> None:
    asked = replace(rule("between", ("x",), {"min": 0.0, "max": 1.0}), condition="_where")
    columns = {"x": pa.array([5.0, 5.0, 0.5, None]), "_where": pa.array([True, False, True, True])}
    found, count = evaluate(asked, columns)
    assert (found.tolist(), count) == ([True, False, False, False], 2)


def test_a_flag_is_read_in_place_of_columns() -> None:
    asked = replace(rule("passes", ("x", "y"), {}), flag="_passes")
    found, count = evaluate(asked, {"_passes": pa.array([True, None, False])})
    assert (found.tolist(), count) == ([False, False, True], 2)


def test_dictionary_encoded_columns_are_read_as_their_values() -> None:
    column = pa.array(["a", "b", None, "a"]).dictionary_encode()
    found, count = evaluate(rule("in_set", ("x",), {"values": ["a"]}), {"x": column})
    assert (found.tolist(), count) == ([False, True, False, False], 3)


def test_every_kind_is_tested() -> None:
    assert {row[0] for row in ONE_COLUMN} | {row[0] for row in PAIRS} | {row[0] for row in SEVERAL} == set(KINDS)
