"""`batchscore plan`: say what a run would do, from metadata alone."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, interval_option, json_option, plain
from batchscore.cli.progress import show_progress


@click.command("plan")
@config_argument
@interval_option
@click.option("--force", is_flag=True, help="Plan as `run --force` would.")
@json_option
def command(config: str, sets: tuple[str, ...], interval: str | None, force: bool, as_json: bool) -> None:
    """Say what a run would do; reads no data beyond metadata and writes nothing."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        api.spark_session(job)  # joined by what follows, so that its seconds are shown as its own
        progress("plan")
        plan = api.plan(job, interval, force=force)
    emit(plan, plain(plan), as_json)
