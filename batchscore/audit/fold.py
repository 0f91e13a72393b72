"""The audit as a fold over the scores log: what was committed is projected once, in order, whoever does it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchscore.audit.chain import GENESIS, seal
from batchscore.errors import WriteError
from batchscore.failures import reason_of
from batchscore.hooks import reached
from batchscore.ports import Commit, TablePort

HEAD_KEY = "batchscore_chain"
MIGRATE_KEY = "batchscore_migrate"
ERASE_KEY = "batchscore_erase"
CHAIN_ID = "chain"
MAX_TRIES = 10
SEEN_BY_ANYBODY = ("held", "abandoned", "discard")
# Maintenance that changes neither rows nor columns, and our own creation of the table; as Delta's log names it.
QUIET_OPERATIONS = frozenset(
    {
        "CREATE TABLE",
        "OPTIMIZE",
        "REORG",
        "VACUUM START",
        "VACUUM END",
        "SET TBLPROPERTIES",
        "UNSET TBLPROPERTIES",
        "UPGRADE PROTOCOL",
        "COMPUTE STATS",
    }
)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain.

    Attributes:
        seq: Sequence number of the last row; 0 before the first.
        sha256: Its digest; 64 zeros before the first.
        scores_version: Last version of the scores log that was projected; -1 before the first.
    """

    seq: int
    sha256: str
    scores_version: int


def read_head(audit: TablePort) -> Head:
    """The end of the chain, from the audit log's own commit metadata: no row is read.

    Raises:
        WriteError: The table has rows of ours no more, or never had.
    """
    for version in range(audit.version(), -1, -1):
        commit = next((c for c in audit.commits(version - 1) if c.version == version), None)
        head = _head_of(commit)
        if head is not None:
            return head
        if commit is not None and commit.operation.startswith("CREATE"):
            break
    return Head(0, GENESIS, -1)


def fold(
    scores: TablePort,
    audit: TablePort,
    frame_schema: Any,
    *,
    events: Sequence[Mapping[str, Any]] = (),
    additions: Mapping[str, Mapping[str, Any]] | None = None,
) -> Head:
    """Project the scores log's new commits into the audit table, and add events; each exactly once.

    The append is a compare-and-set: its transaction version is one above the chain's last, read before the chain's
    head, so of two folds from the same state one commits and the other starts over. (The table's own version would
    not do: OPTIMIZE raises it between two folds that saw the same head, and both would land.)

    Args:
        scores: The scores table, whose log is projected.
        audit: The audit table.
        frame_schema: Its columns.
        events: Records of runs that left no scores commit, such as failed ones, and of decisions. A `held`, `abandoned`
            or `discard` that the audit has already, by whoever saw it first, is left out.
        additions: Run id to what the record could not know before its commit, such as publish timings.

    Returns:
        The new end of the chain.

    Raises:
        WriteError: The append did not land in ten tries.
    """
    failure: Exception | None = None
    for _ in range(MAX_TRIES):
        with audit.lock():
            if not events and not _is_behind(scores, audit):
                return read_head(audit)
            turn = max(audit.txn_version(CHAIN_ID), 0) + 1
            version = audit.version()
            head = read_head(audit)
            commits = scores.commits(head.scores_version) if scores.exists() else []
            records = [*_project(commits, scores, audit, additions or {}), *_leave_out_known(events, audit)]
            if not records:
                return head
            reached("audit.begun")
            rows, end = _seal_all(records, head, commits)
            metadata = json.dumps(
                {HEAD_KEY: {"seq": end.seq, "sha256": end.sha256, "scores_version": end.scores_version}}
            )
            try:
                audit.append(audit.frame_of(rows, frame_schema), app_id=CHAIN_ID, txn_version=turn, metadata=metadata)
            except Exception as error:  # whatever it says, only the log decides
                failure = error
            reached("audit.written")
            if any(commit.metadata == metadata for commit in audit.commits(version)):
                reached("audit.found")
                return end
    raise WriteError(
        f"audit {audit.location}: expected {len(records)} records to be appended; they did not land in {MAX_TRIES} "
        f"tries{f' (the store said: {reason_of(failure)})' if failure else ''}. The scores are as published; the next "
        "run, or `batchscore runs`, writes what is missing."
    ) from failure


