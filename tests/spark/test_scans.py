# ruff: noqa: E501
"""Who reads the rows decides nothing: workers, Comet and Spark publish the same, and say who read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F
from small_job import SmallJob, make_small_job

from batchscore.errors import BatchscoreError
from batchscore.expressions import has_inexact, keep_exact
from batchscore.pipeline import plan_interval, run_interval
from batchscore.planning import prepare
from batchscore.records import RunRecord
from batchscore.scans import choose_scan
from batchscore.scoring.acceleration import accelerated, describe_native
from batchscore.session import has_comet

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PLAIN = (
    "lookups={}",
    "features.columns=[{name: a}, {name: b}]",
    "interval={grain: snapshot}",
    "output.passthrough=[city, day, at, region, n, late]",
)
SQL = (
    "lookups={}",
    "features.columns=[{name: made_a, sql: 'coalesce(a, 0) + 1 / n'}, {name: made_b, sql: 'if(b > 3, hour(at), cast(text as int))'}]",
    "interval={grain: snapshot}",
    "output.passthrough=[city, day, at, region, n, late]",
)
WAYS = {
    "spark": ("engine.scan=spark",),
    "workers": ("engine.scan=auto",),
    "workers, pages not verified": ("engine.verify_pages=false",),
    "comet": ("engine.scan=spark", "engine.accelerator=comet"),
    "comet, pages not verified": ("engine.scan=spark", "engine.accelerator=comet", "engine.verify_pages=false"),
}
REGIONS = ("north", "a/b c=ü%", None, "")
CHECKSUMS = {"parquet.page.write-checksum.enabled": "true", "compression": "none", "parquet.enable.dictionary": "false"}


def write_table(small: SmallJob, table_format: str, name: str = "rows") -> None:
    """Sixty rows in partitions of text, null, numbers and dates; the newer half has a column more, and one bad row."""
    frame = small.spark.range(60).selectExpr(
        "id", "date'2013-10-01' + cast(id % 2 as int) as day", "timestamp'2013-10-01 23:30:00' + make_dt_interval(0, cast(id as int)) as at",
        "if(id % 5 = 0, null, element_at(array('x', 'y', 'z'), cast(id % 3 as int) + 1)) as city",
        "if(id = 7, -1, id / 8.0D) as a", "cast(id % 7 as int) as b", "if(id = 11, null, if(id = 13, 'no', string(id))) as text",
        f"element_at(array({', '.join('null' if r is None else repr(r) for r in REGIONS)}), cast(id % 4 as int) + 1) as region",
        "cast(id % 3 as int) as n", "cast(id as decimal(9, 2)) as late",
    )  # fmt: skip
    writer = (
        frame.where("id < 30").drop("late").coalesce(1).write.format(table_format).partitionBy("day", "region", "n")
    )
    writer.options(**CHECKSUMS).save(str(small.folder / name))
    writer = (
        frame.where("id >= 30").coalesce(1).write.format(table_format).partitionBy("day", "region", "n").mode("append")
    )
    writer.options(**CHECKSUMS, mergeSchema="true").save(str(small.folder / name))


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """A small job on a Delta table, and the same rows in Parquet files."""
    assert has_comet(spark), "make comet fetches the jar that these tests need"
    made = make_small_job(spark, tmp_path_factory.mktemp("scans"), rows=())
    write_table(made, "delta")
    write_table(made, "parquet", "plain_rows")
    return made


def published(small: SmallJob, name: str, *sets: str) -> tuple[RunRecord, list[Any], list[Any]]:
    """A run's record, its scores and the rows that it set aside, in order."""
    record = small.run(None, *sets, f"output.scores=./{name}", force=True)
    table = small.spark.read.format("delta").load(str(small.folder / name)).orderBy("id")
    found = [r.asDict(recursive=True) for r in table.collect()]
    scores = [{k: v for k, v in one.items() if k not in ("_run_id", "_generation", "_scored_at")} for one in found]
    aside = small.spark.read.format("delta").load(str(small.folder / f"{name}_quarantine"))
    aside = aside.where(f"_run_id = '{record.run_id}'")
    kept = [r.asDict(recursive=True) for r in aside.orderBy("id").collect()]
    return record, scores, [{k: v for k, v in one.items() if k not in ("_run_id", "_generation")} for one in kept]


