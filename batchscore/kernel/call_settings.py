"""Finds with how many rows and threads a model is fastest, from the calls that score the first batches anyway."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

SIZES = (1024, 4096, 16_384)
CALLS = 3  # that count for each setting; the one before them warms up
NEARLY = 0.97  # of the best speed: so near, fewer threads win, and then more rows, as fewer calls cost less around them


class Setting(NamedTuple):
    """How a call is made.

    Attributes:
        threads: Threads of ONNX Runtime within it.
        rows: Rows that it has, if there are as many.
    """

    threads: int
    rows: int


@dataclass(slots=True)
class CallProbe:
    """Calls of one model in one worker, timed by their setting until each has been tried.

    Attributes:
        threads: Counts of threads to try, fewest first.
        sizes: Rows of a call to try, fewest first.
        chosen: The setting of all further calls once that is known; None before.
    """

    threads: tuple[int, ...] = (1,)
    sizes: tuple[int, ...] = SIZES
    chosen: Setting | None = None
    _place: int = 0
    _calls: int = 0
    _rates: dict[Setting, float] = field(default_factory=dict)
    _rows: int = 0
    _seconds: float = 0.0

    def __post_init__(self) -> None:
        if len(self.threads) * len(self.sizes) == 1:
            self.chosen = Setting(self.threads[0], self.sizes[0])

    def setting(self) -> Setting:
        """How the next call should be made."""
        return self.chosen or self._tried()

    @property
    def rows_chosen(self) -> int | None:
        """Rows of all further calls; None where that is open."""
        return self.chosen.rows if self.chosen else None

    @property
    def threads_chosen(self) -> int | None:
        """Threads of all further calls; None where that is open."""
        if self.chosen:
            return self.chosen.threads
        return self.threads[0] if len(self.threads) == 1 else None

    def best(self) -> Setting | None:
        """The fastest setting so far, or one nearly as fast; None before one has been timed."""
        if not self._rates:
            return None
        least = NEARLY * max(self._rates.values())
        near = [setting for setting, rate in self._rates.items() if rate >= least]
        return min(near, key=lambda setting: (setting.threads, -setting.rows))

    def add(self, setting: Setting, rows: int, seconds: float) -> None:
        """Note a call; one with fewer rows than asked for says nothing.

        Args:
            setting: How it was made.
            rows: Rows that were scored.
            seconds: How long that took.
        """
        if self.chosen is not None or setting != self._tried() or rows < setting.rows:
            return
        self._calls += 1
        if self._calls == 1:
            return
        self._rows += rows
        self._seconds += seconds
        if self._calls > CALLS:
            self._rates[self._tried()] = self._rows / max(self._seconds, 1e-9)
            self._go_to(self._place + 1)

    def skip(self, rows: int) -> None:
        """Note that a batch has only so many rows: larger sizes cannot be tried."""
        if self.chosen is None and self._rates and rows < self._tried().rows:
            first = rows < self.sizes[0]  # then the next count of threads could not be tried either
            done = len(self.threads) * len(self.sizes)
            self._go_to(done if first else (self._place // len(self.sizes) + 1) * len(self.sizes))

    def _tried(self) -> Setting:
        count, size = divmod(self._place, len(self.sizes))
        return Setting(self.threads[count], self.sizes[size])

    def _go_to(self, place: int) -> None:
        self._place, self._calls, self._rows, self._seconds = place, 0, 0, 0.0
        if place >= len(self.threads) * len(self.sizes):
            self.chosen = self.best()
