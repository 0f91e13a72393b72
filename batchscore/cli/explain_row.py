"""`batchscore explain-row`: where the score of one row came from."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, interval_option, json_option, parse_key, plain
from batchscore.cli.progress import show_progress


@click.command("explain-row")
@config_argument
@click.option("--key", "keys", multiple=True, required=True, metavar="COLUMN=VALUE", help="One for each key column.")
@interval_option
@json_option
def command(config: str, sets: tuple[str, ...], keys: tuple[str, ...], interval: str | None, as_json: bool) -> None:
    """Print a row's input as of its version, features, model, checks, run and commit, and its score computed again."""
    from batchscore import api  # noqa: PLC0415 - imports Spark
    from batchscore.provenance import explain_row  # noqa: PLC0415

    job = api.load(config, sets)
    key = parse_key(keys)
    name = None if interval is None else api.find_one(job, interval).name
    with show_progress(as_json=as_json) as progress:
        spark = api.spark_session(job)
        progress("looking the row up")
        found = explain_row(spark, job, key, name)
    emit(found, plain(found), as_json)
