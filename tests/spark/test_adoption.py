"""Files that become a table's as they are: read as if Delta had written them, refused where a table asks for more."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_job import SmallJob, expectation, make_small_job, row

from batchscore.errors import WriteError
from batchscore.ports import TablePort
from batchscore.tables.adoption import OwnFiles, file_statistics
from batchscore.tables.delta import DeltaTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = "2013-10-01"


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path) -> SmallJob:
    return make_small_job(spark, tmp_path, [row(id=i, text=None if i == 3 else "t") for i in range(8)], created=True)


def commit(table: TablePort) -> dict[str, Any]:
    """The latest commit's actions, by kind; several adds are a list."""
    assert isinstance(table, DeltaTable)
    actions = table._log.actions(table.version()) or []
    return {"adds": [a["add"] for a in actions if "add" in a], "removes": [a for a in actions if "remove" in a]}


def adopted(small: SmallJob) -> bool:
    """Whether the latest scores commit added files that a worker had written."""
    (add,) = commit(small.outputs().scores)["adds"]
    return "snappy" not in add["path"]


def test_files_are_linked_and_replace_what_stood(small: SmallJob) -> None:
    small.run(DAY)
    assert adopted(small)
    first = {r["id"]: r["p"] for r in small.scores()}
    assert set(first) == {0, 1, 2, 4, 5, 6, 7}
    small.run(DAY, force=True)
    found = commit(small.outputs().scores)
    assert len(found["removes"]) == len(found["adds"]) == 1
    assert json.loads(found["adds"][0]["stats"])["numRecords"] == 7
    assert {r["id"]: r["p"] for r in small.scores()} == first
    assert {r["_generation"] for r in small.scores()} == {2}
    assert small.outputs().stages.run_ids() == []  # and the table's own links stand
    assert small.spark.read.format("delta").load(f"{small.folder}/scores").where("id = 5").count() == 1


def test_rows_are_the_same_by_either_way(small: SmallJob) -> None:
    small.run(DAY)
    own = small.scores()
    table = f"delta.`{small.folder}/scores`"
    small.spark.sql(f"alter table {table} set tblproperties ('delta.checkpointInterval' = '5')")
    small.run(DAY, force=True)
    assert not adopted(small)
    varying = {"_run_id", "_generation", "_scored_at"}

    def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in r.items() if k not in varying} for r in rows]

    assert plain(small.scores()) == plain(own)
    assert [type(r["_scored_at"]) for r in own] == [type(r["_scored_at"]) for r in small.scores()]


@pytest.mark.parametrize(
    "change",
    [
        "alter table {} add constraint sound check (p >= 0)",
        *(
            pytest.param(f"alter table {{}} set tblproperties ('{one}' = 'true')", marks=pytest.mark.slow)
            for one in ("delta.enableDeletionVectors", "delta.enableChangeDataFeed")
        ),
    ],
)
def test_a_table_that_asks_for_more_gets_its_rows_through_deltas_writer(small: SmallJob, change: str) -> None:
    small.run(DAY)
    small.spark.sql(change.format(f"delta.`{small.folder}/scores`"))
    small.run(DAY, force=True)
    assert not adopted(small)
    assert len(small.scores()) == 7


def test_an_empty_result_removes_what_stood(small: SmallJob) -> None:
    small.run(DAY)
    small.write_suite([expectation("expect_column_values_to_be_null", column="text")])
    small.run(DAY, "checks.max_quarantine_pct=100", force=True)
    assert {r["id"] for r in small.scores()} == {3}
    small.write_suite([expectation("expect_column_values_to_be_between", column="a", min_value=1000)])
    small.run(DAY, "checks.max_quarantine_pct=100", force=True)
    assert small.scores() == []
    found = commit(small.outputs().scores)
    assert (len(found["adds"]), len(found["removes"])) == (0, 1)


def test_a_commit_that_has_landed_lands_once(small: SmallJob) -> None:
    small.run(DAY)
    target = small.outputs()
    before, rows = target.scores.version(), small.scores()
    files = tuple(str(file) for file in (small.folder / "scores").rglob("part-*.parquet"))
    again, name = OwnFiles(target.scores.read(), files), small.interval(DAY).name
    target.scores.replace(again, interval=name, app_id=f"small/scores/{name}", txn_version=1, metadata="{}")
    assert target.scores.version() == before
    assert small.scores() == rows


def test_audit_rows_go_the_same_way_and_read_alike(small: SmallJob) -> None:
    small.run(DAY)
    audit = small.outputs().audit
    (add,) = commit(audit)["adds"]
    assert "snappy" not in add["path"] and json.loads(add["stats"])["maxValues"]["seq"] == 1
    assert audit.scan(["seq", "kind"], {"kind": ["run"]}) == [{"seq": 1, "kind": "run"}]
    small.run(DAY, force=True)
    assert audit.scan(["seq", "kind"], {"seq": [2]}) == [{"seq": 2, "kind": "force"}]


