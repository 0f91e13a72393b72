"""Two drivers of their own processes that race for one job, and what its days must show."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from checker import Findings, Wanted, check
from children import Child, child_driver
from fault_job import FaultJob, days
from figures import Figures


@dataclass
class Pair:
    """Two drivers, which live from test to test until one kills them.

    Attributes:
        job: The job that they run, unless told otherwise.
        figures: Where faults are counted.
        wanted: What the job's published days must show.
        days: Days that no test has used yet.
    """

    job: FaultJob
    figures: Figures
    wanted: dict[str, Wanted] = field(default_factory=dict)
    days: Iterator[dt.date] = field(default_factory=lambda: iter(days(0)))
    _alive: list[Child] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)
    _number: int = 0

    def drivers(self) -> tuple[Child, Child]:
        """Both drivers; new ones where the old are dead."""
        if not self._alive:
            self._number += 1
            control = self.job.folder.parent / f"control-{self._number}"
            self._alive = [self._stack.enter_context(child_driver(control, name)) for name in ("one", "two")]
            for child in self._alive:
                child.wait_ready()
        return self._alive[0], self._alive[1]

    def kill(self) -> None:
        """Kill what is left of both drivers."""
        self._alive = []
        self._stack.close()

    def landed(self, *published: dt.date) -> None:
        """Days that must be visible from here on."""
        for day in published:
            self.wanted[self.job.name(day)] = self.job.wanted(day)

    def look(self, kind: str, *, faults: int = 1, audited: bool = True) -> Findings:
        """Check the laws, and count faults as survived."""
        found = check(self.job.scores, self.wanted, audited=audited)
        for _ in range(faults):
            self.figures.survive(kind, found)
        return found
