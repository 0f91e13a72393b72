"""Migration: the one way in which output tables change, on request and never inside a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from batchscore.attempts import Progress, make_event, silent
from batchscore.audit.fold import MIGRATE_KEY
from batchscore.config import Job
from batchscore.errors import ConfigError, WriteError
from batchscore.failures import retell
from batchscore.hooks import reached
from batchscore.intervals import Interval, interval_at, parse_interval
from batchscore.outputs import Outputs, open_outputs
from batchscore.planning import prepare
from batchscore.ports import TablePort
from batchscore.publish.comparison import Difference, TableSpec, find_differences
from batchscore.rendering import Sheet, Shown
from batchscore.tables.catalog import columns_clause, properties_clause
from batchscore.tables.delta import DeltaTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ORDER = ("audit", "quarantine", "scores")  # the audit first: it has to take the records of the others


@dataclass(frozen=True, slots=True)
class Change:
    """One ALTER of one table.

    Attributes:
        table: `scores`, `quarantine` or `audit`.
        location: Where it lies.
        clause: What stands behind the table's name in the statement.
    """

    table: str
    location: str
    clause: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration(Shown):
    """What a migration changes, or would.

    Attributes:
        job: The job's name.
        changes: The changes, in their order.
        done: Whether they were made.
    """

    job: str
    changes: tuple[Change, ...]
    done: bool

    def to_dict(self) -> dict[str, Any]:
        """The migration as plain JSON values."""
        changes = [{"table": c.table, "location": c.location, "change": c.clause} for c in self.changes]
        return {"job": self.job, "done": self.done, "changes": changes}

    def sheet(self) -> Sheet:
        """The migration laid out."""
        state = "made" if self.done else "not made" if self.changes else "none is needed"
        lines = [[c.table, c.clause, c.location] for c in self.changes]
        facts = [("changes", f"{len(self.changes)}, {state}" if self.changes else state)]
        return Sheet(f"migrate {self.job}", facts, (("changes", ("table", "change", "location"), lines),))


def migrate_tables(
    spark: SparkSession, job: Job, now: datetime, *, dry_run: bool = False, progress: Progress = silent
) -> Migration:
    """Add columns that the output tables lack for what the job writes now, and set properties that they need.

    Each change is one commit. The audit gets a `migrate` record of it.

    Args:
        spark: A session that `open_session` made.
        job: The job.
        now: The time now.
        dry_run: Say what would change, and change nothing.
        progress: Called with the name of each step.

    Raises:
        ConfigError: A table differs in what no migration can mend: it needs a new path. Nothing is changed.
        WriteError: A change did not land.
    """
    try:
        target = open_outputs(spark, job)
        progress("plan")
        changes = _find_changes(target, job, spark, now)
        if changes and not dry_run:
            progress("migrate")
            _make_changes(target, changes)
    except Exception as error:
        raise retell(error) from error
    return Migration(job=job.config.job, changes=changes, done=bool(changes) and not dry_run)


def _find_changes(target: Outputs, job: Job, spark: SparkSession, now: datetime) -> tuple[Change, ...]:
    specs = target.specs(prepare(spark, job, _any_interval(job, now)))
    differences = {name: find_differences(*specs[name]) for name in ORDER if specs[name][0].exists()}
    refused = [one.message for found in differences.values() for one in found if not one.mendable]
    if refused:
        raise ConfigError("\n".join(refused))
    return tuple(change for name, found in differences.items() for change in _changes_of(name, found, *specs[name]))


def _changes_of(name: str, differences: Sequence[Difference], table: TablePort, spec: TableSpec) -> Iterator[Change]:
    columns = {column for one in differences for column in one.columns}
    if columns:
        fields = [column for column in spec.schema.fields if column.name in columns]
        yield Change(name, table.location, columns_clause(fields))
    properties = {key: value for one in differences for key, value in one.properties.items()}
    if properties:
        yield Change(name, table.location, properties_clause(properties))


def _make_changes(target: Outputs, changes: Sequence[Change]) -> None:
    """Make the changes and audit them: those of the scores by their commits, the others once they are made."""
    tables = {"scores": target.scores, "quarantine": target.quarantine, "audit": target.audit}
    events = []
    for change in changes:
        event = make_event("migrate", target.job.config.job, None, None)
        event |= {"status": "migrated", "table": change.location, "change": change.clause}
        version = _make_change(tables[change.table], change, json.dumps({MIGRATE_KEY: event}))
        reached("migrate.changed")
        if change.table != "scores":
            events.append({**event, "commits": {change.table: version}})
    target.ledger.repair(events=events)


def _make_change(table: TablePort, change: Change, metadata: str) -> int:
    """The version that made a change; whatever the store answers, only its log says whether there is one."""
    assert isinstance(table, DeltaTable)  # other stores have nothing that could be mended
    before, failure = table.version(), None
    try:
        table.alter(change.clause, metadata)
    except Exception as error:
        failure = error
    for commit in table.commits(before):
        if commit.metadata == metadata:
            return commit.version
    raise WriteError(
        f"output.{change.table} {change.location}: expected the commit of {change.clause} in its log; found none. "
        "Others may have changed the table meanwhile: run `batchscore migrate` again."
    ) from failure


def _any_interval(job: Job, now: datetime) -> Interval:
    """An interval to prepare: no column and no type depends on which."""
    config = job.config.interval
    if config.grain == "snapshot":
        return parse_interval(None, config.grain, config.time_zone)
    return interval_at(now, config.grain, config.time_zone)
