"""Seeded simulation: several drivers run the real publish code on a store in memory, and everything goes wrong.

A driver is a greenlet. At every call of a port, before its effect and where a write has two halves also between them,
the seed decides whether the driver goes on, stands still while others run, or dies as by SIGKILL: its locks and claims
are free at once and nothing that it would have cleaned up is. Writes fail, or land with their answer lost; reads fail;
clocks differ and jump; strangers commit. A driver that died is started again. `laws.find_violations` judges the end.

`python tests/unit/simulation.py --seed N` replays one seed and prints every step.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fake_pipeline import make_outputs, on_lists
from fake_stages import PLACE, FakeStages
from fake_table import FakeTable
from greenlet import getcurrent, greenlet
from histories import HISTORIES, History
from laws import find_violations
from programs import Program, Report, choose_program, choose_restart, perform

from batchscore.ledger import Ledger

STEP_LIMIT = 20_000
START = datetime(2013, 10, 3, 5, tzinfo=UTC)
TABLES = ("scores", "quarantine", "audit")
FAULTS = ("crash", "pause", "lost", "failed", "unread", "outage", "skew", "jump")


class Crash(BaseException):
    """The process is dead; nothing of it runs on, whatever its code says."""


class Stuck(BaseException):
    """The simulation does not come to an end."""


class Driver:
    """One process: programs one after another, on a clock of its own."""

    def __init__(self, world: Simulation, name: str, programs: Sequence[Program], *, mortal: bool = True) -> None:
        self.name, self.world, self.mortal = name, world, mortal
        self.programs = list(programs)
        self.skew = timedelta(0)
        self.dead = False
        self.paused_until = 0
        self.waits_for: str | None = None
        self.report: Report | None = None
        self.model_version, self.is_held = 1, False
        self.stages = world.stages
        self.outputs = make_outputs(world.scores, world.quarantine, world.audit, world.stages, self.now, world.ledger)
        self.greenlet = greenlet(self._live)

    def now(self) -> datetime:
        return START + self.world.jumped + self.skew + timedelta(seconds=self.world.steps)

    def make_run_id(self) -> str:
        run_id = f"r{self.world.next_run():02d}"
        if self.report is not None:
            self.report.run_ids.append(run_id)
        return run_id

    def _live(self) -> None:
        while self.programs:
            program = self.programs.pop(0)
            self.model_version, self.is_held = program.version, program.is_held
            self.report = Report(program, self.name, self.world.steps)
            self.world.reports.append(self.report)
            try:
                self.world.point("driver", program.kind)
                perform(program, self, self.report)
            except Crash:
                return
            except Exception as error:
                self.report.status, self.report.error = "error", error
            self.report.ended = self.world.steps
            self.world.tell("driver", f"reports {self.report.status} {self.report.error or ''}")


class Simulation:
    """One seed. It is the `World` of its tables and stages, and the scheduler of its drivers."""

    def __init__(
        self,
        seed: int,
        history: History | None = None,
        *,
        table: Callable[..., FakeTable] = FakeTable,
        stages: type[FakeStages] = FakeStages,
        ledger: type[Ledger] = Ledger,
        trace: bool = False,
    ) -> None:
        self.rng = rng = random.Random(seed)
        self.random = rng.random
        self.seed, self.ledger = seed, ledger
        self.trace: list[str] | None = [] if trace else None
        self.steps = self.runs = self.old = 0
        self.jumped = timedelta(0)
        self.stats: Counter[str] = Counter()
        self.reports: list[Report] = []
        self.hub = getcurrent()
        self.holders: dict[str, Driver] = {}
        self.driver: Driver = None  # type: ignore[assignment]
        self.drivers: list[Driver] = []
        atomic = rng.random() < 0.5
        self.scores, self.quarantine, self.audit = (table(name, self, atomic=atomic) for name in TABLES)
        self.stages = stages(self)
        self.switching = rng.choice((1.0, 0.5, 0.2, 0.1, 0.05, 0.01))
        self.budget = {
            "crash": rng.choice((0, 1, 1, 2, 3)),
            "pause": rng.choice((0, 0, 1, 2)),
            "write": rng.choice((0, 0, 1, 2, 4)),
            "read": rng.choice((0, 0, 0, 1)),
        }
        self.outage = [rng.choice((*TABLES, PLACE)), rng.randint(3, 12)] if rng.random() < 0.05 else ["", 0]
        if history is None:
            history = rng.choice(HISTORIES)
        history.restore(self)

    # ---- what the store asks: see `fake_table.World`

    def point(self, place: str, call: str) -> None:
        driver = self.driver
        if driver.dead:
            raise Crash
        self.steps += 1
        if self.trace is not None:
            self.tell(place, call)
        if self.steps > STEP_LIMIT:
            raise Stuck(f"no end after {STEP_LIMIT} steps")
        drawn = self.random()
        if drawn > 0.985 and driver.mortal:
            self._strike(driver, place, call)
        elif drawn < self.switching:
            self._give_way()

    def fault(self, place: str, write: str) -> str | None:
        found: str | None = None
        if place == self.outage[0] and self.outage[1] and self.driver.mortal:
            self.outage[1] -= 1
            self.stats["outage"] += 1
            found = "failed"
        elif self.budget["write"] and self.random() < 0.15 and self.driver.mortal:
            self.budget["write"] -= 1
            found = "lost" if self.random() < 0.5 else "failed"
            self.stats[found] += 1
        if found is not None:
            self._blame(place, found)
            self.tell(place, f"{write}: {found}")
        return found

    def hinder(self, place: str, call: str) -> None:
        if self.budget["read"] and self.random() < 0.02 and self.driver.mortal:
            self.budget["read"] -= 1
            self.stats["unread"] += 1
            self._blame(place, "unread")
            self.tell(place, f"{call}: unread")
            raise OSError("the read timed out")

    def hold(self, lock: str) -> None:
        self.point(lock, "lock")
        driver = self.driver
        while self.holders.get(lock, driver) is not driver:
            driver.waits_for = lock
            self._give_way()
            if driver.dead:
                raise Crash
        driver.waits_for = None
        assert lock not in self.holders, "a lock is taken twice"
        self.holders[lock] = driver

    def free(self, lock: str) -> None:
        if not self.driver.dead:
            del self.holders[lock]

    def writer(self) -> tuple[int, Report | None]:
        return self.steps, self.driver.report if self.driver is not None else None

    def now_ms(self) -> int:
        return 1_380_600_000_000 + self.steps

    def shuffle(self, names: list[str]) -> None:
        self.rng.shuffle(names)

    # ---- the scheduler

    def next_run(self) -> int:
        self.runs += 1
        return self.runs

    def tell(self, place: str, what: str) -> None:
        """Write a step down, if anybody reads."""
        if self.trace is not None:
            self.trace.append(f"{self.steps:5} {self.driver.name:4} {place:10} {what}")

    def play(self) -> list[str]:
        """Run the drivers that the seed chooses to their end, then repair; give back the laws that are broken."""
        rng = self.rng
        for number in range(rng.choice((2, 2, 2, 3))):
            programs = [choose_program(self) for _ in range(rng.choice((1, 1, 2)))]
            self._add(Driver(self, f"d{number}", programs))
        if rng.random() < 0.3:
            self._add(Driver(self, "s", [choose_program(self, stranger=True)]))
        return self.run_all()

    def run_all(self) -> list[str]:
        try:
            self.run_drivers()
            self.repair()
            repairs = 1
            while self.repair():
                repairs += 1
        except Stuck as stuck:
            return [str(stuck)]
        finally:
            self._end()
        # The first repair may tell of a held run that only the second sees to be over its time; there it ends.
        return [*find_violations(self), *(["a third repair adds commits"] if repairs > 2 else [])]

    def repair(self) -> bool:
        """A fresh driver, to which nothing happens, repairs; whether that added a commit."""
        before = [len(table.log) for table in (self.scores, self.quarantine, self.audit)]
        self.add_last(Program("repair"))
        self.run_drivers()
        return before != [len(table.log) for table in (self.scores, self.quarantine, self.audit)]

    def add_last(self, program: Program) -> None:
        """A driver to which nothing happens."""
        self.drivers.append(Driver(self, "last", [program], mortal=False))

    def kill(self, driver: Driver) -> None:
        """Let a driver die: what it holds is free at once."""
        driver.dead = True
        assert driver.report is not None
        driver.report.status, driver.report.ended = "crashed", self.steps
        for lock in [name for name, holder in self.holders.items() if holder is driver]:
            del self.holders[lock]
        claims = self.stages.claims
        for run_id in [run_id for run_id, (_, report) in claims.items() if report is driver.report]:
            del claims[run_id]

    def _add(self, driver: Driver) -> None:
        if self.rng.random() < 0.2:
            driver.skew = timedelta(hours=self.rng.choice((-200, -1, 1, 200)))
            self.stats["skew"] += 1
        driver.paused_until = self.steps + self.rng.choice((0, 0, 10, 100))
        self.drivers.append(driver)

    def run_drivers(self) -> None:
        """Let the drivers run, one at a time, to the end of the last."""
        while self.drivers:
            ready = [d for d in self.drivers if d.paused_until <= self.steps and self._may_go(d)]
            if not ready:
                ready = [d for d in self.drivers if self._may_go(d)]  # all the others sleep: so wake one
            if not ready:
                raise Stuck("every driver waits for a lock")
            driver = ready[int(self.random() * len(ready))] if len(ready) > 1 else ready[0]
            driver.paused_until = 0
            self.driver = driver
            driver.greenlet.switch()
            if driver.greenlet.dead:
                self.drivers.remove(driver)
                if driver.dead and driver.mortal:
                    self._restart(driver)

    def _may_go(self, driver: Driver) -> bool:
        return driver.waits_for is None or driver.waits_for not in self.holders

    def _give_way(self) -> None:
        if len(self.drivers) > 1:
            self.hub.switch()

    def _strike(self, driver: Driver, place: str, call: str) -> None:
        """Something happens to a driver, if the seed has it left."""
        budget = self.budget
        if budget["crash"] and self.random() < 0.7:
            budget["crash"] -= 1
            self.stats["crash"] += 1
            self.stats[f"crash at {place} {call}"] += 1
            self.tell(place, f"{call}: CRASH")
            self.kill(driver)
            driver.report.died_at = f"{place} {call}"  # type: ignore[union-attr]
            raise Crash
        if budget["pause"]:
            budget["pause"] -= 1
            self.stats["pause"] += 1
            driver.paused_until = self.steps + self.rng.randint(20, 400)
            self.tell(place, f"{call}: sleeps until {driver.paused_until}")
            self._give_way()
        elif self.random() < 0.1:
            self.stats["jump"] += 1
            self.jumped += timedelta(days=8)
            self.tell(place, "eight days go by")

    def _restart(self, driver: Driver) -> None:
        assert driver.report is not None
        programs = [*choose_restart(self, driver.report), *driver.programs]
        if programs:
            self._add(Driver(self, f"{driver.name}'", programs))

    def _blame(self, place: str, fault: str) -> None:
        if self.driver.report is not None:
            self.driver.report.faults.append((place, fault))

    def _end(self) -> None:
        for driver in self.drivers:
            if driver.greenlet and not driver.greenlet.dead:
                self.driver, driver.dead = driver, True
                driver.greenlet.throw(Crash)
        self.drivers = []


class Theatre:
    """Plays seeds, with the pipeline on lists meanwhile."""

    def __init__(self, **parts: Any) -> None:
        self.parts = parts
        self._stage: list[Simulation] = []

    def __enter__(self) -> Theatre:
        self._context = on_lists(lambda: self._stage[0].driver)
        self._context.__enter__()
        for history in HISTORIES:
            history.make(self._make)
        return self

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)

    def play(self, seed: int, *, trace: bool = False) -> tuple[Simulation, list[str]]:
        """One seed, and the laws that it breaks."""
        world = self._make(seed, trace=trace, **self.parts)
        return world, world.play()

    def explain(self, seed: int) -> str:
        """One seed again, step by step."""
        world, violations = self.play(seed, trace=True)
        lines = [*(world.trace or []), "", *(str(report) for report in world.reports), "", *violations]
        return "\n".join([f"seed {seed}:", *lines, f"replay: python tests/unit/simulation.py --seed {seed}"])

    def _make(self, seed: int, **options: Any) -> Simulation:
        world = Simulation(seed, **options)
        self._stage[:] = [world]
        return world


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Replay one seed of the publish simulation.")
    parser.add_argument("--seed", type=int, required=True)
    with Theatre() as theatre:
        text = theatre.explain(parser.parse_args().seed)
    sys.stdout.write(text + "\n")
