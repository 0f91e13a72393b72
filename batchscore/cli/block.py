"""`batchscore block`: keep runs from intervals, or let them run again."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option
from batchscore.cli.progress import show_progress
from batchscore.errors import ConfigError


@click.command("block")
@config_argument
@click.option("--interval", "intervals", multiple=True, required=True, metavar="INTERVAL", help="May be repeated.")
@click.option("--reason", help="Why; whoever meets the block is told.")
@click.option("--lift", is_flag=True, help="Let the intervals run again.")
@json_option
def command(
    config: str, sets: tuple[str, ...], intervals: tuple[str, ...], reason: str | None, lift: bool, as_json: bool
) -> None:
    """Keep runs, backfills and republishing from intervals until the block is lifted; their scores stay as they are."""
    if not lift and not reason:
        raise ConfigError("block: expected --reason, which whoever meets the block is told.")
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json):
        found = api.unblock(job, intervals, reason) if lift else api.block(job, intervals, reason or "")
    emit(found, list(found.events), as_json)
