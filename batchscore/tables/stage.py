"""The stage: every row of a run, once, with its outcome, outside the scores table until it may be published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchscore.config import Format
from batchscore.errors import WriteError
from batchscore.tables.log import DeltaLog, count_added_rows
from batchscore.tables.parquet_files import count_rows, write_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True, slots=True)
class Stage:
    """A committed stage.

    Attributes:
        location: Its path.
        counts: Rows by outcome (`scored`, `quarantined`, `tally`), from the committed files' statistics or footers.
        schema: Of a stage of plain Parquet files, its columns as Spark's JSON; None for Delta, which keeps its own.
    """

    location: str
    counts: dict[str, int]
    schema: str | None = None


def write_stage(spark: SparkSession, rows: DataFrame, location: str, table_format: Format) -> Stage:
    """Write the kernel's rows in one commit, split by outcome, and count what was committed.

    Args:
        spark: The session.
        rows: The kernel's output; `_outcome` says where each row goes.
        location: A path of this run alone.
        table_format: `delta`, or `parquet` where no Delta is wanted.

    Raises:
        WriteError: The commit is not there after the write.
    """
    if table_format == "parquet":
        counts = _count_by_outcome(spark, location, write_files(spark, rows, location, ["_outcome"]))
        return Stage(location, counts, rows.schema.json())
    writer = rows.write.format("delta").partitionBy("_outcome").option("delta.dataSkippingNumIndexedCols", "0")
    writer.save(location)
    actions = DeltaLog(spark, location).actions(0)
    if actions is None:
        raise WriteError(f"stage {location}: expected its commit; found none. Run again; nothing was published.")
    return Stage(location, count_added_rows(actions, "_outcome"))


def read_stage(spark: SparkSession, stage: Stage, outcome: str) -> DataFrame:
    """The rows of one outcome."""
    if stage.schema is not None:
        from pyspark.sql.types import StructType  # noqa: PLC0415 - executors import this package too

        files = spark.read.schema(StructType.fromJson(json.loads(stage.schema))).parquet(stage.location)
        return files.where(files["_outcome"] == outcome)
    frame = spark.read.format("delta").option("versionAsOf", "0").load(stage.location)
    return frame.where(frame["_outcome"] == outcome)


def _count_by_outcome(spark: SparkSession, location: str, files: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for file in files:
        outcome = file.split("/", 1)[0].removeprefix("_outcome=")
        counts[outcome] = counts.get(outcome, 0) + count_rows(spark, f"{location}/{file}")
    return counts
