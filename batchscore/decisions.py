"""Decisions: what people tell the ledger of an interval or a run: blocked, free again, released, discarded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchscore.attempts import make_event
from batchscore.config import Job
from batchscore.errors import ConfigError
from batchscore.intervals import Interval, find_interval
from batchscore.ledger import find_run
from batchscore.outputs import Outputs


def block_intervals(target: Outputs, intervals: Sequence[Interval], reason: str) -> list[dict[str, Any]]:
    """Keep runs, backfills and republishing from intervals until they are freed again.

    Args:
        target: The job's outputs.
        intervals: The intervals.
        reason: Why; whoever meets the block is told it.
    """
    return _decide(target, "block", intervals, reason)


def free_intervals(target: Outputs, intervals: Sequence[Interval], reason: str | None) -> list[dict[str, Any]]:
    """Let blocked intervals run again.

    Raises:
        ConfigError: One of them is not blocked.
    """
    accounts = target.ledger.accounts()
    for interval in intervals:
        if interval.name not in accounts or accounts[interval.name].blocked is None:
            raise ConfigError(f"interval {interval}: expected a blocked interval; it is not blocked. Nothing to lift.")
    return _decide(target, "unblock", intervals, reason)


def release_interval(target: Outputs, interval: Interval, reason: str | None) -> list[dict[str, Any]]:
    """End the pin that a rollback left: the next run of the interval takes the job's own model again.

    Raises:
        ConfigError: No rollback pins the interval.
    """
    if target.ledger.account(interval.name).pinned is None:
        raise ConfigError(
            f"interval {interval}: expected one that a rollback has pinned; it is not. Nothing to release."
        )
    return _decide(target, "release", [interval], reason)


def discard_run(target: Outputs, job: Job, run_id: str, reason: str | None) -> dict[str, Any]:
    """Drop the staged rows of a held, failed or abandoned run; the audit keeps who did it.

    Raises:
        ConfigError: There is no such run, or it has no staged rows.
    """
    target.ledger.repair()
    found = find_run(target.ledger, run_id)
    with target.stages.claim(str(found["run_id"])):
        read_stage_note(target, str(found["run_id"]))
        if target.ledger.is_settled(str(found["interval"]), str(found["run_id"])):
            raise ConfigError(f"run {found['run_id']}: expected one to discard; it is published or discarded already.")
        event = make_event("discard", job.config.job, interval_of(found, job), reason)
        event["of"] = found["run_id"]
        target.ledger.fold(events=[event])
        target.stages.remove(str(found["run_id"]))
    return event


def read_stage_note(target: Outputs, run_id: str) -> dict[str, Any]:
    """What the stage of a run says of itself, once it is whole.

    Raises:
        ConfigError: There is no whole stage.
    """
    note = target.stages.read_note(run_id)
    if note is None or note["stage"] is None:
        raise ConfigError(
            f"run {run_id}: expected staged rows of it; found none: it was published or discarded, did not finish "
            "scoring, or output.stage_retention_d is over. Run the interval again."
        )
    return note


def interval_of(record: Mapping[str, Any], job: Job) -> Interval:
    """The interval of an audit record of the job."""
    config = job.config.interval
    return find_interval(str(record["interval"]), config.grain, config.time_zone)


def _decide(target: Outputs, kind: str, intervals: Sequence[Interval], reason: str | None) -> list[dict[str, Any]]:
    events = [make_event(kind, target.job.config.job, interval, reason) for interval in intervals]
    target.ledger.repair(events=events)
    return events
