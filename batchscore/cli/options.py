"""Options and output that several commands share."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from batchscore.cli.progress import LOG_FORMS
from batchscore.errors import RunHeld
from batchscore.rendering import Sheet

if TYPE_CHECKING:
    from batchscore.records import RunRecord

F = TypeVar("F", bound=Callable[..., Any])


class Readable(Protocol):
    """A result that people can read."""

    def sheet(self) -> Sheet:
        """The result laid out."""


def config_argument(command: F) -> F:
    """CONFIG, the job file, and the overrides of it."""
    sets = click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Override path.to.key of the job.")
    return sets(click.argument("config", type=click.Path(dir_okay=False))(command))


def interval_option(command: F) -> F:
    """--interval."""
    text = (
        "One unit of the job's grain, such as 2013-10-01; or latest, the newest of the job's that is complete; or "
        "yesterday. Left out for a snapshot."
    )
    return click.option("--interval", metavar="INTERVAL", help=text)(command)


def range_options(command: F) -> F:
    """--start and --end."""
    start = "First interval, such as 2013-10-01; without a range, every interval that is known or due."
    end = "The first interval that is not taken any more."
    command = click.option("--end", metavar="INTERVAL", help=end)(command)
    return click.option("--start", metavar="INTERVAL", help=start)(command)


def run_argument(command: F) -> F:
    """RUN, a run's id or the beginning of it."""
    return click.argument("run", metavar="RUN")(command)


def parse_key(texts: Sequence[str]) -> dict[str, str]:
    """One key from `COLUMN=VALUE` texts.

    Raises:
        UsageError: One of them is of another form, or a column stands twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        column, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError("--key: expected COLUMN=VALUE")
        if column in found:
            raise click.UsageError(f"--key {column}: given twice; each column of one key is given once")
        found[column] = value
    return found


def end_held(record: RunRecord, config: str) -> None:
    """End with the exit code of a held run, if it is one; its record is printed already.

    Raises:
        RunHeld: It is.
    """
    if record.status == "held":
        raise RunHeld(
            f"run {record.run_id} is held: {record.reason}. The old scores stay visible. Publish it "
            f"(`batchscore publish {config} {record.run_id} --override REASON`) or discard it."
        )


def log_option(command: F) -> F:
    """--log."""
    text = "Progress and errors on stderr as text, or a JSON object a line with PySpark's field names."
    option = click.option("--log", type=click.Choice(LOG_FORMS), default="text", show_default=True, help=text)
    return option(command)


def json_option(command: F) -> F:
    """--json and --verbose."""
    verbose = click.option("--verbose", is_flag=True, expose_value=False, help="Show the whole trace of an error.")
    text = "Print exactly one JSON document on stdout."
    return verbose(click.option("--json", "as_json", is_flag=True, help=text)(command))


def emit(result: Readable | str, document: Any, as_json: bool) -> None:
    """Print a result: for people, folded to a terminal's width, or as one JSON document."""
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False, sort_keys=True, default=str))
    elif isinstance(result, str):
        click.echo(result)
    else:
        click.echo(result.sheet().text(shutil.get_terminal_size().columns if sys.stdout.isatty() else None))


def plain(record: Any) -> Mapping[str, Any]:
    """A record as JSON values."""
    from batchscore.records import to_dict  # noqa: PLC0415 - nothing that `--help` needs

    return to_dict(record)
