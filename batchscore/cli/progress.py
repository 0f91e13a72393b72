"""Progress on stderr: a live line above the steps that are done in a terminal, plain lines when piped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

STEPS = {
    "status": "looking at what is published",
    "validate": "reading the job",
    "spark": "starting Spark",
    "repair": "bringing the audit up to date",
    "plan": "pinning tables and model",
    "evaluate": "measuring scores against labels",
    "keys": "checking keys",
    "score": "checking and scoring rows",
    "judge": "judging the stage",
    "publish": "publishing",
    "quarantine": "writing quarantined rows",
    "scores": "committing scores",
    "read-back": "reading the log back",
    "audit": "writing the audit record",
}


class Teller:
    """Where progress goes: called with the name of each step, or another text; this one says nothing."""

    def __call__(self, step: str) -> None:
        """Begin a step."""

    def pause(self) -> None:
        """End the step at work, so that something else may be printed."""


class LineTeller(Teller):
    """Plain lines with the seconds since the beginning."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, step: str) -> None:
        """Print the step."""
        click.echo(f"[{time.monotonic() - self._started:6.1f} s] {STEPS.get(step, step)}", err=True)


class LiveTeller(Teller):
    """The step at work with its seconds, under the steps that are done with theirs."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._console = Console(stderr=True, highlight=False)
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task("", total=None)
        self._began: float | None = None

    def __call__(self, step: str) -> None:
        """End the step before, and show this one."""
        self._finish()
        self._began = time.monotonic()
        self._bar.reset(self._task, description=STEPS.get(step, step))
        if step == "spark":  # Java writes a warning of its own here, which would end up inside a live line
            self._bar.stop()
            self._console.print(f"{STEPS[step]} …", style="dim")
        else:
            self._bar.start()

    def pause(self) -> None:
        """End the step at work, and take the live line away."""
        self._finish()
        self._bar.stop()

    def stop(self) -> None:
        """Take the live line away; the step at work has not ended."""
        self._bar.stop()

    def _finish(self) -> None:
        if self._began is not None:
            text = f"{time.monotonic() - self._began:6.1f} s  {self._bar.tasks[0].description}"
            self._console.print(text, style="dim", markup=False)
        self._began = None


@contextmanager
def show_progress(quiet: bool = False, *, as_json: bool = False, first: str = "spark") -> Iterator[Teller]:
    """A callback for the names of steps, shown while the block runs; other texts are shown as they are.

    Args:
        quiet: Show nothing.
        as_json: A JSON document will follow on stdout; spark-submit sends a script's stderr there too, so that
            progress would stand in front of it.
        first: The step that has begun when the block is entered.
    """
    if quiet or (as_json and "PYSPARK_GATEWAY_PORT" in os.environ):
        yield Teller()
    elif sys.stderr.isatty():
        live = LiveTeller()
        try:
            live(first)
            yield live
            live.pause()
        finally:
            live.stop()
    else:
        lines = LineTeller()
        lines(first)
        yield lines
