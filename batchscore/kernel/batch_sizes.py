"""Finds how many rows a model takes fastest in one call, from the calls that score the first batches anyway."""

from __future__ import annotations

from dataclasses import dataclass, field

SIZES = (1024, 4096, 16_384)
CALLS = 3  # that count for each size; the one before them warms up
NEARLY = 0.97  # of the best speed: the largest such size wins, as fewer calls cost less around the model


@dataclass(slots=True)
class BatchProbe:
    """Calls of one model in one worker, timed by their size until each has been tried.

    Attributes:
        chosen: Rows of a call once that is known; None before.
    """

    chosen: int | None = None
    _place: int = 0
    _calls: int = 0
    _rates: list[float] = field(default_factory=list)
    _rows: int = 0
    _seconds: float = 0.0

    def size(self) -> int:
        """Rows that the next call should have, if there are as many."""
        return self.chosen or SIZES[self._place]

    def add(self, rows: int, seconds: float) -> None:
        """Note a call; one with fewer rows than asked for says nothing, unless no batch has more.

        Args:
            rows: Rows that were scored.
            seconds: How long that took.
        """
        if self.chosen is not None or rows < SIZES[self._place]:
            return
        self._calls += 1
        if self._calls == 1:
            return
        self._rows += rows
        self._seconds += seconds
        if self._calls <= CALLS:
            return
        self._rates.append(self._rows / max(self._seconds, 1e-9))
        self._place, self._calls, self._rows, self._seconds = self._place + 1, 0, 0, 0.0
        if self._place == len(SIZES):
            self._choose()

    def skip(self, rows: int) -> None:
        """Note that a batch has only so many rows: larger sizes cannot be tried."""
        if self.chosen is None and self._rates and rows < SIZES[self._place]:
            self._choose()

    def _choose(self) -> None:
        best = max(self._rates)
        self.chosen = max(size for size, rate in zip(SIZES, self._rates, strict=False) if rate >= NEARLY * best)
