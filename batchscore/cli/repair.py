"""`batchscore repair`: finish what a crash left."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option
from batchscore.cli.progress import show_progress


@click.command("repair")
@config_argument
@json_option
def command(config: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Write audit records that a crash left out, and settle stages whose driver died; every run does so first."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        api.spark_session(job)
        progress("repair")
        found = api.repair(job)
    emit(found, list(found.events), as_json)
