"""`batchscore submit-cmd`: print how a job is run by a cluster or a scheduler."""

from __future__ import annotations

import json
from typing import Any

import click

from batchscore.cli.options import config_argument, plain
from batchscore.recipes.submission import TARGETS


@click.command("submit-cmd")
@config_argument
@click.option("--target", type=click.Choice(TARGETS), required=True, help="What is to run it.")
@click.option("--interval", metavar="INTERVAL", help="One interval; without it the newest, or the scheduler's.")
@click.option("--master", metavar="URL", help="Spark's master; engine.master without it.")
@click.option("--env", "environment", metavar="FILE", help="The executors' packages: a .pex, or a packed .tar.gz.")
@click.option("--cron", metavar="FIELDS", help="When it starts, in the job's time zone, such as '0 5 * * *'.")
@click.option("--image", metavar="NAME", help="Container image, for k8s.")
@click.option("--job-file", metavar="PATH", help="Where the job file lies on the machine that runs it.")
@click.option("--script", metavar="PATH", default="jobs/score.py", show_default=True, help="What spark-submit starts.")
@click.option("--json", "as_json", is_flag=True, help="Print exactly one JSON document on stdout.")
def command(config: str, sets: tuple[str, ...], target: Any, as_json: bool, **wished: Any) -> None:
    """Print the line, manifest, DAG or bundle that runs a job; nothing is started."""
    from batchscore.loading import load_job  # noqa: PLC0415 - `--help` need not pay for it
    from batchscore.recipes.submission import Wishes  # noqa: PLC0415
    from batchscore.submitting import make_recipe  # noqa: PLC0415

    recipe = make_recipe(load_job(config, sets), target, Wishes(sets=sets, **wished))
    if as_json:
        click.echo(json.dumps(plain(recipe), ensure_ascii=False, sort_keys=True))
        return
    click.echo(recipe.text, nl=False)
    for note in recipe.notes:
        click.echo(f"note: {note}", err=True)
