"""Output tables by path and by catalog name: how they are made, found, refused and migrated."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from small_job import GOOD, SmallJob, make_small_job, row

from batchscore import api
from batchscore.cli import run_cli
from batchscore.errors import ConfigError
from batchscore.outputs import open_outputs
from batchscore.pipeline import plan_interval
from batchscore.republish import rollback_interval
from batchscore.tables.delta import DeltaTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

NAMED = "output.scores=lake.scores"
DAY, NEXT = "2013-10-01T04:00:00Z", "2013-10-02T04:00:00Z"


@pytest.fixture(scope="module")
def lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a schema `lake`."""
    folder = tmp_path_factory.mktemp("a %20lake")
    spark.sql(f"CREATE SCHEMA lake LOCATION '{folder}'")
    yield folder
    spark.sql("DROP SCHEMA lake CASCADE")


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    rows = [GOOD, row(id=2, text=None), row(id=3, day="2013-10-02")]
    return make_small_job(spark, tmp_path_factory.mktemp("small"), rows)


@pytest.mark.slow
def test_a_job_publishes_under_catalog_names(spark: SparkSession, small: SmallJob, lake: Path) -> None:
    job = small.load(NAMED)
    plan = plan_interval(spark, job, small.interval("2013-10-01"))
    assert plan.outputs["scores"] == f"file:{lake}/scores"
    first, second = small.run("2013-10-01", NAMED), small.run("2013-10-02", NAMED)
    assert (first.status, second.status) == ("published", "published")
    assert small.run("2013-10-01", NAMED).status == "unchanged"
    found = spark.table("lake.scores").orderBy("id").collect()
    assert [(r["id"], r["_interval"], r["_run_id"]) for r in found] == [
        (1, DAY, first.run_id),
        (3, NEXT, second.run_id),
    ]
    assert [r["id"] for r in api.scores(job).orderBy("id").collect()] == [1, 3]
    assert [r["id"] for r in api.quarantine(job).collect()] == [2]
    target = open_outputs(spark, job)
    by_path = open_outputs(spark, small.load(f"output.scores={lake}/scores"))
    assert target.locations() == {k: f"file:{v}" for k, v in by_path.locations().items()}
    for name, table in (("scores", target.scores), ("quarantine", target.quarantine), ("audit", target.audit)):
        assert table.properties()["batchscore.job"] == "small", name
        assert table.properties()["delta.logRetentionDuration"] == "interval 365 days", name
    assert target.scores.partition_columns() == ["_interval"]
    assert [r["tableName"] for r in spark.sql("SHOW TABLES IN lake").collect()] == [
        "scores",
        "scores_audit",
        "scores_quarantine",
    ]
    assert not list((lake / "scores_stage").glob("*"))
    assert [c.operation for c in target.scores.commits(-1)] == ["CREATE TABLE", "WRITE", "WRITE"]


def test_creators_at_once_end_with_one_table(spark: SparkSession, lake: Path) -> None:
    schema = spark.createDataFrame([], "id bigint, _interval string").schema
    tables = [DeltaTable(spark.newSession(), "lake.race") for _ in range(3)]
    with ThreadPoolExecutor(len(tables)) as pool:
        list(pool.map(lambda table: table.create(schema, ["_interval"], {"batchscore.job": "race"}), tables))
    assert [(t.version(), t.location) for t in tables] == [(0, f"file:{lake}/race")] * 3
    assert tables[0].properties() == {"batchscore.job": "race"}
    spark.sql("DROP TABLE lake.race")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.t", r"table nowhere\.t: expected the catalog to have a schema 'nowhere'; it has none .SCHEMA_NOT"),
        ("no.such.t", r"table no\.such\.t: expected a catalog that can be asked for it; it answers REQUIRES_SINGLE"),
        ("lake.v", r"table lake\.v: expected a Delta table, or a name that is free; found a view\."),
        ("lake.p", r"table lake\.p: expected a Delta table, or a name that is free; found a table of parquet\."),
    ],
)  # fmt: skip
def test_names_that_cannot_be_an_output_are_refused(
    spark: SparkSession, small: SmallJob, lake: Path, name: str, message: str
) -> None:
    spark.sql("CREATE OR REPLACE VIEW lake.v AS SELECT 1 AS id")
    spark.sql("CREATE TABLE IF NOT EXISTS lake.p (id INT) USING parquet")
    with pytest.raises(ConfigError, match=message):
        open_outputs(spark, small.load(f"output.scores={name}"))


