"""Case `start`: what the command line costs before any row is scored, each time in a process of its own.

CPU seconds of `--help` and `validate`; seconds of a cold `run` of 1,000 rows, beside those of starting Spark alone.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whole import COLUMNS, SMALL_ROWS, _register, _write_job, _write_rows

SESSION = "import sys; from batchscore import api; api.spark_session(sys.argv[1]).range(1).count()"


def bench_start(folder: Path, rounds: int, processes: int) -> dict[str, Any]:
    """Time case `start`; the result as plain values."""
    job = _write_job(folder, "small", SMALL_ROWS, processes, [{"name": name} for name in COLUMNS])
    job.write_text(job.read_text().replace('"comet"', '"none"'))
    from batchscore import api  # noqa: PLC0415

    _write_rows(api.spark_session(job), folder, SMALL_ROWS, processes)
    _register(folder, 50)
    batchscore = [sys.executable, "-m", "batchscore"]
    commands = {
        "help": [*batchscore, "--help"],
        "validate": [*batchscore, "validate", str(job)],
        "session": [sys.executable, "-c", SESSION, str(job)],
        "run": [*batchscore, "run", str(job), "--force"],
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            seconds = _time(command)
            if turn:
                taken[name].append(seconds)
    medians = {name: [round(statistics.median(column), 3) for column in zip(*times)] for name, times in taken.items()}  # noqa: B905
    return {"case": "start", "rows": SMALL_ROWS, "wall_and_cpu_s": taken, "median_wall_and_cpu_s": medians}


def print_start(case: Mapping[str, Any]) -> None:
    """The figures of case `start`."""
    found = case["median_wall_and_cpu_s"]
    for name, (wall, cpu) in found.items():
        print(f"  {name:<9} {wall:6.2f} s wall, {cpu:6.2f} s CPU")
    print(f"  a cold run takes {found['run'][0] - found['session'][0]:.2f} s more than a session")


def _time(command: Sequence[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command and its children."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
