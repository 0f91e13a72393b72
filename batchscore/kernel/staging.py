"""Stage files that the workers write themselves: scored rows reach the disk without passing the JVM."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
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


@dataclass(frozen=True, slots=True)
class StagePlace:
    """Where workers write a stage.

    Attributes:
        folder: Its local path.
        stamps: Column to the one value that every scored row has in it, besides what the kernel gives: with them the
            files are rows of the scores table as they are.
    """

    folder: str
    stamps: Mapping[str, str | int | datetime] = field(default_factory=dict)


def stage_batches(batches: Iterable[pa.RecordBatch], stage: StagePlace) -> Iterator[pa.RecordBatch]:
    """Write the kernel's rows into files of this task alone, and name those that are whole.

    A task that dies leaves files that nobody names, so they do not count; a second attempt writes others.

    Args:
        batches: What `run_kernel` gives; each batch has one outcome.
        stage: Where to.

    Returns:
        One row for each file, relative to the folder, with its outcome.

    Raises:
        WriteError: The disk does not take a file.
    """
    writers: dict[str, tuple[str, pq.ParquetWriter, pa.Schema]] = {}
    name = f"part-{uuid.uuid4().hex}.parquet"
    folder = place = stage.folder
    try:
        for batch in batches:
            outcome = batch.column("_outcome")[0].as_py()
            if outcome not in writers:
                file = f"_outcome={outcome}/{name}"
                place = f"{folder}/{file}"
                Path(place).parent.mkdir(parents=True, exist_ok=True)
                stamps = {k: v for k, v in stage.stamps.items() if outcome == SCORED and k not in batch.schema.names}
                schema = pa.schema([one for one in batch.schema if _belongs(one.name, outcome)])
                for column, value in stamps.items():
                    schema = schema.append(pa.field(column, _type_of(value)))
                # Bounds of floats leave NaN out, but Spark takes it for the largest: it would skip rows by them.
                bounded = [one.name for one in schema if not _has_floats(one.type)]
                writer = pq.ParquetWriter(place, schema, write_page_checksum=True, write_statistics=bounded)
                writers[outcome] = (file, writer, schema)
            _, writer, schema = writers[outcome]
            columns = [
                _repeat(stage.stamps[one.name], one.type, batch.num_rows)
                if one.name not in batch.schema.names
                else batch.column(one.name)
                for one in schema
            ]
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


def _has_floats(kind: pa.DataType) -> bool:
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    return pa.types.is_floating(kind) or any(_has_floats(one) for one in inner)


def _type_of(value: str | int | datetime) -> pa.DataType:
    if isinstance(value, datetime):
        return pa.timestamp("us", tz="UTC")
    return pa.string() if isinstance(value, str) else pa.int64()


def _repeat(value: str | int | datetime, kind: pa.DataType, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, kind), rows)


def _belongs(column: str, outcome: str) -> bool:
    return column == "_tally" if outcome == TALLY else column not in _NEVER[outcome]
