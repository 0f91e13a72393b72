"""Every compiled kind gives Great Expectations' own verdict, counts and observed value on the same rows."""

from __future__ import annotations

import datetime as dt
import importlib
import json
import logging
import random
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_job import persisted

from batchscore.checks.answers import Answer
from batchscore.checks.compile import compile_suite
from batchscore.checks.compiled import CompiledSuite
from batchscore.checks.dataset import run_queries
from batchscore.checks.flags import build_flags
from batchscore.checks.queries import QUERIES
from batchscore.checks.row_rules import ROW_RULES
from batchscore.checks.schema_rules import SCHEMA_RULES
from batchscore.checks.suite import load_suite
from batchscore.checks.table_rules import COLUMN_TALLIES, COUNTS
from batchscore.checks.verdicts import judge, to_json_value
from batchscore.expectations import CORE, Expectation
from batchscore.kernel.rules import evaluate
from batchscore.kernel.tally import Tally

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAN, INF = float("nan"), float("inf")
SCHEMA = (
    "i bigint, j int, b tinyint, f double, g float, d decimal(10,2), e decimal(30,12), s string, u string, t boolean, "
    "day date, due date, at timestamp, clock timestamp_ntz, bin binary, "
    "h double, c decimal(10,2), js string"
)
DAYS = [dt.date(2013, 10, n) for n in range(1, 5)]
POOLS: dict[str, list[Any]] = {
    "i": [-(2**63), -1, 0, 1, 2, 3, 5, 2**53 + 1, 2**63 - 1],
    "j": [-1, 0, 1, 2, 3, 5],
    "b": [-128, 0, 127],
    "f": [-INF, -1.5, -0.0, 0.0, 0.1, 1.0, 2.5, 1e300, INF, NAN],
    "g": [-1.5, -0.0, 0.1, 0.5, 1.0, 2.5, NAN],
    "d": [Decimal(text) for text in ("-1.50", "0.00", "0.10", "0.30", "1.00", "2.50", "99999999.99")],
    "e": [Decimal(text) for text in ("0.1", "0.100000000001", "0.3", "1")],
    "s": [
        "",
        "a",
        "A",
        "b",
        "ab",
        "a b",
        "é",
        "日本",
        "🙂",
        "a\n",
        "a\r\n",
        "a\nb",
        "a\u2028",
        "\x0b",
        " ",
        "x-1",
        "a.b",
    ],
    "u": ["", "a", "b", "é"],
    "t": [True, False],
    "day": DAYS,
    "due": DAYS,
    "at": [dt.datetime(2013, 10, 1, hour, tzinfo=dt.UTC) for hour in (0, 4, 5, 23)],
    "clock": [dt.datetime(2013, 10, 1, hour) for hour in (0, 4, 5, 23)],
    "bin": [b"", b"a", b"\xff\xfe"],
    "h": [-1.5, 0.25, 0.5, 1.0, 2.5, 17.0],
    "c": [Decimal(text) for text in ("-1.50", "0.00", "0.10", "0.20")],
    "js": ["{}", "[1, 2]", "1", '"a"', "{'a': 1}", "nul", "2013-10-01", "2013-02-30", "NaN", ""],
}


def expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


def each(kind: str, *columns: str, **kwargs: Any) -> list[dict[str, Any]]:
    return [expect(kind, column=column, **kwargs) for column in columns]


def pairs(kind: str, *columns: str, **kwargs: Any) -> list[dict[str, Any]]:
    return [expect(kind, column_A=pair.split()[0], column_B=pair.split()[1], **kwargs) for pair in columns]


STRICT = {"strict_min": True, "strict_max": True}
BETWEEN, LENGTHS = "column_values_to_be_between", "column_value_lengths_to_be_between"
GREATER, EQUAL = "column_pair_values_a_to_be_greater_than_b", "column_pair_values_to_be_equal"
IN_SET, NOT_IN_SET = "column_values_to_be_in_set", "column_values_to_not_be_in_set"
PATTERNS = [
    "^a",
    "a$",
    "^a$|^b$",
    ".",
    "^.$",
    r"\s",
    r"^\S+$",
    r"[^a]$",
    r"^\w*$",
    r"\W",
    "^[a-zé]{1,2}$",
    r"[\s.-]",
    "",
    "^$",
]
NUMBERS = ("i", "j", "b", "f", "g", "d", "e")

