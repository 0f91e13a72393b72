"""Adoption: Parquet files that stand already become rows of a Delta table, by Delta's own transaction, uncopied.

Delta's writer would read a stage that the workers have written, row by row, and write it again. Here the files are
linked into the table's folder, and one transaction removes what they replace and adds them. Conflicts with other
writers, transaction ids and the log itself are Delta's as before. What Delta's writer does besides, such as checking
constraints, is not done; a table that asks for it gets its rows through that writer.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote as escape

import pyarrow as pa
import pyarrow.parquet as pq

from batchscore.errors import WriteError
from batchscore.tables.locks import local_path
from batchscore.tables.log import DeltaLog
from batchscore.tables.parquet_files import partition_folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

INTERVAL = "_interval"
MAX_TEXT = 32  # Delta keeps so many characters of a text's bounds; longer ones would have to be cut with care
MAX_TRIES = 5
# Properties under which a writer has nothing to do but to add files. Source: Delta protocol, "Table Features".
_PLAIN = ("batchscore.", "delta.logRetentionDuration", "delta.deletedFileRetentionDuration", "delta.appendOnly")
_WRITER_FEATURES = frozenset({"appendOnly", "invariants"})
_LEGACY_WRITER = 2  # versions up to it have these two features alone
_RECORD_TYPES = {"bigint": pa.int64(), "string": pa.string()}
_OPERATION = "org.apache.spark.sql.delta.DeltaOperations$Write"


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """Rows that lie in files of their own.

    Attributes:
        rows: They as a frame, with the table's columns.
        files: Local Parquet files with all of them but the partition column, and no others.
    """

    rows: DataFrame
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnRecords:
    """A few records that are not yet in any file.

    Attributes:
        records: One mapping for each row.
        schema: Its columns, of types that pyarrow and Spark write alike.
    """

    records: tuple[Mapping[str, Any], ...]
    schema: StructType


def can_adopt(log: DeltaLog, schema: StructType, files: Sequence[str] = ()) -> bool:
    """Whether files with these columns may become a table's as they are.

    So they may where the table lies on a local disk, asks nothing of its writers, and has these very columns.

    Args:
        log: The table's log.
        schema: The columns, the partition column among them.
        files: The files, where they stand already; each must have all columns but the partition's, and no others.
    """
    from pyspark.sql.types import StructType as Struct  # noqa: PLC0415 - executors import this package too

    metadata = plain_metadata(log)
    if metadata is None:
        return False
    held = Struct.fromJson(json.loads(metadata.schemaString()))
    if any(field.metadata or not field.nullable for field in held.fields):
        return False
    types = {field.name: field.dataType.simpleString() for field in held.fields}
    wanted = {field.name: field.dataType.simpleString() for field in schema.fields}
    partitions = str(metadata.partitionColumns().mkString("\n"))
    names = {name for name in wanted if name != partitions}
    if any(set(pq.read_schema(str(local_path(file))).names) != names for file in files):
        return False
    return types == wanted and partitions in ("", INTERVAL)


def plain_metadata(log: DeltaLog) -> Any:
    """The metadata of a table on a local disk whose files are its rows as they are; None of any other."""
    if local_path(log.location) is None:
        return None
    snapshot = log.snapshot()
    if int(snapshot.version()) < 0:
        return None
    metadata = snapshot.metadata()
    properties = [key for key in str(metadata.configuration().keys().mkString("\n")).split("\n") if key]
    protocol = json.loads(str(snapshot.protocol().json()))["protocol"]
    plain = all(key.startswith(_PLAIN) for key in properties) and _asks_nothing(protocol)
    return metadata if plain else None


def adopt_files(log: DeltaLog, own: OwnFiles, *, interval: str, app_id: str, txn_version: int, metadata: str) -> None:
    """Replace an interval's rows by those of files, in one commit.

    Raises:
        WriteError: The disk takes no link and no copy.
    """
    transaction = _begin(log, app_id, txn_version)
    if transaction is None:
        return
    folder = partition_folder(log.spark, INTERVAL, interval)
    adds = [_link(log, file, folder, {INTERVAL: interval}) for file in own.files]
    _commit(log, transaction, adds, interval, app_id, txn_version, metadata)


def adopt_records(log: DeltaLog, own: OwnRecords, *, app_id: str, txn_version: int, metadata: str | None) -> None:
    """Add a few records in one commit."""
    transaction = _begin(log, app_id, txn_version)
    if transaction is None:
        return
    fields = [pa.field(field.name, _RECORD_TYPES[field.dataType.simpleString()]) for field in own.schema.fields]
    table = pa.Table.from_pylist([dict(record) for record in own.records], schema=pa.schema(fields))
    name = f"part-{uuid.uuid4().hex}.parquet"
    file = f"{local_path(log.location)}/{name}"
    try:
        pq.write_table(table, file, write_page_checksum=True)
    except OSError as error:
        raise _refused(file, error) from error
    _commit(log, transaction, [_describe(file, name, {})], None, app_id, txn_version, metadata)


def _asks_nothing(protocol: Mapping[str, Any]) -> bool:
    """Whether a table's protocol has no feature by which adding a file takes more than saying so."""
    if int(protocol["minWriterVersion"]) <= _LEGACY_WRITER:
        return True
    return set(protocol.get("writerFeatures", ["?"])) <= _WRITER_FEATURES


