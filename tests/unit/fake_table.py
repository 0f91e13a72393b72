"""A table store in memory that behaves as the port says: whole commits, the skip rule, and faults on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from batchscore.ports import Commit


class FakeTable:
    """See `ports.TablePort`. `fault` is called with the name of a write and says what goes wrong with it.

    Its answers: None (nothing), `lost` (the write lands, its answer does not), `failed` (it does not land).
    """

    def __init__(self, location: str, fault: Callable[[str], str | None] = lambda write: None) -> None:
        self.location = location
        self.rows: list[Mapping[str, Any]] = []
        self.side_files: dict[str, bytes] = {}
        self.fault = fault
        self._commits: list[Commit] = []
        self._txns: dict[str, int] = {}
        self._properties: dict[str, str] = {}
        self._columns: dict[str, str] = {}

    def exists(self) -> bool:
        return bool(self._commits)

    def create(self, schema: Any, partition_by: Sequence[str], properties: Mapping[str, str]) -> None:
        if not self._commits:
            self._properties = dict(properties)
            self._add("CREATE TABLE", None)

    def properties(self) -> Mapping[str, str]:
        return self._properties

    def columns(self) -> Mapping[str, str]:
        return self._columns

    def version(self) -> int:
        return len(self._commits) - 1

    def txn_version(self, app_id: str) -> int:
        return self._txns.get(app_id, -1)

    def commits(self, after: int) -> list[Commit]:
        return self._commits[after + 1 :]

    def append(self, rows: Any, *, app_id: str, txn_version: int, metadata: str | None = None) -> None:
        self._write("append", [*self.rows, *rows], app_id, txn_version, metadata)

    def replace(self, rows: Any, *, interval: str, app_id: str, txn_version: int, metadata: str) -> None:
        kept = [row for row in self.rows if row["_interval"] != interval]
        self._write("replace", [*kept, *rows], app_id, txn_version, metadata)

    def frame_of(self, records: Sequence[Mapping[str, Any]], schema: Any) -> Any:
        return list(records)

    def write_side_file(self, name: str, content: bytes) -> None:
        self.side_files[name] = content

    def read_side_file(self, name: str) -> bytes | None:
        return self.side_files.get(name)

    @contextmanager
    def lock(self) -> Iterator[None]:
        yield

    def foreign(self, operation: str) -> None:
        """A commit of somebody else."""
        self._add(operation, None)

    def _write(self, kind: str, rows: Any, app_id: str, txn_version: int, metadata: str | None) -> None:
        fault = self.fault(kind)
        if fault == "failed":
            raise OSError("no space left on device")
        if txn_version > self.txn_version(app_id):
            self._txns[app_id] = txn_version
            self.rows = list(rows)
            self._add("WRITE", metadata)
        if fault == "lost":
            raise ConnectionError("the answer was lost")

    def _add(self, operation: str, metadata: str | None) -> None:
        self._commits.append(Commit(len(self._commits), operation, metadata, 1_380_600_000_000))
