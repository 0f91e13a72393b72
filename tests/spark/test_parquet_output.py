"""Whole jobs whose input, lookups and outputs are plain Parquet folders, without any Delta table."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.dataset as ds
import pytest
from onnx_models import make_registry
from small_job import JOB, SCHEMA, SUITE, SmallJob, probability, row

from batchscore.errors import InputError, RunSuperseded
from batchscore.pipeline import plan_interval
from batchscore.session import needs_delta

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

REPOSITORY = Path(__file__).resolve().parents[2]
ROWS = [row(id=1), row(id=2, a=4.0), row(id=3, text=None), row(id=4, day="2013-10-02")]
PARQUET_JOB = (
    JOB.replace("./rows,", "./rows, format: parquet,")
    .replace("./cities,", "./cities, format: parquet,")
    .replace("./scores,", "./scores, format: parquet,")
)


class ParquetJob(SmallJob):
    """The small job on Parquet."""

    def write_parquet(self, rows: list[tuple[object, ...]], partition_by: tuple[str, ...] = ()) -> None:
        names = [part.split()[0] for part in SCHEMA.split(", ")]
        plain = [tuple(None if value is None else str(value) for value in r) for r in rows]
        frame = self.spark.createDataFrame(plain, ", ".join(f"{name} string" for name in names))
        columns = [f"cast({part.split()[0]} as {part.split()[1]}) as {part.split()[0]}" for part in SCHEMA.split(", ")]
        frame.selectExpr(*columns).coalesce(1).write.mode("append").partitionBy(*partition_by).parquet(
            str(self.folder / "rows")
        )


def make_job(spark: SparkSession, folder: Path, partition_by: tuple[str, ...] = ("day",)) -> ParquetJob:
    small = ParquetJob(spark, folder)
    (folder / "job.yaml").write_text(PARQUET_JOB)
    small.write_suite(SUITE)
    small.write_parquet(ROWS, partition_by)
    cities = spark.createDataFrame([("x", 2), ("y", 0)], "city string, size int").coalesce(1)
    cities.write.parquet(str(folder / "cities"))
    make_registry(folder / "registry")
    small.add_model()
    return small


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path) -> ParquetJob:
    return make_job(spark, tmp_path)


@pytest.mark.parametrize("partition_by", [("day",), ()], ids=["partitioned by day", "unpartitioned"])
def test_a_day_is_published_with_quarantine_and_audit(
    spark: SparkSession, tmp_path: Path, partition_by: tuple[str, ...]
) -> None:
    small = make_job(spark, tmp_path, partition_by)
    first, second = small.run(), small.run("2013-10-02")
    assert (first.status, first.counts) == ("published", {"read": 3, "scored": 2, "quarantined": 1})
    assert second.counts == {"read": 1, "scored": 1, "quarantined": 0}
    scores = small.scores()
    assert [(r["id"], r["_interval"], r["_run_id"], r["_generation"], r["_model"]) for r in scores] == [
        (1, "2013-10-01T04:00:00Z", first.run_id, 1, "small/1"),
        (2, "2013-10-01T04:00:00Z", first.run_id, 1, "small/1"),
        (4, "2013-10-02T04:00:00Z", second.run_id, 1, "small/1"),
    ]
    assert [r["p"] for r in scores] == pytest.approx([probability(a, 2.0) for a in (2.0, 4.0, 2.0)], abs=1e-6)
    (aside,) = small.quarantined()
    assert (aside["id"], [r["kind"] for r in aside["_reasons"]]) == (3, ["expect_column_values_to_not_be_null"])
    assert [(r["run_id"], r["status"], r["commits"]["scores"]) for r in small.audit()] == [
        (first.run_id, "published", 1),
        (second.run_id, "published", 2),
    ]
    assert not list((tmp_path / "scores_stage").glob("*"))
    assert not list(tmp_path.rglob("_delta_log"))


def test_any_reader_finds_the_scores(spark: SparkSession, small: ParquetJob) -> None:
    small.run()
    folder = small.folder / "scores"
    expected = {(1, "2013-10-01T04:00:00Z"), (2, "2013-10-01T04:00:00Z")}
    assert {(r["id"], r["_interval"]) for r in spark.read.parquet(str(folder)).collect()} == expected
    arrow = ds.dataset(folder, format="parquet", partitioning="hive").to_table()
    assert {(r["id"], r["_interval"]) for r in arrow.to_pylist()} == expected
    assert str(arrow.schema.field("_scored_at").type) == "timestamp[us, tz=UTC]"
    assert set(pd.read_parquet(folder)["id"]) == {1, 2}
    assert ds.dataset(small.folder / "scores_audit", format="parquet").count_rows() == 1
    assert ds.dataset(small.folder / "scores_quarantine", format="parquet").count_rows() == 1


@pytest.mark.slow
def test_a_re_run_writes_nothing_and_what_decides_values_replaces_the_interval(small: ParquetJob) -> None:
    first, other = small.run(), small.run("2013-10-02")
    before = small.versions()
    again = small.run()
    assert (again.status, again.run_key, small.versions()) == ("unchanged", first.run_key, before)
    small.add_model((1.0, 1.0))
    newer = small.run()
    assert (newer.status, newer.generation) == ("published", 2)
    assert {(r["id"], r["_run_id"], r["_model"]) for r in small.scores()} == {
        (1, newer.run_id, "small/2"),
        (2, newer.run_id, "small/2"),
        (4, other.run_id, "small/1"),
    }
    assert [r["_run_id"] for r in small.quarantined()] == [newer.run_id]
    with pytest.raises(RunSuperseded, match=f"replaced by run {newer.run_id}"):
        small.run("2013-10-01", "model.uri=models:/small/1")
    small.write_parquet([row(id=9)], ("day",))
    assert small.run().counts["scored"] == 3


def test_an_empty_result_replaces_scores_only_by_force(small: ParquetJob) -> None:
    small.run()
    for file in (small.folder / "rows" / "day=2013-10-01").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="expected rows"):
        small.run()
    assert [r["id"] for r in small.scores()] == [1, 2]
    forced = small.run(force=True)
    assert (forced.status, forced.counts["scored"], small.scores()) == ("published", 0, [])
    assert [r["status"] for r in small.audit()] == ["published", "failed", "published"]


def test_a_run_finishes_the_swap_that_a_dead_driver_left(small: ParquetJob) -> None:
    small.run()
    table = small.folder / "scores"
    (place,) = table.glob("batchscore_interval=*")
    shutil.copytree(place, small.folder / "before")
    small.add_model((1.0, 1.0))
    small.run()
    entry = json.loads((table / "_batchscore" / "log" / f"{2:020d}.json").read_text())
    new = table / "_batchscore" / "new" / entry["token"]  # undo the swap: as if its driver had died behind the commit
    new.mkdir(parents=True)
    place.rename(new / place.name)
    (small.folder / "before").rename(place)
    plain = small.spark.read.parquet(str(table)).select("_model").distinct()
    assert [r[0] for r in plain.collect()] == ["small/1"]
    assert small.run().status == "unchanged"
    plain = small.spark.read.parquet(str(table)).select("_model").distinct()
    assert [r[0] for r in plain.collect()] == ["small/2"]


@pytest.mark.slow
def test_a_job_of_parquet_alone_runs_without_the_delta_jars(small: ParquetJob) -> None:
    assert not needs_delta(small.load().config)
    assert needs_delta(small.load("output.format=delta").config)
    job = small.load()
    assert plan_interval(small.spark, job, small.interval("2013-10-01")).submit_line == (
        f"spark-submit jobs/score.py run {small.file} --interval 2013-10-01"
    )
    empty = small.folder / "no jars"
    empty.mkdir()
    code = (
        "import sys, batchscore as bs\n"
        "record = bs.run(sys.argv[1], '2013-10-01')\n"
        "from pyspark.sql import SparkSession\n"
        "session = SparkSession.getActiveSession() or SparkSession.builder.getOrCreate()\n"
        "assert not session.conf.get('spark.jars', '')\n"
        "print(record.status, record.counts['scored'], bs.scores(sys.argv[1]).count())\n"
    )
    environment = {**os.environ, "BATCHSCORE_JARS": str(empty), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code, small.file],
        capture_output=True,
        text=True,
        timeout=180,
        env=environment,
        cwd=small.folder,
        check=False,
    )
    assert done.stdout.split() == ["published", "2", "2"], done.stderr[-2000:]