def _is_behind(scores: TablePort, audit: TablePort) -> bool:
    """Whether the scores log has commits that the audit may not hold; without the cost of its transaction ids."""
    return scores.exists() and scores.version() > read_head(audit).scores_version


def _seal_all(records: Sequence[Mapping[str, Any]], head: Head, commits: Sequence[Commit]) -> tuple[list[Any], Head]:
    rows = []
    seq, sha256 = head.seq, head.sha256
    for record in records:
        seq += 1
        row = seal(record, seq, sha256)
        sha256 = row["sha256"]
        rows.append(row)
    version = commits[-1].version if commits else head.scores_version
    return rows, Head(seq, sha256, version)


def _leave_out_known(events: Sequence[Mapping[str, Any]], audit: TablePort) -> list[Mapping[str, Any]]:
    """The events without those that anybody who looks may add, where somebody else did."""
    shared = [event for event in events if event["kind"] in SEEN_BY_ANYBODY]
    if not shared:
        return list(events)
    known = set()
    for row in audit.scan(["record"], {"kind": SEEN_BY_ANYBODY}):
        record = json.loads(row["record"])
        known.add((record["kind"], record.get("run_id"), record.get("of")))
    return [event for event in events if (event["kind"], event.get("run_id"), event.get("of")) not in known]


def _project(
    commits: Sequence[Commit], scores: TablePort, audit: TablePort, additions: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    records = []
    for commit in commits:
        core = _content_of(commit, "batchscore")
        if core is not None:
            records.append(_complete(core, commit, audit, additions))
        elif (change := _content_of(commit, MIGRATE_KEY)) is not None:
            records.append({**change, "kind": "migrate", "status": "migrated", "commits": {"scores": commit.version}})
        elif (change := _content_of(commit, ERASE_KEY)) is not None:
            records.append({**change, "kind": "erase", "status": "committed", "commits": {"scores": commit.version}})
        elif commit.operation not in QUIET_OPERATIONS:
            records.append(_foreign(commit, scores))
    return records


def _complete(
    core: Mapping[str, Any], commit: Commit, audit: TablePort, additions: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The run's whole record from its detail file, proved by the digest in the commit; else the core alone."""
    found = audit.read_side_file(f"{core['detail_sha256']}.json")
    record: dict[str, Any] = dict(core)
    if found is not None and hashlib.sha256(found).hexdigest() == core["detail_sha256"]:
        record = json.loads(found)
        record["detail_sha256"] = core["detail_sha256"]
    else:
        record["detail"] = "missing" if found is None else "changed"
    record["commits"] = {**record.get("commits", {}), "scores": commit.version}
    record["chain_seen"] = core.get("chain")
    for key, value in additions.get(str(core["run_id"]), {}).items():
        record[key] = {**record.get(key, {}), **value} if isinstance(value, Mapping) else value
    return record


def _foreign(commit: Commit, scores: TablePort) -> dict[str, Any]:
    return {
        "kind": "foreign",
        "status": "foreign",
        "operation": commit.operation,
        "table": scores.location,
        "commits": {"scores": commit.version},
        "timestamp_ms": commit.timestamp_ms,
    }


def _content_of(commit: Commit, key: str) -> dict[str, Any] | None:
    """What one of our commits says of itself under a key; None for any other."""
    found = _json(commit)
    content = found.get(key) if found else None
    return content if isinstance(content, dict) else None


def _head_of(commit: Commit | None) -> Head | None:
    found = _json(commit) if commit else None
    head = found.get(HEAD_KEY) if found else None
    return Head(int(head["seq"]), str(head["sha256"]), int(head["scores_version"])) if head else None


def _json(commit: Commit) -> dict[str, Any] | None:
    if not commit.metadata:
        return None
    try:
        found = json.loads(commit.metadata)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
