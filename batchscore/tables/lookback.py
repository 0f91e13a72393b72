"""Look-backs: the files of a table that can hold what rows of some moments may know, by the files' own statistics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from batchscore.intervals import format_utc
from batchscore.records import PinnedTable
from batchscore.tables.log import DeltaLog
from batchscore.tables.read import quote, read_pinned

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Span = tuple[datetime, datetime]
MANY_TABLES = 32
_ROUNDING = timedelta(seconds=1)  # statistics cut instants to milliseconds
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_LISTED: dict[tuple[str, int | None, str], tuple[_FileSpan, ...]] = {}


@dataclass(frozen=True, slots=True)
class _FileSpan:
    """A file's identity, and the first and last instant of a column in it; None where its statistics do not say."""

    identity: str
    span: Span | None


def identify_file(path: str, vector: Mapping[str, Any]) -> str:
    """A data file with its deletion vector, as fingerprints take it."""
    return json.dumps([path, vector.get("pathOrInlineDv"), vector.get("offset"), vector.get("cardinality")])


def spans_of(stats: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> dict[str, tuple[str, str]]:
    """First and last instant of columns over some files; columns that the statistics of a file leave open are left out.

    Args:
        stats: Statistics of each file, as Delta's log has them.
        columns: Names of timestamp columns.

    Source: Delta protocol, "Per-file Statistics".
    """
    found = {}
    for column in columns:
        spans = [span for one in stats if not _is_null(one, column) for span in [_span(one, column)]]
        known = [span for span in spans if span is not None]
        if len(known) == len(spans):
            low = min((span[0] for span in known), default=_NEVER)
            high = max((span[1] for span in known), default=_NEVER)
            found[column] = (format_utc(low), format_utc(high))
    return found


def pin_span(
    spark: SparkSession, pinned: PinnedTable, column: str, moments: tuple[str, str], back_s: int
) -> PinnedTable:
    """A pinned Delta table narrowed to the files that can hold what rows at some moments may know.

    Args:
        spark: The session.
        pinned: The table.
        column: Its column with the instant at which a row became known.
        moments: First and last moment that rows are scored for.
        back_s: Seconds that they look back.
    """
    first, last = (datetime.fromisoformat(moment) for moment in moments)
    since, until = first - timedelta(seconds=back_s) - _ROUNDING, last + _ROUNDING
    files = _list_files(spark, pinned, column)
    kept = sorted(f.identity for f in files if f.span is None or (f.span[1] >= since and f.span[0] < until))
    digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()
    return replace(
        pinned, fingerprint=digest, files=len(kept), since=format_utc(since), until=format_utc(until), by=column
    )


def read_span(spark: SparkSession, pinned: PinnedTable) -> DataFrame:
    """The rows of a pinned table; of a narrowed one those of its span alone."""
    from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

    frame = read_pinned(spark, pinned)
    if pinned.by is None:
        return frame
    known = F.col(quote(pinned.by))
    return frame.where((known >= F.expr(f"timestamp'{pinned.since}'")) & (known < F.expr(f"timestamp'{pinned.until}'")))


def _list_files(spark: SparkSession, pinned: PinnedTable, column: str) -> tuple[_FileSpan, ...]:
    """Every file of a version that can hold an instant of a column, listed once."""
    key = (pinned.table_id, pinned.version, column)
    if key not in _LISTED:
        found = []
        for path, vector, stats in _read_files(spark, pinned):
            if not _is_null(stats, column):
                found.append(_FileSpan(identify_file(path, vector), _span(stats, column)))
        if len(_LISTED) >= MANY_TABLES:
            _LISTED.clear()
        _LISTED[key] = tuple(found)
    return _LISTED[key]


def _read_files(spark: SparkSession, pinned: PinnedTable) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Path, deletion vector and statistics of every file of a version."""
    from pyspark.sql import DataFrame as Frame  # noqa: PLC0415 - the driver alone needs it
    from pyspark.sql import functions as F  # noqa: PLC0415

    log = DeltaLog(spark, pinned.location)
    version = int(pinned.version or 0)
    state = log.replayed(version)
    if state is not None:
        for add in state.files.values():
            yield add["path"], add.get("deletionVector") or {}, json.loads(add.get("stats") or "{}")
        return
    files: Any = Frame(log.snapshot_at(version).allFiles().toDF(), spark)
    for row in files.select("path", F.to_json("deletionVector").alias("dv"), "stats").collect():
        yield row["path"], json.loads(row["dv"] or "{}"), json.loads(row["stats"] or "{}")


def _is_null(stats: Mapping[str, Any], column: str) -> bool:
    """Whether a column holds nothing but nulls in a file."""
    nulls = stats.get("nullCount", {}).get(column)
    return nulls is not None and nulls == stats.get("numRecords")


def _span(stats: Mapping[str, Any], column: str) -> Span | None:
    low, high = (stats.get(key, {}).get(column) for key in ("minValues", "maxValues"))
    try:
        first, last = datetime.fromisoformat(str(low)), datetime.fromisoformat(str(high))
    except ValueError:
        return None
    return (first, last) if first.tzinfo is not None and last.tzinfo is not None else None
