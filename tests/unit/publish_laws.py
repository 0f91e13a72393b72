"""What the model of publishing remembers in a state, and the laws that hold in every one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

Row = tuple[str, str, str]  # of the audit: kind, run, and for a failure who tells it
Quarantine = tuple[tuple[str, int], ...]  # how many times a run's rows were appended


class Commit(NamedTuple):
    """One commit of the scores log; `planned` is the generation that its plan saw as the next, `by` its driver."""

    run: str
    gen: int
    planned: int
    content: str
    key: str
    kind: str
    of: str
    rows: str
    by: str


class Stage(NamedTuple):
    """Rows that wait: `partial`, `staged`, `held`, `failed` or `abandoned`; a claim is seen in its driver."""

    run: str
    state: str
    gen: int
    content: str


class Audit(NamedTuple):
    """The audit table: its rows, its version, and the last transaction version of the chain's id."""

    rows: tuple[Row, ...] = ()
    version: int = 0
    txn: int = 0


class Fold(NamedTuple):
    """A fold on its way: what it adds, which stages it settles after, what comes then, and what it has read."""

    events: tuple[Row, ...]
    todo: tuple[tuple[str, str], ...]
    held: tuple[str, ...]  # stages that repair has claimed
    then: str
    txn: int = 0
    low: int = 0
    high: int = 0


class Driver(NamedTuple):
    """Where a driver stands; `own` is the run whose stage it has claimed, `seen` the log that a commit looked at."""

    pc: str = "start"
    attempt: int = 1
    run: str = ""
    gen: int = 0
    own: str = ""
    wish: Commit | None = None
    fold: Fold | None = None
    outcome: str = ""
    seen: int = 0


class State(NamedTuple):
    """Everything that is shared, and every driver; `fault` is a law that the last step itself broke."""

    scores: tuple[Commit, ...]
    quarantine: Quarantine
    audit: Audit
    stages: tuple[Stage, ...]
    drivers: tuple[Driver, ...]
    deaths: int
    fault: str = ""


@dataclass(frozen=True)
class Scenario:
    """Drivers by what each is to do (`run a`, `hold a`, `force a`, `rollback`, …), and what stood before them.

    Attributes:
        drivers: A verb each, and for those that score, the content key.
        deaths: How many times any driver may be killed.
        published: Content keys of the runs `p1`, `p2`, … that were published before.
        stage: State and content key of the stage of run `s`, left by a driver that is gone.
    """

    drivers: tuple[str, ...]
    deaths: int = 0
    published: str = ""
    stage: str = ""

    def __str__(self) -> str:
        before = f"{self.published or 'nothing'}{' and ' if self.stage else ''}{self.stage}"
        return f"{' | '.join(self.drivers)} after {before}, {self.deaths} deaths"


@cache
def find_broken_in_logs(scores: tuple[Commit, ...], quarantine: Quarantine, audit: tuple[Row, ...]) -> str | None:
    """The first law that the three logs break by themselves."""
    return _broken_by_scores(scores, dict(quarantine)) or _broken_by_audit(scores, audit)


def find_broken(s: State, names: Sequence[str]) -> str | None:
    """The first law that a state breaks."""
    broken = s.fault or find_broken_in_logs(s.scores, s.quarantine, s.audit.rows)
    return broken or next((told for name, d in zip(names, s.drivers, strict=True) if (told := _lie(s, name, d))), None)


def find_broken_at_end(s: State, names: Sequence[str]) -> str | None:
    """The first law that a state without a next step breaks."""
    if any(d.pc != "end" for d in s.drivers):
        return "deadlock: no driver can go on"
    if count_published(s.audit) != len(s.scores):
        return "at the end the audit lacks a commit"
    for name, d in zip(names, s.drivers, strict=True):
        told = ("held", d.run, "") if d.outcome == "held" else ("failed", d.run, f"{name}{d.attempt}")
        if d.outcome in ("failed", "superseded", "held back", "held") and told not in s.audit.rows:
            return f"at the end the audit lacks that a run {d.outcome}"
    for stage in s.stages:
        if is_gone(s, stage.run) or is_discarded(s, stage.run):
            return "at the end a stage of a published or discarded run is left"
        if not any((row[0], row[1]) == (stage.state, stage.run) for row in s.audit.rows):
            return f"at the end a {stage.state} stage has no event"
    return None


