"""The Python API: the same verbs and results as the command line."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from batchscore import loading
from batchscore.attempts import Progress, silent
from batchscore.backfills import Backfill, plan_backfill
from batchscore.checking import check_interval, profile_interval
from batchscore.checks.suite import load_suites
from batchscore.config import Job
from batchscore.decisions import block_intervals, discard_run, free_intervals, release_interval
from batchscore.errors import ConfigError
from batchscore.interrupts import call_interruptibly
from batchscore.intervals import Interval
from batchscore.ledger import find_run
from batchscore.listings import EventList, Preview, RunList
from batchscore.migration import Migration, migrate_tables
from batchscore.outcomes import BackfillResult, Only
from batchscore.outputs import open_outputs
from batchscore.pipeline import plan_interval, preview_interval, run_interval
from batchscore.planning import resolved_conf
from batchscore.plans import Plan
from batchscore.records import RunRecord, record_from_dict
from batchscore.republish import override_held, resume_run, rollback_interval
from batchscore.results import CheckReport
from batchscore.schedules import list_intervals, resolve_interval
from batchscore.session import cancel_jobs, needs_delta, open_session
from batchscore.states import Status, read_status

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

JobOrPath = Job | str | os.PathLike[str]


def load(path: JobOrPath, sets: Sequence[str] = ()) -> Job:
    """Read and validate a job file.

    Args:
        path: The YAML file; a job that is loaded already comes back as it is.
        sets: Overrides, each `path.to.key=value`.

    Raises:
        ConfigError: The file is wrong; the message holds every fault.
    """
    if isinstance(path, Job):
        return path
    return loading.load_job(path, sets)


def spark_session(job: JobOrPath) -> SparkSession:
    """A Spark session for a job: a new local one, or one over the application that is active."""
    job = load(job)
    config = job.config
    # MLflow takes seconds to import; they pass while the JVM starts.
    threading.Thread(target=importlib.import_module, args=("batchscore.models.pin",)).start()
    return open_session(config.engine, config.interval.time_zone, resolved_conf(job), delta=needs_delta(config))


def plan(job: JobOrPath, interval: str | None = None, *, force: bool = False) -> Plan:
    """Say what a run would do; reads no data beyond metadata, writes nothing."""
    job = load(job)
    chosen = find_one(job, interval)
    return plan_interval(spark_session(job), job, chosen, force=force)


def run(job: JobOrPath, interval: str | None = None, *, force: bool = False, progress: Progress = silent) -> RunRecord:
    """Score one interval and publish it, or leave every table as it was.

    Args:
        job: The job or its file.
        interval: One unit of the job's grain, such as `2013-10-01`, or `latest`, the newest that is complete, or
            `yesterday`; None for a snapshot.
        force: Publish again on purpose.
        progress: Called with the name of each step.

    Returns:
        The run's record; `status` is `published` or `unchanged`.

    Raises:
        BatchscoreError: Whatever kept the run from publishing; see `batchscore.errors`.
    """
    job = load(job)
    chosen = find_one(job, interval)
    spark = spark_session(job)
    return call_interruptibly(lambda: run_interval(spark, job, chosen, force=force, progress=progress), cancel_jobs)


def check(job: JobOrPath, interval: str | None = None) -> CheckReport:
    """Ask the expectations of a job about one interval, without scoring or writing anything.

    Args:
        job: The job or its file.
        interval: As for `run`.

    Returns:
        The verdict on every expectation; a failed one is data, and not an exception.
    """
    job = load(job)
    chosen = find_one(job, interval)
    return check_interval(spark_session(job), job, chosen)


def gx_results(job: JobOrPath, report: CheckReport | RunRecord) -> dict[str, Any]:
    """Verdicts as Great Expectations' own `ExpectationSuiteValidationResult`, by place.

    Args:
        job: The job or its file.
        report: What `check`, `run` or `show` gave.

    Raises:
        ConfigError: The job's suites have changed since.
    """
    from batchscore.checks.engine import to_gx_result  # noqa: PLC0415 - great_expectations takes seconds to import

    found: dict[str, Any] = {}
    for place, suite in load_suites(load(job)).items():
        checks = [check for check in report.checks if check["place"] == place]
        if not checks:
            continue
        if [check["fingerprint"] for check in checks] != [e.fingerprint for e in suite.expectations]:
            raise ConfigError(f"checks.{place}: expected the suite that was asked; it has changed since. Ask it again.")
        found[place] = to_gx_result(suite, checks)
    return found


def suggest(job: JobOrPath, interval: str | None = None) -> dict[str, Any]:
    """A Great Expectations suite to start from, profiled from an interval's input rows in one pass."""
    job = load(job)
    chosen = find_one(job, interval)
    return profile_interval(spark_session(job), job, chosen)


