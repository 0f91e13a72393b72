"""The folder of stages: which runs have rows that are not published yet, what is known of each, and who works on it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from batchscore.errors import WriteError
from batchscore.tables.locations import list_names, modified_s, read_file, remove_folder, write_file
from batchscore.tables.locks import local_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CLAIM_TRIES = 25  # one who only looks holds the lock for a moment
CLAIM_WAIT_S = 0.02
_NOTE = re.compile(r"_note-(\d+)\.json")
REMOTE_ABANDON_S = 24 * 3600  # without a lock that dies with its holder, only age tells


class StageFolder:
    """See `ports.StagePort`."""

    def __init__(self, spark: SparkSession, folder: Callable[[], str]) -> None:
        self._spark = spark
        self._folder = folder

    @property
    def folder(self) -> str:
        """Where the stages lie; it may be known only once the scores table stands."""
        return self._folder()

    def location(self, run_id: str) -> str:
        """The path of one run's stage."""
        return f"{self.folder}/{run_id}"

    def run_ids(self) -> list[str]:
        """Runs that have a stage, whole or not."""
        return sorted(name for name in list_names(self._spark, self.folder) or [] if not name.startswith((".", "_")))

    @contextmanager
    def claim(self, run_id: str) -> Iterator[None]:
        """Show other drivers on this machine that the run is alive; the kernel ends the claim if this one dies.

        Raises:
            WriteError: Another process has claimed it.
        """
        claim = self._claim_file(run_id)
        if claim is None:
            yield
            return
        claim.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(claim, run_id):
            try:
                yield
            finally:
                claim.unlink(missing_ok=True)

    def is_claimed(self, run_id: str) -> bool:
        """Whether the run may still be alive: its claim is held, or, on a remote store, its stage is young."""
        claim = self._claim_file(run_id)
        if claim is None:
            return modified_s(self._spark, self.location(run_id)) > time.time() - REMOTE_ABANDON_S
        if not claim.exists():
            return False
        with claim.open("a") as handle:
            if not _try_lock(handle):
                return True
            if _is_linked(handle, claim):
                claim.unlink()  # of a dead process; under its lock, so that no live one loses its own
        return False

    def read_note(self, run_id: str) -> dict[str, Any] | None:
        """The newest whole note that `write_note` left; None where there is none."""
        for number in sorted(self._note_numbers(run_id), reverse=True):
            found = read_file(self._spark, self._note_file(run_id, number))
            try:
                note = json.loads(found) if found else None
            except ValueError:  # its writer died; the one before it stands
                continue
            if isinstance(note, dict):
                return note
        return None

    def write_note(self, run_id: str, note: Mapping[str, Any]) -> None:
        """Leave beside a stage what is known of its run; older notes stay, so that a crash here loses none."""
        number = max(self._note_numbers(run_id), default=0) + 1
        write_file(self._spark, self._note_file(run_id, number), json.dumps(note).encode())

    def remove(self, run_id: str) -> None:
        """Remove a run's stage and note, if they stand."""
        remove_folder(self._spark, self.location(run_id))

    def _claim_file(self, run_id: str) -> Path | None:
        folder = local_path(self.folder)
        return None if folder is None else folder / f".{run_id}.claim"

    def _note_file(self, run_id: str, number: int) -> str:
        return f"{self.location(run_id)}/_note-{number}.json"

    def _note_numbers(self, run_id: str) -> list[int]:
        names = list_names(self._spark, self.location(run_id)) or []
        return [int(found[1]) for name in names if (found := _NOTE.fullmatch(name))]

    @contextmanager
    def _lock(self, claim: Path, run_id: str) -> Iterator[None]:
        """The lock on a claim file that still bears its name: one who looked may have removed it meanwhile."""
        for _ in range(CLAIM_TRIES):
            with claim.open("a") as handle:
                if _try_lock(handle) and _is_linked(handle, claim):
                    yield
                    return
            time.sleep(CLAIM_WAIT_S)
        raise WriteError(
            f"stage of run {run_id}: another process works on it at this moment. Wait for it, then look again."
        )


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_linked(handle: IO[str], claim: Path) -> bool:
    try:
        return os.fstat(handle.fileno()).st_ino == claim.stat().st_ino
    except FileNotFoundError:
        return False
