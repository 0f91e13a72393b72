"""What decides each expectation: kernel, tally, schema or Great Expectations, and why."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from batchscore.checks.compile import compile_suite
from batchscore.checks.compiled import CompiledSuite, columns_needed, describe
from batchscore.checks.suite import load_suite
from batchscore.errors import ConfigError, InputError
from batchscore.results import Place

SCHEMA = pa.schema(
    {
        "i": pa.int64(),
        "b": pa.int8(),
        "f": pa.float64(),
        "d": pa.decimal128(10, 2),
        "s": pa.string(),
        "t": pa.bool_(),
        "day": pa.date32(),
        "at": pa.timestamp("us", "UTC"),
        "clock": pa.timestamp("us"),
        "bin": pa.binary(),
        "place": pa.struct({"x": pa.int64()}),
    }
)


@pytest.fixture
def compiled(tmp_path: Path) -> Any:
    def make(*items: dict[str, Any], place: Place = "input", time_zone: str = "UTC") -> CompiledSuite:
        file = tmp_path / "suite.json"
        file.write_text(json.dumps({"name": "s", "expectations": items}))
        return compile_suite(load_suite(str(file), place), SCHEMA, time_zone=time_zone)

    return make


def expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


def between(column: str, **kwargs: Any) -> dict[str, Any]:
    return expect("column_values_to_be_between", column=column, **kwargs)


FREE = {"strict_min": False, "strict_max": False}
BOTH = {"ignore_row_if": "both_values_are_missing"}
DAY = 86_400_000_000
RULES = [
    (expect("column_values_to_not_be_null", column="i"), "not_null", ("i",), {}),
    (expect("column_values_to_be_null", column="place"), "null", ("place",), {}),
    (between("i", min_value=1, max_value=2**60 + 1), "between", ("i",), {"min": 1.0, "max": 2.0**60, **FREE}),
    (
        between("f", max_value=1, strict_max=True),
        "between",
        ("f",),
        {"min": None, "max": 1.0, **FREE, "strict_max": True},
    ),
    (between("d", min_value=0.1), "between", ("d",), {"min": 0.1, "max": None, **FREE}),
    (between("s", min_value="A", max_value="m"), "between", ("s",), {"min": "A", "max": "m", **FREE}),
    (between("day", min_value="1970-01-02"), "between", ("day",), {"min": 1, "max": None, **FREE}),
    (between("at", min_value="1970-01-02"), "between", ("at",), {"min": DAY, "max": None, **FREE}),
    (between("at", max_value="1970-01-02T01:00:00+01:00"), "between", ("at",), {"min": None, "max": DAY, **FREE}),
    (
        between("clock", min_value="1970-01-02 00:00:00.5"),
        "between",
        ("clock",),
        {"min": DAY + 500_000, "max": None, **FREE},
    ),
    (
        between(
            "i",
            min_value=1,
            mostly=0.9,
            catch_exceptions=True,
            result_format="BASIC",
            batch_id=None,
            row_condition=None,
        ),
        "between",
        ("i",),
        {"min": 1.0, "max": None, **FREE},
    ),
    (expect("column_values_to_be_in_set", column="i", value_set=[1, 2]), "in_set", ("i",), {"values": [1, 2]}),
    (expect("column_values_to_be_in_set", column="i", value_set=[1, 2.5]), "in_set", ("i",), {"values": [1.0, 2.5]}),
    (expect("column_values_to_not_be_in_set", column="t", value_set=[True]), "not_in_set", ("t",), {"values": [True]}),
    (expect("column_values_to_be_in_set", column="day", value_set=["1970-01-03"]), "in_set", ("day",), {"values": [2]}),
    (
        expect("column_values_to_match_regex", column="s", regex="^a$"),
        "match_regex",
        ("s",),
        {"regex": r"^a\z", "line_end": True},
    ),
    (
        expect("column_values_to_not_match_regex", column="s", regex="a"),
        "not_match_regex",
        ("s",),
        {"regex": "a", "line_end": False},
    ),
    (
        expect("column_value_lengths_to_be_between", column="s", min_value=1),
        "length_between",
        ("s",),
        {"min": 1, "max": None, **FREE},
    ),
    (expect("column_value_lengths_to_equal", column="bin", value=3), "length_equal", ("bin",), {"value": 3}),
    (
        expect("column_pair_values_a_to_be_greater_than_b", column_A="i", column_B="f", or_equal=True),
        "pair_greater",
        ("i", "f"),
        {"or_equal": True, **BOTH},
    ),
    (
        expect("column_pair_values_to_be_equal", column_A="day", column_B="day", ignore_row_if="neither"),
        "pair_equal",
        ("day", "day"),
        {"ignore_row_if": "neither"},
    ),
]


@pytest.mark.parametrize(("item", "kind", "columns", "args"), RULES)
def test_row_rules(
    compiled: Any, item: dict[str, Any], kind: str, columns: tuple[str, ...], args: dict[str, Any]
) -> None:
    suite = compiled(item, place="features")
    (rule,) = suite.rules
    assert (rule.kind, rule.columns, dict(rule.args)) == (kind, columns, args)
    assert (rule.rule, rule.place, rule.expectation) == ("features[0]", "features", item["type"])
    assert rule.fingerprint == suite.suite.expectations[0].fingerprint
    assert columns_needed(suite) == set(columns)
    assert suite.gx == ()
    json.dumps(rule.args)  # plain, and so picklable


def test_times_without_zone_are_read_in_the_jobs_zone(compiled: Any) -> None:
    suite = compiled(
        between("at", min_value="2013-07-01", max_value="2013-07-01T12:00:00"), time_zone="America/New_York"
    )
    start = dt.datetime(2013, 7, 1, 4, tzinfo=dt.UTC)
    assert suite.rules[0].args["min"] == start.timestamp() * 1e6
    assert suite.rules[0].args["max"] == (start + dt.timedelta(hours=12)).timestamp() * 1e6


GX = [
    (between("i", min_value=1, row_condition="f > 0", condition_parser="pandas"), "its condition_parser is 'pandas'"),
    (between("i", min_value=1, row_condition="f > 0"), "its condition_parser is None"),
    (between("i", min_value=1, row_condition={"type": "xor"}), "its row_condition names no column"),
    (between("i", min_value={"$PARAMETER": "low"}), "it takes a suite parameter"),
    (between("i", min_value=1, windows=[{}]), "it has windows of earlier results"),
    (between("i", min_value=1, new_argument=1), "it has arguments that batchscore does not know: new_argument"),
    (between("i"), "it has neither min_value nor max_value"),
    (between("i", min_value=2, max_value=1), "min_value is above max_value"),
    (between("i", min_value="1"), "a number column meets a bound that is not a number"),
    (between("i", min_value=True), "a number column meets a bound that is not a number"),
    (between("i", min_value=10**400), "a bound is too large for a double"),
    (between("d", min_value=1e300), "a decimal column meets a bound of more than 38 digits"),
    (between("i", min_value=1, strict_min="yes"), "strict_min or strict_max is not true or false"),
    (between("s", min_value="5"), "Great Expectations reads this bound of a text column as a number or a date"),
    (
        between("s", min_value="2013-01-01"),
        "Great Expectations reads this bound of a text column as a number or a date",
    ),
    (between("s", min_value=5), "Great Expectations reads this bound of a text column as a number or a date"),
    (between("t", min_value=0), "the column's type bool has no order here"),
    (between("day", min_value="2013-01-01T00:00:00"), "a date column meets a value with a time of day"),
    (between("day", min_value="2013-02-30"), "a value for a column of type date32[day] is not on the calendar"),
    (between("day", min_value="yesterday"), "is not ISO text such as 2013-10-01"),
    (between("clock", min_value="2013-01-01T00:00:00Z"), "a timestamp column without time zone meets a value with one"),
    (between("place.x", min_value=1), "its column lies within the struct 'place'"),
    (expect("column_values_to_be_between", min_value=1), "an argument that names its column is missing"),
    (expect("column_values_to_be_in_set", column="s", value_set=["a", None]), "does not fit the column's type string"),
    (expect("column_values_to_be_in_set", column="i", value_set=[True]), "not a number of 64 bits"),
    (expect("column_values_to_be_in_set", column="i", value_set=[2**63]), "not a number of 64 bits"),
    (expect("column_values_to_be_in_set", column="t", value_set=[1]), "does not fit the column's type bool"),
    (expect("column_values_to_be_in_set", column="s"), "value_set is not a list"),
    (expect("column_values_to_match_regex", column="i", regex="1"), "it has no regex, or its column is no text"),
    (expect("column_value_lengths_to_equal", column="i", value=1), "it measures a column of type int64 as text"),
    (expect("column_value_lengths_to_equal", column="s", value=1.5), "a length is not a whole number"),
    (
        expect("column_pair_values_to_be_equal", column_A="d", column_B="f"),
        "it compares columns of types decimal128(10, 2) and double",
    ),
    (expect("column_pair_values_to_be_equal", column_A="at", column_B="clock"), "it compares columns of types"),
    (
        expect("column_pair_values_to_be_equal", column_A="i", column_B="i", ignore_row_if="x"),
        "ignore_row_if is unknown",
    ),
    (expect("column_values_to_match_json_schema", column="s", json_schema={}), "does not compile this expectation"),
    (expect("column_values_to_be_dateutil_parseable", column="s"), "batchscore does not compile this expectation"),
    (expect("column_values_to_match_like_pattern", column="s", like_pattern="a!b", escape="!"), "its escape stands"),
    (expect("column_values_to_match_strftime_format", column="s", strftime_format="%D"), "written but not read"),
    (expect("multicolumn_sum_to_equal", column_list=["i", "s"], sum_total=1), "sum_total or a column is not a number"),
    (expect("multicolumn_values_to_be_equal", column_list=["i"]), "it compares fewer than two columns"),
    (expect("column_median_to_be_between", column="s"), "it orders a column of type string"),
    (
        expect("column_quantile_values_to_be_between", column="i", quantile_ranges={}),
        "quantile_ranges have another form",
    ),
    (expect("column_kl_divergence_to_be_less_than", column="i", threshold=1), "is taken from the data itself"),
    (expect("column_most_common_value_to_be_in_set", column="s", value_set=[]), "value_set is empty"),
    (expect("column_min_to_be_between", column="s", min_value=1), "it orders a column of type string"),
    (expect("column_mean_to_be_between", column="b", min_value=1), "takes no mean of bytes and shorts"),
    (expect("column_sum_to_be_between", column="s", min_value=1), "it sums a column of type string"),
    (expect("column_distinct_values_to_be_in_set", column="s", value_set=[]), "value_set is empty"),
    (
        expect("column_distinct_values_to_equal_set", column="day", value_set=["2013-01-01"]),
        "compares the text with dates",
    ),
    (
        expect("column_distinct_values_to_be_in_set", column="at", value_set=["2013-01-01"]),
        "it collects values of type",
    ),
    (expect("table_row_count_to_equal", value=1.5), "a count is not a whole number"),
    (expect("column_values_to_be_of_type", column="i", type_="bigint"), "it names a type that only Spark knows"),
    (expect("column_type_to_be", type_="LongType"), "an argument that names its column is missing"),
    (expect("table_columns_to_match_set", column_set="i"), "column_set is not a list of names"),
    (expect("table_columns_to_match_set", column_set=["i"], exact_match=None), "exact_match is not true or false"),
]


@pytest.mark.parametrize(("item", "why"), GX)
def test_what_only_gx_can_say_goes_to_gx(compiled: Any, item: dict[str, Any], why: str) -> None:
    suite = compiled(item)
    (line,) = describe(suite)
    assert line["engine"] == "gx"
    assert why in line["why"]
    assert suite.gx == suite.suite.expectations
    assert (suite.rules, suite.tallies, columns_needed(suite)) == ((), (), set())


def test_tallies_of_one_column_are_one_entry(compiled: Any) -> None:
    suite = compiled(
        expect("column_min_to_be_between", column="i", min_value=0),
        expect("column_mean_to_be_between", column="i", max_value=9),
        expect("column_distinct_values_to_be_in_set", column="s", value_set=[str(n) for n in range(1500)]),
        expect("column_distinct_values_to_contain_set", column="s", value_set=["x", "y"]),
        expect("column_distinct_values_to_contain_set", column="s", value_set=["y", "z"]),
        expect("column_proportion_of_non_null_values_to_be_between", column="s", min_value=0.5),
        expect("table_row_count_to_be_between", min_value=1),
    )
    found = {spec.column: spec for spec in suite.tallies}
    assert found["i"].stats == {"range", "sum"}
    assert found["s"].stats == {"values", "found", "count"}
    assert (found["s"].max_values, found["s"].wanted) == (1501, ("x", "y", "z"))
    assert columns_needed(suite) == {"i", "s"}
    assert {line["engine"] for line in describe(suite)} == {"tally"}


SCHEMA_DECISIONS = [
    (expect("column_to_exist", column="i"), True),
    (expect("column_to_exist", column="none"), False),
    (expect("column_to_exist", column="i", column_index=0), True),
    (expect("column_to_exist", column="b", column_index=1), True),
    (expect("column_to_exist", column="i", column_index=1), False),
    (expect("column_to_exist", column="i", column_index=99), False),
    (expect("table_column_count_to_equal", value=11), True),
    (expect("table_column_count_to_be_between", min_value=1, max_value=10), False),
    (expect("table_columns_to_match_ordered_list", column_list=SCHEMA.names), True),
    (expect("table_columns_to_match_ordered_list", column_list=SCHEMA.names[::-1]), False),
    (expect("table_columns_to_match_set", column_set=SCHEMA.names[::-1]), True),
    (expect("table_columns_to_match_set", column_set=["i", "f"]), False),
    (expect("table_columns_to_match_set", column_set=["i", "f"], exact_match=False), True),
    (expect("table_columns_to_match_set", column_set=["i", "zzz"], exact_match=False), False),
    (expect("column_values_to_be_of_type", column="i", type_="LongType"), True),
    (expect("column_values_to_be_of_type", column="i", type_="IntegerType"), False),
    (expect("column_values_to_be_of_type", column="d", type_="NumericType"), True),
    (expect("column_type_to_be", column="clock", type_="TimestampNTZType"), True),
    (expect("column_type_to_be", column="at", type_="TimestampNTZType"), False),
    (expect("column_values_to_be_in_type_list", column="s", type_list=["LongType", "StringType"]), True),
    (expect("column_values_to_be_in_type_list", column="place", type_list=["MapType"]), False),
]


@pytest.mark.parametrize(("item", "success"), SCHEMA_DECISIONS)
def test_the_schema_decides(compiled: Any, item: dict[str, Any], success: bool) -> None:
    suite = compiled(item)
    assert [line["engine"] for line in describe(suite)] == ["schema"]
    assert suite.checks[0].decision is not None
    assert suite.checks[0].decision[0] is success


MISSING = [
    (between("fx", min_value=1), "expected a column 'fx'; found none. Close names: f"),
    (
        expect("column_pair_values_to_be_equal", column_A="i", column_B="dya"),
        "expected a column 'dya'; found none. Close names: day",
    ),
    (expect("column_values_to_be_unique", column="`i"), "expected a column '`i'; found none"),
    (expect("compound_columns_to_be_unique", column_list=["i", "qq"]), "expected a column 'qq'; found none"),
    (expect("column_min_to_be_between", column="none.x"), "expected a column 'none.x'; found none"),
]


@pytest.mark.parametrize(("item", "message"), MISSING)
def test_a_missing_column_is_an_input_error(compiled: Any, item: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        compiled(expect("table_row_count_to_equal", value=1), item)
    assert message in str(caught.value)
    assert "suite.json:1: expectation 1 (expect_" in str(caught.value)


@pytest.mark.parametrize(
    ("severity", "policy", "expected"),
    [
        (None, None, "quarantine"),
        ("critical", None, "quarantine"),
        ("warning", None, "keep"),
        ("info", None, "keep"),
        ("critical", "keep", "keep"),
        ("info", "quarantine", "quarantine"),
    ],
)
def test_failing_rows_are_set_aside_by_severity_or_by_word(
    compiled: Any, severity: str | None, policy: str | None, expected: str
) -> None:
    item = {**expect("column_values_to_not_be_null", column="i"), "severity": severity}
    if policy:
        item["meta"] = {"batchscore": {"on_row_fail": policy}}
    (rule,) = compiled(item).rules
    assert (rule.on_row_fail, rule.severity) == (expected, severity or "critical")


@pytest.mark.parametrize(
    ("item", "engine"),
    [
        (expect("column_values_to_be_unique", column="i"), "query"),
        (expect("column_values_to_be_dateutil_parseable", column="s"), "gx (batchscore does not compile"),
        (expect("column_max_to_be_between", column="i", max_value=1), "tally"),
    ],
)
def test_setting_rows_aside_needs_a_verdict_on_rows(compiled: Any, item: dict[str, Any], engine: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compiled({**item, "meta": {"batchscore": {"on_row_fail": "quarantine"}}})
    assert f"evaluated as a whole by {engine}" in str(caught.value)
    compiled({**item, "meta": {"batchscore": {"on_row_fail": "keep"}}})


def test_a_plan_line_says_what_decides_and_why(compiled: Any) -> None:
    suite = compiled(
        expect("column_pair_values_to_be_equal", column_A="i", column_B="f"),
        {**expect("column_values_to_be_unique", column="i"), "severity": "info"},
    )
    assert [tuple(line.values()) for line in describe(suite)] == [
        ("input[0]", "expect_column_pair_values_to_be_equal", "i, f", "critical", "kernel", "quarantine", ""),
        (
            "input[1]",
            "expect_column_values_to_be_unique",
            "i",
            "info",
            "query",
            "",
            "",
        ),
    ]


def test_compiling_and_judging_import_neither_gx_nor_spark() -> None:
    code = (
        "import sys, batchscore.checks.compile, batchscore.checks.verdicts\n"
        "bad = {'great_expectations', 'pyspark', 'pandas', 'mlflow'} & set(sys.modules)\n"
        "sys.exit(f'imported {bad}' if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
