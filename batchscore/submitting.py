"""Submitting: the recipe by which a job runs somewhere, and what its reader should know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from batchscore.config import Job
from batchscore.recipes.files import airflow_dag, databricks_bundle, spark_application
from batchscore.recipes.lines import submit_line
from batchscore.recipes.submission import Submission, Target, Wishes

_NOTES: Mapping[Target, str] = {
    "k8s": "build the image from deploy/Dockerfile; the job's folder must lie on it, or be mounted.",
    "airflow": "put it into the DAG folder; its worker needs Java, spark-submit and the job's folder.",
    "databricks": "its node runs batchscore with open-source Spark: see docs/operations.md on what that means.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What was made.

    Attributes:
        target: Where the job goes.
        text: A line, or a file.
        notes: What it needs beside it.
    """

    target: Target
    text: str
    notes: tuple[str, ...]


def make_recipe(job: Job, target: Target, wishes: Wishes) -> Recipe:
    """The recipe for a target.

    Args:
        job: The job; nothing of it but the file is read.
        target: Where to.
        wishes: What the user says beside the job file.

    Raises:
        ConfigError: A wish does not fit the job or the target.
    """
    submission = Submission(job=job, target=target, wishes=wishes)
    submission.check()
    match target:
        case "k8s":
            text = spark_application(submission)
        case "airflow":
            text = airflow_dag(submission)
        case "databricks":
            text = databricks_bundle(submission)
        case _:
            text = f"{submit_line(submission)}\n"
    notes = [_NOTES[target]] if target in _NOTES else []
    variables = submission.variables
    if variables:
        notes.append(f"the job refers to {', '.join(variables)}: set {'it' if len(variables) == 1 else 'them'} there.")
    return Recipe(target=target, text=text, notes=tuple(notes))
