"""Runs of a small job: what is published, what is set aside and why, and what a re-run does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from onnx_models import add_version, make_lookup, write_folder
from small_job import GOOD, SmallJob, make_small_job, probability, row

from batchscore.errors import ChecksFailed, InputError, RunSuperseded, ScoringError
from batchscore.ledger import find_standing
from batchscore.outputs import open_outputs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path) -> SmallJob:
    return make_small_job(spark, tmp_path, created=True)


# Each row of bad input, and the (kind, column) reasons that it must be set aside for.
BAD_ROWS: list[tuple[tuple[Any, ...], set[tuple[str, str]]]] = [
    (row(id=11, text=None), {("expect_column_values_to_not_be_null", "text")}),
    (row(id=12, a=101.0), {("expect_column_values_to_be_between", "a")}),
    (row(id=13, a=float("nan")), {("expect_column_values_to_be_between", "a")}),
    (row(id=14, a=None), {("null", "a")}),
    (row(id=15, city="y"), {("not_computable", "ratio")}),  # division by zero
    (row(id=16, city="q"), {("null", "ratio")}),  # no such city
    (row(id=17, b=None), {("null", "ratio")}),
    (
        row(id=18, text=None, a=-1.0),
        {("expect_column_values_to_not_be_null", "text"), ("expect_column_values_to_be_between", "a")},
    ),
    (row(id=None), {("null_key", "id")}),
]


def test_every_kind_of_bad_row_is_set_aside_with_its_reasons(spark: SparkSession, tmp_path: Path) -> None:
    good = [row(id=i, a=float(i)) for i in range(1, 5)]
    small = make_small_job(spark, tmp_path, [*good, *(bad for bad, _ in BAD_ROWS)], created=True)
    record = small.run()
    assert record.status == "published"
    assert record.counts == {"read": 13, "scored": 4, "quarantined": 9}
    scores = small.scores()
    assert [r["id"] for r in scores] == [1, 2, 3, 4]
    assert [r["p"] for r in scores] == pytest.approx([probability(float(i), 2.0) for i in range(1, 5)], abs=1e-6)
    assert {(r["_interval"], r["_run_id"], r["_generation"], r["_model"]) for r in scores} == {
        ("2013-10-01T04:00:00Z", record.run_id, 1, "small/1")
    }
    found = {r["id"]: r for r in small.quarantined()}
    assert {key: {(reason["kind"], reason["column"]) for reason in r["_reasons"]} for key, r in found.items()} == {
        bad[0]: reasons for bad, reasons in BAD_ROWS
    }
    raw = json.loads(found[12]["_row"])
    assert raw["a"] == 101.0 and raw["text"] == "t" and raw["b"] == 4  # columns that the kernel never saw are there
    assert {r["_stage"] for r in found.values()} == {"input", "features"}
    warning = next(c for c in record.checks if c["severity"] == "warning")
    assert (warning["success"], warning["unexpected"], warning["stops"]) == (False, 1, False)


LOOKUP_JOB = """
job: small
interval: {column: day, grain: day}
input: {table: ./rows, key: [id]}
features: {columns: [{name: a}]}
model: {uri: "models:/small@champion", inputs: {x: [a]}, outputs: {p: y}}
output: {scores: ./scores}
registry: {uri: "sqlite:///registry/mlflow.db"}
"""


@pytest.mark.parametrize("poison", [1, 37])
def test_rows_that_the_model_refuses_cost_themselves_alone(poison: int, spark: SparkSession, tmp_path: Path) -> None:
    small = make_small_job(spark, tmp_path, ())
    (tmp_path / "job.yaml").write_text(LOOKUP_JOB)
    add_version(small.registry, "small", write_folder(tmp_path / "lookup", make_lookup([0.5, 1.5])), "champion")
    every = 100_000 // poison
    a = f"if(id % {every} = 99 and id < {every * poison}, 7, id % 2)"
    rows = spark.range(100_000).selectExpr("id", "date'2013-10-01' day", f"{a} a")
    rows.repartition(3).write.format("delta").save(str(tmp_path / "rows"))

    record = small.run()

    assert record.counts == {"read": 100_000, "scored": 100_000 - poison, "quarantined": poison}
    assert record.reasons == {"unscorable p": poison}
    assert record.runtime["failed_rows"] == poison
    aside = small.quarantined()
    assert {json.loads(r["_row"])["a"] for r in aside} == {7}
    assert {r["_stage"] for r in aside} == {"output"}
    assert all("idx=7 must be within" in r["_reasons"][0]["error"] for r in aside)
    with pytest.raises(ScoringError, match=r"max_failed_rows: expected few .* refuses; found") as caught:
        small.run("2013-10-01", f"scoring.max_failed_rows={poison - 1}", force=True)
    assert "idx" not in str(caught.value)


def test_duplicate_keys_are_set_aside_where_asked_and_carry_their_own_rows(spark: SparkSession, tmp_path: Path) -> None:
    small = make_small_job(spark, tmp_path, [row(id=1, a=1.0), row(id=1, a=2.0), row(id=2)], created=True)
    record = small.run("2013-10-01", "input.on_duplicate_key=quarantine")
    assert record.counts == {"read": 3, "scored": 1, "quarantined": 2}
    assert sorted(json.loads(r["_row"])["a"] for r in small.quarantined()) == [1.0, 2.0]
    assert {r["_reasons"][0]["kind"] for r in small.quarantined()} == {"duplicate_key"}
    kept = small.run("2013-10-01", "input.on_duplicate_key=keep")
    assert kept.counts["scored"] == 3


def test_a_re_run_writes_nothing_and_says_so(small: SmallJob) -> None:
    first = small.run()
    before = small.versions()
    second = small.run()
    assert (second.status, second.run_key, second.counts) == ("unchanged", first.run_key, first.counts)
    assert small.versions() == before
    assert [r["status"] for r in small.audit()] == ["published"]


def test_an_append_of_another_day_and_a_faster_engine_score_nothing_again(small: SmallJob) -> None:
    small.run()
    small.write_rows([row(id=5, day="2013-10-02")])
    assert small.run("2013-10-01", "scoring.batch_rows=7", "checks.max_quarantine_pct=50").status == "unchanged"


def test_what_decides_values_makes_a_new_generation_of_that_interval_only(small: SmallJob) -> None:
    small.write_rows([row(id=5, day="2013-10-02")])
    first, other = small.run(), small.run("2013-10-02")
    small.add_model((1.0, 1.0))
    third = small.run()
    assert (first.generation, other.generation, third.generation) == (1, 1, 2)
    assert {(r["id"], r["_run_id"], r["_model"]) for r in small.scores()} == {
        (1, third.run_id, "small/2"),
        (5, other.run_id, "small/1"),
    }
    small.write_rows([row(id=6)])
    assert small.run().generation == 3


def test_backfilling_an_older_day_after_a_newer_one_writes_rows(small: SmallJob) -> None:
    small.write_rows([row(id=5, day="2013-10-02")])
    small.run("2013-10-02")
    assert small.run("2013-10-01").status == "published"
    assert [r["id"] for r in small.scores()] == [1, 5]


@pytest.mark.slow
def test_an_older_run_key_is_refused_and_force_publishes_it_again(small: SmallJob) -> None:
    small.run("2013-10-01", "model.uri=models:/small/1")
    small.add_model((1.0, 1.0))
    newer = small.run()
    with pytest.raises(RunSuperseded, match=f"replaced by run {newer.run_id} .*use --force"):
        small.run("2013-10-01", "model.uri=models:/small/1")
    assert [r["_model"] for r in small.scores()] == ["small/2"]
    forced = small.run("2013-10-01", "model.uri=models:/small/1", force=True)
    assert (forced.kind, forced.generation) == ("force", 3)
    assert [r["_model"] for r in small.scores()] == ["small/1"]


def test_the_audit_holds_one_record_an_attempt_and_its_chain_holds(small: SmallJob) -> None:
    from batchscore.audit.chain import GENESIS, digest  # noqa: PLC0415

    published = small.run()
    with pytest.raises(ChecksFailed):
        small.run("2013-10-01", "checks.max_quarantine_pct=0", "features.columns.1.sql=b / 0")
    rows = [r.asDict() for r in small.outputs().audit.read().orderBy("seq").collect()]
    assert [(r["seq"], r["kind"], r["status"]) for r in rows] == [(1, "run", "published"), (2, "failed", "failed")]
    previous = GENESIS
    for r in rows:
        assert r["prev_sha256"] == previous and r["sha256"] == digest(r)
        previous = r["sha256"]
    record = json.loads(rows[0]["record"])
    assert record["counts"] == published.counts
    assert record["commits"]["scores"] == published.commits["scores"]
    assert record["timings_s"]["publish"] > 0
    assert record["model"]["sha256"] == published.model["sha256"] if published.model else False
    assert record["runtime"]["providers"] == {"CPUExecutionProvider": 1}
    assert record["runtime"]["devices"] == {"cpu": 1.0}
    assert json.loads(rows[1]["record"])["error_type"] == "ChecksFailed"


@pytest.mark.slow
def test_a_run_stopped_before_its_commit_leaves_the_old_scores_and_the_next_one_publishes(
    spark: SparkSession, tmp_path: Path
) -> None:
    """By Ctrl-C, which leaves a record; crashes at every point are in tests/faults."""
    small = make_small_job(spark, tmp_path, [GOOD, row(id=2, text=None)], created=True)
    old = small.run()
    small.add_model((1.0, 1.0))

    def stop(name: str) -> None:
        if name == "scores":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small.run(progress=stop)
    assert {r["_run_id"] for r in small.scores()} == {old.run_id}
    assert {r["_run_id"] for r in small.quarantined()} == {old.run_id}
    new = small.run()
    assert (new.status, new.generation) == ("published", 2)
    assert [r["_run_id"] for r in small.quarantined()] == [new.run_id]
    assert [r["status"] for r in small.audit()] == ["published", "cancelled", "published"]


def test_a_run_stopped_behind_its_commit_is_published_and_the_next_one_repairs_the_audit(small: SmallJob) -> None:
    def stop(name: str) -> None:
        if name == "audit":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small.run(progress=stop)
    assert len(small.scores()) == 1
    again = small.run()
    assert again.status == "unchanged"
    audit = small.audit()
    assert [r["kind"] for r in audit].count("run") == 1
    assert next(r for r in audit if r["kind"] == "run")["run_id"] == small.scores()[0]["_run_id"]


def test_a_run_that_only_the_scores_log_knows_is_not_published_again(small: SmallJob) -> None:
    """Another driver's commit counts from the moment it lands, not from when the audit has it."""
    first = small.run()
    behind = open_outputs(small.spark, small.load("output.audit=./another_audit"))  # an audit that holds nothing yet
    account = behind.ledger.account(first.interval)
    standing = find_standing(account, first.run_key, 2, first.interval, force=False)
    assert (standing.action, standing.current and standing.current["run_id"]) == ("unchanged", first.run_id)
    assert behind.ledger.generation(first.interval) == 2


