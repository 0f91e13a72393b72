"""What a simulated driver does: one call of the product, or of a stranger on its tables, and how it was reported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fake_pipeline import DAYS, INTERVALS, JOB, SPARK

from batchscore.decisions import block_intervals, discard_run, free_intervals, release_interval
from batchscore.pipeline import run_interval
from batchscore.republish import override_held, resume_run, rollback_interval

OURS = ("run", "force", "rollback", "override")
WEIGHTS = {
    "run": 50,
    "force": 7,
    "rollback": 12,
    "override": 12,
    "discard": 12,
    "resume": 22,
    "block": 3,
    "unblock": 14,
    "release": 14,
    "repair": 2,
}
KINDS = tuple(WEIGHTS)
STRANGERS = ("OPTIMIZE", "SET TBLPROPERTIES", "DELETE", "INSERT", "RESTORE")
NEEDS = {"rollback": OURS, "override": ("held",), "discard": ("held", "failed", "abandoned")}
NEEDS["resume"] = ("failed", "abandoned", "abandoned", "held")
UNDOES = {"unblock": ("block", "unblock"), "release": ("rollback", "release")}


@dataclass(frozen=True, slots=True)
class Program:
    """One thing to do.

    Attributes:
        kind: One of `KINDS` or `STRANGERS`.
        interval: The interval's name.
        version: The model version that the alias names when it is read.
        is_held: Whether a gate holds what is judged.
        target: The run that it is about; chosen when it begins if None.
        origin: `first`, or how it follows a crash: `again`, `moved` (the alias has moved) or `resumed`.
    """

    kind: str
    interval: str = DAYS[0].name
    version: int = 1
    is_held: bool = False
    target: str | None = None
    origin: str = "first"


@dataclass(slots=True)
class Report:
    """What became of a program, as its caller saw it.

    Attributes:
        program: What was asked.
        driver: Who did it.
        started: The step at which it began.
        ended: The step at which it was over.
        status: `started`, `crashed`, `error`, `done`, or the status of the record that came back.
        run_ids: Runs that it made, and the one that it resumed.
        error: What was raised.
        record: What was returned.
        faults: Places and kinds of faults that it met.
        effect: What a stranger did.
        died_at: The call at which its driver died.
    """

    program: Program
    driver: str
    started: int
    ended: int = 1 << 30
    status: str = "started"
    run_ids: list[str] = field(default_factory=list)
    error: Exception | None = None
    record: Any = None
    faults: list[tuple[str, str]] = field(default_factory=list)
    effect: Any = None
    died_at: str = ""

    def __str__(self) -> str:
        told = f" {type(self.error).__name__}: {self.error}" if self.error else self.died_at
        return f"{self.driver} {self.program} {self.started}..{self.ended} {self.run_ids} {self.status}{told}"


def choose_program(world: Any, *, stranger: bool = False) -> Program:
    """A program, as the seed has it."""
    random = world.random
    interval = DAYS[random() < 0.15].name
    if stranger:
        return Program(world.rng.choice(STRANGERS), interval)
    kind = world.rng.choices(KINDS, WEIGHTS.values())[0]
    return Program(kind, interval, choose_version(world), is_held=random() < 0.15)


def choose_version(world: Any) -> int:
    """What the alias names: most often one of two."""
    return int(world.rng.choice((1, 1, 1, 2, 2, 2, 3, 3, 4, 5)))


def choose_restart(world: Any, report: Report) -> list[Program]:
    """What is started in place of a driver that died."""
    drawn, program = world.random(), report.program
    whole = report.run_ids and "q-0" in world.stages.folders.get(report.run_ids[-1], ())
    if world.random() < (0.6 if whole else 0.03) and report.run_ids:
        return [replace(program, kind="resume", target=report.run_ids[-1], is_held=False, origin="resumed")]
    if drawn < 0.3:
        return [replace(program, version=choose_version(world), origin="moved")]
    if drawn < 0.9:
        return [replace(program, origin="again")]
    return [Program("repair", origin="again")] if drawn < 0.95 else []


def perform(program: Program, driver: Any, report: Report) -> None:
    """Do it, by the product's own code."""
    world = driver.world
    if program.kind in STRANGERS:
        _meddle(program.kind, program.interval, world, report)
        return
    if program.target is None and program.kind in NEEDS:
        target = _find_target(world, program)
        program = report.program = replace(program, target=target) if target else replace(program, kind="run")
    if program.kind in UNDOES and world.random() < 0.9 and not _is_due(world, program):
        program = report.program = replace(program, kind="run")
    interval, outputs = INTERVALS[program.interval], driver.outputs
    target = str(program.target)
    match program.kind:
        case "run" | "force":
            record = run_interval(SPARK, JOB, interval, force=program.kind == "force")
        case "resume":
            if world.random() < 0.9:
                driver.model_version = _version_of(world, target) or program.version
            report.run_ids.append(target)
            record = resume_run(SPARK, JOB, target)
        case "override":
            record = override_held(SPARK, JOB, target, "because")
        case "rollback":
            record = rollback_interval(SPARK, JOB, interval, target, None)
        case _:
            _decide(program.kind, interval, outputs, target)
            report.status = "done"
            return
    report.record, report.status = record, record.status


