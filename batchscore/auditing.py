"""Auditing: whether the audit is whole, its records for outside keepers, and which model scored what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from batchscore.audit.fold import QUIET_OPERATIONS, Head
from batchscore.audit.verify import ChainFault, Core, find_faults, plain_row
from batchscore.config import Job
from batchscore.errors import ConfigError, VerificationError
from batchscore.intervals import find_interval, midnight
from batchscore.ledger import PUBLISHING
from batchscore.lineups import members_of
from batchscore.outputs import Outputs, open_outputs
from batchscore.publish.protocol import read_metadata
from batchscore.records import show_model
from batchscore.rendering import Sheet, Shown

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SHOWN_FAULTS = 20
_TRIES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification(Shown):
    """What became of verifying an audit.

    Attributes:
        job: The job's name.
        rows: Rows of the chain by its own log.
        sha256: Digest of the last one.
        commits: Scores commits that quote the chain, and were compared with it.
        faults: What is wrong, first link first; empty where the audit is as it was written.
    """

    job: str
    rows: int
    sha256: str
    commits: int
    faults: tuple[ChainFault, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def sheet(self) -> Sheet:
        """The verification laid out."""
        facts = [
            ("audit", "whole" if self.whole else f"{len(self.faults)} faults"),
            ("rows", self.rows),
            ("end of the chain", self.sha256),
            ("scores commits compared", self.commits),
        ]
        lines = [[fault.seq, fault.what] for fault in self.faults[:SHOWN_FAULTS]]
        return Sheet(f"audit {self.job}", facts, (("faults, first link first", ("row", "what"), lines),))


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelHistory(Shown):
    """Which model scored which interval, and when each version was first seen.

    Attributes:
        job: The job's name.
        on: The day that was asked about; None for all.
        runs: Published runs: interval, run, model, digests, when it was published, and whether readers see it now.
        first_seen: Model version to the run and time in which it was first seen.
    """

    job: str
    on: str | None
    runs: tuple[Mapping[str, Any], ...]
    first_seen: Mapping[str, Mapping[str, Any]]

    def sheet(self) -> Sheet:
        """The history laid out."""
        names = ("interval", "model", "run", "kind", "ended_at", "visible")
        lines = [[one[name] for name in names] for one in self.runs]
        seen = [
            [model, one["sha256"][:16] + "…", one["run"], one["ended_at"]] for model, one in self.first_seen.items()
        ]
        title = f"models {self.job}{f' · {self.on}' if self.on else ''}"
        tables = (
            (
                "published runs, oldest first",
                ("interval", "model", "run", "kind", "published at", "seen by readers"),
                lines,
            ),
            ("versions, as first seen", ("model", "sha256", "run", "at"), seen),
        )
        return Sheet(title, [("published runs", len(self.runs))], tables)


def verify_audit(spark: SparkSession, job: Job) -> Verification:
    """Check every row of the audit's chain, and what the scores log quotes of it; nothing is changed.

    Raises:
        VerificationError: The audit's own log names no end of a chain though the table has rows.
    """
    target = open_outputs(spark, job)
    for _ in range(_TRIES):
        head = _head(target)
        cores = _cores(target)
        rows = _rows(target) if target.audit.exists() else iter(())
        faults = (*find_faults(rows, head, cores), *_find_unrecorded(target, head))
        if _head(target) == head:  # else a run has added to it meanwhile
            break
    quoting = sum(1 for core in cores if core.version <= head.scores_version)
    return Verification(job=job.config.job, rows=head.seq, sha256=head.sha256, commits=quoting, faults=faults)


def export_audit(spark: SparkSession, job: Job, out: str | None) -> Iterator[str]:
    """Every row of the audit as a line of JSON, by its place in the chain; `record` is the record itself.

    Args:
        spark: The session.
        job: The job.
        out: Where the lines go, for messages.
    """
    target = open_outputs(spark, job)
    target.ledger.repair()
    if not target.audit.exists():
        raise ConfigError(f"audit export{f' --out {out}' if out else ''}: expected an audit; the job has none yet.")
    for row in _rows(target):
        yield json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def write_lines(lines: Iterator[str], out: str) -> int:
    """Write lines to a new file; none is there until all are.

    Raises:
        ConfigError: The file stands already, or cannot be written.
    """
    file = Path(out)
    if file.exists():
        raise ConfigError(f"--out {out}: expected a place where nothing is yet. Name another.")
    partial = file.with_name(f".{file.name}.partial")
    count = 0
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as opened:
            for line in lines:
                opened.write(f"{line}\n")
                count += 1
        partial.replace(file)
    except OSError as error:
        raise ConfigError(f"--out {out}: expected a file that can be written: {error.strerror}.") from error
    return count


def list_models(spark: SparkSession, job: Job, on: str | None) -> ModelHistory:
    """Which model version scored what, by the audit.

    Args:
        spark: The session.
        job: The job.
        on: A day in the job's time zone, as 2013-10-05, whose intervals are asked about; None for all.

    Raises:
        ConfigError: That is no day.
    """
    target = open_outputs(spark, job)
    target.ledger.repair()
    history = [record for record in target.ledger.history() if record["kind"] in PUBLISHING]
    visible = {a.current["run_id"] for a in target.ledger.accounts().values() if a.current is not None}
    first_seen: dict[str, dict[str, Any]] = {}
    for record in history:
        for model in members_of(record["model"]) if record.get("model") else ():
            seen = {"sha256": model["sha256"], "run": record["run_id"], "ended_at": record.get("ended_at", "")}
            first_seen.setdefault(f"{model['name']}/{model['version']}", seen)
    chosen = [record for record in history if on is None or _is_on(job, record, on)]
    runs = tuple(
        {
            "interval": str(record.get("interval_label") or record["interval"]).partition(" (")[0],
            "model": show_model(record.get("model")) or "",
            "models": [
                {"name": one["name"], "version": one["version"], "sha256": one["sha256"]}
                for one in (members_of(record["model"]) if record.get("model") else ())
            ],
            "run": record["run_id"],
            "kind": record["kind"],
            "ended_at": record.get("ended_at", ""),
            "visible": record["run_id"] in visible,
        }
        for record in chosen
    )
    named = {f"{one['name']}/{one['version']}" for run in runs for one in run["models"]}
    seen = {name: one for name, one in first_seen.items() if on is None or name in named}
    return ModelHistory(job=job.config.job, on=on, runs=runs, first_seen=seen)


def check_whole(found: Verification, config: str) -> None:
    """End with exit code 9 where an audit is not whole.

    Raises:
        VerificationError: It is not; the message names the first broken link.
    """
    if found.faults:
        first = found.faults[0]
        raise VerificationError(
            f"audit {found.job}: expected the chain as it was written; found {len(found.faults)} faults, the first at "
            f"row {first.seq}: {first.what}. Compare with an export (`batchscore audit export {config}`) that was kept "
            "elsewhere."
        )


def _is_on(job: Job, record: Mapping[str, Any], on: str) -> bool:
    config = job.config.interval
    try:
        day = date.fromisoformat(on)
    except ValueError as error:
        raise ConfigError(f"--on {on}: expected a day, as 2013-10-05.") from error
    interval = find_interval(str(record["interval"]), config.grain, config.time_zone)
    if interval.start is None or interval.end is None:  # a snapshot: what readers saw at the end of that day
        ended = str(record.get("ended_at") or "")
        return bool(ended) and datetime.fromisoformat(ended).astimezone(UTC) < midnight(
            day + timedelta(days=1), ZoneInfo(config.time_zone)
        )
    zone = ZoneInfo(config.time_zone)
    return interval.start < midnight(day + timedelta(days=1), zone) and interval.end > midnight(day, zone)


def _head(target: Outputs) -> Head:
    return target.ledger.head()


def _cores(target: Outputs) -> list[Core]:
    commits = target.scores.commits(-1) if target.scores.exists() else []
    return [Core(commit.version, core) for commit in commits if (core := read_metadata(commit)) is not None]


def _find_unrecorded(target: Outputs, head: Head) -> Iterator[ChainFault]:
    """Scores commits that the audit should know of, and does not; those of a run at work will be told."""
    for commit in target.scores.commits(head.scores_version) if target.scores.exists() else []:
        core = read_metadata(commit)
        run_id = str(core["run_id"]) if core is not None else None
        at_work = run_id is not None and target.stages.is_claimed(run_id)
        if not at_work and commit.operation not in QUIET_OPERATIONS:
            who = f"run {run_id}" if run_id else f"a {commit.operation}"
            what = f"scores version {commit.version} ({who}) is not in the audit"
            yield ChainFault(
                head.seq + 1, f"{what}: its driver died, and `batchscore repair` adds it, or it was removed"
            )


def _rows(target: Outputs) -> Iterator[dict[str, Any]]:
    rows: Any = target.audit.read()
    return (plain_row(row) for row in rows.orderBy("seq").toLocalIterator())
