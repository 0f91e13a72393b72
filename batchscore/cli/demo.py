"""`batchscore demo`: build the demo on real flights, run one day of it, and read the result back."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchscore.cli.options import emit, json_option, plain
from batchscore.cli.progress import show_progress
from batchscore.demo.packages import require_packages
from batchscore.jvm import fetch_jars, find_jars
from batchscore.rendering import Sheet

if TYPE_CHECKING:
    from batchscore.config import Job
    from batchscore.demo.build import DemoPaths
    from batchscore.plans import Plan
from batchscore.records import RunRecord
from batchscore.results import CHECK_COLUMNS, check_lines

DAY = "2013-10-01"
FOLLOWING_DAY = "2013-10-02"
SHOWN_ROWS = 5
_SCORES = ("flight_id", "carrier", "origin", "dest", "probability_late", "_model")
_QUARANTINE = ("flight_id", "reason", "column", "severity")


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """What the demo did, and what stands in its tables now."""

    plan: Plan
    record: RunRecord
    scores: tuple[dict[str, Any], ...]
    quarantine: tuple[dict[str, Any], ...]
    audit: dict[str, Any]
    commands: tuple[tuple[str, str], ...]

    def sheet(self) -> Sheet:
        """The demo laid out."""
        plan, record = self.plan, self.record
        model = plan.models.models[0]
        status = record.status
        if status == "unchanged":
            status = f"unchanged: run {self.audit['run_id']} has published this day with these inputs; nothing written"
        facts = [
            ("status", status),
            ("input", f"{plan.input.table} at version {plan.input.version}, {plan.input.rows} rows on this day"),
            ("model", f"{model.label}, {model.alias}: will the flight arrive 15 minutes late or more?"),
            ("rows", {name: record.counts[name] for name in ("read", "scored", "quarantined")}),
            *plan.outputs.items(),
        ]
        audit = [[self.audit.get(name) for name in ("seq", "run_id", "status", "generation", "started_at", "command")]]
        return Sheet(
            f"demo {record.job} · {record.interval_label}",
            facts,
            (
                (f"scores, the {SHOWN_ROWS} most likely to be late", _SCORES, _lines(self.scores, _SCORES)),
                ("checks", CHECK_COLUMNS, check_lines(self.audit["checks"])),
                ("quarantine, with reasons", _QUARANTINE, _lines(self.quarantine, _QUARANTINE)),
                ("audit", ("seq", "run", "status", "generation", "started", "command"), audit),
                ("try next", ("command", "what it does"), self.commands),
            ),
        )


@click.command("demo")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo"),
    show_default=True,
    help="Folder to build it in.",
)
@json_option
def command(folder: Path, as_json: bool) -> None:
    """Build tables, models and jobs on real flights of 2013, run one day, and show the result; keeps what is there."""
    require_packages()
    with show_progress(as_json=as_json, first="looking for what is there") as progress:
        demo = _show_demo(folder, progress)
    emit(demo, plain(demo), as_json)


def _show_demo(folder: Path, progress: Callable[[str], None]) -> Demo:
    from batchscore import api  # noqa: PLC0415 - imports Spark
    from batchscore.demo.build import build_demo, demo_paths, write_files  # noqa: PLC0415 - pandas

    if not find_jars():
        progress("fetching the Delta jars, once")
        fetch_jars()
    folder.mkdir(parents=True, exist_ok=True)
    write_files(folder)
    job = api.load(demo_paths(folder).flights)
    progress("spark")
    paths = build_demo(api.spark_session(job), folder, progress)
    progress("plan")
    plan = api.plan(job, DAY)
    record = api.run(job, DAY, progress=progress)
    progress("reading the tables back")
    return Demo(plan=plan, record=record, commands=_commands(paths), **_read_back(job, record))


def _read_back(job: Job, record: RunRecord) -> dict[str, Any]:
    from batchscore import api  # noqa: PLC0415

    here = f"_interval = '{record.interval}'"
    scores = api.scores(job).where(here).orderBy("probability_late", ascending=False).limit(SHOWN_ROWS)
    aside = api.quarantine(job).where(here).orderBy("flight_id").selectExpr("flight_id", "inline(_reasons)")
    aside = aside.withColumnRenamed("kind", "reason").limit(SHOWN_ROWS)
    found = (r for r in api.runs(job).records if r["status"] == "published" and r["interval"] == record.interval)
    return {
        "scores": tuple(row.asDict() for row in scores.select(*_SCORES).collect()),
        "quarantine": tuple(row.asDict() for row in aside.select(*_QUARANTINE).collect()),
        "audit": next(found),
    }


def _commands(paths: DemoPaths) -> tuple[tuple[str, str], ...]:
    flights, planes = (shlex.quote(str(path)) for path in (paths.flights, paths.planes))
    call = program()
    return (
        (f"{call} plan {flights} --interval {FOLLOWING_DAY}", "what a run of the next day would do"),
        (f"{call} run {flights} --interval {FOLLOWING_DAY}", "score it"),
        (f"{call} run {planes}", "score a table that has no date column"),
        (f"{call} runs {flights}", "list the runs"),
        (f"{call} show {flights} latest", "the newest run's record, with every check's verdict"),
    )


def program() -> str:
    """How to call this very batchscore again, from where the user is."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return "python -m batchscore" if _is_at("python", sys.executable) else f"{sys.executable} -m batchscore"
    return "batchscore" if _is_at("batchscore", sys.argv[0]) else shlex.quote(sys.argv[0])


def _is_at(name: str, path: str) -> bool:
    """Whether a program's bare name leads to the folder of this path; its file may be a link to a shared one."""
    found = shutil.which(name)
    return found is not None and Path(found).parent.resolve() == Path(path).parent.resolve()


def _lines(rows: tuple[dict[str, Any], ...], names: tuple[str, ...]) -> list[list[Any]]:
    return [[row[name] for name in names] for row in rows]