@pytest.mark.parametrize(
    ("features", "table"),
    [
        ("plain", "delta"),
        ("sql", "delta"),
        ("plain", "parquet"),
        pytest.param("sql", "parquet", marks=pytest.mark.slow),
    ],
)
def test_every_way_publishes_the_same(features: str, table: str, small: SmallJob) -> None:
    job = (
        *(PLAIN if features == "plain" else SQL),
        "interval.time_zone=Australia/Lord_Howe",
        "input.on_duplicate_key=keep",
    )
    if table == "parquet":
        job = (*job, "input.table=./plain_rows", "input.format=parquet")
        job = tuple(one.replace(", late", "") for one in job)  # Spark takes the columns of one file
    name = f"{features}_{table}"
    told = {way: published(small, name, *job, *sets) for way, sets in WAYS.items()}
    plain, scores, aside = told["spark"]
    assert plain.counts["read"] == 60
    assert plain.counts["quarantined"] == len(aside) > 1
    for way, (record, others, others_aside) in told.items():
        assert (way, others, others_aside) == (way, scores, aside)
        assert (way, dict(record.reasons), record.counts) == (way, dict(plain.reasons), plain.counts)
        expected = "spark" if way.startswith("workers") and features == "sql" else way.split(",")[0]
        assert (way, record.scan["by"]) == (way, expected)
        assert record.scan["pages_verified"] == ("not verified" not in way or expected == "spark")
    natively = told["comet, pages not verified"][0].scan["comet"]
    assert natively["operators"] == ["CometMapInBatch", "CometProject", "CometNativeScan"]
    verified = told["comet"][0].scan["comet"]
    assert verified["operators"][:3] == ["CometMapInBatch", "CometProject", "CometSparkColumnarToColumnar"]


FUNCTIONS = (
    "exp(b) expm1(b) ln(p) log10(p) log2(p) log1p(p) log(3,p) pow(p,1.7) power(p,b) cbrt(a) sin(a) cos(a) tan(a) cot(a) "
    "sec(a) csc(a) asin(u) acos(u) atan(a) atan2(a,b) sinh(b) cosh(b) tanh(b) asinh(a) acosh(p+1) atanh(u) degrees(a) "
    "radians(a) hypot(a,b) sqrt(p) rint(a) signum(a) round(a,2) bround(a,2) pmod(a,p) a/p ln(f*f+1) exp(f/1000)"
).split()


