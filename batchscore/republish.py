"""Republishing: rows that were scored before are published, restored or dropped, by the protocol of every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchscore.attempts import Progress, RunAttempt, begin_attempt, salted_key, silent
from batchscore.challengers import write_challenge
from batchscore.config import Job
from batchscore.decisions import interval_of, read_stage_note
from batchscore.errors import ConfigError, InputError, IntervalBlocked, RunSuperseded
from batchscore.intervals import Interval
from batchscore.keys import find_differences
from batchscore.ledger import Account, content_key_of, find_run, find_standing
from batchscore.loading import config_sha256
from batchscore.outputs import Outputs, open_outputs
from batchscore.pinning import reopen_input
from batchscore.pipeline import REFUSALS, publish_stage
from batchscore.planning import Prepared, code_version, prepare
from batchscore.records import RunRecord
from batchscore.settlement import Settlement, settle
from batchscore.tables.stage import Stage, read_stage, stage_from_dict

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# What a run that brings rows of an older one takes over from that one's record.
KEPT = (
    "config_sha256",
    "content_key",
    "input",
    "lookups",
    "model",
    "challenger",
    "counts",
    "reasons",
    "checks",
    "gates",
    "distributions",
    "runtime",
)
# What a resumed run was already; learned before it can fail, since the record of a failure becomes the stage's.
RESUMED = ("generation", "run_key", "content_key", "input", "lookups", "model", "challenger")


def resume_run(spark: SparkSession, job: Job, run_id: str, *, progress: Progress = silent) -> RunRecord:
    """Publish the finished stage of a run that was stopped or failed after scoring; nothing is scored again.

    Args:
        spark: A session that `open_session` made.
        job: The job, with the config that the run had.
        run_id: The run's id, or the beginning of it.
        progress: Called with the name of each step.

    Raises:
        ConfigError: There is no such stage, or what decides its values has changed; the message names what.
        RunSuperseded: Another run of the interval was published since.
    """
    target = open_outputs(spark, job)
    target.ledger.repair()
    found = find_run(target.ledger, run_id)
    run_id = str(found["run_id"])
    if found["kind"] == "held":
        raise ConfigError(f"run {run_id}: is held, not stopped. Publish it with a reason, or discard it.")
    attempt = begin(job, interval_of(found, job), progress)
    with settle(target, attempt) as settlement:
        settlement.claim(run_id)  # first: the failure of one who comes second is not the run's
        note = read_stage_note(target, run_id)
        if target.ledger.is_settled(interval_of(found, job).name, run_id):
            raise ConfigError(f"run {run_id}: expected one to resume; it is published or discarded already.")
        attempt.learn(run_id=run_id, **{name: note["record"][name] for name in RESUMED})
        settlement.stage, settlement.material = _stage_of(target, run_id, note), note["material"]
        return _resume(spark, job, note["record"], settlement)


def override_held(spark: SparkSession, job: Job, run_id: str, reason: str, *, progress: Progress = silent) -> RunRecord:
    """Publish what a gate holds, on somebody's word; the audit keeps it.

    Args:
        spark: A session that `open_session` made.
        job: The job.
        run_id: The held run's id, or the beginning of it.
        reason: Why.
        progress: Called with the name of each step.

    Raises:
        ConfigError: The run is not held, or no longer.
    """
    target = open_outputs(spark, job)
    target.ledger.repair()
    found = find_run(target.ledger, run_id)
    interval = interval_of(found, job)
    attempt = begin(job, interval, progress)
    with settle(target, attempt) as settlement:
        held = str(found["run_id"])
        settlement.claim(held)
        account, generation = _open_account(target, settlement, interval)
        if account.held is None or account.held["run_id"] != held:
            raise ConfigError(f"run {held}: expected a run that is held; {_fate(found, account)}.")
        stage = _stage_of(target, held, read_stage_note(target, held))
        _take_over(attempt, found, "override", reason, generation)
        write_challenge(target, spark, stage, attempt.record)
        aside = None
        if found["counts"]["quarantined"]:
            source = reopen_input(spark, job, interval, found["input"])
            aside = target.quarantined_rows(read_stage(spark, stage, "quarantined"), source, attempt.record)
        return settlement.publish(target.scored_rows(read_stage(spark, stage, "scored"), attempt.record), aside)


def rollback_interval(
    spark: SparkSession, job: Job, interval: Interval, run_id: str, reason: str | None, *, progress: Progress = silent
) -> RunRecord:
    """Restore an interval's rows as an older run published them, and keep its model for the interval until released.

    Args:
        spark: A session that `open_session` made.
        job: The job.
        interval: The interval.
        run_id: The older run's id, or the beginning of it.
        reason: Why.
        progress: Called with the name of each step.

    Raises:
        ConfigError: The interval has no such run, or it is what readers see already.
        WriteError: The store no longer keeps its rows.
        InputError: Others have changed its rows since, or some were erased.
    """
    target = open_outputs(spark, job)
    attempt = begin(job, interval, progress)
    with settle(target, attempt) as settlement:
        with attempt.step("repair"):
            target.ledger.repair()
        with attempt.step("plan"):
            account, generation = _open_account(target, settlement, interval)
            position = _find_published(account, interval, run_id)
            older, follower = account.runs[position], account.runs[position + 1]
            if target.ledger.is_erased(older):
                raise InputError(
                    f"run {older['run_id']}: expected its rows as it published them; some were erased since, and going "
                    "back would bring them back. Score the interval again instead."
                )
            rows = target.scores.read_at(int(follower["commits"]["scores"]) - 1)
            rows = rows.where((rows["_interval"] == interval.name) & (rows["_run_id"] == older["run_id"]))
            found = rows.count()
            if found != older["counts"]["scored"]:
                raise InputError(
                    f"run {older['run_id']}: expected its {older['counts']['scored']} rows in "
                    f"{target.scores.location}; found {found}: others have "
                    "changed the table. Score the interval again instead."
                )
            _take_over(attempt, older, "rollback", reason, generation)
        aside = None
        if older["counts"]["quarantined"]:
            kept = target.quarantine.read()
            kept = kept.where(kept["_run_id"] == older["run_id"])
            aside = target.quarantined_rows(kept, None, attempt.record)
        return settlement.publish(target.scored_rows(rows, attempt.record), aside)


def _resume(spark: SparkSession, job: Job, record: Mapping[str, Any], settlement: Settlement) -> RunRecord:
    attempt, target = settlement.attempt, settlement.target
    interval = interval_of(record, job)
    forced = record["run_key"] != record["content_key"]
    with attempt.step("plan"):
        account, generation = _open_account(target, settlement, interval)
        prepared = prepare(spark, job, interval)
        _refuse_changes(str(record["run_id"]), settlement.material, prepared)
        standing = find_standing(account, prepared.content_key, generation, str(interval), force=forced)
        if standing.action in REFUSALS:
            raise REFUSALS[standing.action](standing.message)
        if standing.action == "unchanged" or generation != record["generation"]:
            newer = (account.current or {}).get("run_id")
            raise RunSuperseded(f"run {record['run_id']}: run {newer} of the interval was published since.")
        attempt.learn(kind="force" if forced else "run")
    assert settlement.stage is not None
    return publish_stage(spark, prepared, settlement.stage, standing, settlement, force=forced)


def _refuse_changes(run_id: str, material: Mapping[str, Any], prepared: Prepared) -> None:
    changed = find_differences(material, prepared.key_material)
    if changed:
        raise ConfigError(
            f"run {run_id}: expected what decides its values to be as it was; changed since: {', '.join(changed)}. "
            "Its staged rows would not be what the job says now: run the interval again."
        )


def begin(job: Job, interval: Interval, progress: Progress) -> RunAttempt:
    """A fresh attempt on an interval of a job."""
    return begin_attempt(job.config.job, interval, config_sha256(job.config), code_version(), progress)


def _open_account(target: Outputs, settlement: Settlement, interval: Interval) -> tuple[Account, int]:
    """The interval's account and next generation, read after what a later commit would make stale."""
    settlement.planned_version = target.scores.version()
    generation = target.ledger.generation(interval.name)
    account = target.ledger.account(interval.name)
    if account.blocked is not None:
        raise IntervalBlocked(find_standing(account, "", 0, str(interval), force=True).message)
    return account, generation


