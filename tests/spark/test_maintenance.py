"""Maintenance: no row changes, nothing foreign in the audit, and only files that no promise covers go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from small_job import SmallJob, make_small_job, row

from batchscore.auditing import verify_audit
from batchscore.errors import ConfigError
from batchscore.mending import maintain
from batchscore.replaying import replay_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = "2013-10-01"
CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path) -> SmallJob:
    """A day that was published three times."""
    small = make_small_job(spark, tmp_path, [row(id=i, text=None if i == 3 else "t") for i in range(4)], created=True)
    for _ in range(3):
        small.run(DAY, force=True)
    return small


def test_nothing_that_is_promised_goes(small: SmallJob) -> None:
    before, oldest = small.scores(), small.audit()[0]["run_id"]
    found = maintain(small.file)
    assert set(found.tables) == {"scores", "quarantine", "audit"}
    assert (found.tables["audit"]["joined"], found.tables["audit"]["became"]) == (3, 1)
    assert all(done["removed"] == 0 for done in found.tables.values())
    assert small.scores() == before
    assert replay_run(small.spark, small.load(), oldest, None).certified
    assert verify_audit(small.spark, small.load()).whole
    records = small.audit()
    assert [record["kind"] for record in records] == ["run", "force", "force", "maintain"]
    assert records[-1]["tables"]["audit"]["joined"] == 3
    assert small.run(DAY).status == "unchanged"
    assert "small files" in str(found)


@pytest.mark.slow
def test_what_nothing_promises_any_more_goes(small: SmallJob) -> None:
    before = small.scores()
    table = f"delta.`{small.folder}/scores`"
    small.spark.sql(
        f"alter table {table} set tblproperties ('delta.deletedFileRetentionDuration' = 'interval 0 hours')"
    )
    kept = small.spark.conf.get(CHECK, "true")
    small.spark.conf.set(CHECK, "false")
    try:
        assert maintain(small.file, vacuum=False).tables["scores"]["removed"] == 0
        assert maintain(small.file).tables["scores"]["removed"] >= 2
    finally:
        small.spark.conf.set(CHECK, str(kept))
    assert small.scores() == before


def test_plain_parquet_has_nothing_to_maintain(small: SmallJob) -> None:
    with pytest.raises(ConfigError, match="maintain: expected Delta output; plain Parquet has no versions"):
        maintain(small.load("output.format=parquet", "output.scores=./parquet_scores"))
