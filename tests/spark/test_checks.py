"""Checks on Spark: reasons of every row, Spark columns, queries, odd names, checks alone, and their bad inputs."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_job import SmallJob, make_small_job, persisted, row

from batchscore import api
from batchscore.checking import check_interval, profile_interval
from batchscore.checks.text_rules import like_args
from batchscore.errors import ConfigError, InputError
from batchscore.intervals import parse_interval
from batchscore.kernel.rules import evaluate
from batchscore.kernel.spec import RuleSpec
from batchscore.loading import load_job
from batchscore.planning import prepare

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ODD = ("Dep Delay", "a.b", "tick`s", "größe", "City")
JOB = """
job: odd
interval: {grain: snapshot}
input: {table: ./odd, format: parquet, key: [id]}
checks:
  input:
    - {type: expect_column_values_to_be_between, kwargs: {column: dep delay, min_value: 0, max_value: 100}}
    - {type: expect_column_values_to_not_be_null, kwargs: {column: "a.b"}}
    - {type: expect_column_values_to_match_regex, kwargs: {column: "tick`s", regex: "^(?!bad)"}}
    - type: expect_column_values_to_be_between
      kwargs: {column: größe, max_value: 9, row_condition: "CITY = 'x'", condition_parser: spark}
    - {expect_row_sql: "`a.b` <> `größe`", name: not the same}
    - {expect_row_sql: "1 / (`größe` - 5) < 10", name: computable, on_row_fail: quarantine, severity: warning}
    - {type: expect_column_values_to_be_in_set, kwargs: {column: city, value_set: [x, y], mostly: 0.5}, severity: info}
    - {type: expect_column_mean_to_be_between, kwargs: {column: größe, min_value: 0, max_value: 20}}
    - {type: expect_compound_columns_to_be_unique, kwargs: {column_list: [ID, "a.b"]}}
