"""`batchscore backfill`: run the intervals of a range that are not done."""

from __future__ import annotations

import sys
from typing import Literal

import click

from batchscore.cli.options import config_argument, emit, json_option, log_option, range_options
from batchscore.cli.progress import show_progress
from batchscore.errors import RunHeld
from batchscore.outcomes import MAX_PARALLEL, BackfillResult, Only

_FORCE = "Run intervals that are done, too, and publish them again."
_MODEL = (
    "pinned: what the job's alias names now, for all of them. "
    "as-of: what the audit shows for each interval, or for the last one before it."
)


@click.command("backfill")
@config_argument
@range_options
@click.option(
    "--only",
    type=click.Choice(["missing", "failed", "stale", "all"]),
    default="all",
    show_default=True,
    help="Intervals in this state; all of these.",
)
@click.option("--limit", type=click.IntRange(1), help="At most so many intervals.")
@click.option(
    "--parallel", type=click.IntRange(1, MAX_PARALLEL), default=1, show_default=True, help="So many at a time."
)
@click.option("--model", type=click.Choice(["pinned", "as-of"]), default="pinned", show_default=True, help=_MODEL)
@click.option("--newest-first", is_flag=True, help="Begin with the newest interval.")
@click.option("--keep-going", is_flag=True, help="Go on after an interval that failed or is held.")
@click.option("--force", is_flag=True, help=_FORCE)
@click.option("--dry-run", is_flag=True, help="Print the plan and end.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@log_option
@json_option
def command(
    config: str,
    sets: tuple[str, ...],
    start: str | None,
    end: str | None,
    only: Only,
    limit: int | None,
    parallel: int,
    model: Literal["pinned", "as-of"],
    newest_first: bool,
    keep_going: bool,
    force: bool,
    dry_run: bool,
    quiet: bool,
    log: str,
    as_json: bool,
) -> None:
    """Run the intervals from --start up to, but not with, --end that are not done; without both, all that are due.

    Started again, it does only what is left. The list of intervals is printed before anything runs.
    """
    from batchscore import api  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(quiet, as_json=as_json, log=log) as progress:
        api.spark_session(job)  # joined by what follows, so that its seconds are shown as its own
        progress("status")
        choice = {"only": only, "limit": limit, "model": model, "newest_first": newest_first, "force": force}
        opened = api.open_backfill(job, start, end, **choice)
        if not dry_run:
            if not quiet:
                progress.pause()
                click.echo(str(opened.plan), err=True)
            try:
                opened.run(parallel=parallel, keep_going=keep_going, progress=progress)
            except (KeyboardInterrupt, SystemExit):
                progress.pause()
                emit(opened.result(), opened.result().to_dict(), as_json)
                raise
    if dry_run:
        emit(opened.plan, opened.plan.to_dict(), as_json)
        return
    result = opened.result()
    emit(result, result.to_dict(), as_json)
    sys.stdout.flush()
    _raise_first(result)


def _raise_first(result: BackfillResult) -> None:
    """End with the exit code of the first interval that failed, or else that of a held one."""
    if result.error is not None:
        raise result.error
    held = [one.interval.label for one in result.outcomes if one.outcome == "held"]
    if held:
        raise RunHeld(
            f"{len(held)} interval{'s are' if len(held) > 1 else ' is'} held ({', '.join(held[:5])}): look at the runs "
            "(`batchscore show CONFIG RUN`), then publish or discard them."
        )
