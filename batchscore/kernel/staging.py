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
ROW_GROUP_ROWS, ROW_GROUP_BYTES = 1 << 18, 64 << 20  # rows are kept in memory until so many are there
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
    name = f"part-{uuid.uuid4().hex}.parquet"
    writers: dict[str, _Writer] = {}
    try:
        for batch in batches:
            outcome = batch.column("_outcome")[0].as_py()
            if outcome not in writers:
                writers[outcome] = _Writer(stage, outcome, name, batch.schema)
            writers[outcome].add(batch)
        for writer in writers.values():
            writer.close()
    except OSError as error:
        raise WriteError(
            f"{stage.folder}: expected to write the stage; the store said: {error.strerror or error}. Mend that and "
            "run again; the old scores stay visible."
        ) from error
    files = [writer.file for writer in writers.values()]
    yield pa.RecordBatch.from_arrays([pa.array(files), pa.array(list(writers))], schema=STAGED)


class _Writer:
    """One file of one outcome, in row groups of many batches.

    Args:
        stage: Where to.
        outcome: The outcome.
        name: The file's name.
        schema: Of the batches that come.
    """

    def __init__(self, stage: StagePlace, outcome: str, name: str, schema: pa.Schema) -> None:
        self.file = f"_outcome={outcome}/{name}"
        self._columns = [one.name for one in schema if _belongs(one.name, outcome)]
        stamps = {k: v for k, v in stage.stamps.items() if outcome == SCORED and k not in schema.names}
        self._stamps = {name: pa.scalar(value, _type_of(value)) for name, value in stamps.items()}
        self._kept: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        fields = [schema.field(column) for column in self._columns]
        fields += [pa.field(name, _encoded(value.type)) for name, value in self._stamps.items()]
        self._schema = pa.schema(fields)
        place = Path(stage.folder, self.file)
        place.parent.mkdir(parents=True, exist_ok=True)
        # Bounds of floats leave NaN out, but Spark takes it for the largest: it would skip rows by them.
        bounded = [one.name for one in self._schema if not _has_floats(one.type)]
        # Without Arrow's own schema, in which a stamp would be a dictionary, the file has the columns' plain types.
        # A dictionary of numbers that hardly repeat costs more than it saves.
        numbers = {one.name for one in self._schema if pa.types.is_integer(one.type) or pa.types.is_floating(one.type)}
        repeated = [name for name in self._schema.names if name in self._stamps or name not in numbers]
        self._writer = pq.ParquetWriter(
            place,
            self._schema,
            write_page_checksum=True,
            write_statistics=bounded,
            use_dictionary=repeated,
            store_schema=False,
        )

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows; they may be written later."""
        kept = batch.select(self._columns)
        self._kept.append(kept)
        self._rows += kept.num_rows
        self._bytes += kept.nbytes
        if self._rows >= ROW_GROUP_ROWS or self._bytes >= ROW_GROUP_BYTES:
            self._write()

    def close(self) -> None:
        """Write what is left, and the footer."""
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if not self._kept:
            return
        table = pa.Table.from_batches(self._kept)
        columns = [*table.columns, *(_repeat(value, self._rows) for value in self._stamps.values())]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema), self._rows)
        self._kept, self._rows, self._bytes = [], 0, 0


def _has_floats(kind: pa.DataType) -> bool:
    inner = [kind.field(place).type for place in range(kind.num_fields)]
    return pa.types.is_floating(kind) or any(_has_floats(one) for one in inner)


def _type_of(value: str | int | datetime) -> pa.DataType:
    if isinstance(value, datetime):
        return pa.timestamp("us", tz="UTC")
    return pa.string() if isinstance(value, str) else pa.int64()


def _encoded(kind: pa.DataType) -> pa.DataType:
    """The form in which a column of one text is written fastest: every row of it a place in a list of one."""
    return pa.dictionary(pa.int32(), kind) if pa.types.is_string(kind) else kind


def _repeat(value: pa.Scalar, rows: int) -> pa.Array:
    if pa.types.is_string(value.type):
        return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array([value.as_py()]))
    return pa.repeat(value, rows)


def _belongs(column: str, outcome: str) -> bool:
    return column == "_tally" if outcome == TALLY else column not in _NEVER[outcome]
