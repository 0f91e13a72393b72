"""Direct reads: which row groups hold the rows of a pinned table, where Python workers may read them without Spark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from batchscore.errors import InputError
from batchscore.kernel.scan import RAW, Piece
from batchscore.records import PinnedFile, PinnedTable
from batchscore.session import is_local
from batchscore.tables.locks import local_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructType

MAX_FILES = 1000  # each file's footer is read by the driver
TASK_BYTES = 128 << 20
# Files of old writers, whose dates Spark moves between calendars as it reads them.
_LEGACY = (b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96")
_PADDED = "__CHAR_VARCHAR_TYPE_STRING"  # Spark fills CHAR columns up with spaces
_PARSERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[str], Any]], ...] = (
    (pa.types.is_string, str),
    (pa.types.is_integer, int),
    (pa.types.is_date, date.fromisoformat),
)


class _NotDirectError(Exception):
    """Why Spark must read a table."""


def find_pieces(
    spark: SparkSession, pinned: PinnedTable, schema: StructType, columns: pa.Schema
) -> tuple[Piece, ...] | str:
    """The row groups that hold the rows of an interval and no others.

    Args:
        spark: The session.
        pinned: The pinned table.
        schema: All its columns.
        columns: Those that are wanted, as Spark would give them; `_raw` stands for all of them.

    Returns:
        The pieces in the order of their files; or in a few words why Spark must read them.

    Raises:
        InputError: A file is damaged or gone.
    """
    try:
        return _find_pieces(spark, pinned, schema, columns)
    except _NotDirectError as why:
        return str(why)


def is_modern(pinned: PinnedTable) -> bool:
    """Whether a table's files are known to hold no dates or times of old writers, which Comet's own scan gets wrong.

    Raises:
        InputError: A file is damaged or gone.
    """
    if not pinned.whole or len(pinned.whole) > MAX_FILES:
        return False
    try:
        footers = [_read_footer(_localise(file).path)[0] for file in pinned.whole]
    except _NotDirectError:
        return False
    return not any(_is_legacy(footer) for footer in footers)


def share_out(pieces: Sequence[Piece], slots: int) -> list[tuple[Piece, ...]]:
    """Pieces for tasks of like size, the largest first; no task is empty.

    Args:
        pieces: The pieces.
        slots: Tasks that can run at once.
    """
    rounds = max(1, -(-sum(piece.size_bytes for piece in pieces) // (TASK_BYTES * slots)))
    shares: list[list[int]] = [[] for _ in range(min(slots * rounds, len(pieces)))]
    taken = [0] * len(shares)
    for place in sorted(range(len(pieces)), key=lambda one: -pieces[one].size_bytes):
        least = taken.index(min(taken))
        shares[least].append(place)
        taken[least] += pieces[place].size_bytes
    return [_join([pieces[place] for place in sorted(share)]) for share in shares]


def _join(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Pieces with neighbours of one file made one."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last is not None and last.path == piece.path:
            rows, size = last.rows + piece.rows, last.size_bytes + piece.size_bytes
            joined[-1] = replace(last, groups=(*last.groups, *piece.groups), rows=rows, size_bytes=size)
        else:
            joined.append(piece)
    return tuple(joined)


def _find_pieces(spark: SparkSession, pinned: PinnedTable, schema: StructType, columns: pa.Schema) -> tuple[Piece, ...]:
    if not is_local(spark):
        raise _NotDirectError("executors may run on other machines")
    if not pinned.whole:
        raise _NotDirectError(pinned.parts or "there are no rows")
    if len(pinned.whole) > MAX_FILES:
        raise _NotDirectError(f"{len(pinned.whole):,} files are more than {MAX_FILES:,}")
    if any(_PADDED in (field.metadata or {}) for field in schema.fields):
        raise _NotDirectError("a column is of type CHAR or VARCHAR")
    wanted: dict[str, pa.DataType] = {}
    for column in columns:
        wanted |= {one.name: one.type for one in (column.type if column.name == RAW else [column])}
    return tuple(piece for file in pinned.whole for piece in _pieces_of(_localise(file), wanted))


def _localise(file: PinnedFile) -> PinnedFile:
    path = local_path(file.path)
    if path is None:
        raise _NotDirectError("the files lie on another store")
    return replace(file, path=str(path))


def _pieces_of(file: PinnedFile, wanted: Mapping[str, pa.DataType]) -> list[Piece]:
    footer, held = _read_footer(file.path)
    if _is_legacy(footer):
        raise _NotDirectError("a file has dates of an old calendar")
    values = {name: _parse(file.values[name], kind, name) for name, kind in wanted.items() if name in file.values}
    for name, kind in wanted.items():
        if name in values:
            continue
        places = held.get_all_field_indices(name)
        if not places:
            if name.lower() in {one.lower() for one in held.names}:
                raise _NotDirectError(f"column '{name}' differs in case in a file")
            values[name] = None  # a file from before the column was added
        elif len(places) > 1 or not _same(held.field(places[0]).type, kind):
            raise _NotDirectError(f"column '{name}' has another type in a file")
    groups = [footer.row_group(place) for place in range(footer.num_row_groups)]
    return [
        Piece(path=file.path, groups=(place,), rows=group.num_rows, size_bytes=group.total_byte_size, values=values)
        for place, group in enumerate(groups)
        if group.num_rows
    ]


def _read_footer(path: str) -> tuple[pq.FileMetaData, pa.Schema]:
    try:
        with pq.ParquetFile(path) as opened:
            return opened.metadata, opened.schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{path}: expected a whole Parquet file; reading it ended in {type(error).__name__}. "
            "The file is damaged or gone; restore it. Nothing was published."
        ) from error


def _is_legacy(footer: pq.FileMetaData) -> bool:
    if any(key in (footer.metadata or {}) for key in _LEGACY):
        return True
    columns = [footer.schema.column(place) for place in range(len(footer.schema))]
    return any(column.physical_type == "INT96" for column in columns)


def _parse(value: str | None, kind: pa.DataType, name: str) -> Any:
    """A partition's value. Source: Delta protocol, "Partition Value Serialization"."""
    if value is None or value == "":
        return None
    for fits, parse in _PARSERS:
        if fits(kind):
            try:
                return parse(value)
            except ValueError:
                break
    raise _NotDirectError(f"partition column '{name}' is of type {kind}")


def _same(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):  # how its writer held a column, not what the file has
        found = found.value_type
    if pa.types.is_large_string(found) or pa.types.is_large_binary(found):
        found = pa.string() if pa.types.is_large_string(found) else pa.binary()
    if pa.types.is_timestamp(found) and pa.types.is_timestamp(wanted):
        return found.unit == wanted.unit and (found.tz is None) == (wanted.tz is None)
    return bool(found == wanted)
