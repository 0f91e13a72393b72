"""A Delta table as the publishing port sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from batchscore.errors import ConfigError, WriteError
from batchscore.failures import refuse
from batchscore.hooks import reached
from batchscore.ports import Commit
from batchscore.tables.adoption import OwnFiles, OwnRecords, adopt_files, adopt_records, can_adopt
from batchscore.tables.catalog import create_table, expect_location, find_table, quote_name
from batchscore.tables.locations import is_path, list_names, read_file, remove_folder, write_file
from batchscore.tables.locks import TableLock, local_path
from batchscore.tables.log import DeltaLog
from batchscore.tables.plain import scan_plain
from batchscore.tables.read import quote, scan_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

SIDE_FOLDER = "_batchscore"  # VACUUM and readers leave names with an underscore alone
_COMMITTED = re.compile(r"\d{20}\.(json|checkpoint)")
_LIFTED = "append-only-lifted.json"
_METADATA_CONF = "spark.databricks.delta.commitInfo.userMetadata"  # the only way to give an ALTER its metadata


class DeltaTable:
    """One output table; see `ports.TablePort` for what callers may rely on.

    A catalog name serves to create the table and to find it; everything else goes by its location.

    Args:
        spark: The session.
        place: A path, or a catalog name.
    """

    def __init__(self, spark: SparkSession, place: str) -> None:
        self._spark = spark
        self._name = None if is_path(place) else place
        self._found = place if self._name is None else None
        self._lock = TableLock()
        self._opened: DeltaLog | None = None

    @property
    def location(self) -> str:
        """Where the table lies; before the catalog has it, where it is going to."""
        return self._find() or expect_location(self._spark, str(self._name))

    @property
    def sql_name(self) -> str:
        """What SQL calls the table."""
        return quote_name(self._name) if self._name else f"delta.{quote(self.location)}"

    def exists(self) -> bool:
        """Whether the table has been created."""
        return self._find() is not None and self._log.exists()

    def create(self, schema: StructType, partition_by: Sequence[str], properties: Mapping[str, str]) -> None:
        """Create the table unless it exists; two creators at once end with one table.

        Raises:
            ConfigError: The catalog does not take the name.
            WriteError: The store does not take the table.
        """
        if self._name is not None:
            self._create_named(self._name, schema, partition_by, properties)
            return
        from delta.tables import DeltaTable as Builder  # noqa: PLC0415 - executors import this package too

        builder = Builder.createIfNotExists(self._spark).location(self.location).addColumns(schema)
        if partition_by:
            builder = builder.partitionedBy(*partition_by)
        for key, value in properties.items():
            builder = builder.property(key, value)
        with self.lock():
            self._clear_half_created()
            try:
                builder.execute()
            except Exception as error:
                raise refuse(self.location, error) from error

    def _clear_half_created(self) -> None:
        """Remove a log without any commit, as a creation that was cut off leaves it: Delta would refuse for ever.

        Under the lock of a local disk alone; elsewhere another creator might be about to commit.
        """
        log = f"{self.location}/_delta_log"
        names = list_names(self._spark, log) if local_path(self.location) is not None else None
        if names is not None and not any(_COMMITTED.match(name) for name in names):
            remove_folder(self._spark, log)

    def alter(self, change: str, metadata: str) -> None:
        """Change the table itself by one ALTER, in one commit.

        Args:
            change: What stands behind the table's name, such as `ADD COLUMNS (...)`.
            metadata: The text that the commit carries.
        """
        before = self._spark.conf.get(_METADATA_CONF, None)
        with self.lock():
            self._spark.conf.set(_METADATA_CONF, metadata)
            try:
                self._spark.sql(f"ALTER TABLE {self.sql_name} {change}")
            finally:
                if before is None:
                    self._spark.conf.unset(_METADATA_CONF)
                else:
                    self._spark.conf.set(_METADATA_CONF, before)

    def maintain(self, *, vacuum: bool) -> dict[str, int]:
        """Join small files, and remove files that no version within the table's retention needs.

        Args:
            vacuum: Whether files are removed.

        Returns:
            Files `joined`, files that they `became`, and files `removed`.
        """
        table = self.sql_name
        with self.lock():
            metrics: Any = self._spark.sql(f"OPTIMIZE {table}").collect()[0]["metrics"]
            removed = len(self._spark.sql(f"VACUUM {table} DRY RUN").collect()) if vacuum else 0
            if removed:
                self._spark.sql(f"VACUUM {table}").collect()
        return {"joined": metrics["numFilesRemoved"], "became": metrics["numFilesAdded"], "removed": removed}

    def properties(self) -> Mapping[str, str]:
        """The table's own properties."""
        found: Any = self._log.snapshot().metadata().configuration()
        pairs = found.iterator()
        out = {}
        while pairs.hasNext():
            pair = pairs.next()
            out[str(pair._1())] = str(pair._2())
        return out

    def columns(self) -> dict[str, str]:
        """Column names and Spark types, as the latest version has them."""
        from pyspark.sql.types import StructType  # noqa: PLC0415 - executors import this package too

        schema = StructType.fromJson(json.loads(self._log.snapshot().metadata().schemaString()))
        return {field.name: field.dataType.simpleString() for field in schema.fields}

    def partition_columns(self) -> Sequence[str]:
        """The columns that it is partitioned by, in order."""
        found: str = self._log.snapshot().metadata().partitionColumns().mkString("\n")
        return found.split("\n") if found else []

    def version(self) -> int:
        """The latest version; -1 where the table does not exist."""
        return self._log.version() if self._find() is not None else -1

    def txn_version(self, app_id: str) -> int:
        """The last transaction version of `app_id`; -1 if there is none."""
        return self._log.txn_version(app_id)

    def commits(self, after: int) -> list[Commit]:
        """Commits with a version above `after`, oldest first."""
        return self._log.commits(after)

    def takes_files(self, schema: StructType, files: Sequence[str] = ()) -> bool:
        """Whether Parquet files of these columns may become the table's as they are; see `adoption`."""
        return can_adopt(self._log, schema, files)

    def append(
        self, rows: DataFrame | OwnRecords, *, app_id: str, txn_version: int, metadata: str | None = None
    ) -> None:
        """Add rows in one commit."""
        if isinstance(rows, OwnRecords):
            adopt_records(self._log, rows, app_id=app_id, txn_version=txn_version, metadata=metadata)
            return
        writer = rows.write.format("delta").mode("append")
        writer = writer.option("txnAppId", app_id).option("txnVersion", str(txn_version))
        if metadata is not None:
            writer = writer.option("userMetadata", metadata)
        writer.save(self.location)

    def replace(
        self, rows: DataFrame | OwnFiles, *, interval: str, app_id: str, txn_version: int, metadata: str
    ) -> None:
        """Replace the rows whose `_interval` is `interval` in one commit."""
        if isinstance(rows, OwnFiles):
            adopt_files(self._log, rows, interval=interval, app_id=app_id, txn_version=txn_version, metadata=metadata)
            return
        literal = interval.replace("'", "''")
        (
            rows.write.format("delta")
            .mode("overwrite")
            .option("replaceWhere", f"_interval = '{literal}'")
            .option("txnAppId", app_id)
            .option("txnVersion", str(txn_version))
            .option("userMetadata", metadata)
            .save(self.location)
        )

    def frame_of(self, records: Sequence[Mapping[str, Any]], schema: StructType) -> DataFrame | OwnRecords:
        """A few records as rows for `append`."""
        if self.takes_files(schema):
            return OwnRecords(tuple(records), schema)
        rows = [tuple(record[field.name] for field in schema.fields) for record in records]
        return self._spark.createDataFrame(rows, schema).coalesce(1)

    def read(self) -> DataFrame:
        """The latest version of the table."""
        return self._spark.read.format("delta").load(self.location)

    def read_at(self, version: int) -> DataFrame:
        """The rows of an older version.

        Raises:
            WriteError: Delta refuses it: its files are older than the table promises to keep them.
        """
        frame = self._spark.read.format("delta").option("versionAsOf", str(version))
        try:
            return frame.load(self.location)
        except Exception as error:
            raise WriteError(
                f"{self.location}: expected to read version {version}; Delta no longer keeps it "
                "(delta.deletedFileRetentionDuration, delta.logRetentionDuration). Score the interval again instead."
            ) from error

    def scan(self, columns: Sequence[str], where: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """Some columns of the rows whose values are among those given."""
        found = scan_plain(self._log, columns, where)
        return scan_rows(self.read(), columns, where) if found is None else found

    def lift_append_only(self, metadata: str) -> None:
        """Let a table that only grows shrink, until `repair`; a mark beside the data says so first."""
        self.write_side_file(_LIFTED, metadata.encode())
        reached("append_only.marked")
        self.alter("SET TBLPROPERTIES ('delta.appendOnly' = 'false')", metadata)
        reached("append_only.lifted")

    def repair(self) -> None:
        """See that no commit has lost its content, and that a table which was to shrink once only grows again.

        Raises:
            WriteError: A commit has lost its content.
        """
        if self._find() is None:
            return
        self._log.check_whole()
        if self.read_side_file(_LIFTED) is None:
            return
        with self.lock():
            found = self.read_side_file(_LIFTED)
            if found is not None:
                self.alter("SET TBLPROPERTIES ('delta.appendOnly' = 'true')", found.decode())
                remove_folder(self._spark, f"{self.location}/{SIDE_FOLDER}/{_LIFTED}")

    def write_side_file(self, name: str, content: bytes) -> None:
        """Keep a small file beside the data, where neither readers nor VACUUM look."""
        write_file(self._spark, f"{self.location}/{SIDE_FOLDER}/{name}", content)

    def read_side_file(self, name: str) -> bytes | None:
        """A file that `write_side_file` wrote, or None."""
        return read_file(self._spark, f"{self.location}/{SIDE_FOLDER}/{name}")

    def lock(self) -> AbstractContextManager[None]:
        """Hold off other writers of this table on a local disk; whoever holds it may take it again."""
        return self._lock.hold(self.location)

    @property
    def _log(self) -> DeltaLog:
        if self._opened is None or self._opened.location != self.location:
            self._opened = DeltaLog(self._spark, self.location)
        return self._opened

    def _find(self) -> str | None:
        """Where the table lies; None as long as the catalog has no table of its name."""
        if self._found is None:
            self._found = find_table(self._spark, str(self._name))
        return self._found

    def _create_named(
        self, name: str, schema: StructType, partition_by: Sequence[str], properties: Mapping[str, str]
    ) -> None:
        with self.lock():
            if self.exists():
                return
            try:
                create_table(self._spark, name, schema, partition_by, properties)
            except Exception as error:
                if self.exists():  # another creator was faster
                    return
                raise ConfigError(
                    f"table {name}: expected the catalog to create it at {self.location}; it refused, most often since "
                    "files stand there that it does not know of. Remove them, or choose another name."
                ) from error
