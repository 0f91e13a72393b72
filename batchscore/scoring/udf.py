"""The Arrow UDFs around the kernel: rows travel as Arrow batches, the model's bytes once by broadcast."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batchscore.errors import ModelError
from batchscore.kernel.batch import run_kernel
from batchscore.kernel.checking import CheckSpec, run_checks
from batchscore.kernel.scan import Piece, ScanSpec, read_pieces, tally_pieces
from batchscore.kernel.spec import KernelSpec
from batchscore.kernel.staging import STAGED, StagePlace, stage_batches
from batchscore.kernel.tally import Tally
from batchscore.kernel.training import FillSpec, fill_batches
from batchscore.scoring.finders import drop_spark_finders
from batchscore.scoring.resources import in_task, task_address, task_profile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MAX_BROADCAST_BYTES = 2**31 - 1
READ_ROWS = 16_384  # of a batch that workers read themselves
Task = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def score_rows(
    spark: SparkSession,
    rows: DataFrame,
    spec: KernelSpec,
    contents: Mapping[str, bytes],
    stage: StagePlace | None = None,
) -> DataFrame:
    """Check, score and tally rows in Python workers; nothing runs until the result is written or read.

    Args:
        spark: The session.
        rows: [n] rows with the columns that the spec names.
        spec: What the kernel does.
        contents: Bytes of the pinned models by their digests.
        stage: Where the workers write the rows to; None to give them back.

    Returns:
        Every row once with its outcome, and one tally row for each task; columns as `spec.schema`. Where the workers
        write them: the files, `_file` relative to its folder, each with its `_outcome`.

    Raises:
        ModelError: The model is too large to broadcast.
    """
    schema, task, profile = _scoring(spark, spec, contents, stage)
    return _map_batches(rows, task, schema, profile)


def score_files(
    spark: SparkSession,
    shares: Sequence[tuple[Piece, ...]],
    scan: ScanSpec,
    spec: KernelSpec,
    contents: Mapping[str, bytes],
    stage: StagePlace | None = None,
) -> DataFrame:
    """The same for rows that the workers read themselves.

    Args:
        spark: The session.
        shares: What each task reads.
        scan: Which columns.
        spec: What the kernel does.
        contents: Bytes of the pinned models by their digests.
        stage: As for `score_rows`.

    Returns:
        As `score_rows`.

    Raises:
        ModelError: The model is too large to broadcast.
    """
    schema, task, profile = _scoring(spark, spec, contents, stage)
    read = partial(_read_share, shares=tuple(shares), scan=scan, task=task)
    numbers = spark.range(0, len(shares), 1, len(shares))
    return numbers.mapInArrow(read, schema, profile=profile)


def _scoring(
    spark: SparkSession, spec: KernelSpec, contents: Mapping[str, bytes], stage: StagePlace | None
) -> tuple[Any, Task, Any]:
    """The schema of what scoring gives back, the task that does it, and its resource profile."""
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
    schema = from_arrow_schema(STAGED if stage else pa.ipc.read_schema(pa.py_buffer(spec.schema)))
    task = partial(_score_task, spec=spec, broadcasts=broadcasts, stage=stage)
    return schema, task, task_profile(spark, spec.session)


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


def tally_files(spark: SparkSession, shares: Sequence[tuple[Piece, ...]], scan: ScanSpec, spec: CheckSpec) -> Tally:
    """What rows that the workers read themselves amount to, in one Spark job.

    Args:
        spark: The session.
        shares: What each task reads.
        scan: The columns that the spec reads.
        spec: What to check.
    """
    numbers = spark.sparkContext.parallelize(range(len(shares)), max(1, len(shares)))
    told = numbers.map(partial(_tally_share, shares=tuple(shares), scan=scan, spec=spec)).collect()
    return Tally.merge(Tally.from_json(text) for text in told)


def _tally_share(number: int, *, shares: Sequence[tuple[Piece, ...]], scan: ScanSpec, spec: CheckSpec) -> str:
    drop_spark_finders()
    return tally_pieces(shares[number], scan, spec)


def _read_share(
    numbers: Iterator[pa.RecordBatch], *, shares: Sequence[tuple[Piece, ...]], scan: ScanSpec, task: Task
) -> Iterator[pa.RecordBatch]:
    drop_spark_finders()
    pieces = [piece for batch in numbers for number in batch.column(0).to_pylist() for piece in shares[number]]
    return task(read_pieces(pieces, scan, READ_ROWS))


def _check_task(batches: Iterator[pa.RecordBatch], *, spec: CheckSpec) -> Iterator[pa.RecordBatch]:
    return run_checks(batches, spec, f"{socket.gethostname()}:{os.getpid()}")


def _score_task(
    batches: Iterator[pa.RecordBatch], *, spec: KernelSpec, broadcasts: Mapping[str, Any], stage: StagePlace | None
) -> Iterator[pa.RecordBatch]:
    worker = f"{socket.gethostname()}:{os.getpid()}"
    spec = replace(spec, session=in_task(spec.session))
    scored = run_kernel(batches, spec, lambda sha256: broadcasts[sha256].value, worker, task_address())
    yield from stage_batches(scored, stage) if stage else scored
    _keep_modules()


@cache
def _keep_modules() -> None:
    """Once in a worker: PySpark collects garbage after each task, and need not look through modules and models."""
    gc.freeze()
