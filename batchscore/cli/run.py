"""`batchscore run`: score one interval and publish it."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, end_held, interval_option, json_option, log_option, plain
from batchscore.cli.progress import show_progress


@click.command("run")
@config_argument
@interval_option
@click.option("--force", is_flag=True, help="Publish again on purpose, and an empty result too.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@log_option
@json_option
def command(
    config: str, sets: tuple[str, ...], interval: str | None, force: bool, quiet: bool, log: str, as_json: bool
) -> None:
    """Score one interval and publish it, or leave every table as it was."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(quiet, as_json=as_json, log=log) as progress:
        record = api.run(job, interval, force=force, progress=progress)
    emit(record, plain(record), as_json)
    end_held(record, config)