ROWS = [
    *each("column_values_to_not_be_null", "i", "f", "s", "bin"),
    *each("column_values_to_not_be_null", "s", mostly=0.5),
    *each("column_values_to_be_null", "i", "f", "s"),
    *each(BETWEEN, *NUMBERS, min_value=0, max_value=2.5),
    *each(BETWEEN, "f", "g", "d", min_value=0.1, mostly=0.4),
    *each(BETWEEN, "f", "g", "d", "e", max_value=0.1),
    *each(BETWEEN, "i", "f", "d", min_value=0, max_value=1, **STRICT),
    *each(BETWEEN, "i", max_value=2**53),
    *each(BETWEEN, "day", "at", "clock", min_value="2013-10-02"),
    *each(BETWEEN, "at", min_value="2013-10-01T04:00:00Z", max_value="2013-10-01T05:00:00+00:00", strict_min=True),
    *each(IN_SET, "i", "j", "f", "g", "d", "e", value_set=[0, 1, 2]),
    *each(IN_SET, "i", "f", "g", "d", "e", value_set=[0.1, 0.3, 1.0, 2.5]),
    *each(IN_SET, "s", value_set=["", "a", "日本", "x\u2028"]),
    *each(IN_SET, "t", value_set=[True]),
    *each(IN_SET, "day", value_set=["2013-10-01", "2013-10-03"]),
    *each(IN_SET, "at", "clock", value_set=["2013-10-01", "2013-10-01 05:00:00"]),
    *each(IN_SET, "s", value_set=[]),
    *each(NOT_IN_SET, "f", "i", value_set=[0, 1]),
    *each(NOT_IN_SET, "s", value_set=["a", "🙂"], mostly=0.9),
    *[e for p in PATTERNS for e in each("column_values_to_match_regex", "s", regex=p)],
    *[e for p in PATTERNS[:6] for e in each("column_values_to_not_match_regex", "s", regex=p)],
    *each(LENGTHS, "s", "bin", min_value=1, max_value=2),
    *each(LENGTHS, "s", min_value=1, strict_min=True),
    *each("column_value_lengths_to_equal", "s", "bin", value=1),
    *pairs(GREATER, "i j", "f g", "d e", "s u", "day due"),  # each pair costs GX two jobs of its own
    *pairs(GREATER, "i f", "f g", "d i", "at at", "clock clock", "t t", or_equal=True),
    *pairs(GREATER, "i j", ignore_row_if="either_value_is_missing"),
    *pairs(GREATER, "f g", ignore_row_if="neither", mostly=0.2),
    *pairs(EQUAL, "j g", "f g", "d e", "s u"),
    *pairs(EQUAL, "i j", ignore_row_if="either_value_is_missing"),
    *pairs(EQUAL, "s u", ignore_row_if="neither"),
]
MULTI = "select_column_values_to_be_unique_within_record"


def many(kind: str, *columns: str, **kwargs: Any) -> list[dict[str, Any]]:
    return [expect(kind, column_list=listed.split(), **kwargs) for listed in columns]


