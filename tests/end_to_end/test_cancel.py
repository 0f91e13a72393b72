"""A run that is cancelled in the middle: its exit code, its record, and no trace of it in the tables."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import BATCHSCORE, stop_at

from batchscore import api
from batchscore.outputs import open_outputs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "day"),
    [
        pytest.param(signal.SIGINT, 130, "2013-10-05", id="Ctrl-C"),
        pytest.param(signal.SIGTERM, 143, "2013-10-06", id="SIGTERM"),
    ],
)
def test_a_cancelled_run_leaves_a_record_and_nothing_else(
    spark: SparkSession, folder: Path, number: signal.Signals, code: int, day: str
) -> None:
    job = folder / "flights.yaml"
    outputs = open_outputs(spark, api.load(job))
    before = outputs.scores.version(), outputs.quarantine.version()

    command = [*BATCHSCORE, "run", str(job), "--interval", day]
    found, told = stop_at(command, "checking and scoring rows", number, folder=folder)
    assert found == code, told
    assert "Traceback" not in told and "publishing" not in told

    assert (outputs.scores.version(), outputs.quarantine.version()) == before
    newest = outputs.ledger.records({})[-1]
    assert (newest["kind"], newest["status"], newest["error"]) == ("failed", "cancelled", "cancelled")
    assert newest["interval"] == f"{day}T04:00:00Z"
    assert [p.name for p in (folder / "tables" / "flights_scores_stage").iterdir()] == []
    assert api.run(job, day).status == "published"
