"""Progress on stderr: a live bar above the steps that are done in a terminal, plain lines when piped, or JSON lines."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

STEPS = {
    "status": "looking at what is published",
    "validate": "reading the job",
    "spark": "starting Spark",
    "repair": "bringing the audit up to date",
    "plan": "pinning tables and model",
    "evaluate": "measuring scores against labels",
    "replay": "computing the run again",
    "keys": "checking keys",
    "score": "checking and scoring rows",
    "judge": "judging the stage",
    "publish": "publishing",
    "quarantine": "writing quarantined rows",
    "scores": "committing scores",
    "read-back": "reading the log back",
    "signals": "telling others of the run",
    "audit": "writing the audit record",
}
LOG_FORMS = ("text", "json")
_LIVE_S, _LINES_S = 0.5, 30.0  # how often tasks are counted, for a bar and for plain lines
_SHOWN_FROM_S = 2.0  # a rate from less is none
_json_errors = False
_last_context: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks of the Spark stages at work: all, those done, and attempts that failed and were made again."""

    total: int
    done: int
    failed: int

    def tell(self, rows: int | None, seconds: float) -> str:
        """The tasks in words; with the rows that the step has to go through, the rate so far."""
        text = f"{self.done} of {self.total} tasks"
        if self.failed:
            text += f", {self.failed} tried again"
        if rows and self.done and seconds >= _SHOWN_FROM_S:
            text += f", about {rows * self.done / self.total / seconds:,.0f} rows/s"
        return text


def count_tasks() -> Tasks | None:
    """What Spark's status tracker says of the stages at work; None where there are none, or no Spark."""
    if "pyspark" not in sys.modules:
        return None
    from pyspark import SparkContext  # noqa: PLC0415

    context = SparkContext._active_spark_context
    if context is None:
        return None
    total = done = failed = 0
    with suppress(Exception):  # Spark is being stopped, or was never whole
        tracker = context.statusTracker()
        for stage in tracker.getActiveStageIds():
            info: Any = tracker.getStageInfo(stage)
            if info is not None:
                total, done = total + info.numTasks, done + info.numCompletedTasks
                failed += info.numFailedTasks
    return Tasks(total, done, failed) if total else None


class Teller:
    """Where progress goes: called with the name of each step, or another text; this one says nothing."""

    def __call__(self, step: str) -> None:
        """Begin a step."""

    def pause(self) -> None:
        """End the step at work, so that something else may be printed."""

    def stop(self) -> None:
        """Say nothing any more; the step at work has not ended."""


class _Ticker(threading.Thread):
    """Calls a function every so often until it is told to stop."""

    def __init__(self, every_s: float, tick: Any) -> None:
        super().__init__(daemon=True)
        self._every_s, self._tick, self._over = every_s, tick, threading.Event()

    def run(self) -> None:
        while not self._over.wait(self._every_s):
            self._tick()

    def stop(self) -> None:
        self._over.set()
        if self.is_alive():
            self.join(timeout=5)


class LineTeller(Teller):
    """Plain lines with the seconds since the beginning; of a long step, how far its tasks are."""

    def __init__(self, every_s: float = _LINES_S) -> None:
        self._started = self._began = time.monotonic()
        self._rows: int | None = None
        self._ticker = _Ticker(every_s, self._tick)
        self._ticker.start()

    def __call__(self, step: str) -> None:
        """Print the step."""
        self._began, self._rows = time.monotonic(), getattr(step, "rows", None)
        self._print(STEPS.get(step, step))

    def stop(self) -> None:
        """Say nothing any more."""
        self._ticker.stop()

    def _tick(self) -> None:
        tasks = count_tasks()
        if tasks is not None:
            self._print(f"  {tasks.tell(self._rows, time.monotonic() - self._began)}")

    def _print(self, text: str) -> None:
        click.echo(f"[{time.monotonic() - self._started:6.1f} s] {text}", err=True)


class JsonTeller(Teller):
    """A JSON object a line, its fields named as PySpark's own structured logs name them."""

    def __call__(self, step: str) -> None:
        """Print the step with the run that it is of."""
        level = "WARN" if step.startswith("warning: ") else "INFO"
        context = {name: getattr(step, name, None) for name in ("job", "interval", "run_id", "rows")}
        known = {name: str(value) for name, value in context.items() if value is not None}
        if step in STEPS:
            known["step"] = str(step)
        if "run_id" in known:
            _last_context.update({name: known[name] for name in ("job", "interval", "run_id", "step") if name in known})
        log_line(level, STEPS.get(step, str(step)), known)


class LiveTeller(Teller):
    """The step at work with its tasks and seconds, under the steps that are done with theirs."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        self._console = Console(stderr=True, highlight=False)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[tasks]}", markup=False),
            TimeElapsedColumn(),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task("", total=None, tasks="")
        self._began: float | None = None
        self._rows: int | None = None
        self._ticker = _Ticker(_LIVE_S, self._tick)
        self._ticker.start()

    def __call__(self, step: str) -> None:
        """End the step before, and show this one."""
        self._finish()
        self._began, self._rows = time.monotonic(), getattr(step, "rows", None)
        self._bar.reset(self._task, description=STEPS.get(step, step), total=None, tasks="")
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
        self._ticker.stop()
        self._bar.stop()

    def _tick(self) -> None:
        tasks, began = count_tasks(), self._began
        if tasks is not None and began is not None:
            told = tasks.tell(self._rows, time.monotonic() - began)
            self._bar.update(self._task, total=tasks.total, completed=tasks.done, tasks=told)

    def _finish(self) -> None:
        if self._began is not None:
            text = f"{time.monotonic() - self._began:6.1f} s  {self._bar.tasks[0].description}"
            self._console.print(text, style="dim", markup=False)
        self._began = None


def log_line(level: str, text: str, context: dict[str, str], exception: dict[str, str] | None = None) -> None:
    """One line of JSON on stderr. Source: PySpark's `SPARK_LOG_SCHEMA`."""
    entry: dict[str, Any] = {
        "ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": level,
        "logger": "batchscore",
        "msg": text,
        "context": context,
    }
    if exception is not None:
        entry["exception"] = exception
    click.echo(json.dumps(entry, ensure_ascii=False), err=True)


def tell_error(text: str, error: BaseException) -> None:
    """An error in the form that the command's progress has."""
    if _json_errors:
        log_line("ERROR", text, dict(_last_context), {"class": type(error).__name__, "msg": text})
    else:
        click.echo(f"error: {text}", err=True)


@contextmanager
def show_progress(
    quiet: bool = False, *, as_json: bool = False, first: str = "spark", log: str = "text"
) -> Iterator[Teller]:
    """A callback for the names of steps, shown while the block runs; other texts are shown as they are.

    Args:
        quiet: Show nothing.
        as_json: A JSON document will follow on stdout; spark-submit sends a script's stderr there too, so that
            progress would stand in front of it.
        first: The step that has begun when the block is entered.
        log: `json` for a JSON object a line, also where an error ends the command.
    """
    global _json_errors  # noqa: PLW0603 - the command line has one command a process
    _json_errors = log == "json"
    _last_context.clear()
    if quiet or (as_json and "PYSPARK_GATEWAY_PORT" in os.environ):
        yield Teller()
        return
    live = sys.stderr.isatty() and log == "text"
    teller = LiveTeller() if live else JsonTeller() if log == "json" else LineTeller()
    try:
        teller(first)
        yield teller
        teller.pause()
    finally:
        teller.stop()
