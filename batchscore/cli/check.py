"""`batchscore check`: ask the expectations alone, and propose some."""

from __future__ import annotations

import json

import click

from batchscore.cli.options import config_argument, emit, interval_option, json_option, plain
from batchscore.cli.progress import show_progress
from batchscore.errors import ChecksFailed


@click.command("check")
@config_argument
@interval_option
@click.option("--suggest", is_flag=True, help="Print a suite to start from, profiled from the interval's input rows.")
@json_option
def command(config: str, sets: tuple[str, ...], interval: str | None, suggest: bool, as_json: bool) -> None:
    """Ask every expectation about an interval, without scoring: a line each, exit code 4 where a run would stop."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        api.spark_session(job)  # joined by what follows, so that its seconds are shown as its own
        if suggest:
            progress("profile")
            suite = api.suggest(job, interval)
        else:
            progress("check")
            report = api.check(job, interval)
    if suggest:
        click.echo(json.dumps(suite, ensure_ascii=False, indent=2))
        return
    emit(report, plain(report), as_json)
    if report.stopped is not None:
        raise ChecksFailed(report.stopped)
