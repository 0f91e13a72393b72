"""Redriving: rows in quarantine, asked again by today's rules; those that pass join the scores as a new generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from batchscore.attempts import Progress, salted_key, silent
from batchscore.closing import closed_rules, open_rows, quarantined_rows
from batchscore.config import Job
from batchscore.errors import ConfigError, IntervalBlocked, WriteError
from batchscore.intervals import Interval
from batchscore.ledger import Account, content_key_of, find_standing
from batchscore.outputs import open_outputs
from batchscore.pinning import pin_job_models
from batchscore.planning import Prepared
from batchscore.records import RunRecord
from batchscore.rendering import Sheet, Shown
from batchscore.reopening import reopen_plan
from batchscore.republish import begin
from batchscore.scans import choose_scan, stage_interval
from batchscore.settlement import Settlement, settle
from batchscore.tables.read import find_duplicates, quote
from batchscore.tables.stage import Stage, read_stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ModelSource = Literal["pinned", "current"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Redrive(Shown):
    """What became of the quarantined rows of some intervals.

    Attributes:
        job: The job's name.
        intervals: For each interval: rows that were open, that pass now, that failed again, and the new run.
    """

    job: str
    intervals: tuple[Mapping[str, Any], ...]

    def sheet(self) -> Sheet:
        """The redrive laid out."""
        names = ("interval", "open", "pass_now", "failed_again", "run")
        totals = {name: sum(one[name] for one in self.intervals) for name in names[1:4]}
        lines = [[one[name] for name in names] for one in self.intervals]
        return Sheet(f"redrive {self.job}", [("rows", totals)], (("oldest first", names, lines),))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """The plan for the open rows, the record of the run that readers see, its quarantined rows, and the open ones."""

    prepared: Prepared
    current: Mapping[str, Any]
    aside: DataFrame
    chosen: DataFrame
    open: int


def redrive_interval(
    spark: SparkSession,
    job: Job,
    interval: Interval,
    *,
    reason: str | None = None,
    model: ModelSource = "pinned",
    progress: Progress = silent,
) -> Mapping[str, Any]:
    """Ask the quarantined rows of one interval again, and publish the interval anew if any of them passes.

    The rows that are published stay as they are. Of those set aside, the ones that pass today's rules are scored with
    the model of the run that readers see, on the table versions which that run pinned. Row rules decide alone:
    expectations of whole tables, gates and limits are not asked of a part.

    Args:
        spark: A session that `open_session` made.
        job: The job; it needs `input.key`.
        interval: The interval.
        reason: Keep to rows that were set aside by this reason, as `show` names it.
        model: `current` takes the model that the job names now.
        progress: Called with the name of each step.

    Returns:
        The interval, rows `open`, `pass_now`, `failed_again`, and the new run's id; None where none passes.

    Raises:
        ConfigError: The job has no key.
        InputError: What the run read is no longer kept.
        IntervalBlocked: The interval is blocked.
    """
    if not job.config.input.key:
        raise ConfigError("input.key: expected a key, by which rows are read again; found none.")
    target = open_outputs(spark, job)
    attempt = begin(job, interval, progress)
    told: dict[str, Any] = {"interval": interval.label, "open": 0, "pass_now": 0, "failed_again": 0, "run": None}
    with settle(target, attempt) as settlement:
        with attempt.step("repair"):
            target.ledger.repair()
        with attempt.step("plan"):
            work = _plan(settlement, interval, reason, model)
        if work is None:
            return told
        told["open"] = work.open
        settlement.claim(attempt.run_id)
        with attempt.step("score", told["open"]):
            settlement.note("started")
            stage, scan = stage_interval(
                spark, work.prepared, choose_scan(spark, work.prepared), target.stages.location(attempt.run_id)
            )
            attempt.learn(scan=scan)
        told["pass_now"] = stage.counts.get("scored", 0)
        told["failed_again"] = stage.counts.get("quarantined", 0)
        _prove(told)
        if not told["pass_now"]:
            target.stages.remove(attempt.run_id)
            settlement.stage_run = None
            return told
        told["run"] = _publish(settlement, work, stage).run_id
    return told


def _plan(settlement: Settlement, interval: Interval, reason: str | None, model: ModelSource) -> _Work | None:
    """What there is to do; None where nothing is published, or no row is open."""
    target = settlement.target
    settlement.planned_version = target.scores.version()
    generation = target.ledger.generation(interval.name)
    account = target.ledger.account(interval.name)
    if account.blocked is not None:
        raise IntervalBlocked(find_standing(account, "", 0, str(interval), force=True).message)
    if account.current is None:
        return None
    aside = quarantined_rows(target, account)
    chosen = open_rows(aside, target.job, reason, closed_rules(target, interval, account))
    if not chosen.limit(1).count():
        return None
    whole = _prepare(target.spark, target.job, account, model)
    if target.job.config.input.on_duplicate_key == "keep":
        keys = list(target.job.config.input.key)  # a twin that was scored would be scored again
        doubled = find_duplicates(whole.source.select(*[quote(key) for key in keys]), keys)
        chosen = chosen.join(doubled, keys, "left_anti").select(chosen.columns)
    count = chosen.count()
    if not count:
        return None
    prepared = _narrow(whole, chosen)
    _learn(settlement, account, prepared, generation)
    return _Work(prepared=prepared, current=account.current, aside=aside, chosen=chosen, open=count)


def _prepare(spark: SparkSession, job: Job, account: Account, model: ModelSource) -> Prepared:
    assert account.current is not None
    lineup = pin_job_models(job) if model == "current" else None
    return reopen_plan(spark, job, account.current, model=lineup)


def _narrow(prepared: Prepared, chosen: DataFrame) -> Prepared:
    """The plan for some rows only: no row counts to prove, and nothing asked of whole tables."""
    keys = [quote(key) for key in prepared.job.config.input.key]
    wanted = chosen.select(*keys).distinct()
    names = list(prepared.job.config.input.key)
    rows = prepared.features.rows.join(wanted, names, "left_semi").select(prepared.features.rows.columns)
    return replace(
        prepared,
        input=replace(prepared.input, rows=None, rows_at_most=None, whole=()),
        source=prepared.source.join(wanted, names, "left_semi").select(prepared.source.columns),
        suites={},
        features=replace(prepared.features, rows=rows, plain=False),
        spec=replace(prepared.spec, tallies=(), watched=(), watched_scores=(), ranges=()),
    )


def _learn(settlement: Settlement, account: Account, prepared: Prepared, generation: int) -> None:
    current, attempt = dict(account.current or {}), settlement.attempt
    kept = {name: current[name] for name in ("input", "lookups", "checks", "features") if name in current}
    kept["checks"] = tuple(kept.get("checks", ()))
    key = content_key_of(current)
    attempt.learn(
        kind="redrive",
        of=current["run_id"],
        content_key=key,
        run_key=salted_key(key, attempt.run_id),
        generation=generation,
        model=prepared.models.summary(),
        **kept,
    )


def _prove(told: Mapping[str, Any]) -> None:
    if told["open"] != told["pass_now"] + told["failed_again"]:
        raise WriteError(
            f"redrive of {told['interval']}: expected {told['open']} rows again; found {told['pass_now']} that pass "
            f"and {told['failed_again']} that do not. A key of the quarantine is not unique in the input; nothing was "
            "published."
        )


def _publish(settlement: Settlement, work: _Work, stage: Stage) -> RunRecord:
    """Publish rows that stand, rows that pass now, and the rest set aside again.

    The stage holds a part of the interval, so that its note never says `staged`: no `resume` may take it for a whole.
    """
    target, attempt, current = settlement.target, settlement.attempt, work.current
    spark, keys = target.spark, list(target.job.config.input.key)
    old = current["counts"]
    passed = stage.counts.get("scored", 0)
    standing = target.scores.read()
    standing = standing.where(
        (standing["_interval"] == attempt.record.interval) & (standing["_run_id"] == current["run_id"])
    )
    scored, aside = standing.count(), old["quarantined"]
    if target.ledger.is_erased(current):
        aside = work.aside.count()
    if scored != old["scored"] - target.ledger.erased_rows(current):
        raise WriteError(
            f"redrive of {attempt.record.interval_label}: expected the {old['scored']} rows that run "
            f"{current['run_id']} published; others have changed the table. Score the interval again instead."
        )
    counts = {"read": scored + aside, "scored": scored + passed, "quarantined": aside - passed}
    attempt.learn(counts=counts, reason=f"{passed} of {aside} quarantined rows pass now")
    carried = target.scored_rows(standing, attempt.record)
    added = target.scored_rows(read_stage(spark, stage, "scored"), attempt.record)
    again = target.quarantined_rows(read_stage(spark, stage, "quarantined"), work.prepared.source, attempt.record)
    asked = work.chosen.select(*[quote(key) for key in keys]).distinct()
    rest = work.aside.join(asked, keys, "left_anti").select(work.aside.columns)
    left = target.quarantined_rows(rest, None, attempt.record)
    quarantined = again.unionByName(left) if counts["quarantined"] else None
    return settlement.publish(carried.unionByName(added), quarantined)
