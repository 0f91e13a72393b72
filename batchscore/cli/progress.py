"""Progress on stderr: a live line in a terminal, plain lines when piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

STEPS = {
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
def show_progress(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A callback for the names of steps, shown while the block runs."""
    if quiet:
        yield lambda step: None
    elif sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

        console = Console(stderr=True)
        with console.status("starting Spark") as status:
            yield lambda step: status.update(STEPS.get(step, step))
    else:
        started = time.monotonic()

        def line(step: str) -> None:
            click.echo(f"[{time.monotonic() - started:6.1f} s] {STEPS.get(step, step)}", err=True)

        yield line