def test_changes_of_others_become_foreign_events(small: SmallJob) -> None:
    small.run()
    small.spark.sql(f"DELETE FROM delta.`{small.folder / 'scores'}` WHERE id = 1")
    small.outputs().ledger.repair()
    assert [(r["kind"], r.get("operation")) for r in small.audit()] == [("run", None), ("foreign", "DELETE")]


def test_an_empty_result_never_replaces_scores_without_force(small: SmallJob) -> None:
    small.run()
    small.spark.sql(f"DELETE FROM delta.`{small.folder / 'rows'}`")
    for sets, message in (
        (["interval.schedule=null"], "found no rows, but run .* published scores"),
        ([], "expected rows, since the job is scheduled daily; found none"),
    ):
        with pytest.raises(InputError, match=message):
            small.run("2013-10-01", *sets)
    assert len(small.scores()) == 1
    assert small.run("2013-10-01", "input.allow_empty=true", force=True).counts["read"] == 0
    assert small.scores() == []


def test_a_null_under_on_null_fail_stops_the_run(small: SmallJob) -> None:
    small.write_rows([row(id=2, a=None)])
    with pytest.raises(ScoringError, match=r"feature 'a': expected no nulls \(on_null: fail\); found 1 in one batch"):
        small.run("2013-10-01", "features.columns.0.on_null=fail")


@pytest.mark.slow
def test_imputed_and_nan_features_are_scored(small: SmallJob) -> None:
    small.write_rows([row(id=2, a=None)])
    small.write_suite([])
    small.run("2013-10-01", "features.columns.0.on_null={impute: 4.0}")
    assert small.scores()[1]["p"] == pytest.approx(probability(4.0, 2.0), abs=1e-6)
    record = small.run("2013-10-01", "features.columns.0.on_null=nan")
    assert record.reasons == {"bad_score p": 1}
    kept = small.run("2013-10-01", "features.columns.0.on_null=nan", "scoring.on_bad_score=keep")
    assert kept.counts["scored"] == 2
    with pytest.raises(ScoringError, match="expected finite scores"):
        small.run("2013-10-01", "features.columns.0.on_null=nan", "scoring.on_bad_score=fail")


def test_a_snapshot_takes_the_whole_table(small: SmallJob) -> None:
    small.write_rows([row(id=5, day="2013-12-31")])
    record = small.run(None, "interval={grain: snapshot}", "output.scores=./whole")
    assert (record.interval, record.counts["scored"]) == ("snapshot", 2)
