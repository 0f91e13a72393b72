"""`batchscore training-set`: write a range of the input with the features that scoring computes, and a label."""

from __future__ import annotations

from typing import Literal

import click

from batchscore.cli.options import config_argument, emit, json_option, plain
from batchscore.cli.progress import show_progress


@click.command("training-set")
@config_argument
@click.option("--start", metavar="INTERVAL", help="First interval, such as 2013-01-01; left out for a snapshot.")
@click.option("--end", metavar="INTERVAL", help="The first interval that is not taken any more.")
@click.option("--label", metavar="SQL", help="Expression over the input's columns, such as 'arr_delay >= 15'.")
@click.option("--out", required=True, metavar="PATH", help="Where to write; nothing may be there.")
@click.option("--format", "kind", type=click.Choice(["parquet", "delta"]), default="parquet", show_default=True)
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
@json_option
def command(
    config: str,
    sets: tuple[str, ...],
    start: str | None,
    end: str | None,
    label: str | None,
    out: str,
    kind: Literal["parquet", "delta"],
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the features of a range, exactly as scoring computes them; needs no model."""
    from batchscore import api, training  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(quiet, as_json=as_json) as progress:
        api.spark_session(job)
        progress("training set")
        written = training.training_set(job, start, end, label=label).save(out, kind)
    emit(written, plain(written), as_json)
