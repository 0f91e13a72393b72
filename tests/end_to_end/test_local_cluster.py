"""A whole job with workers in processes of their own: nothing of it depends on sharing the driver's memory."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import flights_oracle as oracle
import pytest
from processes import BATCHSCORE, run_process

from batchscore.demo.packages import find_data_folder

WEEK = "2013-W41"
DAYS = [date(2013, 10, 7) + timedelta(days=k) for k in range(7)]
SETS = (
    "engine.master=local-cluster[2,1,2048]",
    "engine.conf={spark.scheduler.minRegisteredResourcesRatio: '1.0'}",  # both workers are there before the first task
    "interval.grain=week",  # a week's files are enough for two tasks
    "interval.schedule=weekly",
    "interval.start=2013-W01",
    "interval.end=2014-W01",
    "output.scores=tables/by_week",
)


@pytest.mark.slow  # three JVMs
def test_a_week_is_scored_by_workers_in_processes_of_their_own(demo_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(demo_folder, folder)
    suite = folder / "expectations" / "flights_input.json"
    content = json.loads(suite.read_text(encoding="utf-8"))
    kept = [e for e in content["expectations"] if e["type"] != "expect_table_row_count_to_be_between"]  # that of a day
    suite.write_text(json.dumps({**content, "expectations": kept}), encoding="utf-8")
    command = [*BATCHSCORE, "run", str(folder / "flights.yaml"), "--interval", WEEK, "--json"]
    done = run_process([*command, *(word for text in SETS for word in ("--set", text))], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    data = find_data_folder()
    read = sum(len(oracle.flights_of_day(data, day)) for day in DAYS)
    aside = sum(len(oracle.expected_quarantine(data, day)) for day in DAYS)
    assert aside > 20
    assert record["status"] == "published"
    assert record["counts"] == {"read": read, "scored": read - aside, "quarantined": aside}
    assert len(record["runtime"]["workers"]) == 2
    assert "ERROR" not in done.stderr