TEXTS = [
    *each("column_values_to_match_regex_list", "s", regex_list=["^a$", "b$"]),
    *each("column_values_to_match_regex_list", "s", regex_list=["a", "b"], match_on="all", mostly=0.2),
    *each("column_values_to_not_match_regex_list", "s", regex_list=["^a$", r"\s"]),
    *each("column_values_to_be_json_parseable", "s", "u", "js"),
    *each("column_values_to_match_strftime_format", "js", strftime_format="%Y-%m-%d"),
]
PAIRS_AND_MORE = [
    *pairs("column_pair_values_to_be_in_set", "i j", "f g", value_pairs_set=[[1, 1], [2, 3], [0, 0], [5, 2]]),
    *pairs("column_pair_values_to_be_in_set", "s u", value_pairs_set=[["a", "a"], ["", "b"]], mostly=0.1),
    *pairs("column_pair_values_to_be_in_set", "i j", value_pairs_set=[[1, 1]], ignore_row_if="either_value_is_missing"),
    *pairs("column_pair_values_to_be_in_set", "i s", value_pairs_set=[[1, "a"], [None, "b"]], ignore_row_if="neither"),
    *many("multicolumn_values_to_be_equal", "j b", "f g", "s u", "day due"),
    *many("multicolumn_values_to_be_equal", "i j b", ignore_row_if="any_value_is_missing"),
    *many("multicolumn_values_to_be_equal", "i j b", ignore_row_if="never"),
    *many(MULTI, "i j b", "s u", "day due", "f g"),
    *many(MULTI, "i j b", ignore_row_if="any_value_is_missing", mostly=0.3),
    *many(MULTI, "i j", ignore_row_if="never"),
    *many("multicolumn_sum_to_equal", "i j", "j b", sum_total=2),
    *many("multicolumn_sum_to_equal", "f h", "j f", sum_total=1.5, ignore_row_if="any_value_is_missing"),
    *many("multicolumn_sum_to_equal", "d c", sum_total=0.3, ignore_row_if="never"),
]
QUERIED = [
    *each("column_values_to_be_unique", "i", "f", "s", "d", "day", "at", "t", mostly=0.5),
    *many("compound_columns_to_be_unique", "i s", "day due at"),
    *many("compound_columns_to_be_unique", "i s", ignore_row_if="any_value_is_missing"),
    *many("compound_columns_to_be_unique", "j b", ignore_row_if="never"),
    *each("column_proportion_of_unique_values_to_be_between", "i", "f", "s", min_value=0.01, max_value=0.5),
    *each("column_unique_value_count_to_be_between", "i", "f", "s", "t", "day", min_value=3, max_value=9),
    *each("column_unique_value_count_to_be_between", "at", "d", "s", min_value=5),
    *each("column_unique_value_count_to_be_between", "i", max_value=100_000),
    *each("column_most_common_value_to_be_in_set", "s", value_set=["a", "b", ""]),
    *each("column_most_common_value_to_be_in_set", "j", "f", value_set=[0, 1, 2.5], ties_okay=True),
    *each("column_median_to_be_between", "i", "j", "f", "g", "d", min_value=0, max_value=2),
    *each(
        "column_quantile_values_to_be_between",
        *("i", "j", "f", "g", "d"),
        quantile_ranges={
            "quantiles": [0.0, 0.1, 0.5, 0.9, 1.0],
            "value_ranges": [[-2, 0], [None, 0], [0, 2], [1, None], [5, 5]],
        },
    ),
    *each("column_value_z_scores_to_be_less_than", "j", "g", "h", "d", threshold=1.2, double_sided=True),
    *each("column_value_z_scores_to_be_less_than", "j", threshold=0.5, double_sided=False, mostly=0.7),
    *each("column_values_to_not_be_outliers", "j", "h", "d"),
    *each("column_values_to_not_be_outliers", "j", "h", method="std", multiplier=1, mostly=0.6),
    *each(
        "column_kl_divergence_to_be_less_than",
        *("j", "h"),  # of -0.0 Spark's Bucketizer, on which GX builds, has an order of its own
        partition_object={"bins": [-1, 0, 1, 3], "weights": [0.3, 0.3, 0.2], "tail_weights": [0.1, 0.1]},
        threshold=0.5,
    ),
    *each(
        "column_kl_divergence_to_be_less_than",
        "j",
        partition_object={"bins": [-1, 0, 3], "weights": [0.5, 0.5]},
        threshold=0.5,
        tail_weight_holdout=0.1,
    ),
    *each(
        "column_kl_divergence_to_be_less_than",
        "u",
        partition_object={"values": ["", "a", "b", "é"], "weights": [0.25, 0.25, 0.25, 0.25]},
        threshold=0.1,
    ),
    *each(
        "column_kl_divergence_to_be_less_than",
        *("s", "j"),
        partition_object={"values": [1, 2], "weights": [0.5, 0.5]},
        threshold=0.1,
        tail_weight_holdout=0.2,
    )[1:],
    *each("column_values_to_be_increasing", "i", "j", "h", "d", "day", "at"),
    *each("column_values_to_be_decreasing", "j", strictly=True, mostly=0.2),
]
WHERE = {"row_condition": "j > 0 and s is not null", "condition_parser": "spark"}
CONDITION = {"type": "comparison", "column": {"name": "j"}, "operator": "IN", "parameter": [1, 2]}
NULLITY = {"type": "nullity", "column": {"name": "u"}, "is_null": False}
SPARK_COLUMNS = [
    *each(BETWEEN, "i", "f", min_value=0, max_value=2, **WHERE),
    *each(BETWEEN, "i", min_value=0, row_condition='col("j") >= 1', condition_parser="great_expectations"),
    *each(BETWEEN, "i", min_value=0, row_condition='col("u").notNull()', condition_parser="great_expectations"),
    *each(BETWEEN, "i", min_value=0, row_condition={"type": "and", "conditions": [CONDITION, NULLITY]}),
    *each(BETWEEN, "i", min_value=0, row_condition={"type": "or", "conditions": [CONDITION, NULLITY]}),
    *each("column_values_to_not_be_null", "s", row_condition=NULLITY),
    *pairs(GREATER, "i j", **WHERE),
    *each("column_max_to_be_between", "f", "day", **WHERE),
    *each("column_stdev_to_be_between", "j", **WHERE),
    *each("column_values_to_be_unique", "i", **WHERE),
    *each("column_median_to_be_between", "j", **WHERE),
    expect("table_row_count_to_be_between", min_value=1, **WHERE),
    *each("column_values_to_match_regex", "s", regex="(?i)^a", mostly=0.1),
    *each("column_values_to_match_regex", "s", regex=r"^(?!a)", **WHERE),
    *each("column_values_to_not_match_regex", "s", regex=r"a(?=b)"),
    {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "SELECT * FROM {batch} WHERE j > i"}},
]
TABLES = [
    *each("column_min_to_be_between", "i", "j", "f", "g", "d", min_value=-1.5),
    *each("column_max_to_be_between", "j", "b", "f", "g", "e", max_value=1, strict_max=True),
    *each("column_max_to_be_between", "day", max_value="2013-10-04"),
    *each("column_sum_to_be_between", "j", "d", "e", "g", min_value=0),
    *each("column_mean_to_be_between", "j", "d", "e", "g", min_value=0, max_value=1),
    *each("column_proportion_of_non_null_values_to_be_between", "i", "s", min_value=0.5),
    *each("column_stdev_to_be_between", "j", "h", "d", "g", "b", min_value=0, max_value=3),
    *each("column_distinct_values_to_be_in_set", "j", "f", value_set=[-1, 0, 1, 2, 3, 5]),
    *each("column_distinct_values_to_be_in_set", "day", value_set=[str(day) for day in DAYS]),
    *each("column_distinct_values_to_equal_set", "s", value_set=POOLS["s"]),
    *each("column_distinct_values_to_equal_set", "j", value_set=[-1, 0, 1, 2.0, 3, 5]),
    *each("column_distinct_values_to_contain_set", "u", value_set=["a", "é"]),
    *each("column_distinct_values_to_contain_set", "j", value_set=[1, 9]),
    expect("table_row_count_to_equal", value=300),
    expect("table_row_count_to_be_between", min_value=1),
    *each("column_to_exist", "i", "none"),
    *each("column_to_exist", "j", column_index=1),
    expect("table_column_count_to_equal", value=18),
    expect("table_column_count_to_be_between", min_value=1, max_value=3),
    expect("table_columns_to_match_ordered_list", column_list=list(POOLS)),
    expect("table_columns_to_match_set", column_set=["i", "j"], exact_match=False),
    expect("table_columns_to_match_set", column_set=["i", "j"]),
    *each("column_values_to_be_of_type", "i", "j", "at", "clock", type_="LongType"),
    *each("column_type_to_be", "d", "s", type_="DecimalType"),
    *each("column_values_to_be_in_type_list", *POOLS, type_list=["NumericType", "TimestampNTZType", "BinaryType"]),
]


