"""Outcomes: what a backfill would do, and what it did, interval by interval."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from batchscore.errors import BatchscoreError, ConfigError, RunHeld
from batchscore.failures import retell
from batchscore.interrupts import call_interruptibly
from batchscore.intervals import Interval
from batchscore.records import RunRecord, show_model
from batchscore.rendering import Sheet, Shown
from batchscore.session import cancel_jobs
from batchscore.states import IntervalStatus

Only = Literal["missing", "failed", "stale", "all"]
Outcome = Literal["published", "unchanged", "held", "failed", "cancelled", "skipped", "waiting"]
MAX_PARALLEL = 8  # one driver plans and commits for all of them
_OF_STATUS: Mapping[str, Outcome] = {"published": "published", "unchanged": "unchanged", "held": "held"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BackfillPlan(Shown):
    """What a backfill would do, known from metadata alone.

    Attributes:
        job: The job's name.
        only: Which states it takes.
        intervals: How every interval of the range stands.
        chosen: Those that it would run, in the order in which it would run them.
    """

    job: str
    only: Only
    intervals: tuple[IntervalStatus, ...]
    chosen: tuple[IntervalStatus, ...]

    def sheet(self) -> Sheet:
        """The plan laid out."""
        order = {one.interval.name: position for position, one in enumerate(self.chosen, 1)}
        lines = [
            [order.get(one.interval.name), one.interval.label, one.state, one.run_id, one.model, one.why]
            for one in self.intervals
        ]
        facts = [
            ("would run", f"{len(self.chosen)} of {len(self.intervals)} intervals ({self.only})"),
            ("states", Counter(one.state for one in self.intervals)),
        ]
        names = ("order", "interval", "state", "run", "model", "why")
        return Sheet(f"backfill plan {self.job}", facts, (("intervals", names, lines),))

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        return {
            "job": self.job,
            "only": self.only,
            "chosen": [one.interval.label for one in self.chosen],
            "intervals": {one.interval.label: one.state for one in self.intervals},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalOutcome:
    """What became of one interval of a backfill.

    Attributes:
        interval: The interval.
        outcome: `published`; `unchanged`: published already; `held`, `failed`, `cancelled`; `skipped`: its state was
            not asked for; `waiting`: the backfill ended before its turn.
        record: The run's record, where there was a run that ended well.
        error: What ended it, if so.
        why: For `skipped`, its state.
        seconds: How long it took.
    """

    interval: Interval
    outcome: Outcome
    record: RunRecord | None = None
    error: BatchscoreError | None = None
    why: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class BackfillResult(Shown):
    """What a backfill did, interval by interval, oldest first."""

    job: str
    outcomes: tuple[IntervalOutcome, ...]
    run_again: Callable[[Interval], RunRecord] = field(repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Intervals by outcome."""
        return dict(Counter(one.outcome for one in self.outcomes))

    @property
    def error(self) -> BatchscoreError | None:
        """The first failure, if there was one; a held run is none."""
        return next((one.error for one in self.outcomes if one.outcome == "failed"), None)

    def retry(self, interval: str) -> BackfillResult:
        """Run one interval of the backfill alone.

        Args:
            interval: Its label, such as `2013-10-05`.

        Returns:
            The result with this interval's new outcome.

        Raises:
            ConfigError: The backfill has no such interval.
        """
        found = next((one for one in self.outcomes if one.interval.label == interval), None)
        if found is None:
            raise ConfigError(f"retry {interval}: expected an interval of this backfill; it has none of that name.")
        again = call_interruptibly(lambda: run_one(found.interval, self.run_again), cancel_jobs)
        return replace(self, outcomes=tuple(again if one is found else one for one in self.outcomes))

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {
            "job": self.job,
            "counts": self.counts,
            "intervals": [
                {
                    "interval": one.interval.name,
                    "interval_label": one.interval.label,
                    "outcome": one.outcome,
                    "run_id": one.record.run_id if one.record else None,
                    "generation": one.record.generation if one.record else None,
                    "counts": dict(one.record.counts) if one.record else {},
                    "error_type": type(one.error).__name__ if one.error else None,
                    "error": str(one.error) if one.error else None,
                    "why": one.why,
                    "seconds": one.seconds,
                }
                for one in self.outcomes
            ],
        }

    def sheet(self) -> Sheet:
        """The result laid out."""
        names = ("interval", "outcome", "run", "generation", "model", "read", "scored", "quarantined", "seconds", "why")
        total = sum(one.seconds for one in self.outcomes)
        facts = [("intervals", self.counts), ("seconds", f"{total:.1f}, intervals added up")]
        return Sheet(f"backfill {self.job}", facts, (("intervals", names, [_line(one) for one in self.outcomes]),))


def run_one(interval: Interval, run: Callable[[Interval], RunRecord]) -> IntervalOutcome:
    """Run one interval; what goes wrong is its outcome, and not an exception."""
    started = time.perf_counter()
    outcome: Outcome
    record: RunRecord | None = None
    error: BatchscoreError | None = None
    try:
        record = run(interval)
        outcome = _OF_STATUS[record.status]
    except RunHeld as held:
        outcome, error = "held", held
    except Exception as failure:
        outcome, error = "failed", retell(failure)
    seconds = round(time.perf_counter() - started, 1)
    return IntervalOutcome(interval=interval, outcome=outcome, record=record, error=error, seconds=seconds)


def _line(one: IntervalOutcome) -> list[Any]:
    record = one.record
    return [
        one.interval.label,
        one.outcome,
        record.run_id if record else None,
        record.generation if record else None,
        show_model(record.model) if record else None,
        *[record.counts.get(name) if record else None for name in ("read", "scored", "quarantined")],
        one.seconds or None,
        f"{type(one.error).__name__}: {one.error}" if one.error else (record.reason if record else "") or one.why,
    ]
