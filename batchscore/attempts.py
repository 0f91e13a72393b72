"""Run attempts: who ran what, when, and how far it came; where audit records are put together."""

from __future__ import annotations

import getpass
import shlex
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from batchscore.interrupts import check_stop
from batchscore.intervals import Interval, format_utc
from batchscore.lineups import core_of_lineup
from batchscore.records import SCHEMA_VERSION, RunRecord
from batchscore.redaction import redact

Progress = Callable[[str], None]


def silent(step: str) -> None:
    """A progress callback that says nothing."""


class Step(str):
    """The name of a step as it begins, with what is known of its run.

    Attributes:
        job: The job's name.
        interval: The interval as people write it.
        run_id: The run's id.
        rows: Rows that the step goes through, where that is known.
    """

    job: str
    interval: str
    run_id: str
    rows: int | None

    def __new__(cls, name: str, record: RunRecord, rows: int | None = None) -> Step:
        """A step of a run."""
        step = super().__new__(cls, name)
        step.job, step.interval, step.run_id, step.rows = record.job, record.interval_label, record.run_id, rows
        return step


@dataclass(slots=True)
class RunAttempt:
    """One attempt to score an interval, from its start to its record.

    Attributes:
        record: What is known of it so far.
        timings_s: Seconds by step, in order.
        progress: Called with the name of each step as it begins.
    """

    progress: Progress
    record: RunRecord
    timings_s: dict[str, float] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        """Its id."""
        return self.record.run_id

    @contextmanager
    def step(self, name: str, rows: int | None = None) -> Iterator[None]:
        """Announce and time one step, through so many rows; a run that was told to stop stops here."""
        check_stop()
        self.progress(Step(name, self.record, rows))
        started = time.perf_counter()
        try:
            yield
        finally:
            self.timings_s[name] = round(self.timings_s.get(name, 0.0) + time.perf_counter() - started, 3)

    def learn(self, **facts: Any) -> RunRecord:
        """Add facts to the record."""
        self.record = replace(self.record, **facts)
        return self.record

    def ended(self, status: str, **facts: Any) -> RunRecord:
        """The record as it would stand if the attempt ended now."""
        ended = format_utc(datetime.now(UTC))
        return replace(self.record, status=status, ended_at=ended, timings_s=dict(self.timings_s), **facts)


def begin_attempt(job: str, interval: Interval, config_sha256: str, version: str, progress: Progress) -> RunAttempt:
    """A fresh attempt, with a record of who started what."""
    now = datetime.now(UTC)
    record = RunRecord(
        kind="run",
        status="started",
        job=job,
        interval=interval.name,
        interval_label=str(interval),
        run_id=make_run_id(now),
        generation=0,
        run_key="",
        config_sha256=config_sha256,
        started_at=format_utc(now),
        ended_at="",
        user=_user(),
        host=socket.gethostname(),
        command=command_line(),
        code_version=version,
    )
    return RunAttempt(progress, record)


def make_event(kind: str, job: str, interval: Interval | None, reason: str | None) -> dict[str, Any]:
    """The audit record of a decision on an interval, or on the whole job, by whoever runs this process."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "status": kind,
        "job": job,
        "interval": interval.name if interval else None,
        "interval_label": str(interval) if interval else "",
        "reason": reason,
        "started_at": format_utc(datetime.now(UTC)),
        "user": _user(),
        "host": socket.gethostname(),
        "command": command_line(),
    }


def make_run_id(now: datetime) -> str:
    """A fresh run id that sorts by time, such as `20131001T040000-1a2b3c4d`."""
    return f"{now.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:8]}"


def salted_key(content_key: str, run_id: str) -> str:
    """The run key of a run that publishes on purpose what may have been published before."""
    return sha256(f"{content_key}/{run_id}".encode()).hexdigest()


def command_line() -> str:
    """How this process was called, without secrets."""
    words = [Path(sys.argv[0]).name or "python", *sys.argv[1:]]
    return redact(shlex.join(words))


def core_of(record: RunRecord, detail_sha256: str, chain: Mapping[str, Any]) -> dict[str, Any]:
    """What the scores commit carries of a record: enough to tell what was published without the audit table."""
    return {
        "schema_version": record.schema_version,
        "kind": record.kind,
        "status": record.status,
        "job": record.job,
        "interval": record.interval,
        "run_id": record.run_id,
        "generation": record.generation,
        "run_key": record.run_key,
        "content_key": record.content_key,
        "of": record.of,
        "config_sha256": record.config_sha256,
        "started_at": record.started_at,
        "model": core_of_lineup(record.model or {}),
        "input": {key: (record.input or {}).get(key) for key in ("table_id", "version", "fingerprint")},
        "counts": dict(record.counts),
        "detail_sha256": detail_sha256,
        "chain": dict(chain),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
