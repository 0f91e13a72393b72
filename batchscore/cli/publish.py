"""`batchscore publish`: publish a run that a gate holds."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option, plain, run_argument
from batchscore.cli.progress import show_progress


@click.command("publish")
@config_argument
@run_argument
@click.option("--override", required=True, metavar="REASON", help="Why; the audit keeps it.")
@json_option
def command(config: str, sets: tuple[str, ...], run: str, override: str, as_json: bool) -> None:
    """Publish the run RUN, which a gate holds, on your word."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        record = api.publish_held(job, run, override=override, progress=progress)
    emit(record, plain(record), as_json)
