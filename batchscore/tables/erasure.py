"""Erasure: rows of some keys out of a Delta table, and out of every file that its older versions still have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from batchscore.tables.delta import DeltaTable
from batchscore.tables.locations import exists, hadoop_conf
from batchscore.tables.read import quote

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

APPEND_ONLY = "delta.appendOnly"
_CHANGES = "_change_data"  # where Delta keeps a change feed
_CONF = "spark.databricks.delta"


def delete_rows(spark: SparkSession, table: DeltaTable, keys: DataFrame, metadata: str) -> None:
    """Delete rows by key, in one commit; a table that only grows may shrink for that commit alone.

    Delta's DELETE writes its condition into the log, values and all, and keeps it for a year; a MERGE with a frame of
    keys names columns alone. A process that dies before the table only grows again has left a mark, by which the next
    `DeltaTable.repair` makes it so.

    Args:
        spark: The session.
        table: The table.
        keys: Distinct keys; its columns are columns of the table, of the same types.
        metadata: The text that the commits carry.
    """
    from delta.tables import DeltaTable as Handle  # noqa: PLC0415 - executors import this package too

    condition = " and ".join(f"rows.{quote(name)} = keys.{quote(name)}" for name in keys.columns)
    settings = {
        f"{_CONF}.commitInfo.userMetadata": metadata,
        f"{_CONF}.merge.deletionVectors.persistent": "false",  # a marked row would still be in its file
    }
    with table.lock():
        grows = table.properties().get(APPEND_ONLY) == "true"
        if grows:
            table.lift_append_only(metadata)
        try:
            with _settings(spark, settings):
                merge = Handle.forPath(spark, table.location).alias("rows").merge(keys.alias("keys"), condition)
                merge.whenMatchedDelete().execute()
        finally:
            if grows:
                table.repair()


def remove_replaced(spark: SparkSession, table: DeltaTable, keys: DataFrame) -> int:
    """Remove each data file that holds a row of these keys and that no reader of the latest version needs.

    Versions that need such a file can then be read no more, as after VACUUM; all others can.

    Args:
        spark: The session.
        table: The table, whose latest version has no such row.
        keys: Distinct keys.

    Returns:
        Files removed.
    """
    with table.lock():
        found = find_files(spark, table.location, keys)
        if any(_base_name(file) in _current(table) for file in found):  # its row is masked by a deletion vector
            spark.sql(f"REORG TABLE {table.sql_name} APPLY (PURGE)").collect()
            found = find_files(spark, table.location, keys)
        current = _current(table)
        return sum(_remove_file(spark, file) for file in found if _base_name(file) not in current)


def find_files(spark: SparkSession, location: str, keys: DataFrame) -> set[str]:
    """Parquet files anywhere under a path, current or not, that hold a row of these keys."""
    from pyspark.sql import functions as F  # noqa: PLC0415 - executors import this package too

    places = [place for place in (location, f"{location}/{_CHANGES}") if exists(spark, place)]
    if not places:
        return set()
    options = {"recursiveFileLookup": "true", "pathGlobFilter": "*.parquet", "ignoreCorruptFiles": "true"}
    files = spark.read.schema(keys.schema).options(**options)  # what a dead writer left unfinished is no table's
    names = [quote(name) for name in keys.columns]
    rows = files.parquet(*places).select(*names, F.col("_metadata.file_path").alias("_file"))
    return {str(row["_file"]) for row in matching(rows, keys).select("_file").distinct().collect()}


def matching(rows: DataFrame, keys: DataFrame) -> DataFrame:
    """The rows whose keys are among some."""
    from pyspark.sql import functions as F  # noqa: PLC0415

    return rows.join(F.broadcast(keys), keys.columns, "left_semi")


def _current(table: DeltaTable) -> set[str]:
    return {_base_name(file) for file in table.read().inputFiles()}


def _base_name(file: str) -> str:
    return file.rsplit("/", 1)[-1]


def _remove_file(spark: SparkSession, file: str) -> bool:
    """Remove one file, named as a URI or as it is; whether it stood."""
    jvm: Any = spark._jvm
    conf = hadoop_conf(spark)
    for path in (jvm.org.apache.hadoop.fs.Path(file), jvm.org.apache.hadoop.fs.Path(unquote(file))):
        store = path.getFileSystem(conf)
        if store.exists(path):
            return bool(store.delete(path, False))
    return False


@contextmanager
def _settings(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    before: dict[str, str | None] = {name: spark.conf.get(name, None) for name in settings}
    try:
        for name, value in settings.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, earlier in before.items():
            if earlier is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, earlier)
