"""`batchscore redrive`: ask quarantined rows again by today's rules, and publish those that pass."""

from __future__ import annotations

from typing import Any

import click

from batchscore.cli.options import config_argument, emit, interval_option, json_option, plain
from batchscore.cli.progress import show_progress
from batchscore.errors import ConfigError


@click.command("redrive")
@config_argument
@interval_option
@click.option("--since", metavar="INTERVAL", help="Every published interval from this one on.")
@click.option("--reason", metavar="RULE", help="Only rows set aside by this rule, such as 'input[2]', or this kind.")
@click.option("--model", type=click.Choice(["pinned", "current"]), default="pinned", show_default=True)
@click.option("--waive", metavar="WHY", help="Close these rows for good instead, for a reason that the audit keeps.")
@click.option("--expire", type=click.IntRange(min=1), metavar="DAYS", help="Close rows open for so many days instead.")
@json_option
def command(
    config: str,
    sets: tuple[str, ...],
    interval: str | None,
    since: str | None,
    reason: str | None,
    model: Any,
    waive: str | None,
    expire: int | None,
    as_json: bool,
) -> None:
    """Ask the quarantined rows of an interval, or of all since one, again; what is published stays as it is."""
    from batchscore import api, mending  # noqa: PLC0415 - imports Spark

    if interval is not None and since is not None:
        raise ConfigError("redrive: expected --interval or --since, not both.")
    if expire is not None and (waive is not None or reason is not None):
        raise ConfigError("redrive: expected --expire without --waive and --reason: it closes all rows of an age.")
    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        found: Any
        document: Any
        if waive is not None:
            found = mending.waive(job, interval, since=since, rule=reason, reason=waive)
            document = list(found.events)
        elif expire is not None:
            found = mending.expire(job, interval, since=since, days=expire)
            document = list(found.events)
        else:
            found = mending.redrive(job, interval, since=since, reason=reason, model=model, progress=progress)
            document = plain(found)
    emit(found, document, as_json)
