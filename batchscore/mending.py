"""The Python API of what mends tables afterwards: quarantined rows asked again or closed; files compacted; erasure."""

from __future__ import annotations

from datetime import UTC, datetime

from batchscore.api import JobOrPath, find_one, load, spark_session
from batchscore.attempts import Progress, silent
from batchscore.closing import expire_rows, waive_rows
from batchscore.config import Job
from batchscore.erasing import Erasure, Keys, erase_rows
from batchscore.errors import ConfigError
from batchscore.interrupts import call_interruptibly
from batchscore.intervals import Interval
from batchscore.listings import EventList
from batchscore.maintenance import Maintenance, maintain_tables
from batchscore.outputs import open_outputs
from batchscore.redriving import ModelSource, Redrive, redrive_interval
from batchscore.session import cancel_jobs
from batchscore.states import find_intervals


def redrive(
    job: JobOrPath,
    interval: str | None = None,
    *,
    since: str | None = None,
    reason: str | None = None,
    model: ModelSource = "pinned",
    progress: Progress = silent,
) -> Redrive:
    """Ask quarantined rows again by today's rules, and publish those that pass with the rows that stand.

    Args:
        job: The job or its file; it needs `input.key`.
        interval: The interval; without it and without `since`, every published one.
        since: Every published interval from this one on.
        reason: Only rows set aside by this rule, such as `input[2]`, or of this kind.
        model: `pinned`: the model of each interval's published run; `current`: what the job names now.
        progress: Called with the name of each step.

    Raises:
        BatchscoreError: Whatever kept an interval from being published; those before it are.
    """
    job = load(job)
    spark = spark_session(job)
    chosen = _choose(job, interval, since)
    told = [
        call_interruptibly(
            lambda one=one: redrive_interval(spark, job, one, reason=reason, model=model, progress=progress),  # type: ignore[misc]
            cancel_jobs,
        )
        for one in chosen
    ]
    return Redrive(job=job.config.job, intervals=tuple(told))


def waive(
    job: JobOrPath, interval: str | None = None, *, since: str | None = None, rule: str | None = None, reason: str
) -> EventList:
    """Close quarantined rows for good; they stay where they are, and the audit keeps the reason."""
    job = load(job)
    spark = spark_session(job)
    events = waive_rows(spark, job, _choose(job, interval, since), rule, reason)
    return EventList(f"waive {job.config.job}", tuple(events))


def expire(job: JobOrPath, interval: str | None = None, *, since: str | None = None, days: int) -> EventList:
    """Close the quarantined rows that have been open for so many days; they stay where they are."""
    job = load(job)
    spark = spark_session(job)
    events = expire_rows(spark, job, _choose(job, interval, since), days, datetime.now(UTC))
    return EventList(f"expire {job.config.job}", tuple(events))


def erase(
    job: JobOrPath, keys: Keys, *, reason: str | None = None, dry_run: bool = False, progress: Progress = silent
) -> Erasure:
    """Remove all rows of some keys from a job's tables and stages; see `erasing.erase_rows`."""
    job = load(job)
    return erase_rows(spark_session(job), job, keys, reason=reason, dry_run=dry_run, progress=progress)


def maintain(job: JobOrPath, *, vacuum: bool = True, progress: Progress = silent) -> Maintenance:
    """Compact and vacuum the output tables within what they promise, and settle stages; no row changes."""
    job = load(job)
    return maintain_tables(spark_session(job), job, vacuum=vacuum, progress=progress)


def _choose(job: Job, interval: str | None, since: str | None) -> list[Interval]:
    if interval is not None or job.config.interval.grain == "snapshot":
        return [find_one(job, interval)]
    accounts = open_outputs(spark_session(job), job).ledger.accounts()
    published = [one for one in find_intervals(job, accounts, datetime.now(UTC)) if one.name in accounts]
    if since is not None:
        first = find_one(job, since).name
        published = [one for one in published if one.name >= first]
    found = [one for one in published if accounts[one.name].current is not None]
    if not found:
        raise ConfigError("redrive: expected published intervals; found none in that range.")
    return found
