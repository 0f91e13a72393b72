"""`batchscore show`: the record of one run."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option, plain
from batchscore.cli.progress import show_progress


@click.command("show")
@config_argument
@click.argument("run")
@json_option
def command(config: str, run: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Show the record of one run: RUN is its id, the beginning of it, or `latest`."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json):
        record = api.show(job, run)
    emit(record, plain(record), as_json)
