"""`batchscore rollback`: restore an interval as an older run published it, or release the model that this pinned."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, interval_option, json_option, plain
from batchscore.cli.progress import show_progress
from batchscore.errors import ConfigError


@click.command("rollback")
@config_argument
@interval_option
@click.option("--to", metavar="RUN", help="The published run to go back to; `runs` lists them.")
@click.option("--release", is_flag=True, help="End the pin that an earlier rollback left on the interval's model.")
@click.option("--reason", help="Why; the audit keeps it.")
@json_option
def command(
    config: str,
    sets: tuple[str, ...],
    interval: str | None,
    to: str | None,
    release: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Restore an interval's rows as the run --to published them, and pin its model for it until --release."""
    if (to is None) == (not release):
        raise ConfigError("rollback: expected either --to RUN or --release.")
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        if to is None:
            found = api.release(job, interval, reason)
        else:
            record = api.rollback(job, interval, to, reason, progress=progress)
    if to is None:
        emit(found, list(found.events), as_json)
    else:
        emit(record, plain(record), as_json)
