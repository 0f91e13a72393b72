"""What a job's sessions are given: ONNX Runtime's options, the cores of a task, and the GPUs that it asks Spark for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batchscore.config import ScoringConfig
from batchscore.kernel.spec import ScoresSpec, SessionSpec

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


def session_spec(scoring: ScoringConfig, scores: ScoresSpec) -> SessionSpec:
    """How ONNX Runtime is set up for a job's models."""
    gpu = scoring.gpu
    # A batch needs every member of an ensemble, and the challenger: fewer would be built again for each batch.
    needed = (len(scores.models) if scores.weights else 1) + (scores.challenger is not None)
    return SessionSpec(
        device=scoring.device,
        threads=() if scoring.threads == "auto" else (scoring.threads,),
        arena=scoring.arena,
        optimization=scoring.optimization,
        gpu_memory_bytes=parse_size(gpu.memory_limit),
        tf32=gpu.tf32,
        fp16=gpu.fp16,
        engine_cache=gpu.engine_cache or "",
        sessions_per_device=gpu.sessions_per_device,
        gpus_per_task=gpu.per_task,
        kept=max(scoring.max_sessions, needed),
    )


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

    cores = int(spark.sparkContext.getConf().get("spark.task.cpus", "1"))
    requests = TaskResourceRequests().cpus(cores).resource(GPU, session.gpus_per_task)
    return ResourceProfileBuilder().require(requests).build


def in_task(session: SessionSpec) -> SessionSpec:
    """How ONNX Runtime is set up in the task that runs here, whose cores say what threads a call may have."""
    from pyspark import TaskContext  # noqa: PLC0415 - there is one on workers alone

    if session.threads:
        return session
    context = TaskContext.get()
    return replace(session, threads=thread_counts(context.cpus() if context is not None else 1))


def thread_counts(cores: int) -> tuple[int, ...]:
    """Threads worth a try on so many cores: powers of two, and all of them."""
    return (*(1 << k for k in range((cores - 1).bit_length())), cores)


def task_address() -> int | None:
    """The GPU that Spark gave the task that runs here; None where it gave none."""
    from pyspark import TaskContext  # noqa: PLC0415 - there is one on workers alone

    context = TaskContext.get()
    given = context.resources().get(GPU) if context is not None else None
    return int(given.addresses[0]) if given is not None and given.addresses else None
