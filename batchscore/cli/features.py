"""`batchscore features`: say what a job's features are, and what they cost."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option, plain
from batchscore.cli.progress import show_progress


@click.command("features")
@config_argument
@click.option("--interval", metavar="INTERVAL", help="Show the plan of this interval; without it, of the whole table.")
@json_option
def command(config: str, sets: tuple[str, ...], interval: str | None, as_json: bool) -> None:
    """List each feature: type, null policy, what it reads, where it comes from, and Spark's joins and shuffles."""
    from batchscore import api, training  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        api.spark_session(job)  # joined by what follows, so that its seconds are shown as its own
        progress("features")
        found = training.list_features(job, interval)
    emit(found, plain(found), as_json)
