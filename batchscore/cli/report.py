"""`batchscore report`: write the page of a run, or the index of jobs."""

from __future__ import annotations

import click

from batchscore.cli.options import emit, json_option, plain
from batchscore.cli.progress import show_progress

_RUNS = 60


@click.command("report")
@click.argument("targets", nargs=-1, required=True, metavar="CONFIG [RUN]")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override path.to.key of the job.")
@click.option("--out", metavar="PATH", help="The page's file; with --index, the folder. Else the present folder.")
@click.option("--index", is_flag=True, help="Every CONFIG given: a calendar of its intervals, trends, newest runs.")
@click.option("--runs", default=_RUNS, show_default=True, help="With --index: newest runs of a job that have a page.")
@click.option("--quick", is_flag=True, help="With --index: look at the audit alone; no interval is found stale then.")
@json_option
def command(
    targets: tuple[str, ...],
    sets: tuple[str, ...],
    out: str | None,
    index: bool,
    runs: int,
    quick: bool,
    as_json: bool,
) -> None:
    """Write the page of the run RUN (its id, the beginning of it, or `latest`), or with --index that of whole jobs.

    A page is one HTML file without scripts that needs nothing from outside.
    """
    from batchscore import api, watching  # noqa: PLC0415 - imports Spark

    if not index and len(targets) > 2:
        raise click.UsageError("expected CONFIG and RUN; several CONFIGs make an --index")
    with show_progress(as_json=as_json, first="validate"):
        if index:
            written = watching.write_index([api.load(config, sets) for config in targets], out, runs=runs, quick=quick)
        else:
            run = targets[1] if len(targets) == 2 else "latest"
            written = watching.write_report(api.load(targets[0], sets), run, out)
    emit(written, plain(written), as_json)
