"""Pinning: fix a table at one version before anything is read, and fingerprint the files that can hold an interval."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from batchscore.errors import InputError
from batchscore.intervals import Interval
from batchscore.records import PinnedTable
from batchscore.tables.locations import find_location, is_path, list_names
from batchscore.tables.log import DeltaLog
from batchscore.tables.lookback import identify_file, spans_of
from batchscore.tables.read import interval_condition, read_pinned

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MANY_FILES = 2000
Statistics = tuple[dict[str, Any], int]  # of a file, and the rows deleted in it


def pin_table(
    spark: SparkSession,
    table: str,
    table_format: str,
    *,
    named: str,
    where: str,
    interval: Interval | None,
    column: str | None,
    moments: Sequence[str] = (),
) -> PinnedTable:
    """Fix a table at its latest version.

    Args:
        spark: The session.
        table: Absolute path or catalog name.
        table_format: `delta` or `parquet`.
        named: The table as the config names it, for messages.
        where: The config key that names it, for messages.
        interval: The interval that will be read; None for a lookup, which needs no list of its files.
        column: The column that the interval is cut by.
        moments: Timestamp columns whose first and last instant are asked for.

    Raises:
        InputError: There is no such table, it has another format, or the interval's column is missing or of no use.
    """
    if table_format == "parquet":
        return _pin_parquet(spark, table, named, where, interval, column)
    location = find_location(spark, table)
    log = DeltaLog(spark, location)
    snapshot = log.snapshot()
    version = int(snapshot.version())
    if version < 0:
        raise InputError(_missing(spark, location, named, where))
    pinned = PinnedTable(
        table=named,
        format="delta",
        location=location,
        table_id=str(snapshot.metadata().id()),
        version=version,
        fingerprint="",
        files=None,
    )
    if interval is None:
        return pinned  # id and version say which rows; listing its files would cost two jobs
    frame = read_pinned(spark, pinned)
    if interval.start is not None:
        frame = frame.where(interval_condition(frame, interval, column, where))
    entries, stats = _delta_files(spark, snapshot, frame)
    rows = _count_rows(stats)
    names = snapshot.metadata().partitionColumns().mkString("\n")
    covered = interval.start is None or column in names.split("\n")
    pinned = replace(pinned, moments=spans_of([one for one, _ in stats], moments))
    return _with_files(pinned, entries, rows if covered else None)


def _delta_files(spark: SparkSession, snapshot: Any, frame: DataFrame) -> tuple[list[str], list[Statistics]]:
    """The files a pruned read touches, each with its deletion vector, their statistics, and rows deleted in each."""
    from pyspark.sql import DataFrame as Frame  # noqa: PLC0415 - the driver alone needs it
    from pyspark.sql import functions as F  # noqa: PLC0415

    names = {unquote(path.rsplit("/", 1)[-1]) for path in frame.inputFiles()}
    if not names:
        return [], []
    files: Any = Frame(snapshot.allFiles().toDF(), spark)
    name = F.element_at(F.split("path", "/"), -1)
    if len(names) <= MANY_FILES:
        files = files.where(name.isin(sorted(names)))
    entries: list[str] = []
    found: list[Statistics] = []
    for row in files.select("path", F.to_json("deletionVector").alias("dv"), "stats").collect():
        if unquote(row["path"].rsplit("/", 1)[-1]) not in names:
            continue
        vector = json.loads(row["dv"]) if row["dv"] else {}
        entries.append(identify_file(row["path"], vector))
        found.append((json.loads(row["stats"]) if row["stats"] else {}, int(vector.get("cardinality", 0))))
    return entries, found


def _count_rows(found: list[Statistics]) -> int | None:
    """Rows by the files' statistics; None where one does not say."""
    if not all("numRecords" in stats for stats, _ in found):
        return None
    return sum(int(stats["numRecords"]) - deleted for stats, deleted in found)


def _pin_parquet(
    spark: SparkSession, table: str, named: str, where: str, interval: Interval | None, column: str | None
) -> PinnedTable:
    if not is_path(table):
        raise InputError(f"{where}: expected a path for a Parquet table; found the name '{named}'. Give its folder.")
    names = list_names(spark, table)
    if names is None:
        raise InputError(_missing(spark, table, named, where))
    if "_delta_log" in names:
        raise InputError(f"{where}: expected a Parquet table at {named}; found a Delta table. Set `format: delta`.")
    entries, paths = _parquet_files(spark, table)
    if not paths:
        raise InputError(f"{where}: expected Parquet files at {named}; found none. Check the path.")
    pinned = PinnedTable(
        table=named,
        format="parquet",
        location=table,
        table_id=table,
        version=None,
        fingerprint="",
        files=None,
        paths=tuple(paths),
    )
    frame = read_pinned(spark, pinned)
    if interval is not None and interval.start is not None:
        interval_condition(frame, interval, column, where)
        wanted = _partitions_of(interval, str(column))
        if wanted is not None and all(f"/{column}=" in path for path in paths):
            kept = [(e, p) for e, p in zip(entries, paths, strict=True) if any(f"/{w}/" in p for w in wanted)]
            entries = [entry for entry, _ in kept]
            if kept:
                pinned = replace(pinned, paths=tuple(path for _, path in kept))
    return _with_files(pinned, entries, None)


def _partitions_of(interval: Interval, column: str) -> list[str] | None:
    """Hive folder names of a day interval, where the column is a partition column of dates."""
    if interval.grain != "day" or interval.local_start is None:
        return None
    return [f"{column}={interval.local_start.date().isoformat()}"]


def _parquet_files(spark: SparkSession, table: str) -> tuple[list[str], list[str]]:
    """Each data file under a path: `relative path, length, modification time`, and its full path."""
    jvm: Any = spark._jvm
    session: Any = spark._jsparkSession
    root = jvm.org.apache.hadoop.fs.Path(table)
    files = root.getFileSystem(session.sessionState().newHadoopConf())
    base = str(files.makeQualified(root).toString()).rstrip("/")
    found = []
    listing = files.listFiles(root, True)
    while listing.hasNext():
        status = listing.next()
        path = str(status.getPath().toString())
        relative = path[len(base) + 1 :]
        hidden = any(part.startswith((".", "_")) and "=" not in part for part in relative.split("/"))
        if not hidden and status.getLen() > 0:
            found.append((json.dumps([relative, status.getLen(), status.getModificationTime()]), path))
    found.sort()
    return [entry for entry, _ in found], [path for _, path in found]


def _with_files(pinned: PinnedTable, entries: list[str], rows: int | None) -> PinnedTable:
    digest = hashlib.sha256("\n".join(sorted(entries)).encode()).hexdigest()
    return replace(pinned, fingerprint=digest, files=len(entries), rows=rows)


def _missing(spark: SparkSession, location: str, named: str, where: str) -> str:
    names = list_names(spark, location)
    if names is None:
        found, advice = "nothing there", "Check the path; relative paths count from the job file's folder"
    elif any(name.endswith(".parquet") or "=" in name for name in names):
        found, advice = "Parquet files without a Delta log", "Set `format: parquet`"
    else:
        found, advice = "a folder without a Delta log", "Check the path"
    return f"{where}: expected a table at {named}; found {found} ({location}). {advice}."
