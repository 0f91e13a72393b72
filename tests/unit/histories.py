"""Histories: what may have happened before a simulation begins, made once by the product's own code without faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from programs import Program

TABLES = ("scores", "quarantine", "audit")


@dataclass(slots=True)
class History:
    """Programs one after another; some die on their way.

    Attributes:
        acts: Programs, each with the call of a port at which it dies, if it does.
        saved: What they left.
    """

    acts: Sequence[tuple[Program, tuple[str, str] | None]] = ()
    saved: dict[str, Any] = field(default_factory=dict)

    def make(self, make_world: Callable[..., Any]) -> None:
        """Play it, and keep what it leaves."""
        world = make_world(0, history=History())
        world.budget = dict.fromkeys(world.budget, 0)
        point = world.point

        def die_at(call: tuple[str, str] | None) -> Callable[[str, str], None]:
            def doomed(place: str, name: str) -> None:
                if (place, name) == call and not world.driver.dead:
                    world.kill(world.driver)
                point(place, name)

            return doomed

        for program, call in self.acts:
            world.add_last(program)
            world.point = die_at(call)
            world.run_drivers()
        self.saved = {"steps": world.steps, "runs": world.runs, "reports": world.reports}
        self.saved["folders"] = world.stages.folders
        for name in TABLES:
            table = getattr(world, name)
            self.saved[name] = (table.log, table._txns, table._properties, table._partition_by, table.side_files)

    def restore(self, world: Any) -> None:
        """Begin a world where this history ends."""
        if not self.saved:
            return
        world.steps, world.runs = self.saved["steps"], self.saved["runs"]
        world.reports = list(self.saved["reports"])
        world.old = len(world.reports)
        world.stages.folders = {run_id: dict(files) for run_id, files in self.saved["folders"].items()}
        for name in TABLES:
            table = getattr(world, name)
            log, txns, table._properties, table._partition_by, side_files = self.saved[name]
            table.log, table._txns, table.side_files = list(log), dict(txns), dict(side_files)


def _run(version: int, *, is_held: bool = False) -> Program:
    return Program("run", version=version, is_held=is_held)


_STAGED = ("quarantine", "append")  # dies with its stage whole
HISTORIES = (
    History(),
    History(),
    History([(_run(1), None)]),
    History([(_run(1), None), (_run(2), None)]),
    History([(_run(1), None), (_run(2, is_held=True), None)]),
    History([(_run(3, is_held=True), None)]),
    History([(_run(1), None), (_run(2), _STAGED)]),
    History([(_run(1), None), (_run(2), _STAGED), (Program("repair"), None)]),
    History([(_run(2), _STAGED), (Program("repair"), None)]),
    History([(_run(2), ("audit", "append"))]),
    History([(_run(4), None)]),
    History([(_run(1), None), (_run(2), None), (Program("rollback", target="r01"), None)]),
    History([(_run(3, is_held=True), None), (_run(2), None), (_run(1, is_held=True), None)]),
    History([(_run(1), None), (Program("block"), None)]),
)
