"""Files in odd places: whichever reader takes them, an interval has its own rows, all of them, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from delta.tables import DeltaTable
from small_job import SmallJob, make_small_job

from batchscore.records import RunRecord
from batchscore.replaying import replay_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JOB = (
    "lookups={}",
    "checks={}",
    "features.columns=[{name: a}, {name: b}]",
    "output.passthrough=[]",
    "interval.time_zone=UTC",
)
SPARK = ("engine.scan=spark",)
OTHERS = {"workers": (), "comet's own scan": (*SPARK, "engine.accelerator=comet", "engine.verify_pages=false")}
DAYS = ("2013-10-01", "2013-10-02")
HOURLY = "interval={column: at, grain: hour, time_zone: UTC}"
DAILY = "interval={column: day, grain: day, time_zone: UTC}"
PLAIN = "input.format=parquet"


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    return make_small_job(spark, tmp_path_factory.mktemp("places"), rows=())


def write(small: SmallJob, path: Path, by: str, column: str) -> None:
    """Nine rows in three folders, whose files have one name, as Spark's writer gives it."""
    frame = small.spark.range(9).selectExpr(
        "id", "cast(id as double) as a", "cast(id as int) as b", f"{by} as {column}"
    )
    frame.coalesce(1).write.partitionBy(column).parquet(str(path))


def convert(small: SmallJob, path: Path, by: str, column: str, kind: str) -> None:
    write(small, path, by, column)
    DeltaTable.convertToDelta(small.spark, f"parquet.`{path}`", f"{column} {kind}")


def hours(small: SmallJob, path: Path) -> None:
    convert(small, path, "timestamp'2013-10-01 00:00:00' + make_dt_interval(0, cast(id % 3 as int))", "at", "timestamp")


def checkpointed(small: SmallJob, path: Path) -> None:
    convert(small, path, "date'2013-10-01' + cast(id % 3 as int)", "day", "date")
    small.spark.sql(f"alter table delta.`{path}` set tblproperties ('delta.checkpointPolicy' = 'v2')")
    log: Any = small.spark._jvm.org.apache.spark.sql.delta.DeltaLog  # type: ignore[union-attr]
    log.forTable(small.spark._jsparkSession, str(path)).checkpoint()


def mapped(small: SmallJob, path: Path) -> None:
    convert(small, path, "date'2013-10-01' + cast(id % 3 as int)", "day", "date")
    small.spark.sql(f"alter table delta.`{path}` set tblproperties ('delta.columnMapping.mode' = 'name')")


def cloned(small: SmallJob, path: Path) -> None:
    """A clone's log names files of another folder, whole paths in it."""
    source = path.with_name("cloned from")
    convert(
        small, source, "timestamp'2013-10-01 00:00:00' + make_dt_interval(0, cast(id % 3 as int))", "at", "timestamp"
    )
    small.spark.sql(f"create table delta.`{path}` shallow clone delta.`{source}`")


def below(small: SmallJob, path: Path) -> None:
    """Written below a folder that is called as one of its own."""
    write(small, path, "date'2013-10-01' + cast(id % 3 as int)", "day")


def escaped(small: SmallJob, path: Path) -> None:
    table = pa.table({"id": [0, 3, 6], "a": [0.0, 3.0, 6.0], "b": [0, 3, 6], "city": ["Zürich", "São Paulo", "x"]})
    ds.write_dataset(table, path, format="parquet", partitioning=["city"], partitioning_flavor="hive")


def bracketed(small: SmallJob, path: Path) -> None:
    path.mkdir()
    for name, number in (("a1", 0), ("a[1]", 3), ("b{2}", 6)):
        pq.write_table(pa.table({"id": [number], "a": [1.0], "b": [2]}), path / f"{name}.parquet")


CASES: dict[str, tuple[Callable[[SmallJob, Path], None], str, tuple[str, ...], str | None]] = {
    "hours": (hours, "hours", (HOURLY,), "2013-10-01T00"),
    "checkpoint": (checkpointed, "checkpoint", (DAILY,), DAYS[0]),
    "mapped": (mapped, "mapped", (DAILY,), DAYS[0]),
    "cloned": (cloned, "cloned", (HOURLY,), "2013-10-01T00"),
    "below": (below, "day=2013-10-01/table", (DAILY, PLAIN), DAYS[0]),
    "escaped": (escaped, "escaped", (PLAIN, "interval={grain: snapshot}", "output.passthrough=[city]"), None),
    "bracketed": (bracketed, "bracketed", (PLAIN, "interval={grain: snapshot}"), None),
}


