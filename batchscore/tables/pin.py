"""Pinning: fix a table at one version before anything is read, and fingerprint the files that can hold an interval."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from batchscore.errors import InputError
from batchscore.intervals import Interval
from batchscore.records import PinnedFile, PinnedTable
from batchscore.tables.locations import find_location, is_path, list_names
from batchscore.tables.locks import local_path
from batchscore.tables.log import DeltaLog
from batchscore.tables.lookback import identify_file, spans_of
from batchscore.tables.read import folder_values, interval_condition, read_pinned

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MANY_FILES = 2000
FEW_FOOTERS = 256
_EMPTY = "there are no rows"
_STORE = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*:(//[^/]*)?")
# Reader features under which a file holds its rows as they are, as long as it has no deletion vector.
HARMLESS = frozenset({"deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})


@dataclass(frozen=True, slots=True)
class _DeltaFile:
    """A data file as Delta's log has it: its path, deletion vector, statistics and partition values."""

    path: str
    vector: Mapping[str, Any]
    stats: Mapping[str, Any]
    values: Mapping[str, str | None]

    @property
    def entry(self) -> str:
        """Its part of the fingerprint."""
        return identify_file(self.path, self.vector)


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
    found = _replayed_files(log, snapshot, frame, interval, column)
    if found is None:
        found = _delta_files(spark, snapshot, frame, location)
    rows = _count_rows(found)
    names = snapshot.metadata().partitionColumns().mkString("\n")
    covered = interval.start is None or column in names.split("\n")
    pinned = replace(pinned, moments=spans_of([one.stats for one in found], moments))
    parts = _why_parts(snapshot, found, column if not covered else None)
    pinned = replace(pinned, whole=() if parts else _whole_files(location, found), parts=parts)
    return _with_files(replace(pinned, rows_at_most=rows), [one.entry for one in found], rows if covered else None)


def _is_plain(snapshot: Any) -> bool:
    """Whether a Delta table's files hold its rows as they are."""
    return not _harmful(snapshot)


def _harmful(snapshot: Any) -> list[str]:
    """Features by which files do not hold a table's rows as they are. Source: Delta protocol, "Table Features"."""
    protocol = snapshot.protocol()
    if protocol.minReaderVersion() == 1:
        return []
    if protocol.minReaderVersion() == 2:
        return ["columnMapping"]
    features = str(protocol.readerFeatureNames().mkString(","))
    return sorted(set(filter(None, features.split(","))) - HARMLESS)


def _why_parts(snapshot: Any, found: Sequence[_DeltaFile], column: str | None) -> str:
    """Why files are not the interval's rows as they are; `column` is one that cuts files. Empty where they are."""
    if column is not None:
        return f"'{column}' is no partition column, so that a file may hold rows of other intervals"
    if harmful := _harmful(snapshot):
        return f"the table has {', '.join(harmful)}"
    if any(one.vector for one in found):
        return "rows of its files are deleted by deletion vectors"
    if any(_is_elsewhere(one.path) for one in found):
        return "a clone's files lie elsewhere"
    return "" if found else _EMPTY


def _whole_files(location: str, found: Sequence[_DeltaFile]) -> tuple[PinnedFile, ...]:
    return tuple(PinnedFile(path=f"{location}/{unquote(one.path)}", values=one.values) for one in found)


def _replayed_files(
    log: DeltaLog, snapshot: Any, frame: DataFrame, interval: Interval, column: str | None
) -> list[_DeltaFile] | None:
    """What `_delta_files` finds, without a Spark job; None where the interval is not whole days of a plain table."""
    first = last = ""
    if interval.start is not None:
        if interval.grain == "hour" or dict(frame.dtypes).get(str(column)) != "date" or not _is_plain(snapshot):
            return None
        assert interval.local_start is not None and interval.local_end is not None
        first, last = interval.local_start.date().isoformat(), interval.local_end.date().isoformat()
    state = log.replayed(int(snapshot.version()))
    if state is None:
        return None
    adds = list(state.files.values())
    if first:
        days = [add["partitionValues"].get(column, "not a partition") for add in adds]
        if any(day is not None and len(day) != len(first) for day in days):
            return None
        adds = [add for add, day in zip(adds, days, strict=True) if day is not None and first <= day < last]
    return [
        _DeltaFile(
            add["path"],
            add.get("deletionVector") or {},
            json.loads(add.get("stats") or "{}"),
            add["partitionValues"],
        )
        for add in adds
    ]