def preview(job: JobOrPath, interval: str | None = None, *, rows: int = 10) -> Preview:
    """Score some rows of an interval and show them; publishes nothing."""
    job = load(job)
    chosen = find_one(job, interval)
    found = preview_interval(spark_session(job), job, chosen, rows)
    return Preview(f"preview {job.config.job} · {chosen}", tuple(found))


def runs(job: JobOrPath, *, limit: int = 20) -> RunList:
    """Run attempts of a job, newest first; brings the audit up to date before it looks."""
    job = load(job)
    ledger = open_outputs(spark_session(job), job).ledger
    ledger.repair()
    return RunList(job.config.job, tuple(reversed(ledger.records({})[-limit:])))


def show(job: JobOrPath, run_id: str) -> RunRecord:
    """The record of one run attempt.

    Args:
        job: The job or its file.
        run_id: The run's id, the beginning of it, or `latest`.

    Raises:
        ConfigError: There is no such run, or several.
    """
    job = load(job)
    ledger = open_outputs(spark_session(job), job).ledger
    ledger.repair()
    return record_from_dict(find_run(ledger, run_id))


def status(job: JobOrPath, start: str | None = None, end: str | None = None, *, quick: bool = False) -> Status:
    """How the intervals of a job stand: done, stale, held, failed, missing or blocked.

    Args:
        job: The job or its file.
        start: First interval; without it, every interval that is known or due by the schedule.
        end: The first interval that is not looked at any more.
        quick: Look at the audit alone, and at neither tables nor registry: no interval is found stale then.
    """
    job = load(job)
    chosen = find_range(job, start, end)
    return read_status(spark_session(job), job, chosen, datetime.now(UTC), quick=quick)


def open_backfill(job: JobOrPath, start: str | None = None, end: str | None = None, **choice: Any) -> Backfill:
    """Plan a backfill that can then be run; see `backfill` for the arguments."""
    job = load(job)
    chosen = find_range(job, start, end)
    return plan_backfill(spark_session(job), job, chosen, datetime.now(UTC), **choice)


