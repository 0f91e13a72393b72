"""Held runs, rollback, resume and blocks: what each publishes, what it refuses, and what the audit says of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from crashes import Crash
from small_job import GOOD, SmallJob, make_small_job, row

from batchscore.decisions import block_intervals, discard_run, free_intervals, release_interval
from batchscore.errors import ConfigError, InputError, IntervalBlocked, RunHeld, RunSuperseded, WriteError
from batchscore.republish import override_held, resume_run, rollback_interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

GATE = "gates.volume={of_median: [0.5, 2.0]}"
DAYS = ("2013-09-01", "2013-09-02", "2013-09-03")


@pytest.fixture(scope="module")
def gated(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """A job with three published days of one row, and a fourth of five rows, one of them bad."""
    many = [row(id=i, day="2013-10-01") for i in range(10, 14)] + [row(id=20, text=None)]
    small = make_small_job(spark, tmp_path_factory.mktemp("gated"), [row(id=i, day=d) for i, d in enumerate(DAYS)])
    small.write_rows(many)
    for day in DAYS:
        small.run(day)
    return small


def test_a_gate_holds_a_run_and_somebody_publishes_it(gated: SmallJob) -> None:
    held = gated.run("2013-10-01", GATE)
    assert (held.status, held.gates[-1]["verdict"]) == ("held", "fail")
    assert "5 rows; expected 0.5 to 2" in str(held.reason)
    assert len(gated.scores()) == 3
    with pytest.raises(RunHeld, match=rf"run {held.run_id} has scored these inputs and is held.*--override REASON"):
        gated.run("2013-10-01", GATE)
    target = gated.outputs()
    assert target.ledger.account(held.interval).held is not None
    record = override_held(gated.spark, gated.load(), held.run_id[:20], "a strike ended")
    assert (record.status, record.kind, record.of, record.reason) == (
        "published",
        "override",
        held.run_id,
        "a strike ended",
    )
    assert record.counts == {"read": 5, "scored": 4, "quarantined": 1}
    assert {r["_run_id"] for r in gated.scores() if r["id"] >= 10} == {record.run_id}
    assert [(r["id"], r["_run_id"]) for r in gated.quarantined()] == [(20, record.run_id)]
    assert target.stages.run_ids() == []
    assert gated.run("2013-10-01").status == "unchanged"
    with pytest.raises(ConfigError, match=f"run {held.run_id}: expected a run that is held; run {record.run_id} of"):
        override_held(gated.spark, gated.load(), held.run_id, "again")


def test_a_held_run_that_is_discarded_may_be_tried_again(gated: SmallJob) -> None:
    gated.write_rows([row(id=i, day="2013-10-02") for i in range(30, 35)])
    held = gated.run("2013-10-02", GATE)
    event = discard_run(gated.outputs(), gated.load(), held.run_id, "wrong load")
    assert (event["kind"], event["of"], event["reason"]) == ("discard", held.run_id, "wrong load")
    for again in (override_held, None):
        with pytest.raises(ConfigError, match=f"run {held.run_id}: expected"):
            if again is None:
                discard_run(gated.outputs(), gated.load(), held.run_id, None)
            else:
                again(gated.spark, gated.load(), held.run_id, "late")
    assert gated.run("2013-10-02").status == "published"


def test_rollback_restores_rows_and_pins_the_model_until_released(spark: SparkSession, tmp_path: Path) -> None:
    small = make_small_job(spark, tmp_path, [GOOD, row(id=2, text=None)], created=True)
    first = small.run()
    old = small.scores()
    small.add_model((1.0, 1.0))
    second = small.run()
    job, interval = small.load(), small.interval("2013-10-01")
    for to, message in (("2", "it fits [02]"), ("nobody", "it fits 0"), (second.run_id, "is what readers see")):
        with pytest.raises(ConfigError, match=message):
            rollback_interval(spark, job, interval, to, None)
    back = rollback_interval(spark, job, interval, first.run_id, "worse scores")
    assert (back.kind, back.of, back.generation, back.counts) == ("rollback", first.run_id, 3, first.counts)
    kept = ("id", "p", "city", "_model", "_scored_at")
    assert [[r[name] for name in kept] for r in small.scores()] == [[r[name] for name in kept] for r in old]
    assert [(r["id"], r["_run_id"]) for r in small.quarantined()] == [(2, back.run_id)]
    assert small.run().status == "unchanged"  # the alias names another model, but this interval's is pinned
    release_interval(small.outputs(), interval, None)
    with pytest.raises(ConfigError, match="has pinned; it is not"):
        release_interval(small.outputs(), interval, None)
    with pytest.raises(RunSuperseded):  # the job's own model has scored it before
        small.run()
    kinds = [r["kind"] for r in small.audit() if r["kind"] != "failed"]
    assert kinds == ["run", "run", "rollback", "release"]
    spark.sql(f"DELETE FROM delta.`{small.folder / 'scores'}` WHERE id = 1")
    small.run(force=True)
    with pytest.raises(InputError, match=r"expected its 1 rows .*found 0: others have changed the table"):
        rollback_interval(spark, job, interval, back.run_id, None)


@pytest.mark.parametrize("point", ["stage.sealed", "quarantine.found"])
def test_a_stopped_run_is_resumed_without_scoring(
    spark: SparkSession, tmp_path: Path, crash_at: Callable[[str], None], point: str
) -> None:
    small = make_small_job(spark, tmp_path, [GOOD, row(id=2, text=None)], created=True)
    crash_at(point)
    with pytest.raises(Crash):
        small.run()
    (run_id,) = small.outputs().stages.run_ids()
    with pytest.raises(ConfigError, match=r"changed since: features\.columns\[1\]\.sql\. Its staged rows"):
        resume_run(spark, small.load("features.columns.1.sql=b / 3"), run_id)
    steps: list[str] = []
    record = resume_run(spark, small.load("checks.max_quarantine_pct=60"), run_id, progress=steps.append)
    assert (record.status, record.run_id, record.counts["scored"]) == ("published", run_id, 1)
    assert "score" not in steps
    assert [r["_run_id"] for r in small.quarantined()] == [run_id]
    assert [(r["kind"], r["run_id"]) for r in small.audit()] == [("abandoned", run_id), ("run", run_id)]
    assert small.outputs().stages.run_ids() == []


@pytest.mark.slow
def test_a_stage_that_was_overtaken_is_not_resumed(small: SmallJob, crash_at: Callable[[str], None]) -> None:
    crash_at("stage.sealed")
    with pytest.raises(Crash):
        small.run()
    (run_id,) = small.outputs().stages.run_ids()
    newer = small.run()
    with pytest.raises(RunSuperseded, match=f"run {newer.run_id} of the interval was published since"):
        resume_run(small.spark, small.load(), run_id)
    assert small.outputs().stages.run_ids() == []
    assert [r["_run_id"] for r in small.scores()] == [newer.run_id]


def test_a_blocked_interval_says_why_and_stays_as_it_is(small: SmallJob) -> None:
    interval = small.interval("2013-10-01")
    block_intervals(small.outputs(), [interval], "the source is wrong")
    for force in (False, True):
        with pytest.raises(IntervalBlocked, match=r"2013-10-01 .* is blocked: the source is wrong\..*--lift"):
            small.run(force=force)
    free_intervals(small.outputs(), [interval], None)
    with pytest.raises(ConfigError, match="it is not blocked"):
        free_intervals(small.outputs(), [interval], None)
    assert small.run().status == "published"


def test_parquet_output_keeps_nothing_to_go_back_to(spark: SparkSession, tmp_path: Path) -> None:
    small = make_small_job(spark, tmp_path)
    parquet = "output.format=parquet"
    first = small.run("2013-10-01", parquet)
    small.run("2013-10-01", parquet, force=True)
    with pytest.raises(WriteError, match=r"plain Parquet output keeps none\. Score the interval again"):
        rollback_interval(spark, small.load(parquet), small.interval("2013-10-01"), first.run_id, None)


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path) -> SmallJob:
    return make_small_job(spark, tmp_path, created=True)
