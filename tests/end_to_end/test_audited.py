"""The demo afterwards: each run computes to what it published, and mending a rule moves exactly the rows it should."""

from __future__ import annotations

import json
import signal
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flights_oracle as oracle
import pytest
from flights_oracle import DEMO_DAY
from processes import BATCHSCORE, stop_at

from batchscore import api
from batchscore.auditing import verify_audit
from batchscore.demo.packages import find_data_folder
from batchscore.erasing import erase_rows
from batchscore.mending import redrive
from batchscore.replaying import replay_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow  # every job of the demo is run first
DATA = find_data_folder()
BUSY_DAY = "2013-10-07"
NO_TAIL = "expect_column_values_to_not_be_null"


@pytest.fixture(scope="module")
def jobs(folder: Path) -> dict[str, Path]:
    """Every job of the demo, each with a run at least."""
    found = {name: folder / f"{name}.yaml" for name in ("flights", "flights_challenger", "flights_ensemble", "planes")}
    found["flights_segments"] = folder / "flights_segments.yaml"
    for name, job in found.items():
        if name != "flights":
            api.run(job, None if name == "planes" else DEMO_DAY)
    api.run(found["flights"], BUSY_DAY)
    return found


@pytest.mark.parametrize("name", ["flights", "flights_challenger", "flights_ensemble", "flights_segments", "planes"])
def test_replay_certifies_every_run(spark: SparkSession, jobs: dict[str, Path], name: str) -> None:
    job = api.load(jobs[name])
    runs = [record["run_id"] for record in api.runs(job).records if record["status"] == "published"]
    assert len(runs) == (2 if name == "flights" else 1)
    for run_id in runs:
        found = replay_run(api.spark_session(job), job, run_id, None)
        assert found.certified and found.same_key, str(found)
        assert found.equal == found.compared > 900  # on one machine to the bit


def published(job: Path) -> dict[int, tuple[str, float]]:
    rows = api.scores(job).where(f"_interval = '{BUSY_DAY}T04:00:00Z'").collect()
    return {row["flight_id"]: (row["_run_id"], row["probability_late"]) for row in rows}


def aside(job: Path) -> dict[int, list[str]]:
    rows = api.quarantine(job).where(f"_interval = '{BUSY_DAY}T04:00:00Z'").collect()
    return {row["flight_id"]: [reason["kind"] for reason in row["_reasons"]] for row in rows}


def test_a_mended_rule_moves_exactly_its_flights_even_if_killed(folder: Path, jobs: dict[str, Path]) -> None:
    job = jobs["flights"]
    before, set_aside = published(job), aside(job)
    wanted = oracle.expected_quarantine(DATA, date.fromisoformat(BUSY_DAY))
    moves = {key for key, kind in wanted.items() if kind == NO_TAIL}
    assert len(moves) == 19 and set(set_aside) == set(wanted)
    suite = folder / "expectations" / "flights_input.json"
    content: dict[str, Any] = json.loads(suite.read_text())
    kept = [e for e in content["expectations"] if (e["type"], e["kwargs"].get("column")) != (NO_TAIL, "tailnum")]
    suite.write_text(json.dumps({**content, "expectations": kept}))

    command = [*BATCHSCORE, "redrive", str(job), "--interval", BUSY_DAY]
    code, shown = stop_at(command, "committing scores", signal.SIGKILL, folder=folder)
    assert code == -signal.SIGKILL, shown
    assert published(job) == before or set(published(job)) == set(before) | moves  # all of it or nothing

    redrive(job, BUSY_DAY)
    after = published(job)
    assert set(after) == set(before) | moves
    assert {key: p for key, (_, p) in after.items() if key in before} == {key: p for key, (_, p) in before.items()}
    assert aside(job) == {key: kinds for key, kinds in set_aside.items() if key not in moves}
    record = next(r for r in api.runs(job).records if r["kind"] == "redrive")
    assert record["counts"] == {
        "read": len(before) + len(wanted),
        "scored": len(after),
        "quarantined": len(wanted) - len(moves),
    }
    (again,) = redrive(job, BUSY_DAY).intervals
    assert (again["open"], again["pass_now"]) == (len(wanted) - len(moves), 0)


def test_a_flight_can_be_erased_and_the_audit_stays_whole(spark: SparkSession, jobs: dict[str, Path]) -> None:
    job = api.load(jobs["flights"])
    key = next(iter(published(jobs["flights"])))
    found = erase_rows(api.spark_session(job), job, [{"flight_id": str(key)}], reason="request 1")
    assert found.done and found.tables["scores"]["rows"] == 1 and found.input_rows == 1
    assert key not in published(jobs["flights"])
    assert verify_audit(api.spark_session(job), job).whole