def _take_over(attempt: RunAttempt, older: Mapping[str, Any], kind: str, reason: str | None, generation: int) -> None:
    kept = {name: older[name] for name in KEPT if name in older}
    kept["checks"], kept["gates"] = tuple(kept.get("checks", ())), tuple(kept.get("gates", ()))
    kept["content_key"] = content_key_of(older)
    key = salted_key(kept["content_key"], attempt.run_id)
    attempt.learn(kind=kind, of=older["run_id"], reason=reason, run_key=key, generation=generation, **kept)


def _find_published(account: Account, interval: Interval, run_id: str) -> int:
    ids = [str(run["run_id"]) for run in account.runs]
    found = [i for i, known in enumerate(ids) if known.startswith(run_id)]
    if len(found) != 1:
        known = ", ".join(reversed(ids)) or "none"
        raise ConfigError(
            f"--to {run_id}: expected one published run of interval {interval}; it fits {len(found)}. "
            f"Published, newest first: {known}."
        )
    if found[0] == len(ids) - 1:
        raise ConfigError(f"--to {run_id}: this run is what readers see of interval {interval}. Nothing to roll back.")
    return found[0]


def _stage_of(target: Outputs, run_id: str, note: Mapping[str, Any]) -> Stage:
    return stage_from_dict(target.stages.location(run_id), note["stage"])


def _fate(found: Mapping[str, Any], account: Account) -> str:
    if found["kind"] != "held":
        return f"it is {found['status']}"
    newer = account.current
    if newer is not None and newer.get("seq", 0) > found.get("seq", 0):
        return f"run {newer['run_id']} of the interval was published since"
    return "it was discarded"