def backfill(
    job: JobOrPath,
    start: str | None = None,
    end: str | None = None,
    *,
    only: Only = "all",
    limit: int | None = None,
    parallel: int = 1,
    model: Literal["pinned", "as-of"] = "pinned",
    newest_first: bool = False,
    keep_going: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> BackfillResult:
    """Run the intervals from `start` up to, but not with, `end` that are not done; started again, it does what is left.

    Args:
        job: The job or its file.
        start: First interval, such as `2013-10-01`; without it, every interval that is known or due by the schedule.
        end: The first interval that is not run any more.
        only: `missing`, `failed` or `stale` intervals, or `all` of these.
        limit: At most so many.
        parallel: So many at a time.
        model: `pinned`: what the job's alias names now, for all of them; `as-of`: the version that this job's audit
            shows for each interval, or for the last one before it.
        newest_first: Begin with the newest.
        keep_going: Go on after an interval that failed or is held.
        force: Run intervals that are done, too, and publish them again.
        progress: Called with a line as each interval begins and ends.

    Returns:
        What became of each interval; a failure is an outcome, and not an exception.

    Raises:
        ConfigError: The range is none.
    """
    opened = open_backfill(job, start, end, only=only, limit=limit, model=model, newest_first=newest_first, force=force)
    return call_interruptibly(
        lambda: opened.run(parallel=parallel, keep_going=keep_going, progress=progress), cancel_jobs
    )


def resume(job: JobOrPath, run_id: str, *, progress: Progress = silent) -> RunRecord:
    """Publish the finished stage of a run that was stopped or failed after scoring; nothing is scored again."""
    job = load(job)
    spark = spark_session(job)
    return call_interruptibly(lambda: resume_run(spark, job, run_id, progress=progress), cancel_jobs)


def publish_held(job: JobOrPath, run_id: str, *, override: str, progress: Progress = silent) -> RunRecord:
    """Publish what a gate holds, for a reason that the audit keeps."""
    job = load(job)
    spark = spark_session(job)
    return call_interruptibly(lambda: override_held(spark, job, run_id, override, progress=progress), cancel_jobs)


def discard(job: JobOrPath, run_id: str, reason: str | None = None) -> EventList:
    """Drop the staged rows of a held, failed or abandoned run."""
    job = load(job)
    event = discard_run(open_outputs(spark_session(job), job), job, run_id, reason)
    return EventList(f"discard {job.config.job}", (event,))


def rollback(
    job: JobOrPath, interval: str | None, to: str, reason: str | None = None, *, progress: Progress = silent
) -> RunRecord:
    """Restore an interval's rows as an older run published them, and pin its model for the interval until `release`."""
    job = load(job)
    chosen = find_one(job, interval)
    spark = spark_session(job)
    return call_interruptibly(lambda: rollback_interval(spark, job, chosen, to, reason, progress=progress), cancel_jobs)


def release(job: JobOrPath, interval: str | None, reason: str | None = None) -> EventList:
    """End the pin that a rollback left on an interval's model."""
    job = load(job)
    events = release_interval(open_outputs(spark_session(job), job), find_one(job, interval), reason)
    return EventList(f"release {job.config.job}", tuple(events))


def block(job: JobOrPath, intervals: Sequence[str], reason: str) -> EventList:
    """Keep runs and backfills from intervals, for a reason that whoever meets the block is told."""
    job = load(job)
    chosen = [find_one(job, interval) for interval in intervals]
    events = block_intervals(open_outputs(spark_session(job), job), chosen, reason)
    return EventList(f"block {job.config.job}", tuple(events))


def unblock(job: JobOrPath, intervals: Sequence[str], reason: str | None = None) -> EventList:
    """Let blocked intervals run again."""
    job = load(job)
    chosen = [find_one(job, interval) for interval in intervals]
    events = free_intervals(open_outputs(spark_session(job), job), chosen, reason)
    return EventList(f"unblock {job.config.job}", tuple(events))


def migrate(job: JobOrPath, *, dry_run: bool = False, progress: Progress = silent) -> Migration:
    """Add columns that the output tables lack for what the job writes now, and set properties that they need.

    Args:
        job: The job or its file.
        dry_run: Say what would change, and change nothing.
        progress: Called with the name of each step.

    Raises:
        ConfigError: A table differs in what no migration can mend, such as a column that was dropped or a changed key.
    """
    job = load(job)
    return migrate_tables(spark_session(job), job, datetime.now(UTC), dry_run=dry_run, progress=progress)


def repair(job: JobOrPath) -> EventList:
    """Finish what a crash left: write missing audit records, and settle stages whose driver died. Scores nothing."""
    job = load(job)
    ledger = open_outputs(spark_session(job), job).ledger
    before = ledger.head().seq
    ledger.repair()
    added = [record for record in ledger.records({}) if record["seq"] > before]
    return EventList(f"repair {job.config.job}", tuple(added))


def scores(job: JobOrPath) -> DataFrame:
    """The published scores of a job."""
    job = load(job)
    rows: DataFrame = open_outputs(spark_session(job), job).scores.read()
    return rows


def quarantine(job: JobOrPath) -> DataFrame:
    """The quarantined rows of a job's published runs, with their reasons."""
    job = load(job)
    return open_outputs(spark_session(job), job).open_quarantine()


def find_range(job: Job, start: str | None, end: str | None) -> list[Interval] | None:
    """The intervals from `start` up to, but not with, `end`; None where neither is given.

    Raises:
        ConfigError: Only one is given, or they are no range.
    """
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise ConfigError("--start and --end: expected both, or neither; the range is half-open.")
    return list_intervals(start, end, job.config.interval)


def find_one(job: Job, text: str | None) -> Interval:
    """The interval that a text names, `latest` and `yesterday` included; None only for a snapshot."""
    return resolve_interval(text, job.config.interval, datetime.now(UTC))
