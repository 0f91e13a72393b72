"""Transaction versions: as Delta knows them, whichever way they were learned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchscore.tables import log
from batchscore.tables.log import DeltaLog

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
