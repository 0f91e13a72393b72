"""Backfills and status: what is left is run, once, by the chosen model; what failed is told and tried again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from small_job import SmallJob, make_small_job, row

from batchscore.backfills import plan_backfill
from batchscore.decisions import block_intervals
from batchscore.errors import ChecksFailed, ConfigError
from batchscore.interrupts import call_interruptibly
from batchscore.outcomes import BackfillResult
from batchscore.schedules import list_intervals
from batchscore.states import read_status

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOW = datetime(2013, 10, 7, tzinfo=UTC)
DAYS = [f"2013-10-0{day}" for day in range(1, 6)]
ONE_BAD = "checks.max_quarantine_rows=0"


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """Five days of two rows; on the third, one is bad."""
    rows = [row(id=10 * i + k, day=day) for i, day in enumerate(DAYS) for k in range(2)]
    rows[5] = row(id=21, day=DAYS[2], text=None)
    return make_small_job(spark, tmp_path_factory.mktemp("small"), rows)


def backfill(small: SmallJob, *sets: str, run: dict[str, Any] | None = None, **choice: Any) -> BackfillResult:
    job = small.load(*sets)
    span = list_intervals("2013-10-01", "2013-10-06", job.config.interval)
    opened = plan_backfill(small.spark, job, span, NOW, **choice)
    return opened.run(**(run or {}))


def outcomes(result: BackfillResult) -> list[str]:
    return [one.outcome for one in result.outcomes]


def states(small: SmallJob, *sets: str, **options: Any) -> list[str]:
    job = small.load(*sets)
    span = list_intervals("2013-10-01", "2013-10-06", job.config.interval)
    return [one.state for one in read_status(small.spark, job, span, NOW, **options).intervals]


def test_one_job_from_nothing_to_done(small: SmallJob) -> None:
    """One story, since each run costs seconds: every step begins where the one before ended."""
    assert states(small) == ["missing"] * 5

    lines: list[str] = []
    first = backfill(small, ONE_BAD, run={"progress": lines.append})
    assert outcomes(first) == ["published", "published", "failed", "waiting", "waiting"]
    assert isinstance(first.error, ChecksFailed)
    assert lines[0] == "2013-10-01 begins"
    assert lines[1].startswith("1 of 5: 2013-10-01 published, 2 scored, 0 quarantined, ")
    assert states(small) == ["done", "done", "failed", "missing", "missing"]

    block_intervals(small.outputs(), [small.interval("2013-10-04")], "the source is wrong")
    second = backfill(small, ONE_BAD, run={"keep_going": True, "parallel": 2}, newest_first=True)
    assert outcomes(second) == ["unchanged", "unchanged", "failed", "skipped", "published"]
    assert second.outcomes[3].why == "blocked: the source is wrong"
    assert "ChecksFailed: checks:" in str(second)

    with pytest.raises(ConfigError, match="retry 2013-11-01: expected an interval of this backfill"):
        second.retry("2013-11-01")
    again = backfill(small, only="failed", limit=1)
    assert outcomes(again) == ["unchanged", "unchanged", "published", "skipped", "unchanged"]
    retried = again.retry("2013-10-02")
    assert outcomes(retried)[1] == "unchanged"
    ends = sorted((r["interval_label"][:10], r["kind"]) for r in small.audit())
    assert ends == [
        ("2013-10-01", "run"),
        ("2013-10-02", "run"),
        ("2013-10-03", "failed"),
        ("2013-10-03", "failed"),
        ("2013-10-03", "run"),
        ("2013-10-04", "block"),
        ("2013-10-05", "run"),
    ]
    assert states(small) == ["done", "done", "done", "blocked", "done"]


def test_a_moved_alias_makes_days_stale_and_as_of_keeps_what_the_audit_shows(small: SmallJob) -> None:
    small.add_model((1.0, 1.0))
    small.write_rows([row(id=31, day="2013-10-04")])
    assert states(small) == ["stale", "stale", "stale", "blocked", "stale"]
    assert states(small, quick=True) == ["done", "done", "done", "blocked", "done"]
    assert outcomes(backfill(small, model="as-of")) == ["unchanged"] * 3 + ["skipped", "unchanged"]
    moved = backfill(small, only="stale", limit=1, newest_first=True)
    assert outcomes(moved) == ["skipped"] * 4 + ["published"]
    assert {(r["_interval"][:10], r["_model"]) for r in small.scores()} == {
        ("2013-10-01", "small/1"),
        ("2013-10-02", "small/1"),
        ("2013-10-03", "small/1"),
        ("2013-10-05", "small/2"),
    }


def test_without_a_published_run_before_it_as_of_has_no_model(spark: SparkSession, tmp_path: Path) -> None:
    fresh = make_small_job(spark, tmp_path, [row()])
    result = backfill(fresh, model="as-of", limit=1)
    assert outcomes(result)[0] == "failed"
    assert "--model as-of would take; the audit shows none" in str(result.error)


def test_a_stopped_backfill_ends_with_the_interval_in_hand(spark: SparkSession, tmp_path: Path) -> None:
    fresh = make_small_job(spark, tmp_path, [row(id=i, day=day) for i, day in enumerate(DAYS)])
    job = fresh.load()
    opened = plan_backfill(spark, job, list_intervals("2013-10-01", "2013-10-06", job.config.interval), NOW)

    def stop(line: str) -> None:
        if line == "2013-10-02 begins":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call_interruptibly(lambda: opened.run(progress=stop), lambda: None)
    assert outcomes(opened.result()) == ["published", "cancelled", "waiting", "waiting", "waiting"]


@pytest.mark.parametrize("parallel", [0, 9])
def test_the_cap_on_intervals_at_a_time(small: SmallJob, parallel: int) -> None:
    with pytest.raises(ConfigError, match=f"--parallel {parallel}: expected 1 to 8"):
        backfill(small, run={"parallel": parallel})
