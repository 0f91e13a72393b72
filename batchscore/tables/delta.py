"""A Delta table as the publishing port sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from batchscore.errors import WriteError
from batchscore.ports import Commit
from batchscore.tables.locations import read_file, write_file
from batchscore.tables.locks import hold_lock
from batchscore.tables.log import DeltaLog
from batchscore.tables.read import scan_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

SIDE_FOLDER = "_batchscore"  # VACUUM and readers leave names with an underscore alone


class DeltaTable:
    """One output table; see `ports.TablePort` for what callers may rely on."""

    def __init__(self, spark: SparkSession, location: str) -> None:
        self._spark = spark
        self._log = DeltaLog(spark, location)
        self.location = location

    def exists(self) -> bool:
        """Whether the table has been created."""
        return self._log.exists()

    def create(self, schema: StructType, partition_by: Sequence[str], properties: Mapping[str, str]) -> None:
        """Create the table unless it exists; two creators at once end with one table."""
        from delta.tables import DeltaTable as Builder  # noqa: PLC0415 - executors import this package too

        builder = Builder.createIfNotExists(self._spark).location(self.location).addColumns(schema)
        if partition_by:
            builder = builder.partitionedBy(*partition_by)
        for key, value in properties.items():
            builder = builder.property(key, value)
        with self.lock():
            builder.execute()

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
        schema: str = self._log.snapshot().metadata().schemaString()
        fields = json.loads(schema)["fields"]
        return {item["name"]: item["type"] if isinstance(item["type"], str) else "nested" for item in fields}

    def version(self) -> int:
        """The latest version; -1 where the table does not exist."""
        return self._log.version()

    def txn_version(self, app_id: str) -> int:
        """The last transaction version of `app_id`; -1 if there is none."""
        return self._log.txn_version(app_id)

    def commits(self, after: int) -> list[Commit]:
        """Commits with a version above `after`, oldest first."""
        return self._log.commits(after)

    def append(self, rows: DataFrame, *, app_id: str, txn_version: int, metadata: str | None = None) -> None:
        """Add rows in one commit."""
        writer = rows.write.format("delta").mode("append")
        writer = writer.option("txnAppId", app_id).option("txnVersion", str(txn_version))
        if metadata is not None:
            writer = writer.option("userMetadata", metadata)
        writer.save(self.location)

    def replace(self, rows: DataFrame, *, interval: str, app_id: str, txn_version: int, metadata: str) -> None:
        """Replace the rows whose `_interval` is `interval` in one commit."""
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

    def frame_of(self, records: Sequence[Mapping[str, Any]], schema: StructType) -> DataFrame:
        """A few records as rows for `append`."""
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
        return scan_rows(self.read(), columns, where)

    def repair(self) -> None:
        """Nothing: a Delta commit needs no second step."""

    def write_side_file(self, name: str, content: bytes) -> None:
        """Keep a small file beside the data, where neither readers nor VACUUM look."""
        write_file(self._spark, f"{self.location}/{SIDE_FOLDER}/{name}", content)

    def read_side_file(self, name: str) -> bytes | None:
        """A file that `write_side_file` wrote, or None."""
        return read_file(self._spark, f"{self.location}/{SIDE_FOLDER}/{name}")

    def lock(self) -> AbstractContextManager[None]:
        """Hold off other writers of this table on a local disk."""
        return hold_lock(self.location)
