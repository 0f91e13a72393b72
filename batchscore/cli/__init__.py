"""The command line: one file per command; the only place where errors become exit codes."""

from __future__ import annotations

import importlib
import signal
import sys
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, NoReturn

import click

from batchscore.cli.progress import tell_error
from batchscore.errors import EXIT_CODES, BatchscoreError
from batchscore.interrupts import call_interruptibly

_COMMANDS = {
    "demo": "build the demo on real flights and run one day of it",
    "init": "write a commented job file for a table and a model",
    "validate": "check a job file; --show prints it with every default",
    "schema": "print the JSON Schema of job files",
    "plan": "say what a run would do, from metadata alone",
    "check": "ask the expectations alone, without scoring; or propose some",
    "preview": "score some rows and print them; publish nothing",
    "run": "score one interval and publish it",
    "backfill": "run the intervals of a range that are not done",
    "status": "say which intervals are done, stale, held, failed or missing",
    "runs": "list run attempts, newest first",
    "show": "show the record of one run",
    "audit": "verify the audit, export it, say which model scored what",
    "replay": "compute a published run again, and compare",
    "explain-row": "say where the score of one row came from",
    "evaluate": "measure published scores against labels",
    "report": "write the page of a run, or the index of jobs",
    "submit-cmd": "print how a cluster or a scheduler runs a job",
    "resume": "publish what a stopped run had scored",
    "publish": "publish a run that a gate holds",
    "discard": "drop the staged rows of a run that was not published",
    "rollback": "restore an interval as an older run published it",
    "block": "keep runs from intervals, or let them run again",
    "redrive": "ask quarantined rows again by today's rules",
    "features": "say where each feature comes from, and what it costs",
    "fit-encoders": "fit the encoders' constants on a range of the input",
    "training-set": "write features as scoring computes them, with a label",
    "migrate": "add columns to the output tables, and set what they need",
    "maintain": "compact and vacuum the output tables, and settle stages",
    "erase": "remove a person's rows from tables and stages",
    "repair": "finish what a crash left; every run does so first",
    "doctor": "check Java, jars, versions, workers and the registry",
}


class _Commands(click.Group):
    """Commands that are imported when they are called, so that `--help` costs nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"batchscore.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in EXIT_CODES])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="batchscore")
def cli() -> None:
    """Batch scoring on Spark that validates, scores, publishes and audits in one pass."""


def main(argv: list[str] | None = None) -> NoReturn:
    """Run the command line, end the Spark application that it started, and exit with a code of the error tree."""
    code = run_cli(argv)
    if "pyspark" in sys.modules:
        from batchscore.session import close_session  # noqa: PLC0415 - only where Spark was started

        with suppress(Exception):  # a JVM that died has ended it
            close_session()
    sys.exit(code)


def run_cli(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None takes the process's own.

    Returns:
        The exit code.
    """
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        result = call_interruptibly(partial(_invoke, argv), _cancel_jobs)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show(sys.stderr)
        return 2
    except BatchscoreError as error:
        return _report(error)
    except (KeyboardInterrupt, click.Abort):
        click.echo("cancelled", err=True)
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        return _report_bug(error)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _invoke(argv: list[str] | None) -> Any:
    return cli.main(args=argv, prog_name="batchscore", standalone_mode=False)


def _cancel_jobs() -> None:
    from batchscore.session import cancel_jobs  # noqa: PLC0415 - `--help` need not pay for it

    click.echo("cancelling and leaving a record of it; once more ends at once", err=True)
    cancel_jobs()


def _report(error: BatchscoreError) -> int:
    from batchscore.redaction import redact  # noqa: PLC0415 - only a failure needs it

    tell_error(redact(str(error)), error)
    _show_cause(error)
    return error.exit_code


def _report_bug(error: Exception) -> int:
    from batchscore.failures import retell  # noqa: PLC0415

    told = retell(error)
    tell_error(str(told), error)
    _show_cause(error)
    return told.exit_code


def _show_cause(error: BaseException) -> None:
    """The whole trace, where it was asked for; Spark's own texts in it may quote values."""
    context = click.get_current_context(silent=True)
    if context is None and "--verbose" not in sys.argv:
        return
    if "--verbose" in sys.argv:
        import traceback  # noqa: PLC0415

        from batchscore.redaction import redact  # noqa: PLC0415

        click.echo(redact("".join(traceback.format_exception(error))), err=True)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(143)
