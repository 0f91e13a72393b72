"""`batchscore audit`: verify the audit's chain, export its records, and say which model scored what."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option, plain
from batchscore.cli.progress import show_progress


@click.group("audit")
def command() -> None:
    """Ask the audit: is it whole, what does it hold, which model scored what."""


@command.command("verify")
@config_argument
@json_option
def verify(config: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Check every record of the chain, and what the scores log quotes of it. Exit code 9 where one does not verify."""
    from batchscore import api  # noqa: PLC0415 - imports Spark
    from batchscore.auditing import check_whole, verify_audit  # noqa: PLC0415

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        spark = api.spark_session(job)
        progress("verifying the audit")
        found = verify_audit(spark, job)
    emit(found, plain(found), as_json)
    check_whole(found, config)


@command.command("export")
@config_argument
@click.option("--out", metavar="FILE", help="A new file; stdout without it.")
@click.option("--verbose", is_flag=True, expose_value=False, help="Show the whole trace of an error.")
def export(config: str, sets: tuple[str, ...], out: str | None) -> None:
    """Write every record as a line of JSON, for keepers outside; digests included, so that it can be verified there."""
    from batchscore import api  # noqa: PLC0415
    from batchscore.auditing import export_audit, write_lines  # noqa: PLC0415

    job = api.load(config, sets)
    with show_progress(as_json=out is None):
        lines = export_audit(api.spark_session(job), job, out)
        if out is not None:
            count = write_lines(lines, out)
    if out is None:
        for line in lines:
            click.echo(line)
    else:
        click.echo(f"{count} records in {out}")


@command.command("models")
@config_argument
@click.option("--on", metavar="DAY", help="A day, as 2013-10-05, whose intervals are asked about; all without it.")
@json_option
def models(config: str, sets: tuple[str, ...], on: str | None, as_json: bool) -> None:
    """Say which model version scored which interval, and in which run each version was first seen."""
    from batchscore import api  # noqa: PLC0415
    from batchscore.auditing import list_models  # noqa: PLC0415

    job = api.load(config, sets)
    with show_progress(as_json=as_json) as progress:
        spark = api.spark_session(job)
        progress("status")
        found = list_models(spark, job, on)
    emit(found, plain(found), as_json)
