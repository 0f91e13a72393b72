"""Ports: the narrow interface through which publishing and audit see a table store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a table's log.

    Attributes:
        version: The table version that it made.
        operation: What wrote it, such as `WRITE`.
        metadata: The text that the writer attached, if any.
        timestamp_ms: When, in milliseconds since 1970 UTC.
    """

    version: int
    operation: str
    metadata: str | None
    timestamp_ms: int


class TablePort(Protocol):
    """One output table. `rows` is opaque here: a Spark DataFrame in the real store, a list in the fake.

    A write either commits whole or not at all, but *neither its return nor its exception proves which*: callers
    read the log back. A write whose `txn_version` is not above the last one of `app_id` commits nothing and
    returns as if it had.
    """

    @property
    def location(self) -> str:
        """Where it lies, or where it will."""

    def exists(self) -> bool:
        """Whether the table has been created."""

    def create(self, schema: Any, partition_by: Sequence[str], properties: Mapping[str, str]) -> None:
        """Create the table unless it exists."""

    def columns(self) -> Mapping[str, str]:
        """Column names and types, as the latest version has them."""

    def properties(self) -> Mapping[str, str]:
        """The table's own properties."""

    def partition_columns(self) -> Sequence[str]:
        """The columns that it is partitioned by, in order."""

    def version(self) -> int:
        """The latest version; -1 where the table does not exist."""

    def txn_version(self, app_id: str) -> int:
        """The last transaction version of `app_id`; -1 if there is none."""

    def commits(self, after: int) -> list[Commit]:
        """Commits with a version above `after`, oldest first."""

    def append(self, rows: Any, *, app_id: str, txn_version: int, metadata: str | None = None) -> None:
        """Add rows in one commit."""

    def replace(self, rows: Any, *, interval: str, app_id: str, txn_version: int, metadata: str) -> None:
        """Replace the rows whose `_interval` is `interval` in one commit."""

    def frame_of(self, records: Sequence[Mapping[str, Any]], schema: Any) -> Any:
        """A few records as rows for `append`."""

    def read(self) -> Any:
        """The rows of the latest version, as a DataFrame in the real stores."""

    def read_at(self, version: int) -> Any:
        """The rows of an older version.

        Raises:
            WriteError: The store does not keep them, or no longer.
        """

    def scan(self, columns: Sequence[str], where: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        """Some columns of the rows whose values are among those given, for small tables."""

    def repair(self) -> None:
        """Finish what a writer that died after its commit left undone; nothing where a commit is all there is."""

    def write_side_file(self, name: str, content: bytes) -> None:
        """Keep a small file beside the data, where readers do not look."""

    def read_side_file(self, name: str) -> bytes | None:
        """A file that `write_side_file` wrote, or None."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold off other writers of this table, where the store alone would not."""


class StagePort(Protocol):
    """The folder in which runs keep their rows until these are published, each run under its id."""

    def run_ids(self) -> list[str]:
        """Runs that have a stage, whole or not."""

    def claim(self, run_id: str) -> AbstractContextManager[None]:
        """Show that this process works on a run's stage; the claim ends with the process at the latest.

        Raises:
            WriteError: Another process has claimed it.
        """

    def is_claimed(self, run_id: str) -> bool:
        """Whether a process that may be alive works on a run's stage."""

    def read_note(self, run_id: str) -> dict[str, Any] | None:
        """What `write_note` left; None where there is nothing whole."""

    def write_note(self, run_id: str, note: Mapping[str, Any]) -> None:
        """Leave beside a stage what is known of its run, replacing what stands there."""

    def remove(self, run_id: str) -> None:
        """Remove a run's stage and note, if they stand."""