def _lie(s: State, name: str, d: Driver) -> str | None:
    if d.pc != "end" or not d.run:
        return None
    commit = next((commit for commit in s.scores if commit.run == d.run), None)
    if d.outcome == "published" and commit is None:
        return "false success: a driver reports published, the log has nothing of it"
    if d.outcome in ("failed", "superseded", "unchanged", "held") and commit is not None and commit.by == name:
        return f"false failure: a driver reports {d.outcome}, and its run is published"
    return None


def _broken_by_scores(scores: tuple[Commit, ...], counts: dict[str, int]) -> str | None:
    before = 0
    for n, commit in enumerate(scores):
        older = scores[:n]
        if commit.run in [other.run for other in older]:
            return "a run was committed twice"
        if commit.gen <= before:
            return "generations do not rise"
        if commit.kind in ("run", "resume") and commit.content in [other.content for other in older]:
            return "a plain run published a key that the interval had before"
        if not commit.planned == commit.gen == before + 1:
            return "a run was published over one that its plan had not seen"
        if commit.key in [other.key for other in older]:
            return "a run key was published twice"
        if commit.rows != commit.content:
            return "a run published the rows of another key"
        if counts.get(commit.run, 0) != 1:
            return f"a published run has its quarantine rows {counts.get(commit.run, 0)} times"
        before = commit.gen
    return None


def _broken_by_audit(scores: tuple[Commit, ...], audit: tuple[Row, ...]) -> str | None:
    projected = [run for kind, run, _ in audit if kind == "published"]
    if len(set(projected)) != len(projected):
        return "the audit holds a commit twice"
    if projected != [commit.run for commit in scores[: len(projected)]]:
        return "the audit is no prefix of the scores log"
    if len(set(audit)) != len(audit):
        return "the audit holds an event twice"
    kinds = {commit.run: commit.kind for commit in scores}
    overridden = {commit.of for commit in scores if commit.kind == "override"}
    for n, (kind, run, _) in enumerate(audit):
        if kind == "discard" and (run in kinds or run in overridden):
            return "a discarded run is published"
        if kind == "held" and run in kinds:
            return "a held run was published under its own id"
        late = ("published", run, "") in audit[:n]
        if kind in ("failed", "abandoned") and run in kinds and (late or kinds[run] != "resume"):
            return f"the audit calls a published run {kind}"
    return None


def put(s: State, i: int, d: Driver, **shared: Any) -> State:
    """The state after one driver's step."""
    return s._replace(drivers=(*s.drivers[:i], d, *s.drivers[i + 1 :]), **shared)


def finish(d: Driver, outcome: str) -> Driver:
    """A driver that has ended, and so released its claims."""
    return Driver("end", d.attempt, d.run, outcome=outcome)


def restage(stages: tuple[Stage, ...], run: str, state: str | None) -> tuple[Stage, ...]:
    """The stages with one in another state, or without it."""
    moved = (stage if stage.run != run else stage._replace(state=state or "") for stage in stages)
    return tuple(sorted(stage for stage in moved if stage.state))


def tip_gen(s: State) -> int:
    """The last transaction version of the interval's id."""
    return s.scores[-1].gen if s.scores else 0


def count_published(audit: Audit) -> int:
    """How far the audit has come along the scores log."""
    return sum(row[0] == "published" for row in audit.rows)


def is_claimed(s: State, run: str) -> bool:
    """Whether a live driver works on a stage."""
    return any(d.own == run or (d.fold is not None and run in d.fold.held) for d in s.drivers)


def is_gone(s: State, run: str) -> bool:
    """Whether a run's rows were published, under its own id or by override."""
    return any(commit.run == run or (commit.kind == "override" and commit.of == run) for commit in s.scores)


def is_discarded(s: State, run: str) -> bool:
    """Whether the audit says that a run was discarded."""
    return ("discard", run, "") in s.audit.rows
