"""GPUs of a cluster: what tasks ask Spark for, and which GPU a task was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchscore.kernel.spec import SessionSpec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GPU = "gpu"
_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}


def parse_size(text: str | None) -> int:
    """Bytes in a size such as `512m` or `8g`; 0 for none."""
    if text is None:
        return 0
    number = text.lower().removesuffix("b")
    return int(number[:-1]) << _UNITS[number[-1]]


def task_profile(spark: SparkSession, session: SessionSpec) -> Any:
    """The resource profile that gives each task its GPU; None where Spark has none to give, or none is wanted.

    It names what a task needs and nothing of executors, so it works without dynamic allocation; source:
    https://spark.apache.org/docs/latest/configuration.html#stage-level-scheduling-overview.

    Args:
        spark: The session. In local mode Spark hands no GPUs out.
        session: How ONNX Runtime is set up. `auto` asks for GPUs where the executors have some.
    """
    master = str(spark.sparkContext.master)
    has_gpus = int(spark.sparkContext.getConf().get(f"spark.executor.resource.{GPU}.amount", "0")) > 0
    if master.startswith("local") and not master.startswith("local-cluster"):
        return None
    if session.device == "cpu" or not has_gpus:
        return None
    from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests  # noqa: PLC0415 - the driver alone

    requests = TaskResourceRequests().cpus(1).resource(GPU, session.gpus_per_task)
    return ResourceProfileBuilder().require(requests).build


def task_address() -> int | None:
    """The GPU that Spark gave the task that runs here; None where it gave none."""
    from pyspark import TaskContext  # noqa: PLC0415 - there is one on workers alone

    context = TaskContext.get()
    given = context.resources().get(GPU) if context is not None else None
    return int(given.addresses[0]) if given is not None and given.addresses else None
