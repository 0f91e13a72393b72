"""Parquet files read by the workers themselves, where whole local files are asked about: no row passes the JVM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from batchscore.errors import InputError
from batchscore.kernel.checking import CheckSpec, check_batch
from batchscore.kernel.tally import Tally

BATCH_ROWS = 65_536


def scan_share(
    files: Sequence[str], share: int, shares: int, types: Mapping[str, pa.DataType], spec: CheckSpec
) -> str | None:
    """Check one worker's share of the row groups of some files; page checksums are verified where there are any.

    Args:
        files: Local paths, the same for all workers.
        share: Which share, from 0; row groups go round.
        shares: How many there are.
        types: The columns that the spec reads, with the types that it was compiled for.
        spec: What to check.

    Returns:
        The tally as JSON; None where a file holds other types, which Spark may know how to read.

    Raises:
        InputError: A file is damaged or gone.
    """
    tally, turn = Tally(), 0
    for path in files:
        try:
            fits, groups = _scan_file(path, turn, share, shares, types, spec, tally)
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{path}: expected a whole Parquet file; reading it ended in {type(error).__name__}. "
                "The file is damaged or gone; restore it."
            ) from error
        if not fits:
            return None
        turn += groups
    return tally.to_json()


def _scan_file(
    path: str, turn: int, share: int, shares: int, types: Mapping[str, pa.DataType], spec: CheckSpec, tally: Tally
) -> tuple[bool, int]:
    """Whether the file has the types, and how many row groups it has."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        if not _fits(file.schema_arrow, types):
            return False, 0
        groups = [group for group in range(file.num_row_groups) if (turn + group) % shares == share]
        if not types:
            tally.read += sum(file.metadata.row_group(group).num_rows for group in groups)
            return True, file.num_row_groups
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=[*types], use_threads=False):
            check_batch({name: batch.column(name) for name in types}, batch.num_rows, spec, tally)
        return True, file.num_row_groups


def _fits(schema: pa.Schema, types: Mapping[str, pa.DataType]) -> bool:
    return all(
        len(schema.get_all_field_indices(name)) == 1 and _same(schema.field(name).type, kind)
        for name, kind in types.items()
    )


def _same(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_timestamp(found) and pa.types.is_timestamp(wanted):
        return found.unit == wanted.unit and (found.tz is None) == (wanted.tz is None)
    return bool(found == wanted)