def test_a_name_whose_place_is_taken_is_not_created(spark: SparkSession, lake: Path) -> None:
    (lake / "taken").mkdir()
    (lake / "taken" / "file").write_text("somebody's")
    table = DeltaTable(spark, "lake.taken")
    with pytest.raises(
        ConfigError, match=rf"table lake\.taken: expected the catalog to create it at file:{lake}/taken"
    ):
        table.create(spark.range(0).schema, [], {})
    assert not table.exists()


@pytest.mark.parametrize(
    ("place", "sets", "message"),
    [
        ("lake.scores", ("output.format=parquet",), r"output\.scores: expected a path with a '/' for Parquet output"),
        ("scores", (), r"output\.scores: expected a path with a '/', or a catalog name, as SCHEMA\.TABLE"),
        ("s3a://bucket/scores", (), r"output\.scores .*: expected a store on which two drivers .*S3DynamoDBLogStore"),
        ("s3a://bucket/scores", ("output.format=parquet",), r"found 's3a'\. See to it that one driver"),
    ],
)
def test_places_that_a_reference_brings_are_checked_when_they_are_known(
    spark: SparkSession,
    small: SmallJob,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    sets: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.setenv("PLACE", place)
    with pytest.raises(ConfigError, match=message):
        open_outputs(spark, small.load("output.scores=${env:PLACE}", *sets))


@pytest.mark.slow
def test_tables_are_refused_migrated_and_refused_again(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = make_small_job(spark, tmp_path, [GOOD, row(id=2, text=None)])
    first = small.run()
    path = {name: f"delta.`{tmp_path}/{name}`" for name in ("scores", "scores_quarantine")}
    spark.sql(f"ALTER TABLE {path['scores']} SET TBLPROPERTIES ('delta.logRetentionDuration' = 'interval 7 days')")
    spark.sql(f"ALTER TABLE {path['scores_quarantine']} UNSET TBLPROPERTIES ('delta.appendOnly')")
    wider = "output.passthrough=[city, at]"
    before = small.versions()
    with pytest.raises(ConfigError, match=r"found 'interval 7 days'.*\n.*missing at\. .*migrate CONFIG. adds them"):
        small.run("2013-10-01", wider)
    assert api.migrate(small.load(wider), dry_run=True).to_dict()["done"] is False
    assert small.versions() == before

    assert run_cli(["migrate", small.file, "--set", wider, "--json"]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert [(c["table"], c["change"]) for c in changes] == [
        ("quarantine", "SET TBLPROPERTIES ('delta.appendOnly' = 'true')"),
        ("scores", "ADD COLUMNS (at TIMESTAMP)"),
        ("scores", "SET TBLPROPERTIES ('delta.logRetentionDuration' = 'interval 365 days')"),
    ]
    assert api.migrate(small.load(wider)).changes == ()
    second = small.run("2013-10-01", wider)
    assert list(small.outputs().scores.columns())[-1] == "at"
    assert [(r["id"], r["_run_id"], r["at"] is None) for r in small.scores()] == [(1, second.run_id, False)]
    back = rollback_interval(spark, small.load(wider), small.interval("2013-10-01"), first.run_id, None)
    assert [(r["id"], r["_run_id"], r["at"]) for r in small.scores()] == [(1, back.run_id, None)]

    keyed = ("input.key=[id, city]", "output.passthrough=[at]")
    for sets, message in (((), "too many: at"), (keyed, "missing city.*have no such key")):
        with pytest.raises(ConfigError, match=f"{message}.* name a new path"):
            small.run("2013-10-01", *sets, force=True)
        with pytest.raises(ConfigError, match=f"{message}.* name a new path"):
            api.migrate(small.load(*sets))
    spark.sql(f"ALTER TABLE {path['scores']} ADD COLUMNS (mine INT)")
    small.outputs().ledger.repair()
    assert [(r["kind"], r.get("operation") or r.get("change", "")[:11]) for r in small.audit()] == [
        ("run", ""),
        ("migrate", "ADD COLUMNS"),
        ("migrate", "SET TBLPROP"),
        ("migrate", "SET TBLPROP"),
        ("run", ""),
        ("rollback", ""),
        ("foreign", "ADD COLUMNS"),
    ]
