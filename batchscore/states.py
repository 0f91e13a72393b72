"""Status: which intervals of a job are done, stale, held, failed, missing or blocked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from batchscore.config import Job
from batchscore.errors import ConfigError, LineupChanged
from batchscore.freshness import ModelChoice, current_keys
from batchscore.intervals import Interval, find_interval
from batchscore.ledger import Account, content_key_of
from batchscore.lineups import Lineup
from batchscore.outputs import open_outputs
from batchscore.records import show_model
from batchscore.rendering import Sheet, Shown
from batchscore.schedules import due_intervals
from batchscore.signals.prometheus import write_status

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

State = Literal["done", "stale", "held", "failed", "missing", "blocked"]
GAPS: tuple[State, ...] = ("missing", "failed", "held")
STATES: tuple[State, ...] = ("done", "stale", "held", "failed", "missing", "blocked")


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalStatus:
    """How one interval stands.

    Attributes:
        interval: The interval.
        state: `done`; `stale`: published, but a run now would give other values; `held`, `failed`: so ended the
            newest attempt; `missing`: due and never published; `blocked`.
        run_id: The published run.
        generation: Its generation.
        model: Its model, as `name/version`.
        why: What is known of a state that is not `done`.
    """

    interval: Interval
    state: State
    run_id: str | None = None
    generation: int | None = None
    model: str | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status(Shown):
    """How the intervals of a job stand, oldest first."""

    job: str
    intervals: tuple[IntervalStatus, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Intervals by state."""
        found = Counter(one.state for one in self.intervals)
        return {state: found[state] for state in STATES if found[state]}

    @property
    def gaps(self) -> list[IntervalStatus]:
        """Intervals that are missing, failed or held."""
        return [one for one in self.intervals if one.state in GAPS]

    def to_dict(self) -> dict[str, Any]:
        """The status as plain JSON values."""
        return {
            "job": self.job,
            "counts": self.counts,
            "intervals": [
                {
                    "interval": one.interval.name,
                    "interval_label": one.interval.label,
                    **{name: getattr(one, name) for name in ("state", "run_id", "generation", "model", "why")},
                }
                for one in self.intervals
            ],
        }

    def write_figures(self, file: str) -> None:
        """Write the number of intervals in each state as a text file for Prometheus.

        Raises:
            ConfigError: The file's name does not end in `.prom`, or it cannot be written.
            SetupError: The extra `metrics` is not installed.
        """
        if not file.endswith(".prom"):
            raise ConfigError(
                f"--prometheus {file}: expected a name that ends in '.prom', as the collector reads them."
            )
        published = [one.interval.name for one in self.intervals if one.run_id is not None]
        try:
            write_status(file, self.job, self.counts, STATES, max(published, default=None))
        except OSError as error:
            raise ConfigError(f"--prometheus {file}: expected a file that can be written: {error.strerror}.") from error

    def sheet(self) -> Sheet:
        """The status laid out."""
        names = ("interval", "state", "run", "generation", "model", "why")
        lines = [[o.interval.label, o.state, o.run_id, o.generation, o.model, o.why] for o in self.intervals]
        facts = [("intervals", self.counts or "none is known, and none is due")]
        return Sheet(f"status {self.job}", facts, (("oldest first", names, lines),))


def read_status(
    spark: SparkSession, job: Job, intervals: Sequence[Interval] | None, now: datetime, *, quick: bool = False
) -> Status:
    """How intervals stand.

    Args:
        spark: A session that `open_session` made.
        job: The job.
        intervals: Which; None takes all that are known, and all that are due.
        now: The time now.
        quick: Look at the audit alone: no interval is found stale then.
    """
    ledger = open_outputs(spark, job).ledger
    ledger.repair()
    accounts = ledger.accounts()
    chosen = list(intervals) if intervals is not None else find_intervals(job, accounts, now)
    models = None if quick else ModelChoice(job)
    return Status(job=job.config.job, intervals=tuple(find_states(spark, job, chosen, accounts, models)))


def find_intervals(job: Job, accounts: Mapping[str, Account], now: datetime) -> list[Interval]:
    """Every interval that the ledger knows or the schedule has made due, oldest first."""
    config = job.config.interval
    known = {name: find_interval(name, config.grain, config.time_zone) for name in accounts}
    first = known[min(known)] if known else None
    due = {interval.name: interval for interval in due_intervals(config, first, now)}
    found = {**known, **due}
    return [found[name] for name in sorted(found)]


def find_states(
    spark: SparkSession,
    job: Job,
    intervals: Sequence[Interval],
    accounts: Mapping[str, Account],
    models: ModelChoice | None,
) -> list[IntervalStatus]:
    """The state of each interval, by what the ledger says and the run key that it would have now.

    Args:
        spark: The session.
        job: The job.
        intervals: The intervals.
        accounts: What the ledger says, by the interval's name.
        models: Which model each is scored with; None leaves run keys alone.
    """
    keys: Mapping[str, str] = {}
    if models is not None:
        published = [i for i in intervals if i.name in accounts and accounts[i.name].current is not None]
        chosen = {i.name: found for i in published if (found := _lineup_of(models, i, accounts)) is not None}
        keys = current_keys(spark, job, [i for i in published if i.name in chosen], chosen)
    return [_state_of(i, accounts.get(i.name, Account()), keys.get(i.name)) for i in intervals]


def _lineup_of(models: ModelChoice, interval: Interval, accounts: Mapping[str, Account]) -> Lineup | None:
    """The models of an interval; today's, which make it stale, where the job names others than were to be taken."""
    try:
        found = models.model_of(interval, accounts)
    except LineupChanged:
        found = models.today()
    return found[0] if found is not None else None


def _state_of(interval: Interval, account: Account, key: str | None) -> IntervalStatus:
    current = account.current
    state, why = _judge(account, key)
    if current is None:
        return IntervalStatus(interval=interval, state=state, why=why)
    return IntervalStatus(
        interval=interval,
        state=state,
        run_id=str(current["run_id"]),
        generation=int(current["generation"]),
        model=show_model(current.get("model")) or "",
        why=why,
    )


def _judge(account: Account, key: str | None) -> tuple[State, str]:
    current, newest = account.current, account.newest
    if account.blocked is not None:
        return "blocked", account.blocked
    if current is not None and (content_key_of(current) == key or (key is None and newest is current)):
        pinned = account.pinned
        return "done", f"rolled back; model {show_model(pinned)} until released" if pinned else ""
    if account.held is not None:
        return "held", f"run {account.held['run_id']}: {account.held.get('reason') or ''}"
    if newest is not None and newest["kind"] in ("failed", "abandoned"):
        return "failed", f"run {newest['run_id']}: {newest.get('error_type') or newest['status']}"
    if current is not None:
        return ("done", "") if key is None else ("stale", "a run now would give other values")
    return "missing", "discarded" if newest is not None else ""
