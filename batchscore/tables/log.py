"""The Delta log as the driver sees it: snapshots, commits and transaction ids, without a Spark job where possible."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from batchscore.errors import WriteError
from batchscore.ports import Commit
from batchscore.tables.locks import local_path
from batchscore.tables.log_state import LogState, read_state

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MANY_TABLES = 32
MANY_COMMITS = 20
_Identity = tuple[int, int, int]
# Of tables that this process has looked at: the version, and the last transaction version by application id.
_TRANSACTIONS: dict[tuple[str, str], tuple[int, Mapping[str, int]]] = {}
# The same for data files: the version, and each file's own action by its path.
_FILES: dict[tuple[str, str], tuple[int, Mapping[str, Mapping[str, Any]]]] = {}

# Logs that were replayed: what tells the last commit from another of its name, and the state, which nobody changes.
_STATES: dict[tuple[str, int], tuple[_Identity, LogState]] = {}


class DeltaLog:
    """One table's transaction log. Source: Delta protocol, https://github.com/delta-io/delta/blob/master/PROTOCOL.md."""

    def __init__(self, spark: SparkSession, location: str) -> None:
        self.spark = spark
        self.jvm: Any = spark._jvm
        self.location = location
        self._java: Any = None
        self._folder = local_path(f"{location}/_delta_log")
        self._seen: tuple[Any, int, _Identity] | None = None
        self._read: dict[int, tuple[_Identity, list[dict[str, Any]]]] = {}

    def exists(self) -> bool:
        """Whether a Delta table stands at the location."""
        return self.version() >= 0

    def snapshot(self) -> Any:
        """The latest snapshot; a JVM object.

        On a local disk the log is listed again only where the next commit's file stands, or the last one's is another.
        """
        if self._seen is not None and self._is_latest(*self._seen[1:]):
            return self._seen[0]
        none = self.jvm.scala.Option.empty()
        snapshot = self.handle().update(False, none, none)
        version = int(snapshot.version())
        found = self._identify(version)
        self._seen = None if found is None else (snapshot, version, found)
        return snapshot

    def _is_latest(self, version: int, identity: _Identity) -> bool:
        return self._identify(version + 1) is None and self._identify(version) == identity

    def _identify(self, version: int) -> _Identity | None:
        """What tells a commit's file from another of its name; None where there is none, or on another store."""
        if self._folder is None or version < 0:
            return None
        try:
            found = (self._folder / f"{version:020d}.json").stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def snapshot_at(self, version: int) -> Any:
        """The snapshot at one version; a JVM object."""
        handle = self.handle()
        latest = self.snapshot()
        if latest.version() == version:
            return latest
        empty = self.jvm.scala.Option.empty()
        return handle.getSnapshotAt(version, empty, empty, False)

    def version(self) -> int:
        """The latest version; -1 where there is no table."""
        snapshot = self.snapshot()
        return int(snapshot.version()) if self._seen is None else self._seen[1]

    def txn_version(self, app_id: str) -> int:
        """The last transaction version of an application id; -1 if there is none."""
        snapshot = self.snapshot()
        version = int(snapshot.version())
        if version < 0:
            return -1
        place = (self.location, str(snapshot.metadata().id()))
        known = _TRANSACTIONS.get(place)
        found = None if known is None else self._transactions_since(*known, version)
        if found is None and (state := self.replayed(version)) is not None:
            found = state.transactions
        if found is None:  # a Spark job
            pairs = str(snapshot.transactions().mkString("\n")).split("\n")
            found = {app: int(last) for app, arrow, last in (pair.rpartition(" -> ") for pair in pairs) if arrow}
        if len(_TRANSACTIONS) >= MANY_TABLES:
            _TRANSACTIONS.clear()
        _TRANSACTIONS[place] = (version, found)
        return found.get(app_id, -1)

    def _transactions_since(self, before: int, known: Mapping[str, int], version: int) -> dict[str, int] | None:
        """Transaction versions at one version, from those of an older one; None where that is no shorter way."""
        commits = self._actions_since(before, version)
        if commits is None:
            return None
        return LogState(dict(known)).apply_all(commits).transactions

    def _actions_since(self, before: int, version: int) -> list[list[dict[str, Any]]] | None:
        """The actions of each commit between two versions; None where there are many, or log retention removed one."""
        if not before <= version <= before + MANY_COMMITS:
            return None
        found = [self.actions(one) for one in range(before + 1, version + 1)]
        return None if None in found else [actions for actions in found if actions is not None]

    def files(self) -> Mapping[str, Mapping[str, Any]]:
        """The data files of the latest version: path, as the log has it, to the action that added it."""
        snapshot = self.snapshot()
        version = int(snapshot.version())
        place = (self.location, str(snapshot.metadata().id()))
        known = _FILES.get(place)
        found = None if known is None else self._files_since(*known, version)
        if found is None and (state := self.replayed(version)) is not None:
            found = state.files
        if found is None:  # a Spark job
            adds = [json.loads(text) for text in snapshot.allFiles().toJSON().collectAsList()]
            found = {str(add["path"]): add for add in adds}
        if len(_FILES) >= MANY_TABLES:
            _FILES.clear()
        _FILES[place] = (version, found)
        return found

    def replayed(self, version: int) -> LogState | None:
        """What the log amounts to at a version, from its files; None where Delta itself should say."""
        if self._folder is None:
            return None
        identity = self._identify(version)
        known = _STATES.get((self.location, version))
        if known is not None and known[0] == identity is not None:
            return known[1]
        found = read_state(self._folder, version)
        if len(_STATES) >= MANY_TABLES:
            _STATES.clear()
        if found is not None and identity is not None:
            _STATES[self.location, version] = (identity, found)
        return found

    def _files_since(
        self, before: int, known: Mapping[str, Mapping[str, Any]], version: int
    ) -> dict[str, Mapping[str, Any]] | None:
        """Files at one version, from those of an older one; None where that is no shorter way."""
        commits = self._actions_since(before, version)
        if commits is None:
            return None
        return LogState(files=dict(known)).apply_all(commits).files

    def commits(self, after: int) -> list[Commit]:
        """Commits above a version whose log files still exist, oldest first."""
        latest = self.version()
        found = []
        for version in range(after + 1, latest + 1):
            actions = self.actions(version)
            if actions is not None:
                found.append(_commit(version, actions))
        return found

    def actions(self, version: int) -> list[dict[str, Any]] | None:
        """The actions of one commit; None where log retention removed its file.

        Raises:
            WriteError: The file has lost what was written to it.
        """
        identity = self._identify(version)
        known = self._read.get(version)
        if known is not None and known[0] == identity:
            return known[1]
        found = self._read_actions(version)
        if found is not None and identity is not None:
            if len(self._read) >= MANY_COMMITS:
                self._read.clear()
            self._read[version] = (identity, found)
        return found

    def _read_actions(self, version: int) -> list[dict[str, Any]] | None:
        handle = self.handle()
        path = self.jvm.org.apache.hadoop.fs.Path(handle.logPath(), f"{version:020d}.json")
        conf = handle.newDeltaHadoopConf()
        if not path.getFileSystem(conf).exists(path):
            return None
        text: str = handle.store().read(path, conf).mkString("\n")
        try:
            found = [json.loads(line) for line in text.split("\n") if line]
        except ValueError as error:
            raise WriteError(_cut_short(str(path.toString()))) from error
        if not found:
            raise WriteError(_cut_short(str(path.toString())))
        return found

    def check_whole(self) -> None:
        """Refuse a log on a local disk with an empty commit file: Delta would read it as a commit of nothing.

        Raises:
            WriteError: There is one, and no checkpoint behind it.
        """
        folder = local_path(f"{self.location}/_delta_log")
        if folder is None or not folder.is_dir():
            return
        files = {file.name: file for file in folder.iterdir() if file.name[:20].isdigit()}
        checkpoint = max((name[:20] for name in files if ".checkpoint" in name), default="")
        for name, file in sorted(files.items()):
            if name.endswith(".json") and name[:20] > checkpoint and file.stat().st_size == 0:
                raise WriteError(_cut_short(str(file)))

    def handle(self) -> Any:
        """Delta's own object of the log; a JVM object."""
        if self._java is None:
            session: Any = self.spark._jsparkSession
            self._java = self.jvm.org.apache.spark.sql.delta.DeltaLog.forTable(session, self.location)
        return self._java


def _cut_short(file: str) -> str:
    return (
        f"{file}: expected a commit of a Delta table; found a file that is empty or cut short: the store lost what was "
        "written to it, as a power cut may. Restore it from a copy; until then nothing is published."
    )


def _commit(version: int, actions: list[dict[str, Any]]) -> Commit:
    for action in actions:
        information = action.get("commitInfo")
        if information is not None:
            metadata = information.get("userMetadata")
            return Commit(version, information.get("operation", ""), metadata, information.get("timestamp", 0))
    return Commit(version, "", None, 0)
