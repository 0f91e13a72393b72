"""A table store in memory that behaves as Delta does: whole commits, the skip rule, conflicts, and faults on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from fake_rows import Frame, Rows, load_rows

from batchscore.errors import WriteError
from batchscore.ports import Commit

EVERYWHERE = "*"  # a commit that touches every interval


class World(Protocol):
    """What a store is told by, and tells, whoever simulates processes around it."""

    def point(self, place: str, call: str) -> None:
        """A moment at which this process may stand still or die; others go on meanwhile."""

    def fault(self, place: str, write: str) -> str | None:
        """What goes wrong with a write: None, `lost` (it lands, its answer does not) or `failed` (it does not)."""

    def hinder(self, place: str, call: str) -> None:
        """Raise if a read is to fail."""

    def hold(self, lock: str) -> None:
        """Wait until this process alone has a lock."""

    def free(self, lock: str) -> None:
        """Give a lock up."""

    def writer(self) -> Any:
        """Who writes, for checks."""

    def now_ms(self) -> int:
        """The store's clock."""


class Alone:
    """A world of one process: nothing happens between two calls."""

    def point(self, place: str, call: str) -> None: ...

    def fault(self, place: str, write: str) -> str | None:
        return None

    def hinder(self, place: str, call: str) -> None: ...

    def hold(self, lock: str) -> None: ...

    def free(self, lock: str) -> None: ...

    def writer(self) -> Any:
        return None

    def now_ms(self) -> int:
        return 1_380_600_000_000


class ConflictError(Exception):
    """The store refuses a commit: another one came first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit as the store keeps it; `rows` are those of the whole table as of it."""

    commit: Commit
    rows: Rows
    interval: str | None
    app_id: str | None
    writer: Any