# Great Expectations raises there: its view stands in another Spark session; it divides by no values, and takes the
# median of none.
RAISES = {
    "unexpected_rows_expectation": "[TABLE_OR_VIEW_NOT_FOUND]",
    "expect_column_kl_divergence_to_be_less_than": "could not evaluate it: ",
    "expect_column_median_to_be_between": "could not evaluate it: MetricResolutionError",
}


def generated(seed: int = 7, count: int = 300) -> list[tuple[Any, ...]]:
    """Rows; each column draws from its pool, and a fifth is null."""
    draw = random.Random(seed)
    return [tuple(None if draw.random() < 0.2 else draw.choice(pool) for pool in POOLS.values()) for _ in range(count)]


def first_of_each(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({item["type"]: item for item in reversed(items)}.values())


# Rows, and what is asked of them: everything, or one expectation of each type.
EVERYTHING = [*ROWS, *TEXTS, *PAIRS_AND_MORE, *QUERIED, *SPARK_COLUMNS, *TABLES]
FRAMES: dict[str, tuple[list[tuple[Any, ...]], list[dict[str, Any]]]] = {
    "one of each type": (generated(), first_of_each(EVERYTHING)),
    "generated": (generated(), EVERYTHING),
    "other rows": (generated(11, 47), EVERYTHING),
    "one row": (generated()[:1], first_of_each(EVERYTHING)),
    "nulls": ([(None,) * len(POOLS)] * 3, first_of_each(EVERYTHING)),
    "empty": ([], first_of_each(EVERYTHING)),
}


def compile_items(folder: Path, items: list[dict[str, Any]], schema: pa.Schema) -> CompiledSuite:
    file = folder / "suite.json"
    file.write_text(json.dumps({"name": "parity", "expectations": items}))
    return compile_suite(load_suite(str(file), "input"), schema)


def tally_batches(compiled: CompiledSuite, table: pa.Table) -> Tally:
    """What the kernel counts, in batches of 70 rows, each its own task."""
    parts = []
    for batch in table.combine_chunks().to_batches(max_chunksize=70):
        part = Tally(read=batch.num_rows)
        columns = {name: batch.column(name) for name in batch.schema.names}
        for rule in compiled.rules:
            fails, evaluated = evaluate(rule, columns)
            part.count_rule(rule.rule, evaluated, int(fails.sum()))
        part.add_columns("input", columns, compiled.tallies)
        parts.append(Tally.from_json(part.to_json()))
    return Tally.merge(parts)


def comparable(value: Any) -> Any:
    """An observed value as a number of 12 digits, or as text, whoever gave it."""
    plain = to_json_value(value)
    try:
        return f"{float(plain):.12g}"
    except (TypeError, ValueError):
        return plain


@pytest.mark.parametrize(
    "name", [next(iter(FRAMES)), *[pytest.param(name, marks=pytest.mark.slow) for name in [*FRAMES][1:]]]
)
def test_same_verdicts_as_gx(name: str, spark: SparkSession, tmp_path: Path) -> None:
    compare_verdicts(spark, tmp_path, *FRAMES[name])


ANY_ROWS = st.lists(st.tuples(*[st.none() | st.sampled_from(pool) for pool in POOLS.values()]), max_size=30)


@pytest.mark.slow
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ANY_ROWS)
def test_any_rows_get_the_same_verdicts(rows: list[tuple[Any, ...]], spark: SparkSession, tmp_path: Path) -> None:
    compare_verdicts(spark, tmp_path, rows, first_of_each(EVERYTHING))


