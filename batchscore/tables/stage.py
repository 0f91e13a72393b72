"""The stage: every row of a run, once, with its outcome, outside the scores table until it may be published."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscore.config import Format
from batchscore.errors import WriteError
from batchscore.tables.locations import list_names, modified_s, read_file, remove_folder, write_file
from batchscore.tables.locks import local_path
from batchscore.tables.log import DeltaLog, count_added_rows
from batchscore.tables.parquet_files import count_rows, write_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

REMOTE_ABANDON_S = 24 * 3600  # without a lock that dies with its holder, only age tells


@dataclass(frozen=True, slots=True)
class Stage:
    """A committed stage.

    Attributes:
        location: Its path.
        counts: Rows by outcome (`scored`, `quarantined`, `tally`), from the committed files' statistics or footers.
        schema: Of a stage of plain Parquet files, its columns as Spark's JSON; None for Delta, which keeps its own.
    """

    location: str
    counts: dict[str, int]
    schema: str | None = None


def write_stage(spark: SparkSession, rows: DataFrame, location: str, table_format: Format) -> Stage:
    """Write the kernel's rows in one commit, split by outcome, and count what was committed.

    Args:
        spark: The session.
        rows: The kernel's output; `_outcome` says where each row goes.
        location: A path of this run alone.
        table_format: `delta`, or `parquet` where no Delta is wanted.

    Raises:
        WriteError: The commit is not there after the write.
    """
    if table_format == "parquet":
        counts = _count_by_outcome(spark, location, write_files(spark, rows, location, ["_outcome"]))
        return Stage(location, counts, rows.schema.json())
    writer = rows.write.format("delta").partitionBy("_outcome").option("delta.dataSkippingNumIndexedCols", "0")
    writer.save(location)
    actions = DeltaLog(spark, location).actions(0)
    if actions is None:
        raise WriteError(f"stage {location}: expected its commit; found none. Run again; nothing was published.")
    return Stage(location, count_added_rows(actions, "_outcome"))


def read_stage(spark: SparkSession, stage: Stage, outcome: str) -> DataFrame:
    """The rows of one outcome."""
    if stage.schema is not None:
        from pyspark.sql.types import StructType  # noqa: PLC0415 - executors import this package too

        files = spark.read.schema(StructType.fromJson(json.loads(stage.schema))).parquet(stage.location)
        return files.where(files["_outcome"] == outcome)
    frame = spark.read.format("delta").option("versionAsOf", "0").load(stage.location)
    return frame.where(frame["_outcome"] == outcome)


def remove_stage(spark: SparkSession, location: str) -> None:
    """Remove a stage, committed or not."""
    remove_folder(spark, location)


def list_stages(spark: SparkSession, folder: str) -> list[str]:
    """Run ids that still have a stage."""
    return sorted(name for name in list_names(spark, folder) or [] if not name.startswith((".", "_")))


@contextmanager
def claim_stage(location: str) -> Iterator[None]:
    """Show other drivers on this machine that the stage's run is alive; the kernel ends the claim if it dies."""
    folder = local_path(location)
    if folder is None:
        yield
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    claim = _claim_file(folder)
    with claim.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            claim.unlink(missing_ok=True)


def is_claimed(spark: SparkSession, location: str) -> bool:
    """Whether the run of a stage may still be alive: its claim is held, or, on a remote store, it is young."""
    folder = local_path(location)
    if folder is None:
        return modified_s(spark, location) > time.time() - REMOTE_ABANDON_S
    claim = _claim_file(folder)
    if not claim.exists():
        return False
    with claim.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    claim.unlink(missing_ok=True)
    return False


def write_note(spark: SparkSession, location: str, note: Mapping[str, Any]) -> None:
    """Leave beside a stage's place what its run is, before the stage is written."""
    write_file(spark, _note_file(location), json.dumps(note).encode())


def read_note(spark: SparkSession, location: str) -> dict[str, Any] | None:
    """What `write_note` left; None where there is nothing whole."""
    found = read_file(spark, _note_file(location))
    try:
        note = json.loads(found) if found else None
    except ValueError:
        return None
    return note if isinstance(note, dict) else None


def _count_by_outcome(spark: SparkSession, location: str, files: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for file in files:
        outcome = file.split("/", 1)[0].removeprefix("_outcome=")
        counts[outcome] = counts.get(outcome, 0) + count_rows(spark, f"{location}/{file}")
    return counts


def _claim_file(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.claim"


def _note_file(location: str) -> str:
    return f"{location}/_note.json"
