"""`batchscore resume`: publish the finished stage of a run that was stopped."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, end_held, json_option, plain, run_argument
from batchscore.cli.progress import show_progress


@click.command("resume")
@config_argument
@run_argument
@json_option
def command(config: str, sets: tuple[str, ...], run: str, as_json: bool) -> None:
    """Publish what the run RUN had scored before it was stopped or failed; refused where its values would change."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        record = api.resume(job, run, progress=progress)
    emit(record, plain(record), as_json)
    end_held(record, config)
