"""The log: transaction versions, files and rows as Delta and Spark know them, whichever way they were learned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyspark.sql.types import StructType

from batchscore.intervals import parse_interval
from batchscore.tables import log, pin
from batchscore.tables.delta import DeltaTable
from batchscore.tables.log import _FILES, DeltaLog
from batchscore.tables.log_state import read_state
from batchscore.tables.plain import scan_plain
from batchscore.tables.read import scan_rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def commit(spark: SparkSession, path: Path, app: str, version: int) -> None:
    """One commit that carries a transaction version."""
    writer = spark.range(1).write.format("delta").mode("append")
    writer.option("txnAppId", app).option("txnVersion", version).save(str(path))


def as_delta_says(spark: SparkSession, path: Path, app: str) -> int:
    found = DeltaLog(spark, str(path)).snapshot().transactions().get(app)
    return int(found.get()) if found.isDefined() else -1


@pytest.mark.parametrize("many", [0, 20])
def test_transaction_versions_are_those_of_the_log(
    many: int, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "MANY_COMMITS", many)
    path = tmp_path / "table"
    commit(spark, path, "a", 7)
    for app, version in (("b", 1), ("a", 8), ("c -> d", 3)):
        assert DeltaLog(spark, str(path)).txn_version("a") == as_delta_says(spark, path, "a")
        commit(spark, path, app, version)
    found = {app: DeltaLog(spark, str(path)).txn_version(app) for app in ("a", "b", "c -> d", "e")}
    assert found == {"a": 8, "b": 1, "c -> d": 3, "e": -1}


def test_a_table_that_was_made_again_has_none_of_the_old_ones(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "table"
    commit(spark, path, "a", 7)
    assert DeltaLog(spark, str(path)).txn_version("a") == 7
    shutil.rmtree(path)
    commit(spark, path, "b", 1)
    commit(spark, path, "b", 2)
    assert DeltaLog(spark, str(path)).txn_version("a") == -1
    assert DeltaLog(spark, str(path)).txn_version("b") == 2


def test_rows_of_a_small_table_are_read_without_spark_and_are_the_same(spark: SparkSession, tmp_path: Path) -> None:
    place = str(tmp_path / "a b" / "table")
    table = DeltaTable(spark, place)
    table.create(StructType.fromDDL("n bigint, kind string, text string"), [], {"delta.appendOnly": "true"})
    wanted: list[tuple[int, str]] = []
    for number in range(4):
        rows = [{"n": number * 2 + k, "kind": "even" if k == 0 else "odd", "text": None} for k in range(2)]
        table.append(table.frame_of(rows, table.read().schema), app_id="a", txn_version=number + 1)
        wanted += [(row["n"], str(row["kind"])) for row in rows]
    for where, expected in (
        ({}, wanted),
        ({"kind": ["odd"]}, [w for w in wanted if w[1] == "odd"]),
        ({"kind": ["odd"], "n": [1, 2, 99]}, [(1, "odd")]),
        ({"kind": []}, []),
    ):
        quick = scan_plain(table._log, ["n", "kind"], where)
        assert quick is not None
        by_spark = scan_rows(table.read(), ["n", "kind"], where)
        assert sorted((r["n"], r["kind"]) for r in quick) == sorted((r["n"], r["kind"]) for r in by_spark) == expected
    spark.sql(f"optimize delta.`{place}`")
    assert sorted(r["n"] for r in table.scan(["n"], {})) == list(range(8))
    fresh = DeltaTable(spark, place)
    _FILES.clear()
    assert sorted(r["n"] for r in fresh.scan(["n"], {})) == list(range(8))
    spark.sql(f"alter table delta.`{place}` set tblproperties ('delta.enableDeletionVectors' = 'true')")
    assert scan_plain(fresh._log, ["n"], {}) is None
    assert sorted(r["n"] for r in fresh.scan(["n"], {"kind": ["odd"]})) == [1, 3, 5, 7]


def test_a_table_made_anew_at_the_same_place_is_another(spark: SparkSession, tmp_path: Path) -> None:
    place = tmp_path / "table"
    schema = StructType.fromDDL("n bigint")
    for number in (1, 2):
        table = DeltaTable(spark, str(place))
        table.create(schema, [], {})
        table.append(table.frame_of([{"n": number}], schema), app_id="a", txn_version=1)
        assert table.scan(["n"], {}) == [{"n": number}]
        shutil.rmtree(place)


def test_a_log_that_is_held_open_sees_what_others_do(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "table"
    held = DeltaLog(spark, str(path))
    assert (held.version(), held.exists()) == (-1, False)
    commit(spark, path, "a", 1)
    assert held.version() == 0 and held.actions(0) == held.actions(0)
    commit(spark, path, "a", 2)
    assert (held.version(), int(held.snapshot().version()), held.txn_version("a")) == (1, 1, 2)
    before = str(held.snapshot().metadata().id())
    shutil.rmtree(path)
    commit(spark, path, "b", 1)
    commit(spark, path, "b", 2)
    assert held.version() == 1 and str(held.snapshot().metadata().id()) != before
    found = held.actions(1)
    assert found is not None and [one["txn"]["appId"] for one in found if "txn" in one] == ["b"]
    shutil.rmtree(path)
    assert held.actions(1) is None


def test_a_log_is_not_listed_again_where_nothing_has_changed(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "table"
    commit(spark, path, "a", 1)
    held = DeltaLog(spark, str(path))
    first = held.snapshot()
    assert held.snapshot() is first
    commit(spark, path, "a", 2)
    assert held.snapshot() is not first


def test_a_log_is_replayed_as_delta_does(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "table"
    folder = path / "_delta_log"
    for number in range(13):  # the eleventh commit makes a checkpoint
        rows = spark.range(number, number + 3).selectExpr("id", "if(id % 2 = 0, 'a b', null) as part")
        writer = rows.write.format("delta").partitionBy("part").option("txnAppId", f"app {number % 3}")
        writer.option("txnVersion", number).mode("overwrite" if number == 4 else "append").save(str(path))
    spark.sql(f"alter table delta.`{path}` set tblproperties ('delta.enableDeletionVectors' = 'true')")
    spark.sql(f"delete from delta.`{path}` where id = 11")
    log = DeltaLog(spark, str(path))
    last = log.version()
    for version in (0, 4, 9, 10, 11, last):
        found, snapshot = read_state(folder, version), log.snapshot_at(version)
        assert found is not None
        adds = [json.loads(text) for text in snapshot.allFiles().toJSON().collectAsList()]
        # a commit and a checkpoint differ in `dataChange`, and in nothing else
        assert {p: {**add, "dataChange": 0} for p, add in found.files.items()} == {
            add["path"]: {**add, "dataChange": 0} for add in adds
        }
        apps = {f"app {number}": snapshot.transactions().get(f"app {number}") for number in range(3)}
        assert found.transactions == {app: int(one.get()) for app, one in apps.items() if one.isDefined()}
    assert (folder / f"{10:020d}.checkpoint.parquet").exists()


@pytest.fixture(scope="module")
def twelve(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of twelve commits, of which the eleventh made a checkpoint."""
    path = tmp_path_factory.mktemp("twelve") / "table"
    for number in range(12):
        commit(spark, path, "a", number + 1)
    return path


