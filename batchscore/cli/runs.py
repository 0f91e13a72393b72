"""`batchscore runs`: list run attempts, newest first."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option
from batchscore.cli.progress import show_progress


@click.command("runs")
@config_argument
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Runs to list.")
@json_option
def command(config: str, sets: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List run attempts of a job, newest first; brings the audit up to date before."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json):
        found = api.runs(job, limit=limit)
    emit(found, list(found.records), as_json)
