"""`batchscore init`: write a commented job file for a table and a model."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from batchscore.cli.options import emit, json_option, plain
from batchscore.cli.progress import show_progress
from batchscore.config import EngineConfig
from batchscore.drafts import Draft, TableFacts, Wishes, draft_job, job_name
from batchscore.errors import ConfigError
from batchscore.loading import job_schema, load_job
from batchscore.patterns import MODEL_URI
from batchscore.references import has_reference, resolve_sqlite, resolve_table
from batchscore.rendering import Sheet
from batchscore.session import open_session

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:")
_SQLITE = re.compile(r"^(sqlite(?:\+\w+)?:///)([^/].*)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """The job file that was written, what is to be chosen in it, and what to run then."""

    file: str
    choices: tuple[str, ...]
    command: str

    def sheet(self) -> Sheet:
        """The result laid out."""
        choices = [("choose", choice) for choice in self.choices or ["nothing: all that the model takes was found"]]
        return Sheet(f"wrote {self.file}", [*choices, ("then", self.command)])


@click.command("init")
@click.option("--table", required=True, help="Input table: a path, or a catalog name.")
@click.option(
    "--format", "form", type=click.Choice(["delta", "parquet"]), help="How it is stored; found out if absent."
)
@click.option("--model", required=True, metavar="URI", help="models:/NAME@ALIAS or models:/NAME/VERSION.")
@click.option("--registry", metavar="URI", help="MLflow registry; MLflow's own setting if absent.")
@click.option("--key", default="", metavar="A,B", help="Columns that identify a row.")
@click.option("--column", help="Date or timestamp column that intervals are cut by; guessed if absent.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write; MODEL.yaml if absent.")
@click.option("--force", is_flag=True, help="Replace the file if it is there.")
@json_option
def command(
    table: str,
    form: str | None,
    model: str,
    registry: str | None,
    key: str,
    column: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a job file for a table and a model: what matches is filled in, what must be chosen is marked CHOOSE."""
    found = MODEL_URI.match(model)
    if found is None:
        raise ConfigError(f"--model {model}: expected models:/NAME@ALIAS or models:/NAME/VERSION (a number).")
    out = out or Path(f"{job_name(found[1])}.yaml")
    if out.exists() and not force:
        raise ConfigError(
            f"{out}: expected no file; there is one. Give another with --out, or replace it with --force."
        )
    wishes = Wishes(
        job=job_name(out.stem),
        file=out.name,
        registry=move_registry(registry, out.parent) if registry else None,
        key=tuple(name.strip() for name in key.split(",") if name.strip()),
        column=column,
    )
    with show_progress(as_json=as_json) as progress:
        facts = _read_facts(move_table(table, out.parent), form, out.parent)
        progress("reading the model")
        draft = draft_job(facts, _pin(model, wishes.registry, out.parent), wishes)
    _write(draft, out)
    span = "" if draft.grain == "snapshot" else " --interval YYYY-MM-DD"
    written = Written(file=str(out), choices=draft.choices, command=f"batchscore plan {shlex.quote(str(out))}{span}")
    emit(written, plain(written), as_json)


def move_table(table: str, folder: Path) -> str:
    """A table named from the current folder, as a job file in `folder` names it.

    Absolute paths, URIs, references and catalog names stay as they are.
    """
    if has_reference(table) or _SCHEME.match(table) or Path(table).is_absolute():
        return table
    if "/" not in table and not Path(table).exists():
        return table  # a catalog name
    moved = _relative(table, folder)
    return moved if "/" in moved else f"./{moved}"


def move_registry(uri: str, folder: Path) -> str:
    """A registry URI given from the current folder, as a job file in `folder` names it."""
    found = _SQLITE.match(uri)
    return found[1] + _relative(found[2], folder) if found and not has_reference(uri) else uri


def _relative(path: str, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _read_facts(table: str, form: str | None, folder: Path) -> TableFacts:
    from batchscore.tables.locations import is_path, list_names  # noqa: PLC0415 - after the refusals that cost nothing
    from batchscore.tables.pin import pin_table  # noqa: PLC0415
    from batchscore.tables.read import read_pinned  # noqa: PLC0415

    spark = open_session(EngineConfig(), "UTC")
    location = resolve_table(table, str(folder.resolve()))
    if form is None:
        names = list_names(spark, location) or [] if is_path(location) else []
        stored = any(name.endswith(".parquet") or "=" in name for name in names)
        form = "parquet" if stored and "_delta_log" not in names else "delta"
    pinned = pin_table(spark, location, form, named=table, where="--table", interval=None, column=None)
    columns = dict(read_pinned(spark, pinned).dtypes)
    return TableFacts(table=table, format=form, columns=columns, partitions=_partitions(spark, pinned))


def _partitions(spark: Any, pinned: Any) -> tuple[str, ...]:
    from batchscore.tables.log import DeltaLog  # noqa: PLC0415

    if pinned.format == "delta":
        listed = DeltaLog(spark, pinned.location).snapshot().metadata().partitionColumns()
        return tuple(str(listed.apply(position)) for position in range(listed.size()))
    parts = pinned.paths[0].split("/")[:-1]
    return tuple(part.partition("=")[0] for part in parts if "=" in part)


def _pin(model: str, registry: str | None, folder: Path) -> Any:
    from batchscore.models.pin import pin_model  # noqa: PLC0415 - mlflow takes seconds to import

    return pin_model(model, resolve_sqlite(registry, str(folder.resolve())) if registry else None)[0]


def _write(draft: Draft, out: Path) -> None:
    """Put the file in its place once `validate` accepts it, and the editor's schema beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    try:
        partial.write_text(draft.text, encoding="utf-8")
        load_job(partial)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    schema = out.parent / "job.schema.json"
    if not schema.exists():
        schema.write_text(json.dumps(job_schema(), indent=2) + "\n", encoding="utf-8")
