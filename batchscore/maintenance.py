"""Maintenance: small files of the output tables joined, files that nothing promises removed, stages settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batchscore.attempts import Progress, make_event, silent
from batchscore.config import Job
from batchscore.errors import ConfigError
from batchscore.failures import retell
from batchscore.outputs import open_outputs
from batchscore.rendering import Sheet, Shown

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

TABLES = ("scores", "quarantine", "audit", "challenger", "differences")


@dataclass(frozen=True, kw_only=True, slots=True)
class Maintenance(Shown):
    """What was done.

    Attributes:
        job: The job's name.
        tables: Table to files joined, files that they became, and files removed.
        stages: Stages that were there before, and after.
    """

    job: str
    tables: Mapping[str, Mapping[str, int]]
    stages: tuple[int, int]

    def sheet(self) -> Sheet:
        """The maintenance laid out."""
        names = ("joined", "became", "removed")
        lines = [[table, *(done[name] for name in names)] for table, done in self.tables.items()]
        facts = [("stages", f"{self.stages[0]} before, {self.stages[1]} after")]
        heads = ("table", "small files", "joined into", "old files removed")
        return Sheet(f"maintain {self.job}", facts, (("tables", heads, lines),))


def maintain_tables(spark: SparkSession, job: Job, *, vacuum: bool = True, progress: Progress = silent) -> Maintenance:
    """Compact and vacuum the output tables, one after the other, each under the lock that runs take to commit.

    Delta's own `OPTIMIZE` and `VACUUM` do it: no row changes, and files that a version within
    `delta.deletedFileRetentionDuration` needs stay, so that what is promised of time travel, rollback and replay holds.
    Stages of runs that are done with, or older than `output.stage_retention_d`, go as in every repair.

    Args:
        spark: A session that `open_session` made.
        job: The job.
        vacuum: Whether old files are removed, too.
        progress: Called with a line for each table.

    Raises:
        ConfigError: The output is plain Parquet, which keeps no versions.
        WriteError: A store did not take it; what is published stands.
    """
    if job.config.output.format != "delta":
        raise ConfigError("maintain: expected Delta output; plain Parquet has no versions to compact or to remove.")
    target = open_outputs(spark, job)
    before = len(target.stages.run_ids()) if target.scores.exists() else 0
    target.ledger.repair()
    done: dict[str, dict[str, int]] = {}
    for name in TABLES:
        table: Any = getattr(target, name)
        if table is None or not table.exists():
            continue
        progress(f"{name}: joining small files{' and removing old ones' if vacuum else ''}")
        try:
            done[name] = table.maintain(vacuum=vacuum)
        except Exception as error:
            raise retell(error) from error
    if done:
        event = make_event("maintain", job.config.job, None, None)
        target.ledger.fold(events=[{**event, "tables": done, "vacuum": vacuum}])
    after = len(target.stages.run_ids()) if target.scores.exists() else 0
    return Maintenance(job=job.config.job, tables=done, stages=(before, after))
