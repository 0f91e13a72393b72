"""A whole job with workers in processes of their own: nothing of it depends on sharing the driver's memory."""

from __future__ import annotations

import json
import os
import shutil
from datetime import date, timedelta
from pathlib import Path
from subprocess import CompletedProcess

import flights_oracle as oracle
import pytest
from documents import REPOSITORY
from processes import BATCHSCORE, run_process

from batchscore.demo.packages import find_data_folder

WEEK = "2013-W41"
DAYS = [date(2013, 10, 7) + timedelta(days=k) for k in range(7)]
SETS = (
    "interval.grain=week",  # a week's files are enough for two tasks
    "interval.schedule=weekly",
    "interval.start=2013-W01",
    "interval.end=2014-W01",
    "output.scores=tables/by_week",
)
CLUSTER = (
    "engine.master=local-cluster[2,1,2048]",
    "engine.conf={spark.scheduler.minRegisteredResourcesRatio: '1.0'}",  # both workers are there before the first task
)


def make_weekly(demo_folder: Path, tmp_path: Path) -> Path:
    """A copy of the demo whose checks suit weeks."""
    folder = tmp_path / "demo"
    shutil.copytree(demo_folder, folder)
    for name in ("flights_input.json", "flights_output.json"):
        suite = folder / "expectations" / name
        content = json.loads(suite.read_text(encoding="utf-8"))
        kept = [e for e in content["expectations"] if e["type"] != "expect_table_row_count_to_be_between"]  # of a day
        suite.write_text(json.dumps({**content, "expectations": kept}), encoding="utf-8")
    return folder


def run_week(folder: Path, *sets: str) -> CompletedProcess[str]:
    command = [*BATCHSCORE, "run", str(folder / "flights.yaml"), "--interval", WEEK, "--json"]
    return run_process([*command, *(word for text in (*SETS, *sets) for word in ("--set", text))], folder=folder.parent)


@pytest.mark.slow  # three JVMs
def test_a_week_is_scored_by_workers_in_processes_of_their_own(demo_folder: Path, tmp_path: Path) -> None:
    done = run_week(make_weekly(demo_folder, tmp_path), *CLUSTER)
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


FAKES = Path(__file__).parent / "fake_gpus"
DISCOVERY = """#!/bin/sh
echo '{"name": "gpu", "addresses": ["0", "1"]}'
"""
GPUS = ("engine.master=local-cluster[1,2,2048]", "scoring.device=cuda")


def gpu_conf(discovery: Path, **more: str) -> str:
    conf = {
        "spark.worker.resource.gpu.amount": "2",
        "spark.worker.resource.gpu.discoveryScript": str(discovery),
        "spark.executor.resource.gpu.amount": "2",
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.executorEnv.PYTHONPATH": f"{FAKES}{os.pathsep}{REPOSITORY}",
        **more,
    }
    return f"engine.conf={json.dumps(conf)}"


@pytest.mark.slow  # two clusters
def test_each_task_uses_the_gpu_that_spark_gives_it(demo_folder: Path, tmp_path: Path) -> None:
    folder = make_weekly(demo_folder, tmp_path)
    discovery = tmp_path / "find_gpus"
    discovery.write_text(DISCOVERY, encoding="utf-8")
    discovery.chmod(0o755)

    done = run_week(folder, *GPUS, gpu_conf(discovery))
    assert done.returncode == 0, done.stderr
    runtime = json.loads(done.stdout)["runtime"]
    assert runtime["devices"] == {"cuda": 1.0}
    used = [worker["gpu"] for worker in runtime["workers"].values() if worker["rows"]]
    assert {gpu["address"] for gpu in used} == {"0", "1"}
    assert all(gpu["cuda_version"] == f"fake, device_id {gpu['address']}" for gpu in used)

    falls_back = gpu_conf(discovery, **{"spark.executorEnv.FAKE_GPU_FALLS_BACK": "1"})
    done = run_week(folder, *GPUS, falls_back, "output.scores=tables/none")
    assert done.returncode == 6, done.stderr
    assert "scoring.device: expected cuda; found: the session runs on CPUExecutionProvider" in done.stderr
    assert not list((folder / "tables" / "none").glob("_interval=*"))
