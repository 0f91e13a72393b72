"""The publish protocol: quarantine before scores, scores as the only truth, and the log read back to learn which."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from batchscore.errors import RunSuperseded, WriteError
from batchscore.failures import reason_of
from batchscore.hooks import reached
from batchscore.ports import Commit, TablePort

METADATA_KEY = "batchscore"
MAX_METADATA_BYTES = 16_384
MAX_TRIES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One run that wants to publish one interval.

    Attributes:
        job: Job name.
        interval: Value of `_interval`.
        run_id: Fresh id of this run.
        run_key: What it would publish, by content; salted with the run's id where it publishes on purpose.
        generation: One above the interval's last transaction version.
        planned_version: Version of the scores table that the plan saw.
        metadata: Canonical JSON that the scores commit carries.
    """

    job: str
    interval: str
    run_id: str
    run_key: str
    generation: int
    planned_version: int
    metadata: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What the log says after the attempt.

    Attributes:
        outcome: `published`, or `unchanged` where another run published the same key meanwhile.
        run_id: The run whose rows are visible.
        scores_version: Version of the commit.
        quarantine_version: Version of the quarantine commit; None without quarantined rows.
    """

    outcome: Literal["published", "unchanged"]
    run_id: str
    scores_version: int
    quarantine_version: int | None


def application_id(job: str, interval: str) -> str:
    """The one transaction id of an interval, for reading and for writing."""
    return f"{job}/scores/{interval}"


def next_generation(scores: TablePort, job: str, interval: str) -> int:
    """The generation that a new run of the interval would have: 1 for the first."""
    return max(scores.txn_version(application_id(job, interval)), 0) + 1


def read_metadata(commit: Commit) -> dict[str, Any] | None:
    """What one of our commits says of itself; None for anybody else's."""
    if not commit.metadata:
        return None
    try:
        found = json.loads(commit.metadata)
    except ValueError:
        return None
    core = found.get(METADATA_KEY) if isinstance(found, dict) else None
    return core if isinstance(core, dict) else None


def publish(
    scores: TablePort,
    quarantine: TablePort,
    attempt: Attempt,
    scored: Any,
    quarantined: Any | None,
    step: Callable[[str], None],
) -> Published:
    """Publish a staged run, or nothing.

    Args:
        scores: The scores table.
        quarantine: The quarantine table.
        attempt: Who publishes what.
        scored: Rows that become visible.
        quarantined: Rows set aside; None where there are none.
        step: Called with the name of each step before it is taken.

    Returns:
        What the scores log says; an exception or a success of the store alone proves neither.

    Raises:
        RunSuperseded: A newer run of the interval was published meanwhile.
        WriteError: The commit is not in the log after every try; the old scores stay visible.
    """
    if len(attempt.metadata.encode()) > MAX_METADATA_BYTES:
        raise WriteError("scores commit: its metadata would be larger than 16 KB. This is a bug; please report it.")
    version = None
    if quarantined is not None:
        step("quarantine")
        reached("quarantine.begun")
        version = append_rows(quarantine, attempt.run_id, quarantined)
        reached("quarantine.found")
    step("scores")
    reached("scores.begun")
    failure: Exception | None = None
    for _ in range(MAX_TRIES):
        with scores.lock():
            failure = _try_replace(scores, attempt, scored)
            reached("scores.written")
            step("read-back")
            found = _read_back(scores, attempt, version)
        if found is not None:
            reached("scores.found")
            return found
        if scores.txn_version(application_id(attempt.job, attempt.interval)) >= attempt.generation:
            raise RunSuperseded(_superseded(scores, attempt))
    raise WriteError(
        f"scores {scores.location}: expected the commit of run {attempt.run_id} in the log; found none after "
        f"{MAX_TRIES} tries{_told(failure)}. The old scores stay visible; mend the cause and run again."
    ) from failure


def append_rows(table: TablePort, run_id: str, rows: Any) -> int:
    """Append a run's rows to a table that only grows, once; they count for nothing until the run is published.

    Args:
        table: The quarantine, or a table of a challenger.
        run_id: The run.
        rows: Its rows.

    Returns:
        Version of the commit that has them.

    Raises:
        WriteError: They are not in the log after every try.
    """
    app_id = f"q/{run_id}"
    failure: Exception | None = None
    for _ in range(MAX_TRIES):
        with table.lock():
            before = table.version()
            try:
                metadata = json.dumps({"run_id": run_id})
                table.append(rows, app_id=app_id, txn_version=1, metadata=metadata)
            except Exception as error:  # whatever it says, only the log decides
                failure = error
            reached("quarantine.written")
            version = _find_version(table, run_id, before)
            if version is None and table.txn_version(app_id) >= 1:  # an earlier try of this run had landed
                version = _find_version(table, run_id, -1) or table.version()
            if version is not None:
                return version
    raise WriteError(
        f"table {table.location}: expected the rows of run {run_id} in its log; found none after {MAX_TRIES} "
        f"tries{_told(failure)}. Nothing was published; mend the cause and run again."
    ) from failure


def _try_replace(scores: TablePort, attempt: Attempt, scored: Any) -> Exception | None:
    try:
        scores.replace(
            scored,
            interval=attempt.interval,
            app_id=application_id(attempt.job, attempt.interval),
            txn_version=attempt.generation,
            metadata=attempt.metadata,
        )
    except Exception as error:  # whatever it says, only the log decides
        return error
    return None


def _read_back(scores: TablePort, attempt: Attempt, quarantine_version: int | None) -> Published | None:
    same_key: tuple[int, str] | None = None
    for commit in scores.commits(attempt.planned_version):
        core = read_metadata(commit)
        if core is None or core.get("interval") != attempt.interval:
            continue
        if core.get("run_id") == attempt.run_id:
            return Published(
                outcome="published",
                run_id=attempt.run_id,
                scores_version=commit.version,
                quarantine_version=quarantine_version,
            )
        content_key = core.get("content_key") or core.get("run_key")
        same_key = (commit.version, str(core.get("run_id"))) if content_key == attempt.run_key else None
    if same_key is None:
        return None
    return Published(
        outcome="unchanged", run_id=same_key[1], scores_version=same_key[0], quarantine_version=quarantine_version
    )


def _find_version(table: TablePort, run_id: str, after: int) -> int | None:
    """The version above `after` that added a run's rows; the newest commits are looked at first."""
    for version in range(table.version(), after, -1):
        commit = next(iter(table.commits(version - 1)), None)
        if commit is not None and commit.metadata and run_id in commit.metadata:
            return commit.version
    return None


def _superseded(scores: TablePort, attempt: Attempt) -> str:
    newest = "another run"
    for commit in scores.commits(attempt.planned_version):
        core = read_metadata(commit)
        if core is not None and core.get("interval") == attempt.interval:
            newest = f"run {core.get('run_id')}"
    return (
        f"interval {attempt.interval}: expected to publish generation {attempt.generation}; found that {newest} was "
        "published meanwhile. Its scores are visible; nothing of this run is. Run again if its inputs are newer."
    )


def _told(failure: Exception | None) -> str:
    if failure is None:
        return ""
    return f" (the store said: {reason_of(failure)})"
