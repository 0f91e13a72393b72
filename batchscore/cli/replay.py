"""`batchscore replay`: compute a published run again from its own inputs and models, and compare."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option, plain, run_argument
from batchscore.cli.progress import show_progress


@click.command("replay")
@config_argument
@run_argument
@click.option("--sample", type=click.IntRange(1), help="Compare so many rows, chosen by a hash of their keys.")
@json_option
def command(config: str, sets: tuple[str, ...], run: str, sample: int | None, as_json: bool) -> None:
    """Compute the published run RUN again by time travel, and compare. Exit code 9 where it differs; writes nothing."""
    from batchscore import api  # noqa: PLC0415 - imports Spark
    from batchscore.replaying import check_certified, replay_run  # noqa: PLC0415

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        spark = api.spark_session(job)
        progress("replay")
        found = replay_run(spark, job, run, sample)
    emit(found, {**plain(found), "certified": found.certified}, as_json)
    check_certified(found)
