"""Files: a job as an Airflow DAG, a manifest of the Spark operator for Kubernetes, and a Databricks bundle."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2

from batchscore.intervals import parse_unit
from batchscore.recipes.lines import submit_words
from batchscore.recipes.submission import Submission

# A data interval's moment in the form of each grain.
_MOMENTS = {
    "hour": "{{{{ {0}.in_timezone('UTC').strftime('%Y-%m-%dT%HZ') }}}}",
    "day": "{{{{ {0}.in_timezone('{1}').strftime('%Y-%m-%d') }}}}",
    "week": "{{{{ {0}.in_timezone('{1}').strftime('%G-W%V') }}}}",
    "month": "{{{{ {0}.in_timezone('{1}').strftime('%Y-%m') }}}}",
}


def airflow_dag(submission: Submission) -> str:
    """A DAG file for Airflow 3."""
    words = shlex.join(submit_words(submission))
    if submission.grain == "snapshot" or submission.wishes.interval is not None:
        command = f"{words} {shlex.join(submission.arguments())}"
    else:
        zone = submission.job.config.interval.time_zone
        moment = _MOMENTS[submission.grain]
        span = "/".join(moment.format(f"data_interval_{end}", zone) for end in ("start", "end"))
        arguments = [a if a != "<span>" else f'"{span}"' for a in _quoted(submission.arguments("<span>"))]
        command = " ".join([words, *arguments])
    facts = {**submission.facts(), "start_date": _start_date(submission), "command": command}
    return _render("airflow_dag.py.j2", facts)


def spark_application(submission: Submission) -> str:
    """A `SparkApplication` of the Kubeflow Spark operator, or a `ScheduledSparkApplication` where the job is due."""
    conf = submission.conf
    gpu = {
        "spark.executor.resource.gpu.amount": "1",
        "spark.executor.resource.gpu.vendor": "nvidia.com",
        "spark.executor.resource.gpu.discoveryScript": "/opt/batchscore/getGpusResources.sh",
    }
    return _render(
        "spark_application.yaml.j2",
        {
            **submission.facts(),
            "image": submission.wishes.image or f"batchscore:{importlib.metadata.version('batchscore')}",
            "spark_version": importlib.metadata.version("pyspark"),
            "executors": _number(conf("spark.executor.instances", "2"), 2),
            "cores": _number(conf("spark.executor.cores", "2"), 2),
            "memory": conf("spark.executor.memory", "4g"),
            "spark_conf": gpu if submission.on_gpu else {},
        },
    )


def databricks_bundle(submission: Submission) -> str:
    """A bundle whose job runs batchscore on one node, with Spark of its own."""
    version = importlib.metadata.version("batchscore")
    return _render("databricks.yml.j2", {**submission.facts(), "version": version})


def _start_date(submission: Submission) -> str:
    """Year, month and day from which Airflow counts: the job's first interval, or long ago; nothing is caught up."""
    config = submission.job.config.interval
    first = parse_unit(config.start, config.grain, config.time_zone, "") if config.start else None
    start = first.local_start if first is not None else None
    return f"{start.year}, {start.month}, {start.day}" if start is not None else "2020, 1, 1"


def _number(text: str, default: int) -> int:
    """A number of the job's own; the default where it stands as a reference, which is resolved elsewhere."""
    return int(text) if text.isdigit() else default


def _quoted(arguments: list[str]) -> list[str]:
    return [argument if argument == "<span>" else shlex.quote(argument) for argument in arguments]


def _render(template: str, facts: Mapping[str, Any]) -> str:
    return _environment().get_template(template).render(facts)


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("batchscore.recipes", "templates")
    made = jinja2.Environment(
        loader=loader,
        autoescape=False,  # noqa: S701 - Python and YAML, whose strings are written as JSON
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["quoted"] = lambda value: json.dumps(value, ensure_ascii=False)
    return made