@pytest.mark.parametrize("broken", ["a commit", "the checkpoint", "a part of it"])
def test_a_log_that_is_not_plain_is_left_to_delta(broken: str, twelve: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(twelve, tmp_path / "table") / "_delta_log"
    assert read_state(folder, 11) is not None
    checkpoint = folder / f"{10:020d}.checkpoint.parquet"
    if broken == "a commit":
        (folder / f"{11:020d}.json").unlink()
    elif broken == "the checkpoint":
        checkpoint.write_bytes(b"PAR1 cut short")
    else:
        checkpoint.rename(folder / f"{10:020d}.checkpoint.{1:010d}.{1:010d}.parquet")
    assert read_state(folder, 11) is None


PINNED: list[tuple[str, str, str | None]] = [
    ("partitioned", "2013-10-02", "replayed"),
    ("partitioned", "2013-10-09", "replayed"),  # no files at all
    ("partitioned", None, "replayed"),
    ("not partitioned", "2013-10-02", None),  # statistics say which files, and Delta reads them
    ("not partitioned", None, "replayed"),
    ("mapped", "2013-10-02", None),
]


@pytest.fixture(scope="module")
def tables(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A table of each kind."""
    folder = tmp_path_factory.mktemp("tables")
    return {kind: _make(spark, folder / kind, kind) for kind in ("partitioned", "not partitioned", "mapped")}


def _make(spark: SparkSession, path: Path, kind: str) -> Path:
    days = ("2013-10-01", "2013-10-02", "2013-10-02", None, "2013-10-03")
    options = {"delta.columnMapping.mode": "name"} if kind == "mapped" else {}
    for number, one in enumerate(days):
        value = "cast(null as date)" if one is None else f"date'{one}'"
        writer = spark.range(number, number + 2).selectExpr("id", f"{value} as day").coalesce(1).write.format("delta")
        writer = writer.options(**options).mode("append")
        (writer if kind == "not partitioned" else writer.partitionBy("day")).save(str(path))
    if not options:
        spark.sql(f"alter table delta.`{path}` set tblproperties ('delta.enableDeletionVectors' = 'true')")
        spark.sql(f"delete from delta.`{path}` where id = 1 and day = date'2013-10-02'")
    return path


@pytest.mark.parametrize(("kind", "day", "by"), PINNED)
def test_the_files_of_an_interval_are_those_that_spark_reads(
    kind: str, day: str | None, by: str | None, spark: SparkSession, tables: dict[str, Path]
) -> None:
    path = tables[kind]
    interval = parse_interval(day, "day" if day else "snapshot", "UTC")
    frame = spark.read.format("delta").load(str(path))
    if day is not None:
        frame = frame.where(pin.interval_condition(frame, interval, "day", "interval.column"))
    log = DeltaLog(spark, str(path))
    found = pin._replayed_files(log, log.snapshot(), frame, interval, "day")
    asked = pin._delta_files(spark, log.snapshot(), frame, str(path))
    assert (None if found is None else "replayed") == by
    if found is not None:
        assert sorted(map(repr, found)) == sorted(map(repr, asked)) and (len(found) > 0) == (day != "2013-10-09")
