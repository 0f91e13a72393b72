"""Crashes inside the process, at every named point: what is visible is old or new, and the next run repairs."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from checker import Wanted, check
from fault_job import OTHER_MODEL, FaultJob, days, make_fault_job
from figures import Figures

from batchscore import hooks
from batchscore.records import RunRecord

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

KIND = "crashes in process"
REPAIR_LIMIT_S = 5.0
AGAIN = " again"  # repair comes first in a run, and once more behind its commit
SECOND = tuple(f"{point}{AGAIN}" for point in ("repair.begun", "repair.listed", "repair.ended"))
COMMIT = hooks.POINTS.index("scores.written")
BEHIND = (*hooks.POINTS[COMMIT:], *SECOND)
ALL = (*hooks.POINTS, *SECOND)
EARLY = hooks.POINTS[: hooks.POINTS.index("stage.claimed")]
MIDDLE = hooks.POINTS[len(EARLY) : COMMIT]
REPAIRING = ("repair.begun", "repair.listed", "audit.begun", "audit.written", "audit.found", "repair.ended")


class Crash(BaseException):
    """No error that the code under test may handle: a power cut, in process."""


@dataclass(frozen=True)
class Scenario:
    """A run that crashes.

    Attributes:
        kind: Which kind of day it scores; see `FaultJob`.
        points: Points that it reaches.
        before: What came before it: nothing, a published run, or one that crashed right behind its commit.
        sets: Changes to the job.
        force: Whether it publishes whatever stands.
    """

    kind: int
    points: tuple[str, ...]
    before: str = "nothing"
    sets: tuple[str, ...] = ()
    force: bool = False


SCENARIOS = {
    "first": Scenario(0, ALL),
    "unchanged": Scenario(0, ("run.begun", *REPAIRING, "plan.read", "run.ended"), before="crash"),
    "generation": Scenario(0, ALL, before="run", sets=OTHER_MODEL),
    "forced": Scenario(0, ALL, before="run", force=True),
    "empty": Scenario(1, tuple(point for point in ALL if not point.startswith("quarantine."))),
    "all-aside": Scenario(2, ALL, force=True),
}
CASES = [(name, point) for name, scenario in SCENARIOS.items() for point in scenario.points]


@dataclass
class Bench:
    """A job on which crash after crash is tried, and what its days must show."""

    session: SparkSession
    job: FaultJob
    figures: Figures
    wanted: dict[str, Wanted] = field(default_factory=dict)
    generations: dict[str, int] = field(default_factory=dict)

    def run(self, day: dt.date, scenario: Scenario) -> RunRecord:
        """A run, with what it must leave if it comes to its end."""
        record = self.job.run(self.session, day, *scenario.sets, force=scenario.force)
        if record.status == "published":
            self._landed(day)
        self._look(audited=True)
        return record

    def crash(self, day: dt.date, scenario: Scenario, point: str) -> None:
        """A run that crashes at a point, and what it must leave: the old scores, or the new ones where they landed."""
        behind = point in BEHIND and scenario.before != "crash"
        with crashing(point.removesuffix(AGAIN), armed=not behind), pytest.raises(Crash):
            self.job.run(self.session, day, *scenario.sets, force=scenario.force)
        self.figures.strike(KIND)
        if behind:
            self._landed(day)
        self._look(audited=False)

    def prepare(self, scenario: Scenario, day: dt.date) -> None:
        """Bring a day to where the scenario starts."""
        if scenario.before == "run":
            assert self.run(day, SCENARIOS["first"]).status == "published"
        elif scenario.before == "crash":
            self.crash(day, SCENARIOS["first"], "scores.written")

    def survived(self, crashes: int = 1) -> None:
        """Count crashes as survived: the run behind them has ended well."""
        for _ in range(crashes):
            self.figures.survive(KIND, check(self.job.scores, self.wanted))

    def _landed(self, day: dt.date) -> None:
        name = self.job.name(day)
        self.wanted[name] = self.job.wanted(day)
        self.generations[name] = self.generations.get(name, 0) + 1

    def _look(self, *, audited: bool) -> None:
        found = check(self.job.scores, self.wanted, audited=audited)
        assert found.generations == self.generations


@contextmanager
def crashing(point: str, *, armed: bool) -> Iterator[None]:
    """Crash at a point; unless armed, only behind the beginning of the scores commit."""
    ready = [armed]

    def tell(reached: str) -> None:
        if ready[0] and reached == point:
            raise Crash(point)
        ready[0] = ready[0] or reached == "scores.begun"

    hooks.listen(tell)
    try:
        yield
    finally:
        hooks.listen(None)


@pytest.fixture(scope="module")
def bench(session: SparkSession, tmp_path_factory: pytest.TempPathFactory, figures: Figures) -> Bench:
    """A job whose tables do not exist yet."""
    return Bench(session, make_fault_job(tmp_path_factory.mktemp("crashes") / "job"), figures)


@pytest.fixture(scope="module")
def fresh_days() -> dict[int, Iterator[dt.date]]:
    """Days of each kind that no case has used yet."""
    return {kind: iter(days(kind)) for kind in range(3)}


def test_crashes_before_the_stage_leave_nothing(bench: Bench, fresh_days: dict[int, Iterator[dt.date]]) -> None:
    day, first = next(fresh_days[0]), SCENARIOS["first"]
    for point in EARLY:
        bench.crash(day, first, point)
    assert bench.run(day, first).status == "published"
    bench.survived(len(EARLY))


def test_crashes_before_the_commit_leave_the_old_scores(bench: Bench, fresh_days: dict[int, Iterator[dt.date]]) -> None:
    day, scenario = next(fresh_days[0]), SCENARIOS["generation"]
    bench.prepare(scenario, day)
    for point in MIDDLE:
        bench.crash(day, scenario, point)
    record = bench.run(day, scenario)
    assert (record.status, record.generation) == ("published", 2)
    bench.survived(len(MIDDLE))


def test_crashes_behind_the_commit_leave_the_new_scores(bench: Bench, fresh_days: dict[int, Iterator[dt.date]]) -> None:
    names = ("empty", "first", "all-aside")
    for number, point in enumerate(BEHIND):
        scenario = SCENARIOS[names[number % len(names)]]
        day = next(fresh_days[scenario.kind])
        bench.crash(day, scenario, point)
    assert bench.run(day, Scenario(scenario.kind, ())).status == "unchanged"
    bench.survived(len(BEHIND))


def test_repair_behind_the_commit_is_quick_and_scores_nothing(
    bench: Bench, fresh_days: dict[int, Iterator[dt.date]], figures: Figures
) -> None:
    day, seen = next(fresh_days[0]), []
    stages = bench.job.folder / "scores_stage"
    kept = set(stages.glob("2*"))  # of runs that `resume` could publish
    bench.crash(day, SCENARIOS["first"], "scores.written")
    assert set(stages.glob("2*")) > kept
    context = bench.session.sparkContext
    context.setJobGroup("repair", "repair")
    hooks.listen(seen.append)
    started = time.perf_counter()
    bench.job.outputs(bench.session).ledger.repair()
    took = time.perf_counter() - started
    hooks.listen(None)
    jobs = len(context.statusTracker().getJobIdsForGroup("repair"))
    figures.notes.append(f"repair behind the commit: {took:.1f} s, {jobs} Spark jobs")
    assert seen == list(REPAIRING)
    assert took <= REPAIR_LIMIT_S
    bench.survived()
    assert set(stages.glob("2*")) <= kept
    assert bench.run(day, SCENARIOS["first"]).status == "unchanged"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "point"), CASES, ids=[f"{name}-{point}".replace(" ", "-") for name, point in CASES])
def test_every_point_of_every_scenario(
    bench: Bench, job: FaultJob, fresh_days: dict[int, Iterator[dt.date]], name: str, point: str
) -> None:
    scenario = SCENARIOS[name]
    if name == "first" and point.startswith("tables."):
        bench = Bench(bench.session, job, bench.figures)  # where they do not exist yet
    day = next(fresh_days[scenario.kind])
    bench.prepare(scenario, day)
    bench.crash(day, scenario, point)
    landed = bench.job.name(day) in bench.wanted and (scenario.before == "crash" or point in BEHIND)
    again = bench.run(day, Scenario(scenario.kind, ()) if landed and scenario.force else scenario)
    assert again.status == ("unchanged" if landed else "published")
    bench.survived(2 if scenario.before == "crash" else 1)  # the crash that the scenario starts from counts too
