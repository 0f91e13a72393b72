"""Plain reads: some columns of a small table on this machine, straight from its files, without a Spark job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds

from batchscore.tables.adoption import plain_metadata
from batchscore.tables.locks import local_path
from batchscore.tables.log import DeltaLog

MANY_FILES = 1000  # above it Spark reads them, in parallel


def scan_plain(
    log: DeltaLog, columns: Sequence[str], where: Mapping[str, Sequence[Any]]
) -> list[dict[str, Any]] | None:
    """Some columns of the rows whose values are among those given, as `read.scan_rows` gives them.

    Args:
        log: The table's log.
        columns: The columns, none of which the table is partitioned by.
        where: Column to the values that are wanted.

    Returns:
        The rows; None where only Spark knows how to read the table, or reads it faster.
    """
    metadata = plain_metadata(log)
    if metadata is None or str(metadata.partitionColumns().mkString("")):
        return None
    files = log.files()
    if len(files) > MANY_FILES or any("deletionVector" in add or ":" in path for path, add in files.items()):
        return None
    if not files or not all(len(values) for values in where.values()):
        return []
    folder = Path(str(local_path(log.location)))
    condition = None
    for name, values in where.items():
        part = ds.field(name).isin(pa.array(list(values)))
        condition = part if condition is None else condition & part
    try:
        rows = ds.dataset([str(folder / unquote(path)) for path in files], format="parquet")
        found: list[dict[str, Any]] = rows.to_table(columns=list(columns), filter=condition).to_pylist()
    except (pa.ArrowException, OSError):  # whatever is wrong with a file, Spark says it in the words of every read
        return None
    return found