def test_comet_gives_every_function_javas_last_digit(small: SmallJob, tmp_path: Path) -> None:
    """Alone, where it leaves them to Spark, and as a feature has them, where it hands them to Java."""
    random = np.random.default_rng(1)
    wide = random.normal(size=5000) * random.choice([1, 1e3, 1e-3, 1e6], 5000)
    values = {"a": wide, "b": random.normal(size=5000) * 5, "p": np.abs(wide) + 1e-9}
    columns = {**values, "u": random.uniform(-1, 1, 5000), "f": wide.astype(np.float32), "i": range(5000)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    frame = small.spark.read.parquet(str(tmp_path / "t.parquet"))
    alone = [F.expr(text).alias(text) for text in FUNCTIONS]
    kept = [keep_exact(F.expr(text)).alias(text) if has_inexact(text) else F.expr(text) for text in FUNCTIONS]
    expected = frame.select("i", *alone).toArrow().sort_by("i")
    for made, project in ((alone, "Project"), (kept, "CometProject")):
        with accelerated(small.spark, verify=True):
            asked = frame.select("i", *made)
            native = describe_native(asked)
            found = asked.toArrow().sort_by("i")
        differ = [
            text
            for place, text in enumerate(FUNCTIONS, 1)
            if not np.array_equal(found[place].to_numpy(), expected[place].to_numpy(), equal_nan=True)
        ]
        assert differ == []
        assert project in native["operators"]
    assert {"ln", "pow", "exp", "atan2", "round"} <= set(native["java"])


@pytest.mark.parametrize("whole", [True, False])  # the other may fail for a row, and does where n is zero
def test_features_with_such_functions_are_the_same_by_comet_and_spark(whole: bool, small: SmallJob) -> None:
    other = "pow(a, 1.7) + b" if whole else "exp(b / n)"
    made = f"[{{name: made_a, sql: 'ln(abs(a) + 1)'}}, {{name: made_b, sql: '{other}'}}]"
    job = ("lookups={}", f"features.columns={made}", "interval={grain: snapshot}", "output.passthrough=[n]")
    job = (*job, "input.on_duplicate_key=keep")
    found = {way: published(small, "digits", *job, *WAYS[way]) for way in ("spark", "comet")}
    assert found["comet"][1:] == found["spark"][1:]
    scan = found["comet"][0].scan
    if whole:
        assert (scan["comet"]["operators"][1], scan["comet"]["fallback"]) == ("CometProject", {})
        assert {"ln", "pow"} <= set(scan["comet"]["java"])
    else:
        assert found["spark"][0].counts["quarantined"] == 20 + 2  # two fail the checks


def delta(small: SmallJob, name: str, *statements: str) -> None:
    """A copy of the small job's table, then changed by SQL in which `{}` is the table."""
    shutil.copytree(small.folder / "rows", small.folder / name)
    for statement in statements:
        small.spark.sql(statement.format(f"delta.`{small.folder / name}`"))


def other_types(small: SmallJob, name: str) -> None:
    small.spark.range(3).selectExpr("id", "1 as a", "2 as b").write.parquet(str(small.folder / name))
    more = small.spark.range(3, 6).selectExpr("id", "1 as a", "cast(2 as short) as b")
    more.write.mode("append").parquet(str(small.folder / name))


def other_case(small: SmallJob, name: str) -> None:
    (small.folder / name).mkdir()
    for place, column in enumerate("bB"):
        table = pa.table({"id": [place], "a": [1.0], column: [2]})
        pq.write_table(table, small.folder / name / f"{place}.parquet")


def legacy_dates(small: SmallJob, name: str) -> None:
    with setting(small.spark, "spark.sql.parquet.datetimeRebaseModeInWrite", "LEGACY"):
        small.spark.range(3).selectExpr("id", "1 as a", "2 as b", "date'1000-01-01' as day").write.parquet(
            str(small.folder / name)
        )


def moments(small: SmallJob, name: str) -> None:
    frame = small.spark.range(3).selectExpr("id", "1.0D as a", "2 as b", "timestamp'2013-10-01 00:00:00' as at")
    frame.write.format("delta").partitionBy("at").save(str(small.folder / name))


@contextmanager
def setting(spark: SparkSession, key: str, value: str) -> Iterator[None]:
    before = spark.conf.get(key)
    spark.conf.set(key, value)
    try:
        yield
    finally:
        spark.conf.set(key, before)


TWO = (
    "lookups={}",
    "checks={}",
    "interval={grain: snapshot}",
    "features.columns=[{name: a}, {name: b}]",
    "output.passthrough=[]",
    "input.on_duplicate_key=keep",
)
NOT_DIRECT: dict[str, tuple[Callable[[SmallJob, str], None], tuple[str, ...], str]] = {
    "deletion_vectors": (lambda s, n: delta(s, n, "alter table {} set tblproperties ('delta.enableDeletionVectors' = 'true')", "delete from {} where id = 1"), ("output.passthrough=[]",), "rows of its files are deleted by deletion vectors"),
    "column_mapping": (lambda s, n: delta(s, n, "alter table {} set tblproperties ('delta.columnMapping.mode' = 'name')", "alter table {} rename column late to later"), ("output.passthrough=[later]",), "the table has columnMapping"),
    "char": (lambda s, n: delta(s, n, "alter table {} add column (code char(4))"), ("output.passthrough=[code]",), "a column is of type CHAR or VARCHAR"),
    "timestamps": (moments, ("output.passthrough=[at]",), "partition column 'at' is of type timestamp"),
    "legacy": (legacy_dates, ("input.format=parquet", "output.passthrough=[day]"), "a file has dates of an old calendar"),
    "other_case": (other_case, ("input.format=parquet",), "column 'b' differs in case in a file"),
    "other_types": (other_types, ("input.format=parquet",), "column 'b' has another type in a file"),
    "part_of_a_file": (delta, ("interval={column: at, grain: day}",), "'at' is no partition column"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_DIRECT)
def test_spark_reads_what_files_alone_do_not_say(name: str, small: SmallJob) -> None:
    make, sets, why = NOT_DIRECT[name]
    make(small, name)
    places = (f"input.table=./{name}", f"output.scores=./{name}_scores")
    job = small.load(*TWO, *places, *sets)
    interval = small.interval("2013-10-01" if name == "part_of_a_file" else None, job)
    plan = plan_interval(small.spark, job, interval)
    assert (plan.scan["by"], plan.scan["why"][: len(why)]) == ("spark", why)
    told = []
    for extra in (("engine.scan=spark",), WAYS["comet"], WAYS["comet, pages not verified"]):
        prepared = prepare(small.spark, small.load(*TWO, *places, *sets, *extra), interval)
        scan = choose_scan(small.spark, prepared)
        with accelerated(small.spark, verify=scan.verified) if scan.by == "comet" else nullcontext():
            told.append(sorted(map(tuple, prepared.rows.drop("_raw").collect())))
    assert told[0] == told[1] == told[2]
    assert told[0]


@pytest.mark.parametrize("way", WAYS)
def test_a_flipped_bit_is_found_unless_nobody_looks(way: str, small: SmallJob, tmp_path: Path) -> None:
    rows = small.spark.range(1000).selectExpr("id", "cast(id as double) as a", "cast(id as int) as b").coalesce(1)
    rows.write.options(**CHECKSUMS).parquet(str(tmp_path / "flipped"))
    file = next((tmp_path / "flipped").glob("*.parquet"))
    content = bytearray(file.read_bytes())
    place = content.index((777).to_bytes(4, "little") + (778).to_bytes(4, "little"))
    content[place] ^= 1
    file.write_bytes(bytes(content))
    (tmp_path / "flipped" / f".{file.name}.crc").unlink()  # Hadoop's own, which object stores lack
    job = small.load(
        *TWO,
        f"input.table={tmp_path / 'flipped'}",
        "input.format=parquet",
        f"output.scores={tmp_path / 'scores'}",
        *WAYS[way],
    )
    if "not verified" in way:
        record = run_interval(small.spark, job, small.interval(None, job))
        assert record.counts["scored"] == 1000
        assert record.scan["pages_verified"] is False
        assert "page checksums not verified" in str(record)
        return
    with pytest.raises(BatchscoreError, match=f"{file.name}.*[Pp]arquet file.*checksum of a page"):
        run_interval(small.spark, job, small.interval(None, job))


def test_a_pinned_version_is_read_whatever_comes_after(small: SmallJob) -> None:
    delta(small, "pinned")
    counts = []
    for place, sets in enumerate(WAYS.values()):
        job = small.load(*PLAIN, "input.table=./pinned", f"output.scores=./pinned_{place}", *sets)
        prepared = prepare(small.spark, job, small.interval(None, job))
        small.spark.sql(f"delete from delta.`{small.folder / 'pinned'}` where id = {place}")
        scan = choose_scan(small.spark, prepared)
        counts.append(sum(p.rows for share in scan.shares for p in share) if scan.shares else prepared.rows.count())
    assert counts == [60, 59, 58, 57, 56]
