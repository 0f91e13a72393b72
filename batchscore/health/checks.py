"""Checks as data: one thing looked at and its verdict, and all of them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from batchscore.failures import retell
from batchscore.rendering import Sheet, Shown

Status = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    Attributes:
        name: What was looked at, such as `java`.
        status: `FAIL` keeps a run from going well; `WARN` may.
        found: What was found; for `WARN` and `FAIL` with what was expected and what to do.
    """

    name: str
    status: Status
    found: str


@dataclass(frozen=True, slots=True)
class Health(Shown):
    """Everything that was looked at, in order."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> bool:
        """Whether anything must be mended before a run."""
        return any_failed(self.checks)

    def sheet(self) -> Sheet:
        """A line for each check, under what they come to."""
        count = {status: sum(c.status == status for c in self.checks) for status in ("OK", "WARN", "FAIL")}
        title = "doctor · " + ", ".join(f"{number} {status}" for status, number in count.items() if number)
        return Sheet(title, [(f"{c.status:<4}  {c.name}", c.found) for c in self.checks])


def any_failed(checks: Sequence[Check]) -> bool:
    """Whether one of the checks failed."""
    return any(check.status == "FAIL" for check in checks)


def attempt(name: str, look: Callable[[], str]) -> Check:
    """`OK` with what `look` tells, or `FAIL` with the error that it raises."""
    try:
        return Check(name, "OK", look())
    except Exception as error:
        return Check(name, "FAIL", str(retell(error)))