class FakeTable:
    """See `ports.TablePort`.

    Args:
        location: Its name.
        world: Who simulates the processes around it.
        atomic: Whether the store itself lets only one writer make a version. Where it does not, as on a local disk,
            `lock` excludes other writers, and one who does not take it replaces what others committed meanwhile.
    """

    def __init__(self, location: str, world: World | None = None, *, atomic: bool = True) -> None:
        self.location = location
        self.log: list[Entry] = []
        self.side_files: dict[str, bytes] = {}
        self.is_checked = False  # whether a driver has compared it with what it must be
        self.fault: Callable[[str], str | None] | None = None
        self._world = world or Alone()
        self._atomic = atomic
        self._txns: dict[str, int] = {}
        self._properties: dict[str, str] = {}
        self._partition_by: list[str] = []

    @property
    def rows(self) -> list[Mapping[str, Any]]:
        """The rows of the latest version."""
        return list(self.log[-1].rows) if self.log else []

    def exists(self) -> bool:
        self._read("exists")
        return bool(self.log)

    def create(self, schema: Any, partition_by: Sequence[str], properties: Mapping[str, str]) -> None:
        with self.lock():
            self._world.point(self.location, "create")
            if self.log:
                return
            self._world.point(self.location, "create.commit")
            fault = self._fault("create")
            if self.log:
                raise ConflictError("another writer created the table")
            self._properties, self._partition_by = dict(properties), list(partition_by)
            self._add("CREATE TABLE", (), None)
            if fault == "lost":
                raise ConnectionError("the answer was lost")

    def properties(self) -> Mapping[str, str]:
        self._read("properties")
        return self._properties

    def columns(self) -> Mapping[str, str]:
        self._read("columns")
        return {}

    def partition_columns(self) -> Sequence[str]:
        self._read("partition_columns")
        return self._partition_by

    def version(self) -> int:
        self._read("version")
        return len(self.log) - 1

    def txn_version(self, app_id: str) -> int:
        self._read("txn_version")
        return self._txns.get(app_id, -1)

    def commits(self, after: int) -> list[Commit]:
        self._read("commits")
        return [entry.commit for entry in self.log[after + 1 :]]

    def append(self, rows: Any, *, app_id: str, txn_version: int, metadata: str | None = None) -> None:
        self._write("append", rows, None, app_id, txn_version, metadata)

    def replace(self, rows: Any, *, interval: str, app_id: str, txn_version: int, metadata: str) -> None:
        self._write("replace", rows, interval, app_id, txn_version, metadata)

    def frame_of(self, records: Sequence[Mapping[str, Any]], schema: Any) -> Any:
        return list(records)

    def read(self) -> Frame:
        self._read("read")
        return Frame(lambda found=self.log[-1].rows if self.log else (): found)

    def read_at(self, version: int) -> Frame:
        self._read("read_at")
        if not 0 <= version < len(self.log):
            raise WriteError(f"{self.location}: expected to read version {version}; it is not kept.")
        return Frame(lambda found=self.log[version].rows: found)

    def scan(self, columns: Sequence[str], where: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        self._read("scan")
        rows: Sequence[Mapping[str, Any]] = self.log[-1].rows if self.log else ()
        for name, values in where.items():
            rows = [row for row in rows if row[name] in values]
        return [{name: row[name] for name in columns} for row in rows]

    def repair(self) -> None:
        """Nothing: a commit is all there is."""

    def write_side_file(self, name: str, content: bytes) -> None:
        self._world.point(self.location, "side_file")
        fault = self._fault("side_file")
        self.side_files[name] = content
        if fault == "lost":
            raise ConnectionError("the answer was lost")

    def read_side_file(self, name: str) -> bytes | None:
        self._read("read_side_file")
        return self.side_files.get(name)

    @contextmanager
    def lock(self) -> Iterator[None]:
        if self._atomic:
            yield
            return
        self._world.hold(self.location)
        try:
            yield
        finally:
            self._world.free(self.location)

    def foreign(
        self, operation: str, change: Callable[[Rows], Rows] = lambda rows: rows, interval: str | None = EVERYWHERE
    ) -> None:
        """A commit of somebody else, who takes the lock where there is one."""
        with self.lock():
            self._world.point(self.location, operation)
            self._add(operation, change(self.log[-1].rows if self.log else ()), None, interval=interval)

    def _write(
        self, kind: str, rows: Any, interval: str | None, app_id: str, txn_version: int, metadata: str | None
    ) -> None:
        self._world.point(self.location, kind)
        begun = len(self.log)
        if self._is_skipped(app_id, txn_version):
            return
        added = load_rows(rows)
        self._world.point(self.location, f"{kind}.commit")
        fault = self._fault(kind)
        self._refuse_conflict(self.log[begun:], interval, app_id)
        version = len(self.log)
        if not self._atomic:  # a rename that looks before it leaps
            self._world.point(self.location, f"{kind}.rename")
        before = self.log[version - 1].rows if version else ()
        kept = before if interval is None else tuple(row for row in before if row["_interval"] != interval)
        del self.log[version:]
        self._txns[app_id] = max(txn_version, self._txns.get(app_id, -1))
        self._add("WRITE", (*kept, *added), metadata, interval=interval, app_id=app_id)
        if fault == "lost":
            raise ConnectionError("the answer was lost")

    def _is_skipped(self, app_id: str, txn_version: int) -> bool:
        return txn_version <= self._txns.get(app_id, -1)

    def _refuse_conflict(self, others: Sequence[Entry], interval: str | None, app_id: str) -> None:
        for other in others:
            if other.app_id == app_id:
                raise ConflictError("a concurrent transaction has the same application id")
            if interval is not None and other.interval in (interval, EVERYWHERE):
                raise ConflictError("a concurrent transaction touched the same partition")

    def _fault(self, write: str) -> str | None:
        fault = self.fault(write) if self.fault is not None else self._world.fault(self.location, write)
        if fault == "failed":
            raise OSError("no space left on device")
        return fault

    def _read(self, call: str) -> None:
        self._world.point(self.location, call)
        self._world.hinder(self.location, call)

    def _add(
        self,
        operation: str,
        rows: Rows,
        metadata: str | None,
        *,
        interval: str | None = None,
        app_id: str | None = None,
    ) -> None:
        commit = Commit(len(self.log), operation, metadata, self._world.now_ms())
        self.log.append(Entry(commit, rows, interval, app_id, self._world.writer()))
