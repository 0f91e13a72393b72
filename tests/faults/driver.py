"""A driver of its own process for fault tests: runs what it is told, and stands still at the points that it is told.

Usage: driver.py CONTROL NAME MASTER [KEY=VALUE…]

Each line of stdin is a command in JSON, numbered from 1: `{"folder": …, "day": …, "sets": […], "pause": [POINT…],
"watch": TASKS}`. At a point of `pause` the driver writes CONTROL/NAME.NUMBER.POINT and waits until a file of that name
with `.go` stands there. As soon as so many tasks score it writes CONTROL/NAME.NUMBER.tasks, and goes on. When the
command has ended it writes CONTROL/NAME.NUMBER.result. End of stdin ends it.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fault_job import FaultJob, open_cheap_session

from batchscore import hooks
from batchscore.errors import BatchscoreError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

POLL_S = 0.02
BEHIND = hooks.POINTS[hooks.POINTS.index("scores.written") :]


def main() -> None:
    """Read commands until there are no more."""
    control, name, master, *conf = sys.argv[1:]
    spark = open_cheap_session(master, **dict(pair.split("=", 1) for pair in conf))
    _write(Path(control, f"{name}.ready"), {})
    for number, line in enumerate(sys.stdin, 1):
        place = Path(control, f"{name}.{number}")
        _write(Path(f"{place}.result"), _obey(spark, json.loads(line), place))


def _obey(spark: SparkSession, command: dict[str, Any], place: Path) -> dict[str, Any]:
    job, pauses, seen = FaultJob(Path(command["folder"])), list(command["pause"]), []
    parent, over = os.getppid(), threading.Event()

    def tell(point: str) -> None:
        seen.append(point)
        # Points of the fold come first in a repair at the start; those behind the commit are meant.
        if point in pauses and (point not in BEHIND or "scores.begun" in seen):
            pauses.remove(point)
            _write(Path(f"{place}.{point}"), {})
            while not Path(f"{place}.{point}.go").exists():
                time.sleep(POLL_S)
                if os.getppid() != parent:
                    os._exit(1)  # the test is gone

    def watch() -> None:
        while not over.wait(POLL_S):
            if seen[-1:] == ["stage.noted"] and _count_tasks(spark, "numActiveTasks") >= command["watch"]:
                return _write(Path(f"{place}.tasks"), {})

    if command["watch"]:
        threading.Thread(target=watch, daemon=True).start()
    hooks.listen(tell)
    started = time.perf_counter()
    try:
        record = job.run(spark, dt.date.fromisoformat(command["day"]), *command["sets"])
        result = {"status": record.status, "run_id": record.run_id, "generation": record.generation}
    except BatchscoreError as error:
        result = {"status": type(error).__name__, "exit_code": error.exit_code, "message": str(error)}
    finally:
        hooks.listen(None)
        over.set()
    result["failed_tasks"] = _count_tasks(spark, "numFailedTasks")
    return {**result, "seen": seen, "seconds": round(time.perf_counter() - started, 2)}


def _count_tasks(spark: SparkSession, which: str) -> int:
    """Tasks of the stages that Spark still knows of, failed or active, of the run in hand."""
    tracker = spark.sparkContext.statusTracker()
    group = spark.sparkContext.getLocalProperty("spark.jobGroup.id") if which == "numFailedTasks" else None
    jobs = tracker.getActiveJobsIds() if group is None else tracker.getJobIdsForGroup(group)
    stages = [stage for job in jobs if (found := tracker.getJobInfo(job)) is not None for stage in found.stageIds]
    return sum(getattr(info, which) for stage in stages if (info := tracker.getStageInfo(stage)) is not None)


def _write(file: Path, content: dict[str, Any]) -> None:
    """Write a file whole: who looks sees all of it or nothing."""
    draft = file.with_name(f".{file.name}")
    draft.write_text(json.dumps(content))
    draft.rename(file)


if __name__ == "__main__":
    main()
