"""Stage files that the workers write themselves: scored rows reach the disk without passing the JVM."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from batchscore.errors import WriteError
from batchscore.kernel.batch import QUARANTINED, SCORED, TALLY

STAGED = pa.schema([("_file", pa.string()), ("_outcome", pa.string())])
ROW_GROUP_ROWS = 1 << 20
# Columns that rows of an outcome never have; a reader with the stage's schema finds nulls.
_NEVER: Mapping[str, frozenset[str]] = {
    SCORED: frozenset({"_outcome", "_stage", "_reasons", "_tally", "_raw"}),
    QUARANTINED: frozenset({"_outcome", "_tally", "_model", "_challenger"}),
}


def stage_batches(batches: Iterable[pa.RecordBatch], folder: str) -> Iterator[pa.RecordBatch]:
    """Write the kernel's rows into files of this task alone, and name those that are whole.

    A task that dies leaves files that nobody names, so they do not count; a second attempt writes others.

    Args:
        batches: What `run_kernel` gives; each batch has one outcome.
        folder: The stage's local path.

    Returns:
        One row for each file, relative to the folder, with its outcome.

    Raises:
        WriteError: The disk does not take a file.
    """
    writers: dict[str, tuple[str, pq.ParquetWriter, pa.Schema]] = {}
    name = f"part-{uuid.uuid4().hex}.parquet"
    place = folder
    try:
        for batch in batches:
            outcome = batch.column("_outcome")[0].as_py()
            if outcome not in writers:
                file = f"_outcome={outcome}/{name}"
                place = f"{folder}/{file}"
                Path(place).parent.mkdir(parents=True, exist_ok=True)
                schema = pa.schema([one for one in batch.schema if _belongs(one.name, outcome)])
                writers[outcome] = (file, pq.ParquetWriter(place, schema, write_page_checksum=True), schema)
            _, writer, schema = writers[outcome]
            columns = [batch.column(column) for column in schema.names]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema), ROW_GROUP_ROWS)
        for _, writer, _ in writers.values():
            writer.close()
    except OSError as error:
        raise WriteError(
            f"{place}: expected to write it; the store said: {error.strerror or error}. Mend that and run again; the "
            "old scores stay visible."
        ) from error
    files = [file for file, _, _ in writers.values()]
    yield pa.RecordBatch.from_arrays([pa.array(files), pa.array(list(writers))], schema=STAGED)


def _belongs(column: str, outcome: str) -> bool:
    return column == "_tally" if outcome == TALLY else column not in _NEVER[outcome]