def read_log(table: Any) -> list[tuple[int, Mapping[str, Any]]]:
    """What our commits in the raw log of a table of scores say of themselves, with their versions."""
    found = []
    for version, entry in enumerate(table.log):
        if entry.commit.metadata:
            found.append((version, json.loads(entry.commit.metadata)["batchscore"]))
    return found


def _decide(kind: str, interval: Any, outputs: Any, target: str) -> None:
    match kind:
        case "repair":
            outputs.ledger.repair()
        case "discard":
            discard_run(outputs, JOB, target, None)
        case "block":
            block_intervals(outputs, [interval], "why")
        case "unblock":
            free_intervals(outputs, [interval], None)
        case "release":
            release_interval(outputs, interval, None)


def _find_target(world: Any, program: Program) -> str | None:
    kinds = NEEDS[program.kind]
    if program.kind == "rollback":
        found = [core["run_id"] for _, core in read_log(world.scores) if core["interval"] == program.interval]
        found = found[:-1] if world.random() < 0.9 else found
    else:
        rows = world.audit.rows
        found = [row["run_id"] for row in rows if row["kind"] == world.rng.choice(kinds)]
    return str(world.rng.choice(found)) if found else None


def _is_due(world: Any, program: Program) -> bool:
    """Whether there is something to undo."""
    does, undoes = UNDOES[program.kind]
    kinds = [row["kind"] for row in world.audit.rows if row["interval"] == program.interval]
    return bool([kind for kind in kinds if kind in (does, undoes)][-1:] == [does])


def _version_of(world: Any, run_id: str) -> int | None:
    found = [row["record"] for row in world.audit.rows if row["run_id"] == run_id]
    model = json.loads(found[-1])["model"] if found else None
    return model and int(model["version"])


def _meddle(kind: str, interval: str, world: Any, report: Report) -> None:
    scores = world.scores
    if kind == "OPTIMIZE":  # of any of the three tables
        scores = world.rng.choice((scores, world.quarantine, world.audit))
    if not scores.exists():
        report.status = "done"
        return
    match kind:
        case "DELETE":
            report.effect = ("delete", interval)
            scores.foreign(kind, lambda rows: tuple(r for r in rows if r["_interval"] != interval), interval)
        case "INSERT":
            row = {"id": 99, "score": "theirs", "_interval": interval, "_run_id": None, "_generation": None}
            report.effect = ("insert", row)
            scores.foreign("WRITE", lambda rows: (*rows, row), interval)
        case "RESTORE":
            version = world.rng.randrange(len(scores.log))
            report.effect = ("restore", version)
            scores.foreign(kind, lambda rows: scores.log[version].rows)
        case "OPTIMIZE":
            scores.foreign(kind, interval=interval)
        case _:
            scores.foreign(kind)
    report.status = "done"
