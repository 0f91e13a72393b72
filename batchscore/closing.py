"""Closing: quarantined rows that a redrive asks again, and those that nobody asks any more: waived, or expired."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from batchscore.attempts import make_event
from batchscore.config import Job
from batchscore.errors import ConfigError
from batchscore.intervals import Interval
from batchscore.ledger import Account
from batchscore.outputs import Outputs, open_outputs
from batchscore.tables.read import quote

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

WAIVED, EXPIRED = "waive", "expire"
MOST_DAYS = 36_500


def waive_rows(
    spark: SparkSession, job: Job, intervals: Sequence[Interval], rule: str | None, reason: str
) -> list[dict[str, Any]]:
    """Close quarantined rows for good: a redrive leaves them alone. They stay in the quarantine; the audit says why.

    Args:
        spark: The session.
        job: The job.
        intervals: The intervals.
        rule: Only rows set aside by this reason; None for all.
        reason: Why.

    Raises:
        ConfigError: There is no reason, or there are no such rows.
    """
    if not reason.strip():
        raise ConfigError("--waive: expected a reason, which the audit keeps; found none.")
    target = open_outputs(spark, job)
    target.ledger.repair()
    events = []
    for interval in intervals:
        account = target.ledger.account(interval.name)
        if account.current is None:
            continue
        left = _narrow(quarantined_rows(target, account), None, closed_rules(target, interval, account))
        rows = left.count() - _narrow(left, None, [rule]).count()  # a row of other reasons, too, stays open
        if rows:
            events.append(_close(WAIVED, job, interval, account, rows, reason, rule))
    if not events:
        which = f"by {rule} alone" if rule else "and not closed"
        raise ConfigError(f"--waive: expected quarantined rows that were set aside {which}; found none.")
    target.ledger.fold(events=events)
    return events


def expire_rows(
    spark: SparkSession, job: Job, intervals: Sequence[Interval], days: int, now: datetime
) -> list[dict[str, Any]]:
    """Close the quarantined rows that have been open for some days, as `waive_rows` closes those of a reason.

    Args:
        spark: The session.
        job: The job.
        intervals: The intervals; those whose published run ended later, or that have no open rows, are left out.
        days: Days.
        now: Until when they count.

    Raises:
        ConfigError: That is no number of days.
    """
    if not 1 <= days <= MOST_DAYS:
        raise ConfigError(f"--expire {days}: expected 1 to {MOST_DAYS:,} days.")
    target = open_outputs(spark, job)
    target.ledger.repair()
    before = now - timedelta(days=days)
    events = []
    for interval in intervals:
        account = target.ledger.account(interval.name)
        if account.current is None or _set_aside_at(account) > before:
            continue
        rows = _narrow(quarantined_rows(target, account), None, closed_rules(target, interval, account)).count()
        if rows:
            reason = f"open for {days} days or more"
            events.append(_close(EXPIRED, job, interval, account, rows, reason, None))
    if events:
        target.ledger.fold(events=events)
    return events


def quarantined_rows(target: Outputs, account: Account) -> DataFrame:
    """The rows that the run which readers see set aside."""
    assert account.current is not None
    if not target.quarantine.exists():
        return target.open_quarantine()
    rows: DataFrame = target.quarantine.read()
    return rows.where(rows["_run_id"] == account.current["run_id"])


def closed_rules(target: Outputs, interval: Interval, account: Account) -> list[str | None]:
    """Rules whose rows of an interval are closed, None among them for all rows.

    What was closed counts for the run that set the rows aside and for its redrives; the rows of a run that came after
    are others.
    """
    line = {str(run["run_id"]) for run in _redrives(account)}
    return [
        record.get("rule")
        for record in target.ledger.history(interval.name)
        if record["kind"] in (WAIVED, EXPIRED) and record["of"] in line
    ]


def open_rows(aside: DataFrame, job: Job, reason: str | None, closed: Sequence[str | None]) -> DataFrame:
    """Rows that a redrive asks again: with a whole key, set aside by the given reason, and not closed."""
    rows = aside
    for key in job.config.input.key:
        rows = rows.where(rows[quote(key)].isNotNull())
    return _narrow(rows, reason, closed)


def _narrow(rows: DataFrame, reason: str | None, closed: Sequence[str | None]) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

    if reason is not None:
        rows = rows.where(F.exists("_reasons", _named(reason)))
    for rule in closed:
        rows = rows.where(F.lit(False) if rule is None else ~F.forall("_reasons", _named(rule)))
    return rows


def _named(name: str) -> Callable[[Column], Column]:
    """Whether a reason is of a rule, or of a kind."""
    from pyspark.sql import functions as F  # noqa: PLC0415

    def matches(one: Column) -> Column:
        return (F.coalesce(one["rule"], F.lit("")) == name) | (F.coalesce(one["kind"], F.lit("")) == name)

    return matches


def _redrives(account: Account) -> list[Mapping[str, Any]]:
    """The run that readers see and, if it is a redrive, those that it goes back to, newest first."""
    line = [account.runs[-1]]
    for run in reversed(account.runs[:-1]):
        if line[-1]["kind"] == "redrive" and run["run_id"] == line[-1].get("of"):
            line.append(run)
    return line


def _set_aside_at(account: Account) -> datetime:
    ended = str(_redrives(account)[-1].get("ended_at") or "")
    return datetime.fromisoformat(ended) if ended else datetime.max.replace(tzinfo=UTC)


def _close(
    kind: str, job: Job, interval: Interval, account: Account, rows: int, reason: str, rule: str | None
) -> dict[str, Any]:
    assert account.current is not None
    event = make_event(kind, job.config.job, interval, reason)
    return {**event, "rule": rule, "rows": rows, "of": account.current["run_id"]}
