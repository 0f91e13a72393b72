"""The log of a plain Parquet table: one JSON file a commit, each put there once and never changed."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from batchscore.errors import WriteError
from batchscore.ports import Commit
from batchscore.tables.locations import create_file, list_names, read_file
from batchscore.tables.locks import local_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_NAME = re.compile(r"(\d{20})\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One commit.

    Attributes:
        version: Its number; the file's name.
        operation: `CREATE TABLE` or `WRITE`.
        timestamp_ms: When, in milliseconds since 1970 UTC.
        metadata: The text that the writer attached, if any.
        app_id: The writer's transaction id; None for the creation.
        txn_version: The transaction's version.
        token: Name of the folder that held the new files before the commit; None for the creation.
        partition: The partition folder that they replace; None where they are added.
        added: New data files, relative to the table.
        removed: Data files that they replace.
        table: Of the creation: `schema` as Spark's JSON, `partition_by` and `properties`.
    """

    version: int
    operation: str
    timestamp_ms: int
    metadata: str | None = None
    app_id: str | None = None
    txn_version: int | None = None
    token: str | None = None
    partition: str | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    table: Mapping[str, Any] | None = None


class ParquetLog:
    """The commits of one table, in a folder of `<20 digits>.json` files.

    A commit is a file that was not there before: on a local disk it is linked to its name once it is whole and on
    the disk, elsewhere the store creates it without overwriting. Entries are read once and kept.
    """

    def __init__(self, spark: SparkSession, folder: str) -> None:
        self._spark = spark
        self._folder = folder
        self._entries: list[Entry] = []

    def entries(self) -> list[Entry]:
        """Every commit, oldest first.

        Raises:
            WriteError: An entry is missing, or is not whole.
        """
        versions = self._versions()
        if versions != list(range(len(versions))):
            gap = next(i for i, version in enumerate(versions) if version != i)
            raise WriteError(
                f"{self._folder}: expected one entry a commit, from 0 on; {gap:020d}.json is missing. Restore it."
            )
        if len(versions) < len(self._entries):  # another table stands here now
            self._entries = []
        for version in versions[len(self._entries) :]:
            self._entries.append(self._read(version))
        return self._entries

    def commits(self, after: int) -> list[Commit]:
        """Commits above a version, as the port tells them."""
        return [Commit(e.version, e.operation, e.metadata, e.timestamp_ms) for e in self.entries()[after + 1 :]]

    def put(self, entry: Entry) -> None:
        """Commit, unless that version is there already.

        Raises:
            WriteError: It is, so another writer was faster.
        """
        location = f"{self._folder}/{entry.version:020d}.json"
        content = json.dumps(asdict(entry), sort_keys=True).encode()
        if local_path(location) is None:
            done = create_file(self._spark, location, content)
        else:
            done = _link_file(location, content)
        if not done:
            raise WriteError(f"{location}: expected to commit this version; another writer did. Run again.")

    def _versions(self) -> list[int]:
        local = local_path(self._folder)
        if local is None:
            names = list_names(self._spark, self._folder) or []
        else:
            names = [path.name for path in local.iterdir()] if local.is_dir() else []
        return sorted(int(found[1]) for name in names if (found := _NAME.fullmatch(name)))

    def _read(self, version: int) -> Entry:
        location = f"{self._folder}/{version:020d}.json"
        local = local_path(location)
        content = read_file(self._spark, location) if local is None else local.read_bytes()
        try:
            found = json.loads(content or b"")
            return Entry(**{**found, "added": tuple(found["added"]), "removed": tuple(found["removed"])})
        except (ValueError, TypeError, KeyError) as error:
            raise WriteError(
                f"{location}: expected a whole log entry; it is cut or changed. Restore it; where it is the newest and "
                "its writer died while writing it, remove it: none of its rows were visible."
            ) from error


def _link_file(location: str, content: bytes) -> bool:
    path = local_path(location)
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.parent / f".{uuid.uuid4().hex}.tmp"
    with whole.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    try:
        path.hardlink_to(whole)
    except FileExistsError:
        return False
    finally:
        whole.unlink()
    return True