features: {columns: [{name: f, sql: "`dep delay` * 1.0d"}, {name: g, sql: "`größe` * 1.0d", on_null: {impute: 0}}]}
model: {uri: "models:/small@champion", outputs: {p: "probabilities[:, 1]"}}
output: {scores: ./odd_scores, format: parquet}
registry: {uri: "sqlite:///registry/mlflow.db"}
"""
NAMES = ["input[0]", "input[1]", "input[2]", "input[3]", "input[4]", "input[5]"]


def known_faults(values: dict[str, Any]) -> set[str]:
    """The rules that a row breaks, worked out in plain Python."""
    delay, dotted, tick, size, city = (values[name] for name in ODD)
    broken = {
        "input[0]": delay is not None and not 0 <= delay <= 100,
        "input[1]": dotted is None,
        "input[2]": tick is not None and tick.startswith("bad"),
        "input[3]": city == "x" and size is not None and size > 9,
        "input[4]": dotted is not None and size is not None and dotted == size,
        # a row for which it cannot be computed breaks the rule; null passes
        "input[5]": size is not None and (size == 5 or 1 / (size - 5) >= 10),
    }
    return {rule for rule, fails in broken.items() if fails}


def make_rows(count: int) -> list[dict[str, Any]]:
    draw = random.Random(3)
    pools = (
        [None, -1, 5, 50, 101],
        [None, 1, 2, 3],
        [None, "ok", "bad", "bad one"],
        [None, *range(1, 13)],
        ["x", "y", "z"],
    )
    return [
        {"id": number, **{name: draw.choice(pool) for name, pool in zip(ODD, pools, strict=True)}}
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def odd(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallJob, list[dict[str, Any]]]:
    """A job on 10,000 rows under odd names, each with known faults."""
    small = make_small_job(spark, tmp_path_factory.mktemp("odd"), rows=())
    rows = make_rows(10_000)
    schema = "id bigint, `Dep Delay` int, `a.b` int, `tick``s` string, `größe` int, `City` string"
    frame = spark.createDataFrame([tuple(r.values()) for r in rows], schema).repartition(3)
    frame.write.parquet(str(small.folder / "odd"))
    (small.folder / "job.yaml").write_text(JOB, encoding="utf-8")
    return small, rows


def test_every_rows_reasons_are_right(odd: tuple[SmallJob, list[dict[str, Any]]], spark: SparkSession) -> None:
    small, rows = odd
    before = persisted(spark)
    record = small.run(None)
    expected = {r["id"]: found for r in rows if (found := known_faults(r))}
    found: dict[int, set[str]] = defaultdict(set)
    for aside in small.quarantined():
        found[aside["id"]] = {reason["rule"] for reason in aside["_reasons"] if reason["rule"].startswith("input[")}
        assert json.loads(aside["_row"])["tick`s"] == rows[aside["id"]]["tick`s"]
    broken = {key: rules for key, rules in found.items() if rules}
    assert broken == expected
    nulls = {r["id"] for r in rows if r["Dep Delay"] is None}  # the feature's null policy
    assert set(found) == set(expected) | nulls
    counts = record.counts
    assert counts["read"] == counts["scored"] + counts["quarantined"] == 10_000
    assert {row["id"] for row in small.scores()} == {r["id"] for r in rows} - set(found)
    assert [check["engine"] for check in record.checks] == [
        *("kernel", "kernel", "column", "kernel", "column", "column", "kernel", "tally", "query"),
    ]
    counted = {name: sum(name in rules for rules in expected.values()) for name in NAMES}
    assert {check["rule"]: check["unexpected"] for check in record.checks[:6]} == counted
    prints = {check["rule"]: check["fingerprint"] for check in record.checks}
    assert all(len(value) == 64 for value in prints.values())
    assert persisted(spark) == before  # a run caches nothing (Delta's own snapshots may stand there)


def test_checks_alone_say_the_same(odd: tuple[SmallJob, list[dict[str, Any]]], spark: SparkSession) -> None:
    small, rows = odd
    report = check_interval(spark, small.load(), parse_interval(None, "snapshot", "UTC"))
    broken = sum(bool(known_faults(r)) for r in rows)
    assert report.counts == {"read": 10_000, "set_aside": broken}
    assert report.stopped is None
    words = {line[0]: line[1] for line in report.sheet().tables[0][2]}
    assert words == {
        **dict.fromkeys(NAMES, "WARN"),
        "input[6]": "PASS",  # two thirds of the cities are known
        "input[7]": "PASS",
        "input[8]": "PASS",
    }
    assert report.sheet().tables[0][2][4][2] == "not the same"


def test_files_are_read_directly_to_the_same_verdicts(
    odd: tuple[SmallJob, list[dict[str, Any]]], spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, _ = odd
    plain = "checks.input=[{type: expect_column_values_to_not_be_null, kwargs: {column: a.b}}]"
    direct = check_interval(spark, small.load(plain), parse_interval(None, "snapshot", "UTC"))
    monkeypatch.setattr("batchscore.checking.tally_files", None)
    through_spark = check_interval(
        spark, small.load(plain, "engine.scan=spark"), parse_interval(None, "snapshot", "UTC")
    )
    assert direct.checks == through_spark.checks
    assert direct.counts == through_spark.counts


BAD = [
    ("{expect_row_sql: '`größe` + 1', name: n}", "expected SQL that is true or false; found one of type int"),
    ("{expect_row_sql: 'none > 1', name: n}", "expected SQL that Spark can resolve"),
    ("{expect_row_sql: '`größe` >', name: n}", "expected a Spark SQL expression; found:"),
    ("{expect_row_sql: '`größe` > 0) or (1 = 1', name: n}", "expected a Spark SQL expression; found:"),
    ("{expect_row_sql: 'rand() > 0.5', name: n}", "function 'rand' is not allowed"),
    ("{expect_row_sql: \"reflect('java.lang.System', 'exit', 1) = 1\", name: n}", "function 'reflect' is not allowed"),
    ("{expect_row_sql: 'exists(select 1)', name: n}", "expected a scalar expression of the row"),
    (
        "{type: expect_column_values_to_match_regex, kwargs: {column: City, regex: '(?<x'}}",
        "expected a Java regular expression; its regex does not compile",
    ),
    (
        "{type: expect_column_values_to_be_between, kwargs: {column: a.b}}",
        "min_value and max_value cannot both be None",
    ),
    (
        "{type: expect_column_values_to_be_between, kwargs: {column: a.b, max_value: 1, minvalue: x}}",
        "expected arguments that Great Expectations takes; it says: 'minvalue': extra fields not permitted. Correct",
    ),
    ("{type: expect_column_values_to_not_be_null, kwargs: {}}", "it says: 'column': field required. Correct them."),
]


@pytest.mark.parametrize(("item", "message"), BAD)
def test_bad_expectations_are_named_before_anything_is_read(
    odd: tuple[SmallJob, list[dict[str, Any]]], spark: SparkSession, item: str, message: str
) -> None:
    small, _ = odd
    with pytest.raises(ConfigError) as caught:
        check_interval(spark, small.load(f"checks.input=[{item}]"), parse_interval(None, "snapshot", "UTC"))
    assert message in str(caught.value)
    assert "checks.input.0" in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("p > 0) or (1 = 1", "expected a Spark SQL expression; found:"),
        ("reflect('java.lang.System', 'exit', 1) = 1", "function 'reflect' is not allowed"),
        ("p + 1", "expected SQL that is true or false; found one of type double"),
        ("none > 1", "expected SQL that Spark can resolve"),
    ],
)
def test_bad_sql_on_scores_is_named_before_anything_is_read(small: SmallJob, sql: str, message: str) -> None:
    job = small.load(f'checks.output=[{{expect_row_sql: "{sql}", name: n}}]')
    with pytest.raises(ConfigError) as caught:
        prepare(small.spark, job, small.interval("2013-10-01", job))
    assert message in str(caught.value)
    assert "checks.output.0" in str(caught.value)


LIKES = ["a%", "%b", "_", "a_b", "%", "", r"\%", r"a\_b", "a.b", "(a", "é%", "%\n%"]
TEXTS = ["", "a", "b", "ab", "a_b", "axb", "a.b", "%", "(a", "é", "éx", "a\nb", "a\n", "🙂"]


def test_like_patterns_mean_what_spark_means(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(text,) for text in TEXTS], "s string").coalesce(1)
    for pattern in LIKES:
        _, args = like_args("any")({"column": "s", "like_pattern": pattern}, [pa.string()], "UTC")
        rule = RuleSpec(
            rule="", fingerprint="", expectation="", place="input", kind="match_like", columns=("s",), severity="info",
            on_row_fail="keep", args=args,
        )  # fmt: skip
        fails, _ = evaluate(rule, {"s": pa.array(TEXTS)})
        ours = {text for text, failed in zip(TEXTS, fails, strict=True) if not failed}
        assert ours == {r["s"] for r in frame.where(frame["s"].like(pattern)).collect()}, pattern


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    rows = [row(id=number, a=float(number), city="xy"[number % 2]) for number in range(20)]
    return make_small_job(spark, tmp_path_factory.mktemp("small"), rows)


LIMIT = "kwargs: {column: ratio, max_value: 1}, severity: warning"
FEATURES = f"checks.features=[{{type: expect_column_max_to_be_between, {LIMIT}}}]"
OUTPUT = (
    "checks.output=[{expect_row_sql: 'p < 0.9', name: not too sure, severity: warning}, "
    "{type: expect_column_median_to_be_between, kwargs: {column: P, max_value: 0.999}, severity: info}, "
    "{type: expect_column_values_to_be_between, kwargs: {column: p, max_value: 1}}]"
)


def test_all_three_places_are_asked(small: SmallJob, spark: SparkSession) -> None:
    job = small.load(FEATURES, OUTPUT)
    interval = small.interval("2013-10-01", job)
    before = check_interval(spark, job, interval)
    assert before.left_out == {"output": "no scores are published for this interval"}
    record = small.run("2013-10-01", FEATURES, OUTPUT)
    after = check_interval(spark, job, interval)
    assert after.left_out == {}
    places = {"input": 3, "features": 1, "output": 3}
    assert [c["place"] for c in after.checks] == [place for place, count in places.items() for _ in range(count)]
    assert [{k: c[k] for k in ("rule", "success", "unexpected", "engine")} for c in after.checks] == [
        {k: c[k] for k in ("rule", "success", "unexpected", "engine")} for c in record.checks
    ]
    engines = [c["engine"] for c in record.checks if c["place"] == "output"]
    assert engines == ["query", "query", "kernel"]
    found = api.gx_results(job, record)
    assert {place: len(result.results) for place, result in found.items()} == places
    assert found["output"].success is False
    assert json.loads(json.dumps(found["output"].to_json_dict()))["statistics"]["evaluated_expectations"] == 3
    with pytest.raises(ConfigError, match="it has changed since"):
        api.gx_results(small.load(FEATURES, "checks.output=[{expect_row_sql: 'p < 1', name: other}]"), record)


def test_a_check_that_would_stop_a_run_says_so_and_writes_nothing(small: SmallJob, spark: SparkSession) -> None:
    job = small.load("checks.input=[{type: expect_column_max_to_be_between, kwargs: {column: a, max_value: 1}}]")
    before = small.versions()
    report = check_interval(spark, job, small.interval("2013-10-01", job))
    assert str(report.stopped).startswith("checks: 1 critical expectation failed: input[0] expect_column_max_to_be")
    assert report.success is False
    assert small.versions() == before


def test_a_suggested_suite_is_met(small: SmallJob, spark: SparkSession, tmp_path: Path) -> None:
    job = small.load()
    suite = profile_interval(spark, job, small.interval("2013-10-01", job))
    (small.folder / "suggested.json").write_text(json.dumps(suite))
    report = check_interval(spark, small.load("checks.input=suggested.json"), small.interval("2013-10-01", job))
    assert [check["success"] for check in report.checks] == [True] * len(suite["expectations"])
    assert len(report.checks) > 15


def test_a_suggested_range_holds_what_a_float_cannot(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.sql(
        "SELECT id, CAST(if(id = 0, '12345678901234567890.123456789', '-1') AS DECIMAL(38, 9)) AS wide, "
        "CAST(id / 10 AS DECIMAL(5, 2)) AS narrow FROM range(4)"
    )
    frame.write.parquet(f"{tmp_path}/odd")
    (tmp_path / "job.yaml").write_text(JOB)
    suite = profile_interval(spark, load_job(tmp_path / "job.yaml"), parse_interval(None, "snapshot", "UTC"))
    ranges = {e["kwargs"]["column"] for e in suite["expectations"] if e["type"].endswith("values_to_be_between")}
    assert ranges == {"id", "narrow"}


TIMES = pa.array([1], pa.time64("us"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1], "t": TIMES}, "found a time of day. Write it as text or a number upstream"),
        ({"id": [1], "v": [1], "V": [2]}, "expected columns that differ in more than case; found `v` twice"),
        ({"id": [1], "_passes_input_0": [1]}, "column '_passes_input_0' has a name that batchscore uses"),
    ],
)
def test_tables_that_spark_cannot_read_are_named(
    spark: SparkSession, tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    (tmp_path / "odd").mkdir()
    pq.write_table(pa.table(columns), tmp_path / "odd" / "p.parquet")
    (tmp_path / "job.yaml").write_text(JOB)
    with pytest.raises(InputError) as caught:
        check_interval(spark, load_job(tmp_path / "job.yaml"), parse_interval(None, "snapshot", "UTC"))
    assert message in str(caught.value)
    assert "odd" in str(caught.value) or "input.table" in str(caught.value)
