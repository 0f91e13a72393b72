"""Verdicts from counts: success as Great Expectations gives it, and what stops a run."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchscore.checks.answers import Answer
from batchscore.checks.compile import compile_suite
from batchscore.checks.compiled import CompiledSuite
from batchscore.checks.suite import load_suite
from batchscore.checks.verdicts import judge, over_limit, to_json_value
from batchscore.kernel.tally import Tally
from batchscore.results import ExpectationResult, Place

NAN = float("nan")
NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}}
UNIQUE = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "x"}}


@pytest.fixture
def compiled(tmp_path: Path) -> Any:
    def make(item: dict[str, Any], kind: pa.DataType, place: Place = "input") -> CompiledSuite:
        file = tmp_path / "suite.json"
        file.write_text(json.dumps({"name": "s", "expectations": [item]}))
        return compile_suite(load_suite(str(file), place), pa.schema({"x": kind}))

    return make


def judge_rows(suite: CompiledSuite, evaluated: int, failed: int) -> ExpectationResult:
    tally = Tally()
    if evaluated:
        tally.count_rule("input[0]", evaluated, failed)
    return judge(suite, tally, {})[0]


@pytest.mark.parametrize(
    ("mostly", "evaluated", "failed", "success"),
    [
        (None, 10, 0, True),
        (None, 10, 1, False),
        (None, 0, 0, True),  # vacuously, as in GX
        (0.9, 10, 1, True),
        (0.9, 10, 2, False),
        (0.9, 0, 0, True),
        (0, 10, 10, True),
        (1.0, 3, 0, True),
        (0.99, 100, 1, True),
    ],
)
def test_mostly(compiled: Any, mostly: float | None, evaluated: int, failed: int, success: bool) -> None:
    kwargs = {"column": "x"} if mostly is None else {"column": "x", "mostly": mostly}
    result = judge_rows(compiled({**NOT_NULL, "kwargs": kwargs}, pa.int64()), evaluated, failed)
    assert (result.success, result.evaluated, result.unexpected) == (success, evaluated, failed)


@pytest.mark.parametrize(
    ("severity", "policy", "mostly", "stops"),
    [
        ("critical", None, None, False),  # its rows are set aside
        ("critical", None, 0.9, True),  # the suite says how many are too many
        ("critical", "keep", None, True),
        ("critical", "keep", 0.9, True),
        ("warning", None, None, False),
        ("warning", None, 0.9, False),
        ("warning", "quarantine", 0.9, False),
        ("info", "keep", None, False),
    ],
)
def test_which_failed_row_rules_stop_a_run(
    compiled: Any, severity: str, policy: str | None, mostly: float | None, stops: bool
) -> None:
    kwargs = {"column": "x"} if mostly is None else {"column": "x", "mostly": mostly}
    item = {**NOT_NULL, "kwargs": kwargs, "severity": severity}
    if policy:
        item["meta"] = {"batchscore": {"on_row_fail": policy}}
    result = judge_rows(compiled(item, pa.int64()), 10, 5)
    assert (result.success, result.stops, result.engine) == (False, stops, "kernel")
    assert judge_rows(compiled(item, pa.int64()), 10, 0).stops is False


@pytest.mark.parametrize(
    ("severity", "verdict", "stops"),
    [
        ("critical", Answer(success=False), True),
        ("warning", Answer(success=False), False),
        ("info", Answer(success=False), False),
        ("critical", Answer(success=True), False),
        ("info", Answer(success=False, error="Spark could not"), True),
    ],
)
def test_which_verdicts_of_gx_stop_a_run(compiled: Any, severity: str, verdict: Answer, stops: bool) -> None:
    (result,) = judge(compiled({**UNIQUE, "severity": severity}, pa.int64()), Tally(), {"input[0]": verdict})
    assert (result.success, result.stops, result.error) == (verdict.success, stops, verdict.error)
    assert (result.engine, result.on_row_fail) == ("query", None)


def test_an_expectation_without_a_verdict_stops_a_run(compiled: Any) -> None:
    (result,) = judge(compiled({**UNIQUE, "severity": "info"}, pa.int64()), Tally(), {})
    assert (result.stops, result.error) == (True, "nothing gave a verdict on it")


def item(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_column_{kind}", "kwargs": {"column": "x", **kwargs}}


I, F, S, DEC = pa.int64(), pa.float64(), pa.string(), pa.decimal128(10, 2)  # noqa: E741 - types at a glance
AT = pa.timestamp("us", "UTC")
D = Decimal
TALLIES = [
    # expectation, type, values, success, observed
    (item("min_to_be_between", min_value=1, max_value=2), I, [1, 5, None], True, 1),
    (item("min_to_be_between", min_value=1, strict_min=True), I, [1, 5], False, 1),
    (item("max_to_be_between", max_value=5), F, [1.0, NAN], False, None),  # NaN is the largest
    (item("min_to_be_between", min_value=0), F, [1.0, NAN], True, 1.0),
    (item("max_to_be_between", min_value="2013-01-01"), pa.date32(), [dt.date(2013, 10, 1)], True, "2013-10-01"),
    (
        item("max_to_be_between", max_value="2013-10-01T05:00:00"),
        AT,
        [dt.datetime(2013, 10, 1, 5, tzinfo=dt.UTC)],
        True,
        "2013-10-01T05:00:00+00:00",
    ),
    (item("max_to_be_between", max_value=1.5), DEC, [D("1.50")], True, "1.50"),
    (item("min_to_be_between"), I, [7], True, 7),
    (item("min_to_be_between", min_value=0), I, [None], False, None),
    (item("min_to_be_between", min_value=0), I, [], False, None),
    (item("sum_to_be_between", min_value=6, max_value=6), I, [1, 2, 3, None], True, 6.0),
    (item("sum_to_be_between", min_value=0), F, [float("inf")], True, "inf"),
    (
        item("sum_to_be_between", max_value=0.3),
        DEC,
        [D("0.10"), D("0.20")],
        False,
        "0.30",
    ),  # 0.3 lies below three tenths
    (item("mean_to_be_between", min_value=1.5, max_value=1.5), I, [1, 2, None], True, 1.5),
    (item("mean_to_be_between", max_value=1), DEC, [D("1.00"), D("0.00"), D("0.00")], True, "0.333333"),
    (item("mean_to_be_between", min_value=0), F, [NAN, 1.0], False, None),
    (item("proportion_of_non_null_values_to_be_between", min_value=0.5), S, ["a", None], True, 0.5),
    (item("proportion_of_non_null_values_to_be_between", min_value=0.5), S, [], False, 0),
    (
        item("distinct_values_to_be_in_set", value_set=["a", "b"]),
        S,
        ["a", None],
        True,
        {"distinct": 1, "unexpected": 0},
    ),
    (item("distinct_values_to_be_in_set", value_set=[1.0]), I, [1, 2, 2], False, {"distinct": 2, "unexpected": 1}),
    (item("distinct_values_to_be_in_set", value_set=[0]), I, list(range(1001)), False, {"distinct": "more than 1000"}),
    (
        item("distinct_values_to_be_in_set", value_set=["2013-01-01"]),
        pa.date32(),
        [dt.date(2013, 1, 1)],
        True,
        {"distinct": 1, "unexpected": 0},
    ),
    (
        item("distinct_values_to_equal_set", value_set=["a", "b"]),
        S,
        ["a"],
        False,
        {"distinct": 1, "unexpected": 0, "missing": 1},
    ),
    (
        item("distinct_values_to_equal_set", value_set=[0.0]),
        F,
        [-0.0, 0.0],
        True,
        {"distinct": 1, "unexpected": 0, "missing": 0},
    ),
    (item("distinct_values_to_equal_set", value_set=[1]), I, list(range(1001)), False, {"distinct": "more than 1000"}),
    (item("distinct_values_to_contain_set", value_set=[7, 9999]), I, list(range(3000)), False, {"missing": 1}),
    (item("distinct_values_to_contain_set", value_set=[7, 8.0]), I, list(range(3000)), True, {"missing": 0}),
]


@pytest.mark.parametrize(("expectation", "kind", "values", "success", "observed"), TALLIES)
def test_verdicts_from_tallies(
    compiled: Any, expectation: dict[str, Any], kind: pa.DataType, values: list[Any], success: bool, observed: Any
) -> None:
    suite = compiled(expectation, kind)
    parts = []
    for start in range(0, len(values), 700):
        part = Tally()
        part.add_columns("input", {"x": pa.array(values[start : start + 700], kind)}, suite.tallies)
        parts.append(Tally.from_json(part.to_json()))
    (result,) = judge(suite, Tally.merge(parts), {})
    assert (result.success, result.observed, result.engine) == (success, observed, "tally")
    assert result.stops is not success
    json.dumps(result.observed, allow_nan=False)


@pytest.mark.parametrize(("place", "rows"), [("input", 10), ("features", 10), ("output", 7)])
def test_row_counts_are_those_of_the_place(compiled: Any, place: Place, rows: int) -> None:
    tally = Tally(read=10, scored=6, quarantined=4)
    tally.to_checks += 7
    for value, success in ((rows, True), (rows + 1, False)):
        suite = compiled({"type": "expect_table_row_count_to_equal", "kwargs": {"value": value}}, I, place)
        (result,) = judge(suite, tally, {})
        assert (result.success, result.observed, result.place) == (success, rows, place)


def test_the_schema_has_the_verdict(compiled: Any) -> None:
    suite = compiled({"type": "expect_table_column_count_to_equal", "kwargs": {"value": 2}}, I)
    (result,) = judge(suite, Tally(), {})
    assert (result.success, result.observed, result.engine, result.stops) == (False, 1, "schema", True)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((0, 0, 0.0, None), None),
        ((5, 100, 5.0, None), None),
        ((6, 100, 5.0, None), "expected at most 5 % of the rows quarantined (checks.max_quarantine_pct); "),
        ((6, 100, 5.0, None), "found 6 of 100 rows set aside, 6.00 %."),
        ((100, 100, 100.0, None), None),
        ((1, 1000, 100.0, 0), "expected at most 0 quarantined rows (checks.max_quarantine_rows); found 1 of 1000"),
        ((3, 1000, 100.0, 3), None),
        ((1, 3, 33.34, None), None),
    ],
)
def test_limits(args: tuple[int, int, float, int | None], message: str | None) -> None:
    found = over_limit(*args)
    assert found is None if message is None else message in str(found)


def test_observed_values_are_plain_json() -> None:
    value = {"a": [NAN, float("-inf"), D("1.0"), dt.date(2013, 1, 1), True, None, {1}]}
    assert to_json_value(value) == {"a": [None, "-inf", "1.0", "2013-01-01", True, None, "{1}"]}
