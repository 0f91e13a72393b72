"""A folder of plain Parquet files as the publishing port sees it: a small log beside the data makes commits of writes.

What lies in the folder:

* `batchscore_interval=<value>/part-*.parquet`, or `part-*.parquet` without partitions: the rows. Most readers pass by
  names that begin with an underscore, folders of a column `_interval` among them (pyarrow and pandas would find an
  empty table), so the folder has a name of its own and the files keep their `_interval`.
* `_batchscore/log/<20 digits>.json`: one entry a commit. The log is the truth; the data follows it.
* `_batchscore/new/<token>/`: files of a write that is not in place yet.
* `_batchscore/old/<version>/`: what commit `<version>` replaced, until it is removed.

A write prepares its files under `new`, commits its log entry, and only then puts the files in place: added files are
moved one by one; for a replaced interval the old folder is renamed to `old`, then the new one takes its place. A
writer that dies before the commit leaves a folder that the next writer removes; one that dies after it leaves a swap
that the next `repair`, `read` or write finishes. So a table opened here is old or new, whole. Readers that know
nothing of the log see, between commit and swap, the old rows; between the two renames, no rows of that interval; while
files are added, some of them; and a reader that had listed files which are then replaced fails and must read again.

One writer at a time is guaranteed by the file lock, on a local disk alone. On other stores the log still takes each
version once, but two writers that settle the same commit at the same time may disturb each other: run one at a time.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from batchscore.errors import ConfigError, WriteError
from batchscore.ports import Commit
from batchscore.tables.locations import exists, list_names, modified_s, move, read_file, remove_folder, write_file
from batchscore.tables.locks import TableLock, local_path
from batchscore.tables.parquet_files import find_files, partition_folder, write_files
from batchscore.tables.parquet_log import Entry, ParquetLog
from batchscore.tables.read import scan_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

SIDE_FOLDER = "_batchscore"
INTERVAL = "_interval"
FOLDER_PREFIX = "batchscore"  # before the column's name, in the names of partition folders
REMOTE_LEFTOVER_S = 24 * 3600  # without a lock that dies with its holder, only age tells that a writer is dead


def _nothing(step: str) -> None:
    """The default of `step`: nobody looks."""


class ParquetTable:
    """One output table; see `ports.TablePort` for what callers may rely on, and the module for what readers see.

    Args:
        spark: The session.
        location: The folder.
        step: Called after each step of a write, with its name: `written` `logged` `aside` `moved` `cleaned`.
    """

    def __init__(self, spark: SparkSession, location: str, step: Callable[[str], None] = _nothing) -> None:
        self._spark = spark
        self._own = f"{location}/{SIDE_FOLDER}"
        self._log = ParquetLog(spark, f"{self._own}/log")
        self._step = step
        self._lock = TableLock()
        self.location = location

    def exists(self) -> bool:
        """Whether the table has been created."""
        return self.version() >= 0

    def create(self, schema: StructType, partition_by: Sequence[str], properties: Mapping[str, str]) -> None:
        """Create the table unless it exists; two creators at once end with one table.

        Properties of Delta (`delta.…`) mean nothing here and are not kept.

        Raises:
            ConfigError: The folder holds something else.
        """
        with self.lock():
            if self.exists():
                return
            found = [n for n in list_names(self._spark, self.location) or [] if n != SIDE_FOLDER and n[0] != "."]
            if found:
                raise ConfigError(
                    f"{self.location}: expected a new table or one that batchscore made with output.format parquet; "
                    f"found a folder with '{sorted(found)[0]}' in it. Choose another path."
                )
            taken = {name.lower() for name in schema.fieldNames()} & {FOLDER_PREFIX + name for name in partition_by}
            if taken:
                raise ConfigError(f"{self.location}: the name '{taken.pop()}' is batchscore's own. Rename the column.")
            table = {
                "schema": schema.jsonValue(),
                "partition_by": list(partition_by),
                "properties": {k: v for k, v in properties.items() if not k.startswith("delta.")},
            }
            self._log.put(Entry(version=0, operation="CREATE TABLE", timestamp_ms=_now_ms(), table=table))

    def properties(self) -> Mapping[str, str]:
        """The table's own properties."""
        return dict(self._table()["properties"])

    def columns(self) -> dict[str, str]:
        """Column names and Spark types."""
        return {field.name: field.dataType.simpleString() for field in self._schema().fields}

    def partition_columns(self) -> Sequence[str]:
        """The columns that it is partitioned by, in order."""
        return list(self._table()["partition_by"])

    def version(self) -> int:
        """The latest version; -1 where the table does not exist."""
        return len(self._log.entries()) - 1

    def txn_version(self, app_id: str) -> int:
        """The last transaction version of `app_id`; -1 if there is none."""
        found = (e.txn_version for e in reversed(self._log.entries()) if e.app_id == app_id)
        return next((version for version in found if version is not None), -1)

    def commits(self, after: int) -> list[Commit]:
        """Commits with a version above `after`, oldest first."""
        return self._log.commits(after)

    def append(self, rows: DataFrame, *, app_id: str, txn_version: int, metadata: str | None = None) -> None:
        """Add rows in one commit."""
        self._write(rows, None, app_id, txn_version, metadata)

    def replace(self, rows: DataFrame, *, interval: str, app_id: str, txn_version: int, metadata: str) -> None:
        """Replace the rows whose `_interval` is `interval` in one commit."""
        self._write(rows, interval, app_id, txn_version, metadata)

    def frame_of(self, records: Sequence[Mapping[str, Any]], schema: StructType) -> DataFrame:
        """A few records as rows for `append`."""
        rows = [tuple(record[field.name] for field in schema.fields) for record in records]
        return self._spark.createDataFrame(rows, schema).coalesce(1)

    def read_at(self, version: int) -> DataFrame:
        """Refuses: what was replaced is gone.

        Raises:
            WriteError: Always.
        """
        raise WriteError(
            f"{self.location}: expected a table that keeps older versions; plain Parquet output keeps none. "
            "Score the interval again with the older model (--set model.uri=…), or write Delta."
        )

    def scan(self, columns: Sequence[str], where: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """Some columns of the rows whose values are among those given."""
        return scan_rows(self.read(), columns, where)

    def read(self) -> DataFrame:
        """The latest version of the table, its columns in their order and with their types."""
        self.repair()
        schema = self._schema()
        names = [f"`{name.replace('`', '``')}`" for name in schema.fieldNames()]
        return self._spark.read.schema(schema).parquet(self.location).select(*names)

    def repair(self) -> None:
        """Put in place what the last commit's writer, if it died, left beside; waits for one that lives."""
        if self._is_unsettled(self._last()):
            with self.lock():
                self._settle()

    def write_side_file(self, name: str, content: bytes) -> None:
        """Keep a small file beside the data, where readers do not look."""
        write_file(self._spark, f"{self._own}/{name}", content)

    def read_side_file(self, name: str) -> bytes | None:
        """A file that `write_side_file` wrote, or None."""
        return read_file(self._spark, f"{self._own}/{name}")

    def lock(self) -> AbstractContextManager[None]:
        """Hold off other writers of this table on a local disk; whoever holds it may take it again."""
        return self._lock.hold(self.location)

    def _write(
        self, rows: DataFrame, interval: str | None, app_id: str, txn_version: int, metadata: str | None
    ) -> None:
        with self.lock():
            self._settle()
            self._remove_leftovers()
            version = self.version() + 1
            if txn_version <= self.txn_version(app_id):
                return
            token = uuid.uuid4().hex
            partition_by = self._table()["partition_by"]
            added = write_files(self._spark, self._fit(rows), self._new(token), partition_by, FOLDER_PREFIX)
            partition = None if interval is None else self._partition(interval, partition_by, added)
            self._step("written")
            entry = Entry(
                version=version,
                operation="WRITE",
                timestamp_ms=_now_ms(),
                metadata=metadata,
                app_id=app_id,
                txn_version=txn_version,
                token=token,
                partition=partition,
                added=tuple(added),
                removed=tuple(self._standing(partition)),
            )
            self._log.put(entry)
            self._step("logged")
            self._settle()

    def _settle(self) -> None:
        """Bring the data in line with the last commit. Every move can be repeated, so dying here costs nothing."""
        entry = self._last()
        if entry is None or not self._is_unsettled(entry):
            return
        whole = entry.partition is not None and self._swap(entry, entry.partition)
        for name in () if whole else entry.added:
            source, target = f"{self._new(entry.token)}/{name}", f"{self.location}/{name}"
            if exists(self._spark, source):
                remove_folder(self._spark, target)  # half a copy, on stores that copy to rename
                move(self._spark, source, target)
        self._step("moved")
        remove_folder(self._spark, self._new(entry.token))
        remove_folder(self._spark, self._old(entry.version))
        self._step("cleaned")

    def _swap(self, entry: Entry, partition: str) -> bool:
        """Put the new folder of a partition in place of the old one; False where some files are in place already."""
        target, source = f"{self.location}/{partition}", f"{self._new(entry.token)}/{partition}"
        standing = {f"{partition}/{name}" for name in find_files(self._spark, target)}
        if not standing.isdisjoint(entry.added):
            return False
        if exists(self._spark, target):
            move(self._spark, target, f"{self._old(entry.version)}/{partition}")
        self._step("aside")
        if exists(self._spark, source):
            move(self._spark, source, target)
        return True

    def _is_unsettled(self, entry: Entry | None) -> bool:
        if entry is None or entry.token is None:
            return False
        return exists(self._spark, self._new(entry.token)) or exists(self._spark, self._old(entry.version))

    def _remove_leftovers(self) -> None:
        """Remove what writers left that died before their commit; the caller holds the lock and has settled."""
        local = local_path(self.location) is not None
        for name in list_names(self._spark, f"{self._own}/new") or []:
            if local or modified_s(self._spark, self._new(name)) < time.time() - REMOTE_LEFTOVER_S:
                remove_folder(self._spark, self._new(name))

    def _fit(self, rows: DataFrame) -> DataFrame:
        """The rows with the table's columns in their order, or a refusal: Parquet files would take anything."""
        wanted = {field.name: field.dataType.simpleString() for field in self._schema().fields}
        found = dict(rows.dtypes)
        if found != wanted:
            wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            raise WriteError(
                f"{self.location}: expected rows with the table's own columns and types; "
                f"they differ in {', '.join(wrong)}. Nothing was written."
            )
        return rows.select(*[f"`{name.replace('`', '``')}`" for name in wanted])

    def _partition(self, interval: str, partition_by: Sequence[str], added: Sequence[str]) -> str:
        if list(partition_by) != [INTERVAL]:
            raise WriteError(f"{self.location}: expected a table partitioned by {INTERVAL}; it is not.")
        partition = partition_folder(self._spark, FOLDER_PREFIX + INTERVAL, interval)
        if any(not name.startswith(f"{partition}/") for name in added):
            raise WriteError(
                f"{self.location}: expected rows of interval {interval} alone; found others. Nothing was written."
            )
        return partition

    def _standing(self, partition: str | None) -> list[str]:
        if partition is None:
            return []
        return [f"{partition}/{name}" for name in find_files(self._spark, f"{self.location}/{partition}")]

    def _schema(self) -> StructType:
        from pyspark.sql.types import StructType  # noqa: PLC0415 - executors import this package too

        return StructType.fromJson(self._table()["schema"])

    def _table(self) -> Mapping[str, Any]:
        entries = self._log.entries()
        if not entries or entries[0].table is None:
            raise WriteError(f"{self.location}: expected a table that batchscore made; found none.")
        return entries[0].table

    def _last(self) -> Entry | None:
        entries = self._log.entries()
        return entries[-1] if entries else None

    def _new(self, token: str | None) -> str:
        return f"{self._own}/new/{token}"

    def _old(self, version: int) -> str:
        return f"{self._own}/old/{version:020d}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
