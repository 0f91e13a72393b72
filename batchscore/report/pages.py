"""Pages: a run's and the index's, rendered without anything from outside, and without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jinja2

from batchscore.report.index import STATES
from batchscore.report.views import view_run


def render_run(
    record: Mapping[str, Any], kept: Mapping[str, Any] | None = None, places: Mapping[str, str] | None = None
) -> str:
    """The page of one run.

    Args:
        record: The run's record.
        kept: The counts of its distributions, as the file beside the audit holds them.
        places: Where the output tables lie, by name.
    """
    return _render("run.html.j2", view_run(record, kept, places or {}))


def render_index(jobs: Sequence[Mapping[str, Any]], now: str) -> str:
    """The page of all jobs.

    Args:
        jobs: What `view_job` gives of each.
        now: The time, for readers.
    """
    return _render("index.html.j2", {"title": "batchscore", "jobs": jobs, "now": now, "states": STATES})


def _render(template: str, view: Mapping[str, Any]) -> str:
    lines = _environment().get_template(template).render(view).splitlines()
    return "\n".join(line for line in lines if line.strip()) + "\n"


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.PackageLoader("batchscore.report", "templates")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=False)
