"""`batchscore discard`: drop the staged rows of a run that was not published."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option, run_argument
from batchscore.cli.progress import show_progress


@click.command("discard")
@config_argument
@run_argument
@click.option("--reason", help="Why; the audit keeps it.")
@json_option
def command(config: str, sets: tuple[str, ...], run: str, reason: str | None, as_json: bool) -> None:
    """Drop the staged rows of the run RUN, which is held, failed or abandoned. The scores stay as they are."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json):
        found = api.discard(job, run, reason)
    emit(found, list(found.events), as_json)
