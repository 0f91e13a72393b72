"""What a Delta log amounts to, replayed from its files on a local disk: the first job of a cold Spark takes seconds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MANY_BYTES = 32 << 20  # of a log; above it Spark reads it, in parallel
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(.*)\.(?:parquet|json)")
# Source: Delta protocol, "Add File and Remove File"; a checkpoint may hold more, in forms of its own.
_ADD_FIELDS = (
    "path",
    "partitionValues",
    "size",
    "modificationTime",
    "dataChange",
    "stats",
    "tags",
    "deletionVector",
    "baseRowId",
    "defaultRowCommitVersion",
    "clusteringProvider",
)


@dataclass(slots=True)
class LogState:
    """A table's log at one version.

    Attributes:
        transactions: Application id to its last transaction version.
        files: Each data file's path, as the log has it, to the action that added it.
    """

    transactions: dict[str, int] = field(default_factory=dict)
    files: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def apply_all(self, commits: Iterable[Sequence[Mapping[str, Any]]]) -> LogState:
        """Take the actions of some commits, in order."""
        for actions in commits:
            self._apply(actions)
        return self

    def _apply(self, actions: Sequence[Mapping[str, Any]]) -> None:
        """Take the actions of one commit. Source: Delta protocol, "Action Reconciliation"."""
        for removed in (action["remove"] for action in actions if "remove" in action):
            self.files.pop(removed["path"], None)  # first: a file whose deletion vector changes is added again
        for action in actions:
            if "txn" in action:
                self.transactions[action["txn"]["appId"]] = int(action["txn"]["version"])
            elif "add" in action:
                self.files[action["add"]["path"]] = action["add"]


def read_state(folder: Path, version: int) -> LogState | None:
    """Replay a log up to a version.

    Args:
        folder: The log's folder.
        version: The version.

    Returns:
        The state; None where the log is large, has lost commits, or has a checkpoint of another than the classic form,
        so that Delta itself should read it.
    """
    try:
        names = {file.name: file for file in folder.iterdir()}
        start, parts = _last_checkpoint(names, version)
        if any(parts):
            return None
        commits = [names.get(f"{one:020d}.json") for one in range(start + 1, version + 1)]
        checkpoint = folder / f"{start:020d}.checkpoint.parquet" if start >= 0 else None
        files = [*commits, *([checkpoint] if checkpoint else [])]
        if any(file is None for file in files) or sum(file.stat().st_size for file in files if file) > MANY_BYTES:
            return None
        held = list(_read_checkpoint(checkpoint)) if checkpoint else []
        later = ([json.loads(line) for line in commit.read_text().split("\n") if line] for commit in commits if commit)
        return LogState().apply_all(chain([held], later))
    except (OSError, ValueError, KeyError, pa.ArrowException):  # whatever is wrong with it, Delta says it in its words
        return None


def _last_checkpoint(names: Mapping[str, Path], version: int) -> tuple[int, list[str]]:
    """The newest checkpoint that is not above a version, and what its files' names have between version and ending."""
    found: dict[int, list[str]] = {}
    for name in names:
        match = _CHECKPOINT.fullmatch(name)
        if match and int(match[1]) <= version:
            found.setdefault(int(match[1]), []).append(match[2])
    last = max(found, default=-1)
    return last, found.get(last, [])


def _read_checkpoint(file: Path) -> Iterator[dict[str, Any]]:
    """The transactions and data files of a classic checkpoint.

    Raises:
        ValueError: It keeps its files elsewhere.
    """
    with pq.ParquetFile(file, page_checksum_verification=True) as opened:
        held = opened.schema_arrow.names
        table = opened.read(columns=[name for name in ("txn", "add", "sidecar") if name in held], use_threads=False)
    if "sidecar" in held and table.column("sidecar").null_count < table.num_rows:
        raise ValueError("a checkpoint with sidecars")
    for kind in ("txn", "add"):
        column = table.column(kind)
        for row in column.filter(column.is_valid()).to_pylist():
            yield {kind: row if kind == "txn" else _plain(row)}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """An action as a commit would have it: maps of Parquet are lists of pairs, and what is missing is left out."""
    action = {name: row[name] for name in _ADD_FIELDS if row.get(name) is not None}
    for name in ("partitionValues", "tags"):
        if name in action:
            action[name] = dict(action[name])
    if "deletionVector" in action:
        action["deletionVector"] = {k: v for k, v in action["deletionVector"].items() if v is not None}
    return action
