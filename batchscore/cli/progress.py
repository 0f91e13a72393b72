"""Progress on stderr: a live line above the steps that are done in a terminal, plain lines when piped."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

STEPS = {
    "spark": "starting Spark",
    "repair": "bringing the audit up to date",
    "plan": "pinning tables and model",
    "keys": "checking keys",
    "score": "checking and scoring rows",
    "judge": "judging the stage",
    "publish": "publishing",
    "quarantine": "writing quarantined rows",
    "scores": "committing scores",
    "read-back": "reading the log back",
    "audit": "writing the audit record",
}


@contextmanager
def show_progress(
    quiet: bool = False, *, as_json: bool = False, first: str = "spark"
) -> Iterator[Callable[[str], None]]:
    """A callback for the names of steps, shown while the block runs; other texts are shown as they are.

    Args:
        quiet: Show nothing.
        as_json: A JSON document will follow on stdout; spark-submit sends a script's stderr there too, so that
            progress would stand in front of it.
        first: The step that has begun when the block is entered.
    """
    if quiet or (as_json and "PYSPARK_GATEWAY_PORT" in os.environ):
        yield lambda step: None
    elif sys.stderr.isatty():
        with _show_live(first) as tell:
            yield tell
    else:
        started = time.monotonic()

        def line(step: str) -> None:
            click.echo(f"[{time.monotonic() - started:6.1f} s] {STEPS.get(step, step)}", err=True)

        line(first)
        yield line


@contextmanager
def _show_live(first: str) -> Iterator[Callable[[str], None]]:
    """The step at work with its seconds, under the steps that are done with theirs."""
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("", total=None)
    began = time.monotonic()

    def begin(step: str) -> None:
        nonlocal began
        began = time.monotonic()
        bar.reset(task, description=STEPS.get(step, step))
        if step == "spark":  # Java writes a warning of its own here, which would end up inside a live line
            bar.stop()
            console.print(f"{STEPS[step]} …", style="dim")
        else:
            bar.start()

    def finish() -> None:
        text = f"{time.monotonic() - began:6.1f} s  {bar.tasks[0].description}"
        console.print(text, style="dim", markup=False)

    def tell(step: str) -> None:
        finish()
        begin(step)

    try:
        begin(first)
        yield tell
        finish()
    finally:
        bar.stop()
