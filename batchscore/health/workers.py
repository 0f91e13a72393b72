"""The workers: what Python the Spark tasks find, compared with the driver's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from batchscore.failures import retell
from batchscore.health.checks import Check

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Report = Mapping[str, str | None]

MAX_TASKS = 64
_COMPARED = ("python", "pyarrow", "onnxruntime", "batchscore")


def check_workers(spark: SparkSession) -> list[Check]:
    """Run a tiny Spark job, and compare the workers' Python with this one."""
    try:
        reports = read_workers(spark)
    except Exception as error:
        return [Check("workers", "FAIL", str(retell(error)))]
    return list(compare_workers(json.loads(_make_report()(0)), reports))


def compare_workers(own: Report, reports: Sequence[Report]) -> Iterator[Check]:
    """A verdict on each worker's Python: what lacks a package or runs another Python fails.

    Args:
        own: The driver's report.
        reports: The workers' reports.
    """
    for report in reports:
        where = f"{report['executable']} on {report['host']}"
        other = [name for name in _COMPARED if report[name] != own[name]]
        differences = ", ".join(f"{name} {report[name] or 'not installed'} (driver: {own[name]})" for name in other)
        if "python" in other or any(report[name] is None for name in other):
            advice = "Install batchscore[cpu] there, or set PYSPARK_PYTHON to an interpreter that has it"
            yield Check("workers", "FAIL", f"{where}: {differences}. {advice}.")
        elif other:
            yield Check("workers", "WARN", f"{where}: {differences}. Install the same versions there.")
        else:
            yield Check("workers", "OK", f"{where}: " + ", ".join(f"{name} {report[name]}" for name in _COMPARED))


def read_workers(spark: SparkSession) -> list[Report]:
    """What the workers report, by a job with one task for each slot; equal reports once."""
    slots = min(spark.sparkContext.defaultParallelism, MAX_TASKS)
    found = spark.sparkContext.parallelize(range(slots), slots).map(_make_report()).collect()
    return [json.loads(text) for text in sorted(set(found))]


def _make_report() -> Callable[[int], str]:
    """A function that Spark sends by value, since it is nested: a worker without batchscore can still say so."""

    def report(_: int) -> str:
        import json  # noqa: PLC0415 - the worker may lack this module's own imports
        import platform  # noqa: PLC0415
        import socket  # noqa: PLC0415
        import sys  # noqa: PLC0415
        from importlib import metadata  # noqa: PLC0415

        def version(*names: str) -> str | None:
            for name in names:
                try:
                    return metadata.version(name)
                except metadata.PackageNotFoundError:
                    continue
            return None

        found = {
            "executable": sys.executable,
            "host": socket.gethostname(),
            "python": ".".join(platform.python_version_tuple()[:2]),
            "pyarrow": version("pyarrow"),
            "onnxruntime": version("onnxruntime", "onnxruntime-gpu"),
            "batchscore": version("batchscore"),
        }
        return json.dumps(found)

    return report
