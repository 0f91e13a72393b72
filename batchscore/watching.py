"""The Python API of what comes after scoring: reports, held rows, how good scores were, and whether they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from batchscore.api import JobOrPath, find_one, find_range, load, spark_session
from batchscore.auditing import Verification
from batchscore.auditing import verify_audit as verify
from batchscore.config import Format
from batchscore.decisions import read_stage_note
from batchscore.errors import ConfigError
from batchscore.evaluation import THRESHOLDS, Evaluation, Kind, Question, evaluate_scores
from batchscore.failures import retell
from batchscore.ledger import find_run
from batchscore.outputs import open_outputs
from batchscore.provenance import RowStory
from batchscore.provenance import explain_row as explain
from batchscore.replaying import Replay, replay_run
from batchscore.reporting import WrittenReport, report_index, report_run
from batchscore.tables.locations import write_local
from batchscore.tables.stage import read_stage, stage_from_dict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def write_report(job: JobOrPath, run_id: str = "latest", out: str | None = None) -> WrittenReport:
    """Write the page of one run: one HTML file without scripts that needs nothing from outside.

    Args:
        job: The job or its file.
        run_id: The run's id, the beginning of it, or `latest`.
        out: The file; `JOB-RUN.html` in the present folder where none is named.

    Raises:
        ConfigError: There is no such run, or several.
    """
    job = load(job)
    record, page = report_run(spark_session(job), job, run_id)
    file = Path(out or f"{job.config.job}-{record['run_id']}.html")
    _write_pages({file: page})
    return WrittenReport(title=f"report {job.config.job} · {record['run_id']}", files=(str(file),), runs=1)


def write_index(
    jobs: Sequence[JobOrPath], out: str | None = None, *, runs: int = 60, quick: bool = False
) -> WrittenReport:
    """Write the index of jobs, `index.html`, and the pages of their newest runs beside it.

    Args:
        jobs: The jobs or their files.
        out: The folder, made if missing; the present one where none is named.
        runs: How many runs of each job have a page.
        quick: Look at the audit alone, and at neither tables nor registry: no interval is found stale then.
    """
    loaded = [load(job) for job in jobs]
    pages = report_index(spark_session(loaded[0]), loaded, runs, quick=quick)
    files = {Path(out or ".") / name: page for name, page in pages.items()}
    _write_pages(files)
    title = f"index of {', '.join(job.config.job for job in loaded)}"
    return WrittenReport(title=title, files=tuple(str(file) for file in files), runs=len(files) - 1)


def staged(job: JobOrPath, run_id: str, outcome: Literal["scored", "quarantined"] = "scored") -> DataFrame:
    """The staged rows of a run that is held, or that failed after scoring: to be looked at before somebody decides.

    Args:
        job: The job or its file.
        run_id: The run's id, the beginning of it, or `latest`.
        outcome: `scored`: the rows that would be published; `quarantined`: those that were set aside, with reasons.

    Raises:
        ConfigError: There is no such run, or it has no staged rows.
    """
    job = load(job)
    spark = spark_session(job)
    target = open_outputs(spark, job)
    target.ledger.repair()
    found = str(find_run(target.ledger, run_id)["run_id"])
    note = read_stage_note(target, found)
    return read_stage(spark, stage_from_dict(target.stages.location(found), note["stage"]), outcome)


def evaluate(
    job: JobOrPath,
    labels: str,
    start: str | None = None,
    end: str | None = None,
    *,
    table_format: Format = "delta",
    label: str = "label",
    score: str | None = None,
    kind: Kind = "auto",
    by: str | None = None,
    thresholds: Sequence[float] | None = None,
) -> Evaluation:
    """Measure published scores against labels that have arrived since, by model; the audit keeps the figures.

    Args:
        job: The job or its file; it needs `input.key`, by which labels are joined.
        labels: Path or catalog name of their table, as the job's own tables are named.
        start: First interval; without a range, everything that is published.
        end: The first interval that is not taken any more.
        table_format: The table's format.
        label: SQL expression over its columns.
        score: The output column, where there are several.
        kind: `binary`, `regression`, or `auto`: binary for booleans, regression for numbers.
        by: A column of the scores; its values are segments with figures of their own.
        thresholds: Where precision and recall are taken; 0.1 to 0.9 where none are named.
    """
    job = load(job)
    question = Question(
        labels=labels,
        format=table_format,
        label=label,
        score=score,
        kind=kind,
        by=by,
        thresholds=tuple(thresholds) if thresholds is not None else THRESHOLDS,
    )
    try:
        return evaluate_scores(spark_session(job), job, find_range(job, start, end), question)
    except Exception as error:
        raise retell(error) from error


def replay(job: JobOrPath, run_id: str = "latest", *, sample: int | None = None) -> Replay:
    """Compute a published run again from its own inputs and models, and compare; see `replaying.replay_run`.

    Args:
        job: The job or its file, as it was for the run.
        run_id: The run's id, the beginning of it, or `latest`.
        sample: Compare so many published rows; None for all.
    """
    job = load(job)
    return replay_run(spark_session(job), job, run_id, sample)


def explain_row(job: JobOrPath, key: Mapping[str, str], interval: str | None = None) -> RowStory:
    """Say where the published score of one row came from; see `provenance.explain_row`.

    Args:
        job: The job or its file.
        key: A value for each key column, as text.
        interval: The interval, where the key occurs in several; None takes the newest.
    """
    job = load(job)
    name = None if interval is None else find_one(job, interval).name
    return explain(spark_session(job), job, key, name)


def verify_audit(job: JobOrPath) -> Verification:
    """Check every row of the audit's chain, and what the scores log quotes of it; `whole` says whether it is."""
    job = load(job)
    return verify(spark_session(job), job)


def _write_pages(pages: Mapping[Path, str]) -> None:
    for file, page in pages.items():
        try:
            write_local(file, page)
        except OSError as error:
            raise ConfigError(f"--out {file}: expected a file that can be written: {error.strerror}.") from error
