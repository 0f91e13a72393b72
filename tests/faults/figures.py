"""The figures of the fault tests: how many faults struck, how many were survived, and what the checker found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from checker import Findings


@dataclass
class Figures:
    """What all fault tests of a run saw."""

    faults: Counter[str] = field(default_factory=Counter)
    survived: Counter[str] = field(default_factory=Counter)
    found: Findings = field(default_factory=Findings)
    notes: list[str] = field(default_factory=list)

    def strike(self, kind: str) -> None:
        """Count a fault that has struck."""
        self.faults[kind] += 1

    def survive(self, kind: str, found: Findings) -> None:
        """Count a fault that was survived, and what the checker found."""
        self.survived[kind] += 1
        self.found.add(found)


FIGURES = Figures()