def test_a_key_that_is_asked_for_is_found_by_the_statistics(spark: SparkSession, tmp_path: Path) -> None:
    """Bounds that were wrong would hide rows."""
    columns = {
        "n": pa.array([5, -3, None], pa.int64()),
        "day": pa.array([date(2013, 10, 1), None, date(1900, 1, 1)]),
        "short": pa.array(["ä", "Z", "a"]),
        "long": pa.array(["x" * 40, "y", "z"]),
        "f": pa.array([float("nan"), 1.0, -2.0]),
        "none": pa.array([None, None, None], pa.string()),
        "at": pa.array([datetime(2013, 10, 1, tzinfo=UTC)] * 3, pa.timestamp("us", tz="UTC")),
        "money": pa.array([Decimal("1.50"), None, Decimal("-2.25")], pa.decimal128(9, 2)),
        "list": pa.array([[1], [], None], pa.list_(pa.int32())),
        "yes": pa.array([True, False, None]),
        "bytes": pa.array([b"a", b"b", None]),
    }
    file = tmp_path / "rows.parquet"
    pq.write_table(
        pa.table(columns), file, row_group_size=2, write_statistics=[name for name in columns if name != "f"]
    )
    found = file_statistics(pq.read_metadata(file))
    assert found["numRecords"] == 3
    assert found["minValues"] == {"n": -3, "day": "1900-01-01", "short": "Z"}
    assert found["maxValues"] == {"n": 5, "day": "2013-10-01", "short": "ä"}
    nulls = found["nullCount"]
    assert (nulls["n"], nulls["day"], nulls["none"], nulls["yes"]) == (1, 1, 3, 1)
    assert "list" not in found["nullCount"]
    table = DeltaTable(spark, str(tmp_path / "table"))
    schema = spark.read.parquet(str(file)).schema.add("_interval", "string")
    table.create(schema, ["_interval"], {"delta.appendOnly": "false"})
    assert table.takes_files(schema, [str(file)])
    own = OwnFiles(spark.read.parquet(str(file)), (str(file),))
    table.replace(own, interval="it's", app_id="a", txn_version=1, metadata="m")
    rows = table.read()
    asked = [
        "n = 5",
        "n = -3",
        "day = date'1900-01-01'",
        "short = 'ä'",
        "long = 'z'",
        "f = 'NaN'",
        "money = -2.25",
        "n is null",
    ]
    assert [rows.where(one).count() for one in asked] == [1] * len(asked)
    assert rows.where("_interval = 'it''s'").count() == 3 and rows.where("none is null").count() == 3
    assert not table.takes_files(schema.add("more", "integer"), [str(file)])
    pq.write_table(pa.table({**columns, "more": columns["n"]}), tmp_path / "more.parquet")
    assert not table.takes_files(schema, [str(tmp_path / "more.parquet")])


def test_two_writers_of_one_interval_conflict(spark: SparkSession, small: SmallJob) -> None:
    """Without our lock, as on a store where there is none: Delta itself refuses the second."""
    from batchscore.tables import adoption  # noqa: PLC0415

    small.run(DAY)
    log = small.outputs().scores._log  # type: ignore[attr-defined]
    app = f"small/scores/{small.interval(DAY).name}"
    begun = adoption._begin(log, app, 2)
    small.run(DAY, force=True)
    seq = log.jvm.org.apache.spark.api.python.PythonUtils.toSeq
    action = log.jvm.org.apache.spark.sql.delta.actions.Action.fromJson(
        json.dumps({"txn": {"appId": app, "version": 2}})
    )
    none, some = log.jvm.scala.Option.empty(), log.jvm.scala.Option.apply
    operation = getattr(log.jvm, adoption._OPERATION)(
        log.jvm.org.apache.spark.sql.SaveMode.Append, some(seq([])), none, none, *[none] * 5
    )
    with pytest.raises(Exception, match=r"DELTA_CONCURRENT_TRANSACTION|ConcurrentTransaction"):
        begun.commit(seq([action]), operation)


def test_created_tables_can_take_files(small: SmallJob) -> None:
    """What batchscore creates is what the quick way needs; a default of Delta's that changes would slow every run."""
    small.run(DAY)
    target = small.outputs()
    for table in (target.scores, target.audit):
        assert isinstance(table, DeltaTable) and table.takes_files(table.read().schema)


def test_rows_that_somebody_adds_to_the_interval_meanwhile_conflict(spark: SparkSession, small: SmallJob) -> None:
    from batchscore.tables import adoption  # noqa: PLC0415

    small.run(DAY)
    log = small.outputs().scores._log  # type: ignore[attr-defined]
    name = small.interval(DAY).name
    begun = adoption._begin(log, f"small/scores/{name}", 2)
    standing = adoption._standing(log, begun, name)
    assert len(standing) == 1
    place = f"{small.folder}/scores"
    spark.read.format("delta").load(place).limit(1).write.format("delta").mode("append").save(place)
    with pytest.raises(WriteError, match="another commit has landed meanwhile"):
        adoption._standing(log, begun, name)
    monkey = pytest.MonkeyPatch()
    monkey.setattr(adoption, "_standing", lambda *args: standing)
    try:
        with pytest.raises(Exception, match=r"DELTA_CONCURRENT_APPEND|ConcurrentAppend"):
            adoption._commit(log, begun, [], name, f"small/scores/{name}", 2, "m")
    finally:
        monkey.undo()
