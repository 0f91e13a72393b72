"""A folder of stages in memory: claims that die with their holder, notes that may be torn, removal file by file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fake_rows import Frame, Rows
from fake_table import Alone, World

from batchscore.errors import WriteError

PLACE = "stages"


class FakeStages:
    """See `ports.StagePort`; it also keeps the files of staged rows. `world` simulates the processes around it."""

    def __init__(self, world: World | None = None) -> None:
        self.folders: dict[str, dict[str, Any]] = {}
        self.claims: dict[str, Any] = {}
        self.trespasses: list[str] = []  # changes of stages by others than those who claimed them
        self.noted: dict[str, None] = {}  # every run of which there ever was a note, in order
        self._world = world or Alone()

    def location(self, run_id: str) -> str:
        return f"{PLACE}/{run_id}"

    def run_ids(self) -> list[str]:
        self._read("run_ids")
        return sorted(self.folders)

    @contextmanager
    def claim(self, run_id: str) -> Iterator[None]:
        self._world.point(PLACE, "claim")
        if run_id in self.claims:
            raise WriteError(f"stage of run {run_id}: another process works on it at this moment.")
        self.claims[run_id] = self._world.writer()
        try:
            yield
        finally:
            self._world.point(PLACE, "unclaim")  # dead processes do not get past this
            del self.claims[run_id]

    def is_claimed(self, run_id: str) -> bool:
        self._read("is_claimed")
        return run_id in self.claims

    def read_note(self, run_id: str) -> dict[str, Any] | None:
        self._read("read_note")
        notes = self._notes(run_id)
        whole = [number for number, note in notes.items() if note is not None]
        return notes[max(whole)] if whole else None

    def write_note(self, run_id: str, note: Mapping[str, Any]) -> None:
        self._world.point(PLACE, "note")
        name = f"note-{max(self._notes(run_id), default=0) + 1}"
        fault = self._world.fault(PLACE, "note")
        if fault == "failed":
            raise OSError("no space left on device")
        self._guard("note", run_id)
        self.folders.setdefault(run_id, {})[name] = None  # torn, if its writer dies here
        self._world.point(PLACE, "note.written")
        self.folders.setdefault(run_id, {})[name] = dict(note)
        self.noted[run_id] = None
        if fault == "lost":
            raise ConnectionError("the answer was lost")

    def remove(self, run_id: str) -> None:
        self._world.point(PLACE, "remove")
        if self._world.fault(PLACE, "remove") == "failed":
            raise OSError("input/output error")
        self._guard("remove", run_id)
        for name in self._order(run_id):
            self.folders.get(run_id, {}).pop(name, None)
            self._world.point(PLACE, "remove.file")
        if not self.folders.get(run_id):
            self.folders.pop(run_id, None)

    def put(self, run_id: str, files: Mapping[str, Rows]) -> None:
        """Write files of staged rows."""
        self._world.point(PLACE, "write")
        fault = self._world.fault(PLACE, "write")
        if fault == "failed":
            raise OSError("no space left on device")
        self.folders.setdefault(run_id, {}).update(files)
        if fault == "lost":
            raise ConnectionError("the answer was lost")

    def open(self, run_id: str, names: Sequence[str]) -> Frame:
        """The rows of some files, read when they are needed."""

        def load() -> Rows:
            files = self.folders.get(run_id, {})
            gone = [name for name in names if name not in files]
            if gone:
                raise FileNotFoundError(f"{self.location(run_id)}/{gone[0]} does not exist")
            return tuple(row for name in names for row in files[name])

        return Frame(load)

    def _guard(self, change: str, run_id: str) -> None:
        claim, writer = self.claims.get(run_id), self._world.writer()
        if writer is not None and (claim is None or claim[1] is not writer[1]):
            self.trespasses.append(f"{change} of the stage of run {run_id} by one who has not claimed it")

    def _order(self, run_id: str) -> list[str]:
        """The order in which a folder's files go: any."""
        names = list(self.folders.get(run_id, {}))
        shuffle = getattr(self._world, "shuffle", None)
        if shuffle is not None:
            shuffle(names)
        return names

    def _notes(self, run_id: str) -> dict[int, dict[str, Any] | None]:
        files = self.folders.get(run_id, {})
        return {int(name.removeprefix("note-")): note for name, note in files.items() if name.startswith("note-")}

    def _read(self, call: str) -> None:
        self._world.point(PLACE, call)
        self._world.hinder(PLACE, call)
