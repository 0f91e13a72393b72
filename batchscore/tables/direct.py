"""Direct reads: whether an interval of a pinned table is whole Parquet files on this very machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from batchscore.intervals import Interval
from batchscore.records import PinnedTable
from batchscore.tables.log import DeltaLog

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Under these a Delta table's files do not hold its rows as they are.
REWRITING = ("deletionVectors", "columnMapping", "typeWidening", "variantType", "rowTracking")


def find_whole_files(
    spark: SparkSession, pinned: PinnedTable, interval: Interval, frame: DataFrame
) -> list[str] | None:
    """The files that hold the rows of an interval and no others, as local paths; None where Spark must read them.

    Args:
        spark: The session.
        pinned: The pinned table.
        interval: The interval.
        frame: Its rows, as Spark reads them.
    """
    if not str(spark.sparkContext.master).startswith("local["):
        return None  # the workers may be on other machines
    if interval.start is not None and pinned.rows is None:
        return None  # files may hold rows of other intervals
    if pinned.format == "delta" and not _is_plain(spark, pinned):
        return None
    paths = list(pinned.paths) if pinned.format == "parquet" else list(frame.inputFiles())
    parts = [urlsplit(path) for path in paths]
    if any(part.scheme not in ("", "file") or part.netloc for part in parts):
        return None
    if pinned.format == "delta":  # Spark gives these as URIs, in which some characters are escaped
        return [unquote(part.path) for part in parts]
    return [_local(path) for path in paths]


def _local(path: str) -> str:
    """A Hadoop path, whose text is not escaped, as a local one."""
    return path.removeprefix("file://").removeprefix("file:")


def _is_plain(spark: SparkSession, pinned: PinnedTable) -> bool:
    protocol: Any = DeltaLog(spark, pinned.location).snapshot().protocol()
    features = str(protocol.readerAndWriterFeatureNames().mkString(","))
    return not any(feature in features for feature in REWRITING) and protocol.minReaderVersion() < 2
