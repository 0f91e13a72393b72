"""The cheapest job that has everything a fault could hit: a few rows a day, some of them set aside, two models."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from checker import Wanted
from deltalake import write_deltalake
from onnx_models import add_version, make_classifier, make_registry, write_folder

from batchscore.config import EngineConfig, Job
from batchscore.intervals import Interval, parse_interval
from batchscore.loading import load_job
from batchscore.outputs import Outputs, open_outputs
from batchscore.pipeline import run_interval
from batchscore.records import RunRecord
from batchscore.session import open_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JOB = """
job: faults
interval: {column: day, grain: day, time_zone: UTC}
input: {table: ./rows, key: [id], allow_empty: true}
features: {columns: [{name: a}, {name: b, on_null: quarantine}]}
model: {uri: "models:/net/1", outputs: {p: "probabilities[:, 1]"}}
output: {scores: ./scores}
registry: {uri: "sqlite:///registry/mlflow.db"}
"""
FIRST = dt.date(2013, 1, 1)
DAYS = 1500
ROWS = 3
MODELS = ((0.5, -0.25), (0.1, 0.2), (-0.3, 0.7))
OTHER_MODEL = ("model.uri=models:/net/2",)
THIRD_MODEL = ("model.uri=models:/net/3",)
# A run of a few rows spends most of its time compiling, and on partitions that hold nothing.
CHEAP = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.databricks.delta.snapshotPartitions": "1",
}


def open_cheap_session(master: str = "local[2]", **conf: str) -> SparkSession:
    """A session for small runs, over the application of this process if there is one."""
    return open_session(EngineConfig(master=master, driver_memory="1g"), "UTC", {**CHEAP, **conf})


@dataclass(frozen=True)
class FaultJob:
    """A folder with a job file, its input table and a registry.

    Days come in three kinds: `days(0)` have `ROWS` rows of which the last is set aside, `days(1)` have none at all,
    and all rows of `days(2)` are set aside.
    """

    folder: Path

    @property
    def scores(self) -> Path:
        return self.folder / "scores"

    def load(self, sets: Sequence[str] = ()) -> Job:
        return load_job(str(self.folder / "job.yaml"), sets)

    def interval(self, day: dt.date) -> Interval:
        return parse_interval(day.isoformat(), "day", "UTC")

    def run(self, spark: SparkSession, day: dt.date, *sets: str, **options: Any) -> RunRecord:
        return run_interval(spark, self.load(sets), self.interval(day), **options)

    def outputs(self, spark: SparkSession) -> Outputs:
        return open_outputs(spark, self.load())

    def name(self, day: dt.date) -> str:
        """The interval as its rows name it."""
        return self.interval(day).name

    def wanted(self, day: dt.date) -> Wanted:
        """What a published day shows."""
        keys = [row[0] for row in rows_of(day)]
        bad = frozenset(row[0] for row in rows_of(day) if row[3] is None)
        return Wanted(scored=frozenset(keys) - bad, aside=bad)


def days(kind: int) -> list[dt.date]:
    """Days of one kind, see `FaultJob`."""
    return [day for day in (FIRST + dt.timedelta(number) for number in range(DAYS)) if kind_of(day) == kind]


def kind_of(day: dt.date) -> int:
    """0 for most days; every fifth has no rows, and every fifth none that can be scored."""
    return {3: 1, 4: 2}.get((day - FIRST).days % 5, 0)


def rows_of(day: dt.date) -> list[tuple[int, dt.date, float, int | None]]:
    """Id, day, and two features, one of which the bad rows lack."""
    number, kind = (day - FIRST).days, kind_of(day)
    count = 0 if kind == 1 else ROWS
    return [(number * 10 + i, day, 1.5 + i, None if kind == 2 or i == ROWS - 1 else 4) for i in range(count)]


def make_fault_job(folder: Path) -> FaultJob:
    """A job in a new folder, with three versions of its model; made without Spark."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.yaml").write_text(JOB)
    rows = [row for kind in range(3) for day in days(kind) for row in rows_of(day)]
    columns = list(zip(*rows, strict=True))
    schema = pa.schema([("id", pa.int64()), ("day", pa.date32()), ("a", pa.float64()), ("b", pa.int32())])
    write_deltalake(str(folder / "rows"), pa.table(list(map(list, columns)), schema=schema))
    registry = make_registry(folder / "registry")
    for number, weights in enumerate(MODELS, 1):
        add_version(registry, "net", write_folder(folder / f"model_{number}", make_classifier(weights)))
    return FaultJob(folder)