def _link(log: DeltaLog, file: str, folder: str, values: Mapping[str, str]) -> dict[str, Any]:
    """A file's second name in the table's folder; the first one stays the stage's, so that a crash loses nothing."""
    source = Path(str(local_path(file)))
    target = Path(str(local_path(log.location)), folder, source.name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.exists() and target.samefile(source)):  # it may be there from an earlier try
            target.unlink(missing_ok=True)
            try:
                os.link(source, target)
            except OSError:  # another disk, or one without links
                shutil.copyfile(source, target)
    except OSError as error:
        raise _refused(str(target), error) from error
    return _describe(str(target), f"{folder}/{source.name}", values)


def _describe(file: str, name: str, values: Mapping[str, str]) -> dict[str, Any]:
    """The action that adds a file. Source: Delta protocol, "Add File and Remove File"."""
    return {
        "add": {
            "path": escape(name, safe="/=-_.~"),
            "partitionValues": dict(values),
            "size": Path(file).stat().st_size,
            "modificationTime": time.time_ns() // 1_000_000,
            "dataChange": True,
            "stats": json.dumps(file_statistics(pq.read_metadata(file))),
        }
    }


def file_statistics(footer: pq.FileMetaData) -> dict[str, Any]:
    """What Delta keeps of a file's columns, from its footer; bounds of whole numbers, dates and short texts alone.

    Bounds of floating-point numbers would have to say where NaN is, which Parquet's leave out; our files have none.
    Source: Delta protocol, "Per-file Statistics".
    """
    groups = [footer.row_group(place) for place in range(footer.num_row_groups)]
    names = [footer.schema.column(place).path for place in range(footer.num_columns)]
    nulls: dict[str, int] = {}
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    for place, name in enumerate(names):
        found = [(group.column(place).statistics, group.num_rows) for group in groups]
        if "." in name or any(one is None or not one.has_null_count for one, _ in found):
            continue
        nulls[name] = sum(one.null_count for one, _ in found)
        filled = [one for one, rows in found if one.null_count < rows]
        if filled and all(one.has_min_max and _is_bound(one.min) and _is_bound(one.max) for one in filled):
            least[name] = _as_json(min(one.min for one in filled))
            most[name] = _as_json(max(one.max for one in filled))
    return {"numRecords": footer.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}


def _is_bound(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return isinstance(value, (int, date)) and not isinstance(value, (bool, datetime))


def _as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _commit(
    log: DeltaLog,
    transaction: Any,
    adds: Sequence[Mapping[str, Any]],
    interval: str | None,
    app_id: str,
    txn_version: int,
    metadata: str | None,
) -> None:
    """Commit a transaction: an interval's files are removed, where one is named, and the new ones are added."""
    jvm: Any = log.jvm
    seq = jvm.org.apache.spark.api.python.PythonUtils.toSeq
    none, some = jvm.scala.Option.empty(), jvm.scala.Option.apply
    action = jvm.org.apache.spark.sql.delta.actions.Action.fromJson
    mode = jvm.org.apache.spark.sql.SaveMode
    removes = []
    if interval is not None:
        session: Any = log.spark._jsparkSession
        condition = session.sessionState().sqlParser().parseExpression(condition_of(interval))
        old = seq([action(json.dumps({"add": dict(add)})) for add in _standing(log, transaction, interval)])
        # What Delta's own filterFiles does, but for finding the files, by which it evaluates the whole state.
        transaction.trackReadPredicates(seq([condition]), True, True)
        transaction.trackFilesRead(old)
        removes = [old.apply(place).remove() for place in range(old.size())]
    seen = {"txn": {"appId": app_id, "version": txn_version, "lastUpdated": time.time_ns() // 1_000_000}}
    actions = [action(json.dumps(seen)), *removes, *(action(json.dumps(dict(add))) for add in adds)]
    predicate = None if interval is None else condition_of(interval)
    operation = getattr(jvm, _OPERATION)(
        mode.Append if interval is None else mode.Overwrite,
        some(seq([])),
        none if predicate is None else some(predicate),
        none if metadata is None else some(metadata),
        *[none] * 5,
    )
    transaction.commit(seq(actions), operation)


def condition_of(interval: str) -> str:
    """The condition by which an interval's rows are found."""
    literal = interval.replace("'", "''")
    return f"{INTERVAL} = '{literal}'"


def _standing(log: DeltaLog, transaction: Any, interval: str) -> list[Mapping[str, Any]]:
    """The actions that added an interval's files, as the transaction sees them."""
    version = log.version()
    found = [add for add in log.files().values() if add["partitionValues"].get(INTERVAL) == interval]
    if not version == log.version() == int(transaction.readVersion()):
        raise WriteError(f"{log.location}: another commit has landed meanwhile.")  # the caller reads back, tries again
    return found


def _begin(log: DeltaLog, app_id: str, txn_version: int) -> Any:
    """A transaction that conflicts with any other of the same application id; None where this one has landed.

    `txnVersion` would say the same, and evaluate every transaction id that the table knows in a Spark job first.
    """
    none = log.jvm.scala.Option.empty()
    for _ in range(MAX_TRIES):
        last = log.txn_version(app_id)
        version = log.version()
        transaction = log.handle().startTransaction(none, none)
        transaction.readTxn().append(app_id)
        if int(transaction.readVersion()) == version and log.txn_version(app_id) == last:
            return None if txn_version <= last else transaction
    raise WriteError(f"{log.location}: expected a moment without other commits; found none in {MAX_TRIES} tries.")


def _refused(place: str, error: OSError) -> WriteError:
    return WriteError(
        f"{place}: expected to write it; the store said: {error.strerror or error}. Mend that and run again; the old "
        "scores stay visible."
    )
