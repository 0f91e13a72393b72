"""The Python API: the same verbs and results as the command line."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from batchscore import loading
from batchscore.attempts import Progress, silent
from batchscore.config import Job
from batchscore.interrupts import call_interruptibly
from batchscore.intervals import Interval
from batchscore.ledger import find_run
from batchscore.outputs import open_outputs
from batchscore.pipeline import plan_interval, preview_interval, run_interval
from batchscore.planning import resolved_conf
from batchscore.plans import Plan
from batchscore.records import RunRecord, record_from_dict
from batchscore.rendering import Sheet
from batchscore.schedules import resolve_interval
from batchscore.session import cancel_jobs, needs_delta, open_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

JobOrPath = Job | str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Preview:
    """Some scored rows of an interval, with their outcome; nothing of it was published."""

    title: str
    rows: tuple[dict[str, Any], ...]

    def sheet(self) -> Sheet:
        """The rows laid out."""
        names = [n for n in (self.rows[0] if self.rows else {}) if n != "_reasons"]
        lines = [[*(row[n] for n in names), _reasons(row)] for row in self.rows]
        return Sheet(self.title, (("rows", len(self.rows)),), (("scored", (*names, "reasons"), lines),))

    def __str__(self) -> str:
        return self.sheet().text()

    def _repr_html_(self) -> str:
        return self.sheet().html()


@dataclass(frozen=True, slots=True)
class RunList:
    """Run attempts of a job, newest first."""

    job: str
    records: tuple[dict[str, Any], ...]

    def sheet(self) -> Sheet:
        """The runs laid out."""
        names = ("run", "kind", "status", "interval", "generation", "model", "read", "scored", "quarantined", "error")
        lines = [
            [
                r.get("run_id"),
                r["kind"],
                r.get("status"),
                str(r.get("interval_label", "")).partition(" (")[0],
                r.get("generation"),
                _model(r),
            ]
            + [r.get("counts", {}).get(key) for key in ("read", "scored", "quarantined")]
            + [r.get("error_type") if r.get("status") != "cancelled" else None]
            for r in self.records
        ]
        return Sheet(f"runs {self.job}", (), (("newest first", names, lines),))

    def __str__(self) -> str:
        return self.sheet().text()

    def _repr_html_(self) -> str:
        return self.sheet().html()


def load(path: JobOrPath, sets: Sequence[str] = ()) -> Job:
    """Read and validate a job file.

    Args:
        path: The YAML file; a job that is loaded already comes back as it is.
        sets: Overrides, each `path.to.key=value`.

    Raises:
        ConfigError: The file is wrong; the message holds every fault.
    """
    if isinstance(path, Job):
        return path
    return loading.load_job(path, sets)


def spark_session(job: JobOrPath) -> SparkSession:
    """A Spark session for a job: a new local one, or one over the application that is active."""
    job = load(job)
    config = job.config
    # MLflow takes seconds to import; they pass while the JVM starts.
    threading.Thread(target=importlib.import_module, args=("batchscore.models.pin",)).start()
    return open_session(config.engine, config.interval.time_zone, resolved_conf(job), delta=needs_delta(config))


def plan(job: JobOrPath, interval: str | None = None, *, force: bool = False) -> Plan:
    """Say what a run would do; reads no data beyond metadata, writes nothing."""
    job = load(job)
    chosen = _interval(job, interval)
    return plan_interval(spark_session(job), job, chosen, force=force)


def run(job: JobOrPath, interval: str | None = None, *, force: bool = False, progress: Progress = silent) -> RunRecord:
    """Score one interval and publish it, or leave every table as it was.

    Args:
        job: The job or its file.
        interval: One unit of the job's grain, such as `2013-10-01`, or `latest`, the newest that is complete, or
            `yesterday`; None for a snapshot.
        force: Publish again on purpose.
        progress: Called with the name of each step.

    Returns:
        The run's record; `status` is `published` or `unchanged`.

    Raises:
        BatchscoreError: Whatever kept the run from publishing; see `batchscore.errors`.
    """
    job = load(job)
    chosen = _interval(job, interval)
    spark = spark_session(job)
    return call_interruptibly(lambda: run_interval(spark, job, chosen, force=force, progress=progress), cancel_jobs)


def preview(job: JobOrPath, interval: str | None = None, *, rows: int = 10) -> Preview:
    """Score some rows of an interval and show them; publishes nothing."""
    job = load(job)
    chosen = _interval(job, interval)
    found = preview_interval(spark_session(job), job, chosen, rows)
    return Preview(f"preview {job.config.job} · {chosen}", tuple(found))


def runs(job: JobOrPath, *, limit: int = 20) -> RunList:
    """Run attempts of a job, newest first; brings the audit up to date before it looks."""
    job = load(job)
    ledger = open_outputs(spark_session(job), job).ledger
    ledger.repair()
    return RunList(job.config.job, tuple(reversed(ledger.records({})[-limit:])))


def show(job: JobOrPath, run_id: str) -> RunRecord:
    """The record of one run attempt.

    Args:
        job: The job or its file.
        run_id: The run's id, the beginning of it, or `latest`.

    Raises:
        ConfigError: There is no such run, or several.
    """
    job = load(job)
    ledger = open_outputs(spark_session(job), job).ledger
    ledger.repair()
    return record_from_dict(find_run(ledger, run_id))


def scores(job: JobOrPath) -> DataFrame:
    """The published scores of a job."""
    job = load(job)
    rows: DataFrame = open_outputs(spark_session(job), job).scores.read()
    return rows


def quarantine(job: JobOrPath) -> DataFrame:
    """The quarantined rows of a job's published runs, with their reasons."""
    job = load(job)
    return open_outputs(spark_session(job), job).open_quarantine()


def _interval(job: Job, text: str | None) -> Interval:
    return resolve_interval(text, job.config.interval, datetime.now(UTC))


def _reasons(row: dict[str, Any]) -> str:
    return "; ".join(f"{r['kind']} {r['column']}" for r in row.get("_reasons") or ())


def _model(record: dict[str, Any]) -> str | None:
    model = record.get("model")
    return f"{model['name']}/{model['version']}" if model else None
