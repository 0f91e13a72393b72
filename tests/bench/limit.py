"""What no run can beat: pyarrow, ONNX Runtime and pyarrow again, in as many processes as Spark has task slots.

It proves nothing, checks nothing and publishes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_ROWS = 8192
_session: ort.InferenceSession


def open_pool(model: bytes, processes: int) -> ProcessPoolExecutor:
    """Processes that keep a session each."""
    return ProcessPoolExecutor(processes, get_context("spawn"), _start, (model,))


def score_files(files: Sequence[str], target: str, columns: Sequence[str]) -> int:
    """Score some files into one; the rows."""
    done, schema = 0, pa.schema([("id", pa.int64()), ("p", pa.float32())])
    with pq.ParquetWriter(target, schema) as writer:
        for file in files:
            for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS, columns=["id", *columns], use_threads=False):
                tensor = np.column_stack([batch.column(name).to_numpy() for name in columns])
                scores = _session.run(["p"], {"features": tensor})[0]
                writer.write_batch(pa.record_batch([batch.column("id"), pa.array(scores)], schema=schema))
                done += batch.num_rows
    return done


def run_limit(pool: ProcessPoolExecutor, shares: Sequence[Sequence[str]], folder: Path, columns: Sequence[str]) -> int:
    """Score every share of the files in a process of its own; the rows."""
    targets = [str(folder / f"limit{number}.parquet") for number in range(len(shares))]
    return sum(pool.map(score_files, shares, targets, [columns] * len(shares)))


def _start(model: bytes) -> None:
    """Build a process's session, once, with the one thread that a task slot has."""
    global _session  # noqa: PLW0603 - one for each process, as in Spark's workers
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    _session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
