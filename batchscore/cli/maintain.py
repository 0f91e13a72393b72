"""`batchscore maintain`: compact and vacuum the output tables, and settle stages."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option, plain
from batchscore.cli.progress import show_progress


@click.command("maintain")
@config_argument
@click.option("--no-vacuum", is_flag=True, help="Join small files, and remove none.")
@json_option
def command(config: str, sets: tuple[str, ...], no_vacuum: bool, as_json: bool) -> None:
    """Join small files of the output tables, and remove files that no retention covers any more; no row changes."""
    from batchscore import api, mending  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        found = mending.maintain(job, vacuum=not no_vacuum, progress=progress)
    emit(found, plain(found), as_json)