@pytest.mark.parametrize("name", CASES)
def test_an_interval_has_its_own_rows(name: str, small: SmallJob) -> None:
    make, place, sets, interval = CASES[name]
    path = small.folder / place
    path.parent.mkdir(exist_ok=True)
    make(small, path)
    sets = (*sets, f"input.table={path}")
    expected = scored(small, name, interval, *sets, *SPARK)[1]
    assert [row["id"] for row in expected] == [0, 3, 6]
    for way, own in OTHERS.items():
        assert (way, scored(small, name, interval, *sets, *own)[1]) == (way, expected)


def scored(small: SmallJob, name: str, interval: str | None, *sets: str) -> tuple[RunRecord, list[dict[str, Any]]]:
    record = small.run(interval, *JOB, *sets, f"output.scores=./{name}_scores", force=True)
    table = small.spark.read.format("delta").load(f"{small.folder}/{name}_scores").orderBy("id").collect()
    varying = ("_run_id", "_generation", "_scored_at")
    return record, [{k: v for k, v in row.asDict().items() if k not in varying} for row in table]


def test_what_comes_to_a_partition_of_times_is_scored(small: SmallJob) -> None:
    """A day's key has every file of such a table: no folder is called as the day."""
    path = small.folder / "times"
    job = (PLAIN, "interval={column: at, grain: day, time_zone: UTC}", f"input.table={path}")
    for hour in (5, 6):
        folder = path / f"at=2013-10-01 0{hour}%3A00%3A00"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": [hour], "a": [1.0], "b": [2]}), folder / f"{hour}.parquet")
        record = small.run(DAYS[0], *JOB, *job, "output.scores=./times_scores")
        assert (record.status, record.counts["read"]) == ("published", hour - 4)


def test_text_that_its_writer_held_in_a_dictionary_is_read_by_workers(small: SmallJob) -> None:
    path = small.folder / "dictionary"
    path.mkdir()
    city = pa.array(["x", "y", None]).dictionary_encode()
    text = pa.array(["p", "q", "r"], pa.large_string())
    pq.write_table(pa.table({"id": [0, 1, 2], "a": [1.0] * 3, "b": [2] * 3, "c": city, "d": text}), path / "1.parquet")
    sets = (PLAIN, "interval={grain: snapshot}", f"input.table={path}", "output.passthrough=[c, d]")
    record, rows = scored(small, "dictionary", None, *sets)
    assert record.scan["by"] == "workers"
    assert [(row["c"], row["d"]) for row in rows] == [("x", "p"), ("y", "q"), (None, "r")]
    assert rows == scored(small, "dictionary", None, *sets, *SPARK)[1]


def test_an_empty_interval_says_so(small: SmallJob) -> None:
    path = small.folder / "empty"
    small.spark.sql(
        f"create table delta.`{path}` (id bigint, a double, b int, day date) using delta partitioned by (day)"
    )
    record, _ = scored(small, "empty", DAYS[0], DAILY, f"input.table={path}")
    assert (record.counts["read"], record.scan["why"]) == (0, "there are no rows")
    files = small.folder / "day before"
    write(small, files, "date'2013-09-30'", "day")
    record, _ = scored(small, "before", DAYS[0], DAILY, PLAIN, f"input.table={files}")
    assert (record.counts["read"], record.scan["why"]) == (0, "there are no rows")


def test_a_replay_finds_files_in_folders_with_blanks_and_percents(small: SmallJob) -> None:
    path = small.folder / "blanks"
    rows = small.spark.range(3).selectExpr("id", "1.0D as a", "2 as b", "'a b%' as city", "date'2013-10-01' as day")
    rows.write.format("delta").partitionBy("city").save(str(path))
    sets = (*JOB, DAILY, f"input.table={path}", "output.scores=./blanks_scores")
    record = small.run(DAYS[0], *sets)
    replay = replay_run(small.spark, small.load(*sets), record.run_id, None)
    assert (replay.compared, replay.equal) == (3, 3)
