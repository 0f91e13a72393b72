"""`batchscore migrate`: bring the output tables in line with what the job writes now."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option
from batchscore.cli.progress import show_progress


@click.command("migrate")
@config_argument
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@json_option
def command(config: str, sets: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Add columns that the output tables lack, and set properties that they need; runs never change a table."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        found = api.migrate(job, dry_run=dry_run, progress=progress)
    emit(found, found.to_dict(), as_json)
