"""`batchscore erase`: remove a person's rows from tables and stages."""

from __future__ import annotations

from typing import BinaryIO

import click

from batchscore.cli.options import config_argument, emit, json_option, parse_key, plain
from batchscore.cli.progress import show_progress
from batchscore.errors import ConfigError


@click.command("erase")
@config_argument
@click.option("--key", "key", multiple=True, metavar="COLUMN=VALUE", help="One for each column of a key, or of a part.")
@click.option(
    "--keys",
    "file",
    type=click.File("rb"),
    metavar="FILE",
    help="Many keys: a CSV file with a header of columns; - is stdin.",
)
@click.option("--reason", metavar="TEXT", help="Why, such as a request's number; the audit keeps it.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
def command(
    config: str,
    sets: tuple[str, ...],
    key: tuple[str, ...],
    file: BinaryIO | None,
    reason: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove all rows of a key from scores, quarantine and stages; the audit's record of it names no value."""
    from batchscore import api, mending  # noqa: PLC0415 - imports Spark
    from batchscore.erasing import read_keys  # noqa: PLC0415

    if bool(key) == (file is not None):
        raise ConfigError("erase: expected --key COLUMN=VALUE or --keys FILE, one of the two.")
    job = api.load(config, sets)
    if file is None:
        keys = [parse_key(key)]
    else:
        where = f"--keys {file.name}"
        try:
            keys = read_keys(file.read().decode("utf-8-sig"), job.config.input.key, where)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{where}: expected text in UTF-8; found another encoding. Convert it first.") from error
    with show_progress(as_json=as_json) as progress:
        api.spark_session(job)
        found = mending.erase(job, keys, reason=reason, dry_run=dry_run, progress=progress)
    emit(found, plain(found), as_json)
