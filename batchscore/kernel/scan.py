"""Parquet files read by the workers themselves: no row of the input passes the JVM."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from batchscore.errors import InputError
from batchscore.kernel.checking import CheckSpec, check_batch
from batchscore.kernel.tally import Tally

BATCH_ROWS = 65_536
RAW = "_raw"


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Row groups of one Parquet file, and what they lack.

    Attributes:
        path: A local path.
        groups: Which row groups.
        rows: Rows in them.
        size_bytes: Their compressed length.
        values: Columns that have one value in all rows, such as partition columns; None for null.
    """

    path: str
    groups: tuple[int, ...]
    rows: int
    size_bytes: int
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanSpec:
    """What to read of every piece.

    Attributes:
        schema: The columns as Spark would give them, as an Arrow schema in IPC form.
        verify: Whether the checksums of pages are verified, where the files have any.
    """

    schema: bytes
    verify: bool = True


def read_pieces(pieces: Iterable[Piece], spec: ScanSpec, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """The rows of some pieces, in order.

    Args:
        pieces: Pieces whose files hold the columns that `values` does not, with the types of the schema but for the
            label of a time zone.
        spec: What to read.
        batch_rows: Most rows of a batch.

    Raises:
        InputError: A file is damaged or gone.
    """
    schema = pa.ipc.read_schema(pa.py_buffer(spec.schema))
    for piece in pieces:
        try:
            yield from _read_piece(piece, schema, spec, batch_rows)
        except (OSError, pa.ArrowException) as error:
            ended = f"reading it ended in {type(error).__name__}"
            what = "the checksum of a page does not fit its data" if "CRC" in str(error) else ended
            raise InputError(
                f"{piece.path}: expected a whole Parquet file; {what}. The file is damaged or gone; restore it. "
                "Nothing was published."
            ) from error


def tally_pieces(pieces: Iterable[Piece], scan: ScanSpec, spec: CheckSpec) -> str:
    """Check the rows of some pieces.

    Returns:
        The tally as JSON.

    Raises:
        InputError: A file is damaged or gone.
    """
    tally = Tally()
    if not pa.ipc.read_schema(pa.py_buffer(scan.schema)).names:
        tally.read += sum(piece.rows for piece in pieces)
        return tally.to_json()
    for batch in read_pieces(pieces, scan, BATCH_ROWS):
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        check_batch(columns, batch.num_rows, spec, tally)
    return tally.to_json()


def _read_piece(piece: Piece, schema: pa.Schema, spec: ScanSpec, batch_rows: int) -> Iterator[pa.RecordBatch]:
    wanted = [name for column in schema for name in _names_of(column)]
    read = [name for name in dict.fromkeys(wanted) if name not in piece.values]
    with pq.ParquetFile(piece.path, memory_map=True, page_checksum_verification=spec.verify) as file:
        if not read:  # every column has one value
            yield _make_batch(piece, schema, {}, piece.rows)
            return
        groups = file.iter_batches(batch_rows, row_groups=list(piece.groups), columns=read, use_threads=False)
        for batch in groups:
            found = dict(zip(batch.schema.names, batch.columns, strict=True))
            yield _make_batch(piece, schema, found, batch.num_rows)


def _names_of(column: pa.Field) -> list[str]:
    """The columns of the files that a column is made of."""
    return [one.name for one in column.type] if column.name == RAW else [column.name]


def _make_batch(piece: Piece, schema: pa.Schema, found: Mapping[str, pa.Array], rows: int) -> pa.RecordBatch:
    def column(name: str, kind: pa.DataType) -> pa.Array:
        if name in found:
            array = found[name]
            return array if array.type == kind else array.cast(kind)
        value = piece.values[name]
        return pa.nulls(rows, kind) if value is None else pa.repeat(pa.scalar(value, kind), rows)

    arrays = []
    for item in schema:
        if item.name == RAW:
            fields = list(item.type)
            arrays.append(pa.StructArray.from_arrays([column(one.name, one.type) for one in fields], fields=fields))
        else:
            arrays.append(column(item.name, item.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
