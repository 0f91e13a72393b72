"""Locks: hold off other processes while a table on a local disk is committed to."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock

_FILE = re.compile(r"file:(?://[^/]*)?(/.*)", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def local_path(location: str) -> Path | None:
    """The local path of a location, or None where it lies on another store."""
    found = _FILE.fullmatch(location)
    if found is not None:
        return Path(found[1])  # as Hadoop reads it: nothing in it is escaped
    return None if _SCHEME.match(location) else Path(location)


@contextmanager
def hold_lock(location: str) -> Iterator[None]:
    """Hold a table's file lock until the block ends; the kernel frees it if this process dies.

    A rename on a local disk can replace another writer's commit, with both told wrong, so commit and read-back
    run under this lock. Stores with an atomic put-if-absent need none.
    """
    folder = local_path(location)
    if folder is None:
        yield
        return
    # Beside the table, since Delta refuses to create one in a folder that is not empty.
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.batchscore.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


class TableLock:
    """A table's file lock, which whoever holds it by this object may take again."""

    def __init__(self) -> None:
        self._mutex = RLock()
        self._held = False

    @contextmanager
    def hold(self, location: str) -> Iterator[None]:
        """As `hold_lock`."""
        with self._mutex:
            if self._held:
                yield
                return
            with hold_lock(location):
                self._held = True
                try:
                    yield
                finally:
                    self._held = False
