"""Deaths below the driver: Python workers and executors, and tasks that run twice by speculation."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from checker import check
from children import Child, child_driver, command_of, descendants, signal_process
from fault_job import FaultJob, days
from figures import Figures
from pair import Pair


def python_workers(driver: Child) -> list[int]:
    """Workers that PySpark's daemon has forked, busy or idle."""
    daemons = [pid for pid in descendants(driver.process.pid) if "pyspark.daemon" in command_of(pid)]
    return [worker for pid in daemons for worker in descendants(pid)]


def executors(driver: Child) -> list[int]:
    """Executors of a local cluster."""
    found = [(pid, command_of(pid)) for pid in descendants(driver.process.pid)]
    return [pid for pid, command in found if "CoarseGrainedExecutorBackend" in command]


def test_python_worker_dies(pair: Pair) -> None:
    kind = "deaths of a Python worker"
    driver, _ = pair.drivers()
    if not python_workers(driver):  # an idle one lives for a minute
        day = next(pair.days)
        driver.run(pair.job, day)
        assert driver.result()["status"] == "published"
        pair.landed(day)
    day = next(pair.days)
    driver.run(pair.job, day, pause=["stage.noted"], watch=1)
    driver.wait_at("stage.noted")
    workers = python_workers(driver)
    for pid in workers:
        signal_process(pid, signal.SIGSTOP)  # the task is given to one of them, and waits
    driver.release("stage.noted")
    driver.wait_at("tasks")
    time.sleep(1)  # into the worker
    for pid in workers:
        signal_process(pid, signal.SIGKILL)
    result = driver.result()
    assert (result["status"], result["failed_tasks"]) == ("published", 1), result
    pair.figures.strike(kind)
    pair.landed(day)
    pair.look(kind)


@pytest.mark.slow
def test_executors_die(job: FaultJob, figures: Figures, tmp_path: Path) -> None:
    kind, day = "deaths of all executors", days(0)[0]
    with child_driver(tmp_path, master="local-cluster[2,1,1024]") as driver:
        driver.run(job, day, pause=["stage.noted"], watch=1)
        driver.wait_at("stage.noted")
        victims = executors(driver)
        assert len(victims) == 2
        for pid in victims:
            signal_process(pid, signal.SIGSTOP)
        driver.release("stage.noted")
        driver.wait_at("tasks")
        for pid in victims:
            signal_process(pid, signal.SIGKILL)
        result = driver.result()
        others = executors(driver)
    assert result["status"] == "published", result
    assert others
    assert not set(others) & set(victims)  # what the frozen ones had begun was done by new ones
    figures.strike(kind)
    figures.survive(kind, check(job.scores, {job.name(day): job.wanted(day)}))


@pytest.mark.slow
def test_speculation_counts_no_row_twice(job: FaultJob, figures: Figures, tmp_path: Path) -> None:
    kind, day = "tasks run twice by speculation", days(0)[0]
    settings = {"spark__speculation": "true", "spark__speculation__task__duration__threshold": "1s"}
    with child_driver(tmp_path, master="local-cluster[2,1,1024]", **settings) as driver:
        driver.run(job, day, pause=["stage.noted"], watch=2)
        driver.wait_at("stage.noted")
        slow = executors(driver)
        for pid in slow:
            signal_process(pid, signal.SIGSTOP)
        driver.release("stage.noted")
        driver.wait_at("tasks")  # the task and its copy
        for pid in slow:
            signal_process(pid, signal.SIGCONT)
        result = driver.result()
    assert result["status"] == "published", result
    figures.strike(kind)
    figures.survive(kind, check(job.scores, {job.name(day): job.wanted(day)}))