def compare_verdicts(
    spark: SparkSession, tmp_path: Path, rows: list[tuple[Any, ...]], items: list[dict[str, Any]]
) -> None:
    """Ask both engines about the same rows, and fail with whatever they differ in."""
    from batchscore.checks.engine import run_gx  # noqa: PLC0415 - seconds to import

    frame = spark.createDataFrame(rows, SCHEMA).coalesce(1)
    compiled = compile_items(tmp_path, items, frame.limit(0).toArrow().schema)
    assert compiled.gx == (), "everything here is compiled"
    table = frame.select("*", *build_flags(spark, frame, compiled.sql)).toArrow()
    ours = judge(compiled, tally_batches(compiled, table), run_queries(frame, compiled.queries))
    theirs = run_gx(frame, compiled.suite.expectations)
    spark.catalog.dropTempView("tmp_view")  # GX leaves it behind where a suite has a query
    different = []
    for result, check in zip(ours, compiled.checks, strict=True):
        gx = theirs[result.rule]
        mine = [result.success, result.evaluated, result.unexpected]
        his = [gx.success, gx.evaluated, gx.unexpected]
        if not any(word in result.expectation for word in ("distinct", "most_common")):  # GX observes nothing there
            mine.append(comparable(result.observed))
            his.append(comparable(gx.observed))
        if gx.error and result.observed is None and RAISES.get(result.expectation, "\n") in gx.error:
            continue
        if gx.error or mine != his:
            different.append((result.expectation, dict(check.expectation.kwargs), mine, his, gx.error))
    assert different == []


