"""Reporting: the page of a run and the index of jobs, from what the audit and the files beside it hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from batchscore.config import Job
from batchscore.errors import ConfigError
from batchscore.intervals import format_utc
from batchscore.ledger import find_run
from batchscore.outputs import Outputs, open_outputs
from batchscore.rendering import Sheet, Shown
from batchscore.report.index import view_job
from batchscore.report.pages import render_index, render_run
from batchscore.states import read_status

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INDEX = "index.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenReport(Shown):
    """Pages that are written.

    Attributes:
        title: What they are about.
        files: Where they lie, the first one to open.
        runs: How many runs have a page.
    """

    title: str
    files: tuple[str, ...]
    runs: int

    def sheet(self) -> Sheet:
        """The pages laid out."""
        return Sheet(self.title, (("page", self.files[0]), ("pages of runs", self.runs)))


def report_run(spark: SparkSession, job: Job, run_id: str) -> tuple[dict[str, Any], str]:
    """One run's record and its page.

    Raises:
        ConfigError: There is no such run, or several.
    """
    target = open_outputs(spark, job)
    target.ledger.repair()
    record = find_run(target.ledger, run_id)
    return record, page_of(target, record)


def page_of(target: Outputs, record: Mapping[str, Any]) -> str:
    """The page of a run whose record is at hand."""
    return render_run(record, target.read_distributions(record), target.locations())


def report_index(spark: SparkSession, jobs: Sequence[Job], newest: int, *, quick: bool = False) -> dict[str, str]:
    """The index of several jobs, and the pages of their newest runs, by file name.

    Args:
        spark: A session that `open_session` made.
        jobs: The jobs; each has a name of its own.
        newest: How many runs of each job have a page.
        quick: Look at the audit alone: no interval is found stale then.

    Raises:
        ConfigError: Two jobs have the same name.
    """
    names = [job.config.job for job in jobs]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        raise ConfigError(f"report --index: expected jobs of different names; found {doubled} twice.")
    now = datetime.now(UTC)
    pages: dict[str, str] = {}
    views = []
    for job in jobs:
        target = open_outputs(spark, job)
        status = read_status(spark, job, None, now, quick=quick)
        records = target.ledger.records({})
        latest = {record["run_id"]: record for record in records if record.get("run_id")}  # the last says how it ended
        links = {}
        for run_id in list(latest)[-newest:] if newest else ():
            links[run_id] = f"{job.config.job}-{run_id}.html"
            pages[links[run_id]] = page_of(target, latest[run_id])
        views.append(view_job(job.config.job, job.config.interval.grain, status.to_dict(), records, links))
    return {INDEX: render_index(views, format_utc(now)), **pages}
