"""`batchscore validate`: check a job file without Spark."""

from __future__ import annotations

import click

from batchscore.cli.options import config_argument, emit, json_option


@click.command("validate")
@config_argument
@click.option("--show", is_flag=True, help="Print the job with every default.")
@json_option
def command(config: str, sets: tuple[str, ...], show: bool, as_json: bool) -> None:
    """Check a job file and its suites; prints every fault at once."""
    from batchscore.checks.suite import load_suites  # noqa: PLC0415 - after the cheap commands
    from batchscore.config import to_plain  # noqa: PLC0415
    from batchscore.loading import config_sha256, dump_yaml, load_job  # noqa: PLC0415

    job = load_job(config, sets)
    expectations = sum(len(suite.expectations) for suite in load_suites(job).values())
    digest = config_sha256(job.config)
    summary = f"{config}: job {job.config.job} is valid; {expectations} expectations; config sha256 {digest}"
    document = {"config": to_plain(job.config), "config_sha256": digest, "expectations": expectations}
    emit(dump_yaml(job.config).rstrip() if show else summary, document, as_json)
