"""The table port's behaviours, the same for Delta, for Parquet on a local disk and for Parquet on another store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyspark.sql.types import ArrayType, LongType, StringType, StructField, StructType

from batchscore.errors import ConfigError, WriteError
from batchscore.ports import TablePort
from batchscore.tables.delta import DeltaTable
from batchscore.tables.locations import move
from batchscore.tables.parquet import ParquetTable

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

REASON = StructType([StructField("rule", StringType())])
SCHEMA = StructType(
    [
        StructField("id", LongType()),
        StructField("_interval", StringType()),
        StructField("_run_id", StringType()),
        StructField("reasons", ArrayType(REASON)),
    ]
)
FIRST, SECOND = "2013-10-01T04:00:00Z", "2013-10-02T04:00:00Z"
OPERATIONS = {"append": ("written", "logged", "moved", "cleaned")}
OPERATIONS["replace"] = ("written", "logged", "aside", "moved", "cleaned")

Opener = Callable[[], TablePort]


@pytest.fixture(params=[pytest.param("delta", marks=pytest.mark.slow), "parquet", "parquet on another store"])
def opener(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path) -> Opener:
    """Opens one table afresh, as another process would."""
    if request.param == "parquet on another store":  # a mount table makes of a local folder a store without file locks
        spark.conf.set(f"fs.viewfs.mounttable.{tmp_path.name}.link./lake", tmp_path.as_uri())
        return lambda: ParquetTable(spark, f"viewfs://{tmp_path.name}/lake/table")
    store = DeltaTable if request.param == "delta" else ParquetTable
    return lambda: store(spark, str(tmp_path / "table"))


def rows_of(table: TablePort, *ids: int, interval: str = FIRST, run: str = "r") -> DataFrame:
    records = [{"id": i, "_interval": interval, "_run_id": run, "reasons": [{"rule": "x"}]} for i in ids]
    frame: DataFrame = table.frame_of(records, SCHEMA)
    return frame


def create(table: TablePort, partition_by: tuple[str, ...] = ("_interval",)) -> None:
    table.create(SCHEMA, partition_by, {"batchscore.job": "small", "delta.logRetentionDuration": "interval 365 days"})


def replace(table: TablePort, *ids: int, interval: str = FIRST, version: int = 1, run: str = "r") -> None:
    rows = rows_of(table, *ids, interval=interval, run=run)
    table.replace(rows, interval=interval, app_id=f"job/{interval}", txn_version=version, metadata=f"run {run}")


def found(table: TablePort) -> list[tuple[int, str, str]]:
    return sorted((r["id"], r["_interval"], r["_run_id"]) for r in table.read().collect())


# -- what every store does ---------------------------------------------------------------------------------------------


def test_a_table_begins_once_and_keeps_what_it_was_made_with(opener: Opener) -> None:
    assert (opener().exists(), opener().version(), opener().txn_version("x")) == (False, -1, -1)
    create(opener())
    opener().create(SCHEMA, [], {"batchscore.job": "other"})
    table = opener()
    assert (table.exists(), table.version(), table.txn_version("x")) == (True, 0, -1)
    assert table.properties()["batchscore.job"] == "small"
    assert table.columns() == {
        "id": "bigint",
        "_interval": "string",
        "_run_id": "string",
        "reasons": ArrayType(REASON).simpleString(),
    }
    assert (found(table), table.read().columns) == ([], SCHEMA.fieldNames())
    assert [(c.version, c.operation, c.metadata) for c in table.commits(-1)] == [(0, "CREATE TABLE", None)]


def test_a_replace_changes_its_interval_alone(opener: Opener) -> None:
    create(opener())
    replace(opener(), 1, 2, run="a")
    replace(opener(), 5, interval=SECOND, run="b")
    replace(opener(), 2, 3, version=2, run="c")
    table = opener()
    assert found(table) == [(2, FIRST, "c"), (3, FIRST, "c"), (5, SECOND, "b")]
    assert [r["reasons"][0]["rule"] for r in table.read().collect()] == ["x"] * 3
    assert table.read().columns == SCHEMA.fieldNames()
    assert [(c.version, c.operation, c.metadata) for c in table.commits(1)] == [
        (2, "WRITE", "run b"),
        (3, "WRITE", "run c"),
    ]
    assert all(c.timestamp_ms > 1_600_000_000_000 for c in table.commits(-1))
    assert (table.txn_version(f"job/{FIRST}"), table.txn_version(f"job/{SECOND}"), table.version()) == (2, 1, 3)
    assert table.commits(3) == []


def test_an_empty_replace_is_a_commit_and_leaves_the_others(opener: Opener) -> None:
    create(opener())
    replace(opener(), interval=SECOND, run="none")
    assert (found(opener()), opener().version()) == ([], 1)
    replace(opener(), 1)
    replace(opener(), 2, interval=SECOND, version=2)
    replace(opener(), version=2, run="empty")
    assert found(opener()) == [(2, SECOND, "r")]
    assert opener().commits(3)[0].metadata == "run empty"
    replace(opener(), 4, version=3)
    assert found(opener()) == [(2, SECOND, "r"), (4, FIRST, "r")]


def test_an_append_adds_once(opener: Opener) -> None:
    create(opener(), ())
    for version, ids in ((1, (1, 2)), (2, (3,)), (2, (9,)), (1, (9,))):
        table = opener()
        with table.lock():
            table.append(rows_of(table, *ids), app_id="q", txn_version=version, metadata=f"v{version}")
    opener().append(rows_of(opener(), 4), app_id="p", txn_version=1)
    table = opener()
    assert [row[0] for row in found(table)] == [1, 2, 3, 4]
    assert [c.metadata for c in table.commits(0)] == ["v1", "v2", None]
    assert (table.txn_version("q"), table.txn_version("p"), table.txn_version("o")) == (2, 1, -1)


def test_a_version_not_above_the_last_commits_nothing_and_returns(opener: Opener) -> None:
    create(opener())
    replace(opener(), 1, version=2)
    for version in (1, 2):
        replace(opener(), 9, version=version)
    assert (found(opener()), opener().version()) == ([(1, FIRST, "r")], 1)


REFUSED = {
    "rows of another interval": ["id", f"'{SECOND}' as _interval", "_run_id", "reasons"],
    "a column too many": ["*", "1 as more"],
    "another type": ["array(id) as id", "_interval", "_run_id", "reasons"],
}


def test_rows_that_do_not_fit_commit_nothing(opener: Opener) -> None:
    create(opener())
    replace(opener(), 1)
    for name, columns in REFUSED.items():
        table = opener()
        rows = rows_of(table, 2).selectExpr(*columns)
        with pytest.raises(Exception, match=r"REPLACE_WHERE|schema|MERGE_FIELDS|expected rows"):
            table.replace(rows, interval=FIRST, app_id="x", txn_version=1, metadata="m")
        assert (found(opener()), opener().version(), opener().txn_version("x")) == ([(1, FIRST, "r")], 1, -1), name
    replace(opener(), 3, version=2)
    assert found(opener()) == [(3, FIRST, "r")]


def test_interval_names_of_any_characters_are_values(opener: Opener) -> None:
    create(opener())
    for name in ("it's = 100% / a:b", "snapshot"):
        replace(opener(), 1, interval=name, run="old")
        replace(opener(), 2, interval=name, version=2, run="new")
    assert {(r[1], r[2]) for r in found(opener())} == {("it's = 100% / a:b", "new"), ("snapshot", "new")}


def test_side_files_are_kept_where_readers_do_not_look(opener: Opener) -> None:
    create(opener())
    opener().write_side_file("a.json", b"first")
    opener().write_side_file("a.json", b"\x00second")
    replace(opener(), 1)
    assert (opener().read_side_file("a.json"), opener().read_side_file("b.json")) == (b"\x00second", None)
    assert len(found(opener())) == 1


@pytest.mark.parametrize("store", [DeltaTable, ParquetTable])
def test_the_lock_holds_off_another_writer_until_it_is_released(
    spark: SparkSession, tmp_path: Path, store: type[DeltaTable] | type[ParquetTable]
) -> None:
    location = str(tmp_path / "table")
    entered = threading.Event()

    def enter() -> None:
        with store(spark, location).lock():
            entered.set()

    other = threading.Thread(target=enter)
    with store(spark, location).lock():
        other.start()
        assert not entered.wait(0.3)
    assert entered.wait(10)
    other.join()


# -- Parquet: what a crash leaves, and what readers see ------------------------------------------------------------


class Died(BaseException):
    """Stands for a kill: nothing catches it."""


def dying_at(point: str) -> Callable[[str], None]:
    def step(name: str) -> None:
        if name == point:
            raise Died

    return step


def plain_ids(folder: Path) -> list[int]:
    """What a reader that knows nothing of batchscore sees."""
    return sorted(r["id"] for r in ds.dataset(folder, format="parquet", partitioning="hive").to_table().to_pylist())


def leftovers(folder: Path) -> list[Path]:
    return [p for name in ("new", "old") for p in (folder / "_batchscore" / name).glob("*")]


def write(operation: str, table: ParquetTable, version: int, *ids: int) -> None:
    rows = rows_of(table, *ids).repartitionByRange(2, "id")
    if operation == "append":
        table.append(rows, app_id="x", txn_version=version, metadata=f"v{version}")
    else:
        table.replace(rows, interval=FIRST, app_id="x", txn_version=version, metadata=f"v{version}")


def start(operation: str, spark: SparkSession, folder: Path) -> None:
    create(ParquetTable(spark, str(folder)), () if operation == "append" else ("_interval",))
    write(operation, ParquetTable(spark, str(folder)), 1, 1, 2)


CRASHES = [(operation, point) for operation, points in OPERATIONS.items() for point in points]


@pytest.mark.parametrize(("operation", "point"), CRASHES)
def test_after_a_crash_the_table_is_old_or_new_and_the_log_says_which(
    spark: SparkSession, tmp_path: Path, operation: str, point: str
) -> None:
    folder = tmp_path / "table"
    start(operation, spark, folder)
    with pytest.raises(Died):
        write(operation, ParquetTable(spark, str(folder), dying_at(point)), 2, 3, 4)
    committed = point != "written"
    new = [1, 2, 3, 4] if operation == "append" else [3, 4]
    seen_before_repair = {"aside": [], "moved": new, "cleaned": new}.get(point, [1, 2])
    assert plain_ids(folder) == seen_before_repair

    ParquetTable(spark, str(folder)).repair()
    table = ParquetTable(spark, str(folder))
    assert plain_ids(folder) == [r[0] for r in found(table)] == (new if committed else [1, 2])
    assert (table.version(), table.txn_version("x")) == ((2, 2) if committed else (1, 1))
    assert bool(leftovers(folder)) is not committed
    write(operation, table, 2, 3, 4)
    assert ([r[0] for r in found(table)], table.version(), leftovers(folder)) == (new, 2, [])


@pytest.mark.parametrize("again", ["aside", "moved", "cleaned"])
def test_a_repair_that_dies_too_is_finished_by_the_next_write(spark: SparkSession, tmp_path: Path, again: str) -> None:
    folder = tmp_path / "table"
    start("replace", spark, folder)
    with pytest.raises(Died):
        write("replace", ParquetTable(spark, str(folder), dying_at("logged")), 2, 3, 4)
    with pytest.raises(Died):
        ParquetTable(spark, str(folder), dying_at(again)).repair()
    replace(ParquetTable(spark, str(folder)), 9, interval=SECOND)
    assert plain_ids(folder) == [3, 4, 9]
    assert leftovers(folder) == []


@pytest.mark.parametrize("operation", ["append", "replace"])
def test_a_move_that_stopped_half_way_is_finished_file_by_file(
    spark: SparkSession, tmp_path: Path, operation: str
) -> None:
    folder = tmp_path / "table"
    start(operation, spark, folder)
    with pytest.raises(Died):
        write(
            operation,
            ParquetTable(spark, str(folder), dying_at("logged" if operation == "append" else "aside")),
            2,
            3,
            4,
        )
    new = next((folder / "_batchscore" / "new").iterdir())
    first = sorted(p for p in new.rglob("*.parquet"))[0]  # as a store that copies to rename leaves it
    move(spark, str(first), str(folder / first.relative_to(new)))
    assert len(plain_ids(folder)) == (3 if operation == "append" else 1)
    table = ParquetTable(spark, str(folder))
    assert [r[0] for r in found(table)] == ([1, 2, 3, 4] if operation == "append" else [3, 4])  # `read` repairs
    assert (plain_ids(folder), leftovers(folder)) == ([r[0] for r in found(table)], [])


def test_of_two_writers_of_one_transaction_one_commits(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "table"
    start("append", spark, folder)
    failures: list[BaseException] = []

    def add(number: int) -> None:
        try:
            write("append", ParquetTable(spark, str(folder)), 2, number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(n,)) for n in (7, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    table = ParquetTable(spark, str(folder))
    assert failures == []
    assert (table.version(), len(found(table))) == (2, 3)


def test_a_version_that_another_writer_took_is_refused_and_shows_nothing(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "table"
    start("append", spark, folder)
    log = folder / "_batchscore" / "log"

    def meanwhile(step: str) -> None:
        if step == "written":
            theirs = (log / f"{1:020d}.json").read_text().replace('"version": 1', '"version": 2')
            (log / f"{2:020d}.json").write_text(theirs)

    with pytest.raises(WriteError, match="another writer did"):
        write("append", ParquetTable(spark, str(folder), meanwhile), 2, 3)
    assert plain_ids(folder) == [1, 2]


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("cut", lambda file: file.write_bytes(file.read_bytes()[:40]), "expected a whole log entry"),
    ("emptied", lambda file: file.write_bytes(b""), "expected a whole log entry"),
    ("another's", lambda file: file.write_text('{"version": 1}'), "expected a whole log entry"),
    ("lost", lambda file: file.unlink(), "00000000000000000001.json is missing"),
]


@pytest.mark.parametrize(("harm", "message"), [d[1:] for d in DAMAGE], ids=[d[0] for d in DAMAGE])
def test_a_damaged_log_is_refused(
    spark: SparkSession, tmp_path: Path, harm: Callable[[Path], object], message: str
) -> None:
    folder = tmp_path / "table"
    start("append", spark, folder)
    write("append", ParquetTable(spark, str(folder)), 2, 3)
    harm(folder / "_batchscore" / "log" / f"{1:020d}.json")
    with pytest.raises(WriteError, match=message):
        ParquetTable(spark, str(folder)).version()
    with pytest.raises(WriteError, match=message):
        ParquetTable(spark, str(folder)).read()


def test_pages_carry_checksums(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "table"
    start("replace", spark, folder)
    file = next(folder.glob("batchscore_interval=*/*.parquet"))
    column = pq.read_metadata(file).row_group(0).column(0)
    first_page = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(file.read_bytes())
    content[first_page + column.total_compressed_size - 1] ^= 1
    file.write_bytes(content)
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        pq.ParquetFile(file, page_checksum_verification=True).read()


def test_what_is_not_ours_is_not_written_to(spark: SparkSession, tmp_path: Path) -> None:
    DeltaTable(spark, str(tmp_path / "delta")).create(SCHEMA, [], {})
    with pytest.raises(ConfigError, match="_delta_log"):
        create(ParquetTable(spark, str(tmp_path / "delta")))
    with pytest.raises(ConfigError, match="name 'batchscore_interval' is batchscore's own"):
        schema = StructType.fromDDL("_interval string, Batchscore_Interval int")
        ParquetTable(spark, str(tmp_path / "other")).create(schema, ["_interval"], {})
    with pytest.raises(WriteError, match="found none"):
        ParquetTable(spark, str(tmp_path / "none")).read()
    start("append", spark, tmp_path / "flat")
    with pytest.raises(WriteError, match="partitioned by _interval"):
        replace(ParquetTable(spark, str(tmp_path / "flat")), 1)
