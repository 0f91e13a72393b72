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

from batchscore.errors import WriteError
from batchscore.tables.locations import list_names, modified_s, read_file, remove_folder, write_file
from batchscore.tables.locks import local_path
from batchscore.tables.log import DeltaLog, count_added_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

REMOTE_ABANDON_S = 24 * 3600  # without a lock that dies with its holder, only age tells


@dataclass(frozen=True, slots=True)
class Stage:
    """A committed stage.

    Attributes:
        location: Its path.
        counts: Rows by outcome (`scored`, `quarantined`, `tally`), from the committed files' statistics.
    """

    location: str
    counts: dict[str, int]


def write_stage(spark: SparkSession, rows: DataFrame, location: str) -> Stage:
    """Write the kernel's rows in one commit, split by outcome, and count what was committed.

    Args:
        spark: The session.
        rows: The kernel's output; `_outcome` says where each row goes.
        location: A path of this run alone.

    Raises:
        WriteError: The commit is not there after the write.
    """
    writer = rows.write.format("delta").partitionBy("_outcome").option("delta.dataSkippingNumIndexedCols", "0")
    writer.save(location)
    return open_stage(spark, location)


def open_stage(spark: SparkSession, location: str) -> Stage:
    """A stage that was committed before.

    Raises:
        WriteError: There is none.
    """
    actions = DeltaLog(spark, location).actions(0)
    if actions is None:
        raise WriteError(f"stage {location}: expected its commit; found none. Run again; nothing was published.")
    return Stage(location, count_added_rows(actions, "_outcome"))


def read_stage(spark: SparkSession, stage: Stage, outcome: str) -> DataFrame:
    """The rows of one outcome."""
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


def _claim_file(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.claim"


def _note_file(location: str) -> str:
    return f"{location}/_note.json"