def test_every_compiled_type_is_compared() -> None:
    compared = {item["type"] for item in EVERYTHING}
    compiled = set(ROW_RULES) | set(COLUMN_TALLIES) | set(COUNTS) | set(SCHEMA_RULES) | set(QUERIES)
    likes = {kind for kind in compiled if "like_pattern" in kind}  # GX has them on SQL databases alone
    assert compared == compiled - likes | {"unexpected_rows_expectation"}


def test_the_catalogue_is_gx_own() -> None:
    importlib.import_module("batchscore.checks.engine")  # imports GX with its analytics off
    core = importlib.import_module("great_expectations.expectations.core")

    types = {getattr(getattr(core, name), "expectation_type", "") for name in dir(core)}
    assert {kind for kind in types if kind} == set(CORE)


def make(position: int, kind: str, **kwargs: Any) -> Expectation:
    return Expectation(
        rule=f"input[{position}]",
        where="",
        type=kind if kind.startswith("unexpected") else f"expect_{kind}",
        kwargs=kwargs,
        severity="critical",
        on_row_fail=None,
        fingerprint="",
    )


def test_gx_evaluates_what_is_left_to_it(
    spark: SparkSession, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Errors stay with their own expectation, and neither they nor the logs hold cell values."""
    from batchscore.checks.engine import run_gx  # noqa: PLC0415 - seconds to import

    before = persisted(spark)
    frame = spark.createDataFrame(
        [(1, "secret-cell", None), (2, "b", 2.0), (3, None, 3.0)], "i long, s string, f double"
    )
    with caplog.at_level(logging.INFO):
        found = run_gx(
            frame,
            [
                make(0, "column_values_to_be_unique", column="i"),
                make(1, "column_values_to_be_unique", column="i"),
                make(2, "column_median_to_be_between", column="i", min_value=1, max_value=3),
                make(3, "column_values_to_not_be_null", column="s", row_condition="i > 1", condition_parser="spark"),
                make(4, "column_sum_to_be_between", column="s", min_value=5, max_value=9),
            ],
        )
    assert [found[f"input[{i}]"] for i in range(4)] == [
        Answer(success=True, evaluated=3, unexpected=0),
        Answer(success=True, evaluated=3, unexpected=0),
        Answer(success=True, observed=2.0),
        Answer(success=False, evaluated=2, unexpected=1),
    ]
    error = str(found["input[4]"].error)
    assert "[CAST_INVALID_INPUT]" in error
    said = " ".join([error, caplog.text, *capfd.readouterr()])
    assert "secret-cell" not in said
    assert persisted(spark) == before  # it caches nothing (Delta's own snapshots may stand there)
