"""A small job on a table made in code, with a tiny logistic model, for tests of the pipeline."""

from __future__ import annotations

import atexit
import json
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnx_models import add_version, make_classifier, make_registry, write_folder

from batchscore.config import Job
from batchscore.intervals import Interval, parse_interval
from batchscore.loading import load_job
from batchscore.outputs import Outputs, open_outputs
from batchscore.pipeline import run_interval
from batchscore.planning import prepare
from batchscore.records import RunRecord

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = "id bigint, day date, at timestamp, city string, a double, b int, text string"
WEIGHTS = (0.5, -0.25)
JOB = """
job: small
interval: {column: day, grain: day, time_zone: America/New_York, schedule: daily}
input: {table: ./rows, key: [id]}
checks: {input: input.json}
lookups:
  cities: {table: ./cities, on: [city], columns: [size]}
features:
  columns:
    - {name: a}
    - {name: ratio, sql: "b / size_of", on_null: quarantine}
model: {uri: "models:/small@champion", outputs: {p: "probabilities[:, 1]"}}
output: {scores: ./scores, passthrough: [city]}
registry: {uri: "sqlite:///registry/mlflow.db"}
""".replace("size_of", "cities.size")


def expectation(kind: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    """One expectation as a suite file holds it."""
    return {"type": kind, "kwargs": kwargs, "severity": severity, "meta": {}}


SUITE = (
    expectation("expect_column_values_to_not_be_null", column="text"),
    expectation("expect_column_values_to_be_between", column="a", min_value=0, max_value=100),
    expectation("expect_column_values_to_be_in_set", severity="warning", column="city", value_set=["x", "y"]),
)
GOOD = (1, "2013-10-01", "2013-10-01 10:00:00", "x", 2.0, 4, "t")


def row(**changes: Any) -> tuple[Any, ...]:
    """A row that passes every check, with some values changed."""
    names = [part.split()[0] for part in SCHEMA.split(", ")]
    return tuple({**dict(zip(names, GOOD, strict=True)), **changes}[name] for name in names)


def probability(a: float, ratio: float) -> float:
    """What the model gives."""
    return 1 / (1 + math.exp(-(WEIGHTS[0] * a + WEIGHTS[1] * ratio)))


@dataclass(frozen=True)
class SmallJob:
    """A folder with a job file, its input table, a lookup table and a registry."""

    spark: SparkSession
    folder: Path
    file_name: str = "job.yaml"

    @property
    def file(self) -> str:
        return str(self.folder / self.file_name)

    def load(self, *sets: str) -> Job:
        return load_job(self.file, sets)

    def run(self, interval: str | None = "2013-10-01", *sets: str, **options: Any) -> RunRecord:
        job = self.load(*sets)
        return run_interval(self.spark, job, self.interval(interval, job), **options)

    def interval(self, text: str | None, job: Job | None = None) -> Interval:
        config = (job or self.load()).config.interval
        return parse_interval(text, config.grain, config.time_zone)

    def outputs(self) -> Outputs:
        return open_outputs(self.spark, self.load())

    def scores(self) -> list[dict[str, Any]]:
        return [r.asDict(recursive=True) for r in self.outputs().scores.read().orderBy("_interval", "id").collect()]

    def quarantined(self) -> list[dict[str, Any]]:
        return [r.asDict(recursive=True) for r in self.outputs().open_quarantine().collect()]

    def audit(self) -> list[dict[str, Any]]:
        return self.outputs().ledger.records({})

    def versions(self) -> dict[str, int]:
        """Versions of the three tables: what a run that does nothing leaves as they were."""
        found = self.outputs()
        return {"scores": found.scores.version(), "quarantine": found.quarantine.version()}

    def write_rows(self, rows: Sequence[tuple[Any, ...]], schema: str = SCHEMA, mode: str = "append") -> None:
        text = ", ".join(f"{part.split()[0]} string" for part in schema.split(", "))
        plain = [tuple(None if value is None else str(value) for value in r) for r in rows]
        columns = [f"cast({p.split()[0]} as {p.split()[1]}) as {p.split()[0]}" for p in schema.split(", ")]
        frame = self.spark.createDataFrame(plain, text).selectExpr(*columns).coalesce(1)
        path = str(self.folder / "rows")
        frame.write.format("delta").mode(mode).partitionBy("day").option("overwriteSchema", "true").save(path)

    def write_suite(self, expectations: Sequence[Mapping[str, Any]], name: str = "input.json") -> None:
        suite = {"name": name, "expectations": list(expectations), "meta": {}}
        (self.folder / name).write_text(json.dumps(suite))

    def add_model(self, weights: Sequence[float] = WEIGHTS, alias: str | None = "champion", name: str = "small") -> int:
        folder = self.folder / f"model_{name}_{'_'.join(map(str, weights))}"
        return add_version(self.registry, name, write_folder(folder, make_classifier(weights)), alias)

    @property
    def registry(self) -> str:
        return f"sqlite:///{self.folder / 'registry' / 'mlflow.db'}"


def persisted(spark: SparkSession) -> set[int]:
    """Ids of the RDDs that are cached."""
    return set(spark.sparkContext._jsc.getPersistentRDDs())


@cache
def _make_tables(spark: SparkSession, rows: tuple[tuple[Any, ...], ...], created: bool) -> Path:
    """A folder with a job's tables, made once for all jobs with these rows: a commit of Spark costs half a second."""
    folder = Path(tempfile.mkdtemp(prefix="small-job-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    small = _start(SmallJob(spark, folder))
    if rows:
        small.write_rows(rows)
    cities = spark.createDataFrame([("x", 2), ("y", 0), ("z", 1)], "city string, size int").coalesce(1)
    cities.write.format("delta").save(str(folder / "cities"))
    if created:
        small.outputs().prepare_tables(prepare(spark, small.load(), small.interval("2013-10-01")))
    return folder


def _start(small: SmallJob) -> SmallJob:
    """The files that a job needs, and its registry."""
    (small.folder / "job.yaml").write_text(JOB)
    small.write_suite(SUITE)
    make_registry(small.folder / "registry")
    small.add_model()
    return small


def make_small_job(
    spark: SparkSession, folder: Path, rows: Sequence[tuple[Any, ...]] = (GOOD,), *, created: bool = False
) -> SmallJob:
    """A job that runs: one good row, unless others are given; its output tables as the first run would create them."""
    small = _start(SmallJob(spark, folder))
    made = _make_tables(spark, tuple(map(tuple, rows)), created)
    for name in ("rows", "cities", "scores", "scores_quarantine", "scores_audit"):
        if (made / name).exists():
            shutil.copytree(made / name, folder / name)
    return small
