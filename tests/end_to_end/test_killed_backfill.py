"""A month of flights whose backfill is killed three times: each day is published once, and only what is left is run."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from processes import BATCHSCORE, TIMEOUT_S, run_process, start_process

from batchscore import api

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SPAN = ("--start", "2013-11-01", "--end", "2013-12-01")
KILLS = 3


def kill_after(command: list[str], ended: int, delay_s: float, folder: Path) -> None:
    """Start a command; kill it and all its processes once so many of its intervals have ended, and a moment later."""
    process = start_process(command, folder=folder)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(rf"\b{ended} of \d+: ", line):
                break
        else:
            pytest.fail("the backfill ended before it was killed")
        try:
            process.wait(delay_s)
            pytest.fail("the backfill ended before it was killed")
        except subprocess.TimeoutExpired:
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=TIMEOUT_S)  # which also closes its pipe


@pytest.mark.slow
def test_a_backfill_that_is_killed_three_times_publishes_each_day_once(spark: SparkSession, folder: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    chance = random.Random(seed)
    job = folder / "flights.yaml"
    command = [*BATCHSCORE, "backfill", str(job), *SPAN]
    for _ in range(KILLS):
        kill_after(command, chance.randint(1, 7), chance.uniform(0.0, 6.0), folder)
    before = api.status(job, SPAN[1], SPAN[3], quick=True).counts["done"]

    done = run_process([*command, "--json"], folder=folder)
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    result = json.loads(done.stdout)
    assert result["counts"] == {"unchanged": before, "published": 30 - before}, seed

    records = [r for r in api.runs(job, limit=1000).records if str(r.get("interval", "")).startswith("2013-1")]
    month = [r for r in records if "2013-11-01" <= r["interval"] < "2013-12-01T05"]
    published = Counter(r["interval"] for r in month if r["kind"] == "run")
    assert (len(published), set(published.values())) == (30, {1}), seed
    assert {r["kind"] for r in month} <= {"run", "abandoned"}
    assert len(month) - 30 <= KILLS, "only the day in hand is run again"
    runs = {row["_run_id"] for row in api.scores(job).select("_run_id", "_interval").distinct().collect()}
    assert {r["run_id"] for r in month if r["kind"] == "run"} <= runs
    assert api.status(job, SPAN[1], SPAN[3]).counts == {"done": 30}
    told = f"seed {seed}: {KILLS} kills survived of {KILLS}, {before} days done before the last start, 30 after"
    print(told)  # noqa: T201 - the figures of this round
