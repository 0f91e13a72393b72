"""`batchscore doctor`: check Java, jars, versions, workers and the places that a job names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from batchscore.cli.options import emit, json_option, plain
from batchscore.cli.progress import show_progress
from batchscore.config import EngineConfig, Job
from batchscore.errors import ConfigError
from batchscore.failures import retell
from batchscore.health.checks import Check, Health
from batchscore.health.clocks import check_clocks
from batchscore.health.gpu import check_gpu
from batchscore.health.machine import check_machine
from batchscore.health.places import check_places
from batchscore.health.workers import check_workers
from batchscore.loading import load_job
from batchscore.session import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NEEDED_BY_SPARK = ("java", "delta jars")


@click.command("doctor")
@click.argument("config", required=False, type=click.Path(dir_okay=False))
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override path.to.key of the job.")
@click.option("--fetch", is_flag=True, help="Fetch the Delta jars where they are not here yet.")
@json_option
def command(config: str | None, sets: tuple[str, ...], fetch: bool, as_json: bool) -> int:
    """Check what a run needs on this machine; with CONFIG also its registry and tables. Exit 2 if a check fails."""
    with show_progress(as_json=as_json, first="looking at this machine") as progress:
        checks = check_machine(fetch=fetch)
        job, found = _load(config, sets)
        checks += found
        device, master = (job.config.scoring.device, job.config.engine.master) if job else ("auto", "local")
        checks.append(check_gpu(device, local=master.startswith("local")))
        spark = None
        if any(check.name in _NEEDED_BY_SPARK and check.status != "OK" for check in checks):
            checks.append(Check("workers", "WARN", "not looked at: Spark needs Java and the Delta jars first."))
        else:
            progress("spark")
            spark, found = _look_at_workers(job)
            checks += found
        if job is not None and spark is not None:
            checks.append(check_clocks(spark, job.config.interval.time_zone))
        if job is not None:
            progress("looking at the registry and the tables")
            checks += check_places(job, spark)
    health = Health(tuple(checks))
    emit(health, plain(health), as_json)
    return 2 if health.failed else 0


def _load(config: str | None, sets: tuple[str, ...]) -> tuple[Job | None, list[Check]]:
    if config is None:
        return None, []
    try:
        return load_job(config, sets), [Check("job file", "OK", f"{config} is valid")]
    except ConfigError as error:
        return None, [Check("job file", "FAIL", str(error))]


def _look_at_workers(job: Job | None) -> tuple[SparkSession | None, list[Check]]:
    from batchscore import api  # noqa: PLC0415 - `--help` need not pay for it

    try:
        spark = api.spark_session(job) if job else open_session(EngineConfig(), "UTC")
    except Exception as error:
        return None, [Check("spark", "FAIL", str(retell(error)))]
    own = Check("spark", "OK", f"{spark.version}, master {spark.sparkContext.master}")
    return spark, [own, *check_workers(spark)]
