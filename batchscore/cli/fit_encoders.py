"""`batchscore fit-encoders`: fit the encoders' constants on a range of the input, and write them to their file."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option, plain
from batchscore.cli.progress import show_progress


@click.command("fit-encoders")
@config_argument
@click.option("--start", metavar="INTERVAL", help="First interval, such as 2013-01-01; left out for a snapshot.")
@click.option("--end", metavar="INTERVAL", help="The first interval that is not taken any more.")
@click.option("--overwrite", is_flag=True, help="Replace constants that stand.")
@json_option
def command(
    config: str, sets: tuple[str, ...], start: str | None, end: str | None, overwrite: bool, as_json: bool
) -> None:
    """Fit the constants of a job's encoders; scoring reads them from `features.constants`, and never fits."""
    from batchscore import api, training  # noqa: PLC0415 - imports Spark

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        api.spark_session(job)
        progress("fit")
        fitted = training.fit_encoders(job, start, end, overwrite=overwrite)
    emit(fitted, plain(fitted), as_json)
