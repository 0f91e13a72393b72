"""Named points of a run, where tests stop it: before and after everything that another process could see."""

from __future__ import annotations

from collections.abc import Callable

POINTS = (
    "run.begun",
    "repair.begun",
    "repair.listed",
    "repair.ended",
    "plan.read",
    "plan.pinned",
    "tables.scores",
    "tables.quarantine",
    "tables.audit",
    "keys.checked",
    "stage.claimed",
    "stage.noted",
    "stage.written",
    "stage.judged",
    "stage.sealed",
    "publish.detailed",
    "quarantine.begun",
    "quarantine.written",
    "quarantine.found",
    "scores.begun",
    "scores.written",
    "scores.found",
    "audit.begun",
    "audit.written",
    "audit.found",
    "stage.removed",
    "run.ended",
)


class _Listener:
    """Who is told; nobody, outside tests."""

    def __init__(self) -> None:
        self.tell: Callable[[str], None] | None = None


_LISTENER = _Listener()


def listen(tell: Callable[[str], None] | None) -> None:
    """Have a callable told the name of each point as it is reached; None ends that."""
    _LISTENER.tell = tell


def reached(point: str) -> None:
    """Say that a point is reached. What the listener raises ends the run there, as a crash would."""
    if _LISTENER.tell is not None:
        _LISTENER.tell(point)
