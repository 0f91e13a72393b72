"""The Arrow UDFs around the kernel: rows travel as Arrow batches, the model's bytes once by broadcast."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batchscore.errors import ModelError
from batchscore.kernel.batch import run_kernel
from batchscore.kernel.checking import CheckSpec, run_checks
from batchscore.kernel.scan import scan_share
from batchscore.kernel.spec import KernelSpec
from batchscore.kernel.tally import Tally
from batchscore.kernel.training import FillSpec, fill_batches
from batchscore.scoring.finders import drop_spark_finders
from batchscore.scoring.resources import task_address, task_profile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MAX_BROADCAST_BYTES = 2**31 - 1
Task = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def score_rows(spark: SparkSession, rows: DataFrame, spec: KernelSpec, contents: Mapping[str, bytes]) -> DataFrame:
    """Check, score and tally rows in Python workers; nothing runs until the result is written or read.

    Args:
        spark: The session.
        rows: [n] rows with the columns that the spec names.
        spec: What the kernel does.
        contents: Bytes of the pinned models by their digests.

    Returns:
        Every row once with its outcome, and one tally row for each task; columns as `spec.schema`.

    Raises:
        ModelError: The model is too large to broadcast.
    """
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - the driver alone needs it

    challenger = spec.scores.challenger
    for model in (*spec.scores.models, challenger) if challenger else spec.scores.models:
        if len(contents[model.sha256]) > MAX_BROADCAST_BYTES:
            raise ModelError(
                f"model {model.label}: expected at most {MAX_BROADCAST_BYTES} bytes; found "
                f"{len(contents[model.sha256])}. Models above 2 GiB cannot be broadcast; make it smaller, for example "
                "by quantising it."
            )
    broadcasts = {sha256: spark.sparkContext.broadcast(content) for sha256, content in contents.items()}
    schema = from_arrow_schema(pa.ipc.read_schema(pa.py_buffer(spec.schema)))
    profile = task_profile(spark, spec.session)
    return _map_batches(rows, partial(_score_task, spec=spec, broadcasts=broadcasts), schema, profile)


def fill_rows(rows: DataFrame, spec: FillSpec) -> DataFrame:
    """Rows with their features after null policies, those left out that lack one.

    Args:
        rows: [n] rows with the columns that the spec names.
        spec: What to give back.
    """
    from pyspark.sql.pandas.types import from_arrow_schema  # noqa: PLC0415 - the driver alone needs it

    schema = from_arrow_schema(pa.ipc.read_schema(pa.py_buffer(spec.schema)))
    return _map_batches(rows, partial(fill_batches, spec=spec), schema)


def tally_rows(rows: DataFrame, spec: CheckSpec) -> Tally:
    """What rows amount to under rules and tallies, in one pass and one Spark job.

    Args:
        rows: [n] rows with the columns that the spec reads.
        spec: What to check.
    """
    told = _map_batches(rows, partial(_check_task, spec=spec), "_tally string").collect()
    return Tally.merge(Tally.from_json(row["_tally"]) for row in told)


def _map_batches(rows: DataFrame, task: Task, schema: Any, profile: Any = None) -> DataFrame:
    """Run a task over the Arrow batches of rows, whatever their columns are called.

    PySpark's `mapInArrow` looks columns up by bare names, where a dot means a field of a struct; so they have none.
    """
    placed = rows.toDF(*[f"_{position}" for position in range(len(rows.columns))])
    return placed.mapInArrow(partial(_run_named, names=rows.columns, task=task), schema, profile=profile)


def _run_named(batches: Iterator[pa.RecordBatch], *, names: Sequence[str], task: Task) -> Iterator[pa.RecordBatch]:
    drop_spark_finders()
    return task(pa.RecordBatch.from_arrays(batch.columns, names=list(names)) for batch in batches)


def tally_files(
    spark: SparkSession, files: Sequence[str], types: Mapping[str, pa.DataType], spec: CheckSpec
) -> Tally | None:
    """What the rows of whole local Parquet files amount to, read by the workers themselves in one Spark job.

    Args:
        spark: The session.
        files: Local paths.
        types: The columns that the spec reads, with the types that it was compiled for.
        spec: What to check.

    Returns:
        The tally; None where a file holds other types.
    """
    shares = spark.sparkContext.defaultParallelism
    scan = partial(_scan_task, files=tuple(files), shares=shares, types=dict(types), spec=spec)
    told = spark.sparkContext.parallelize(range(shares), shares).map(scan).collect()
    return None if None in told else Tally.merge(Tally.from_json(text) for text in told)


def _scan_task(
    share: int, *, files: Sequence[str], shares: int, types: Mapping[str, pa.DataType], spec: CheckSpec
) -> Any:
    drop_spark_finders()
    return scan_share(files, share, shares, types, spec)


def _check_task(batches: Iterator[pa.RecordBatch], *, spec: CheckSpec) -> Iterator[pa.RecordBatch]:
    return run_checks(batches, spec, f"{socket.gethostname()}:{os.getpid()}")


def _score_task(
    batches: Iterator[pa.RecordBatch], *, spec: KernelSpec, broadcasts: Mapping[str, Any]
) -> Iterator[pa.RecordBatch]:
    worker = f"{socket.gethostname()}:{os.getpid()}"
    return run_kernel(batches, spec, lambda sha256: broadcasts[sha256].value, worker, task_address())
