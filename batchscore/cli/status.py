"""`batchscore status`: which intervals are done, stale, held, failed, missing or blocked."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option, range_options
from batchscore.cli.progress import show_progress
from batchscore.errors import StatusGaps


@click.command("status")
@config_argument
@range_options
@click.option("--quick", is_flag=True, help="Look at the audit alone; no interval is found stale then.")
@click.option("--prometheus", metavar="FILE", help="Write the counts there too, as a text file for Prometheus.")
@json_option
def command(
    config: str,
    sets: tuple[str, ...],
    start: str | None,
    end: str | None,
    quick: bool,
    prometheus: str | None,
    as_json: bool,
) -> None:
    """Say how the intervals of a job stand; without a range, all that are known or due. Exit 13 if there are gaps."""
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        api.spark_session(job)
        progress("status")
        found = api.status(job, start, end, quick=quick)
    emit(found, found.to_dict(), as_json)
    if prometheus is not None:
        found.write_figures(prometheus)
    if found.gaps:
        shown = ", ".join(f"{state} {count}" for state, count in found.counts.items() if state not in ("done", "stale"))
        held = any(one.state == "held" for one in found.gaps)
        decide = " What is held waits for `batchscore publish` or `batchscore discard`." if held else ""
        first = ", ".join(one.interval.label for one in found.gaps[:5])
        raise StatusGaps(
            f"status {found.job}: {len(found.gaps)} of {len(found.intervals)} intervals are not published ({shown}); "
            f"the first: {first}. `batchscore backfill {config} --only missing` runs what is missing.{decide}"
        )
