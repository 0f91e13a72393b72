"""Backfills: many intervals of a job, one after the other or a few at a time, and only those that are left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from batchscore.attempts import silent
from batchscore.config import Job
from batchscore.errors import ConfigError
from batchscore.freshness import ModelChoice
from batchscore.interrupts import check_stop
from batchscore.intervals import Interval
from batchscore.ledger import Account
from batchscore.outcomes import MAX_PARALLEL, BackfillPlan, BackfillResult, IntervalOutcome, Only, run_one
from batchscore.outputs import open_outputs
from batchscore.pinning import ModelBytes
from batchscore.pipeline import run_interval
from batchscore.records import RunRecord
from batchscore.states import IntervalStatus, State, find_intervals, find_states

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SELECTED: Mapping[Only, tuple[State, ...]] = {
    "missing": ("missing",),
    "failed": ("failed",),
    "stale": ("stale",),
    "all": ("missing", "failed", "stale"),
}


@dataclass(slots=True)
class Backfill:
    """A backfill: planned, then run; what it has done so far can be told at any time, also after it was stopped.

    Attributes:
        spark: The session.
        job: The job.
        plan: What it would do.
        models: Which model scores each interval.
        accounts: What the ledger said of each interval when the backfill was planned.
        force: Run intervals that are done, too.
        done: Outcomes by the interval's name.
    """

    spark: SparkSession
    job: Job
    plan: BackfillPlan
    models: ModelChoice
    accounts: Mapping[str, Account]
    force: bool
    done: dict[str, IntervalOutcome] = field(default_factory=dict)
    lock: Any = field(default_factory=Lock)
    ended: bool = False

    def run(
        self, *, parallel: int = 1, keep_going: bool = False, progress: Callable[[str], None] = silent
    ) -> BackfillResult:
        """Run the chosen intervals.

        Args:
            parallel: How many at a time, in the one Spark application.
            keep_going: Go on after an interval that failed or is held.
            progress: Called with a line as each interval begins and ends.

        Returns:
            What became of each interval. A failure is an outcome, not an exception.

        Raises:
            KeyboardInterrupt: It was stopped; the interval in hand is finished or cancelled, and `result` tells.
        """
        if not 1 <= parallel <= MAX_PARALLEL:
            raise ConfigError(f"--parallel {parallel}: expected 1 to {MAX_PARALLEL} intervals at a time.")
        total = len(self.plan.chosen)
        with ThreadPoolExecutor(parallel, thread_name_prefix="backfill") as pool:
            work = [pool.submit(self._take, one.interval, keep_going, total, progress) for one in self.plan.chosen]
        for one in work:
            one.result()
        return self.result()

    def result(self) -> BackfillResult:
        """What has become of each interval so far."""
        chosen = {one.interval.name for one in self.plan.chosen}
        outcomes = [self.done.get(one.interval.name) or _not_run(one, chosen) for one in self.plan.intervals]
        return BackfillResult(job=self.plan.job, outcomes=tuple(outcomes), run_again=self._run)

    def _take(self, interval: Interval, keep_going: bool, total: int, progress: Callable[[str], None]) -> None:
        """Run one interval in a thread of the pool, unless the backfill has ended meanwhile."""
        with self.lock:
            if self.ended:
                return
        try:
            check_stop()
            progress(f"{interval.label} begins")
            outcome = run_one(interval, self._run)
        except (KeyboardInterrupt, SystemExit):
            with self.lock:
                self.ended = True
                self.done.setdefault(interval.name, IntervalOutcome(interval=interval, outcome="cancelled"))
            raise
        with self.lock:
            self.done[interval.name] = outcome
            self.ended = self.ended or (outcome.outcome in ("failed", "held") and not keep_going)
            progress(f"{len(self.done)} of {total}: {_tell(outcome)}")

    def _run(self, interval: Interval) -> RunRecord:
        model = self._model_of(interval)
        return run_interval(self.spark, self.job, interval, force=self.force, model=model)

    def _model_of(self, interval: Interval) -> ModelBytes:
        model = self.models.model_of(interval, self.accounts)
        if model is None:
            raise ConfigError(
                f"interval {interval}: expected a published run of it or of an earlier interval, whose model --model "
                "as-of would take; the audit shows none. Use --model pinned, or run an earlier interval first."
            )
        return model


def plan_backfill(
    spark: SparkSession,
    job: Job,
    intervals: Sequence[Interval] | None,
    now: datetime,
    *,
    only: Only = "all",
    limit: int | None = None,
    newest_first: bool = False,
    model: Literal["pinned", "as-of"] = "pinned",
    force: bool = False,
) -> Backfill:
    """Find out what is left to do; reads metadata only, and brings the audit up to date.

    Args:
        spark: A session that `open_session` made.
        job: The job.
        intervals: The range, oldest first; None takes every interval that is known, and all that are due.
        now: The time now.
        only: `missing`, `failed` or `stale` intervals, or `all` of these.
        limit: At most so many.
        newest_first: Begin with the newest.
        model: `pinned`: what the job's alias names now, for all of them; `as-of`: the version that this job's audit
            shows for each interval, or for the last one before it.
        force: Take intervals that are done, too, and publish them again.
    """
    ledger = open_outputs(spark, job).ledger
    ledger.repair()
    accounts = ledger.accounts()
    models = ModelChoice(job, as_of=model == "as-of")
    span = find_intervals(job, accounts, now) if intervals is None else intervals
    states = find_states(spark, job, span, accounts, models)
    wanted = (*_SELECTED[only], "done") if force else _SELECTED[only]
    chosen = [one for one in states if one.state in wanted]
    if newest_first:
        chosen.reverse()
    plan = BackfillPlan(job=job.config.job, only=only, intervals=tuple(states), chosen=tuple(chosen[:limit]))
    return Backfill(spark, job, plan, models, accounts, force)


def _not_run(one: IntervalStatus, chosen: set[str]) -> IntervalOutcome:
    if one.interval.name in chosen:
        return IntervalOutcome(interval=one.interval, outcome="waiting")
    if one.state == "done":
        return IntervalOutcome(interval=one.interval, outcome="unchanged", why=f"run {one.run_id}")
    why = f"{one.state}: {one.why}" if one.why else one.state
    return IntervalOutcome(interval=one.interval, outcome="skipped", why=why)


def _tell(one: IntervalOutcome) -> str:
    parts = [f"{one.interval.label} {one.outcome}"]
    if one.record is not None and one.record.counts:
        parts += [f"{one.record.counts[name]} {name}" for name in ("scored", "quarantined")]
    if one.error is not None:
        parts.append(f"{type(one.error).__name__}: {one.error}")
    return ", ".join([*parts, f"{one.seconds} s"])