def _delta_files(spark: SparkSession, snapshot: Any, frame: DataFrame, location: str) -> list[_DeltaFile]:
    """The files a pruned read touches; files of one name in other folders, as conversions have them, are others."""
    from pyspark.sql import DataFrame as Frame  # noqa: PLC0415 - the driver alone needs it
    from pyspark.sql import functions as F  # noqa: PLC0415

    touched = {_bare(path) for path in frame.inputFiles()}
    names = {form.rsplit("/", 1)[-1] for path in touched for form in (path, unquote(path))}
    if not names:
        return []
    files: Any = Frame(snapshot.allFiles().toDF(), spark)
    name = F.element_at(F.split("path", "/"), -1)
    if len(names) <= MANY_FILES:
        files = files.where(name.isin(sorted(names)))
    columns = ("path", F.to_json("deletionVector").alias("dv"), "stats", "partitionValues")
    rows = {_bare(_place_of(location, row["path"])): row for row in files.select(*columns).collect()}
    if not touched <= set(rows):  # some stores name files as URIs
        touched = {unquote(path) for path in touched}
    if not touched <= set(rows):
        raise InputError(
            f"{location}: expected the files that Spark reads to be in the table's log; found others. Another program "
            "may be rewriting the table; run again, and report it if it recurs."
        )
    return [
        _DeltaFile(
            row["path"],
            json.loads(row["dv"]) if row["dv"] else {},
            json.loads(row["stats"]) if row["stats"] else {},
            row["partitionValues"] or {},
        )
        for place, row in rows.items()
        if place in touched
    ]


def _place_of(location: str, path: str) -> str:
    """Where a file lies that a table's log names: relative to the table, or, of a clone, wherever that is."""
    return unquote(path) if _is_elsewhere(path) else f"{location}/{unquote(path)}"


def _is_elsewhere(path: str) -> bool:
    return bool(urlsplit(path).scheme) or path.startswith("/")


def _bare(path: str) -> str:
    """A path without its store's scheme and host, which Spark and Delta write in several ways."""
    return posixpath.normpath("/" + _STORE.sub("", path).lstrip("/"))


def _count_rows(found: Sequence[_DeltaFile]) -> int | None:
    """Rows by the files' statistics; None where one does not say."""
    if not all("numRecords" in one.stats for one in found):
        return None
    return sum(int(one.stats["numRecords"]) - int(one.vector.get("cardinality", 0)) for one in found)


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
    pinned = replace(pinned, schema=frame.schema.json())
    covered = interval is not None and interval.start is None
    if interval is not None and interval.start is not None:
        interval_condition(frame, interval, column, where)
        wanted = _partitions_of(interval, str(column)) if dict(frame.dtypes).get(str(column)) == "date" else None
        folders = [f"/{json.loads(entry)[0]}" for entry in entries]  # within the table: one above it says nothing
        if wanted is not None and all(f"/{column}=" in folder for folder in folders):
            placed = zip(entries, paths, folders, strict=True)
            kept = [(e, p) for e, p, folder in placed if any(f"/{w}/" in folder for w in wanted)]
            entries = [entry for entry, _ in kept]
            if kept:
                pinned = replace(pinned, paths=tuple(path for _, path in kept))
                covered = True
    if covered:
        pinned = replace(pinned, whole=_named_folders(entries, pinned.paths))
    else:
        cut = f"files are not in folders of one day each, such as '{column}=2026-01-31'"
        pinned = replace(pinned, parts=cut if entries else _EMPTY)
    if interval is not None:
        pinned = replace(pinned, rows_at_most=_count_footers(pinned.paths))
    return _with_files(pinned, entries, None)


def _count_footers(paths: Sequence[str]) -> int | None:
    """Rows of Parquet files by their footers; None where they are many, not on this machine, or damaged."""
    local = [local_path(path) for path in paths] if len(paths) <= FEW_FOOTERS else [None]
    try:
        return sum(pq.read_metadata(path).num_rows for path in local if path is not None) if all(local) else None
    except (OSError, pa.ArrowException):
        return None  # whoever reads its rows says what is wrong


def _named_folders(entries: Sequence[str], paths: Sequence[str]) -> tuple[PinnedFile, ...]:
    """Files with the values that the folders above them name."""
    relative = [json.loads(entry)[0] for entry in entries]
    return tuple(PinnedFile(path=p, values=folder_values(r)) for r, p in zip(relative, paths, strict=True))


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
