"""`batchscore preview`: score some rows and print them; publish nothing."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, interval_option, json_option
from batchscore.cli.progress import show_progress


@click.command("preview")
@config_argument
@interval_option
@click.option("--rows", type=click.IntRange(1, 10_000), default=10, show_default=True, help="Rows to score.")
@json_option
def command(config: str, sets: tuple[str, ...], interval: str | None, rows: int, as_json: bool) -> None:
    """Score some rows of an interval and print them with their outcome; publishes nothing."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        api.spark_session(job)  # joined by what follows, so that its seconds are shown as its own
        progress("score")
        found = api.preview(job, interval, rows=rows)
    emit(found, {"title": found.title, "rows": list(found.rows)}, as_json)
