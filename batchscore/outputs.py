"""The three output tables of a job: what stands in them, what a run adds, and how they are kept in step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from batchscore.audit.chain import SCHEMA_DDL
from batchscore.audit.fold import Head, fold, read_head
from batchscore.config import Job
from batchscore.intervals import Interval
from batchscore.planning import Prepared, resolve_table
from batchscore.ports import TablePort
from batchscore.publish.protocol import next_generation, read_metadata
from batchscore.publish.schema import create_append_only, create_scores, quarantine_schema, scores_schema
from batchscore.records import RunRecord, to_dict
from batchscore.tables.delta import DeltaTable
from batchscore.tables.parquet import ParquetTable
from batchscore.tables.read import quote
from batchscore.tables.stage import is_claimed, list_stages, read_note, remove_stage, write_note

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PUBLISHING = ("run", "force", "rollback", "override", "redrive")


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What is published for an interval, and what a run with a given key would therefore do.

    Attributes:
        action: `new`, `replace`, `unchanged` (the key is published) or `superseded` (a newer key is).
        generation: The generation that the run would publish.
        current: The published run's record; None before the first.
        message: For `superseded`, what to tell.
    """

    action: str
    generation: int
    current: Mapping[str, Any] | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Scores, quarantine and audit of one job, and the folder of its stages."""

    spark: SparkSession
    job: Job
    scores: TablePort
    quarantine: TablePort
    audit: TablePort
    stage_folder: str

    def locations(self) -> dict[str, str]:
        """Where the tables lie."""
        return {
            "scores": self.scores.location,
            "quarantine": self.quarantine.location,
            "audit": self.audit.location,
        }

    def stage_location(self, run_id: str) -> str:
        """The path of one run's stage."""
        return f"{self.stage_folder}/{run_id}"

    def standing(self, run_key: str, interval: Interval, *, force: bool) -> Standing:
        """Compare a run key with what is published."""
        generation = next_generation(self.scores, self.job.config.job, interval.name) if self.scores.exists() else 1
        if generation == 1:
            return Standing(action="new", generation=1, current=None)
        runs = self.published_runs(interval.name)
        current = runs[-1] if runs else None
        if force or current is None:
            return Standing(action="replace", generation=generation, current=current)
        if current["run_key"] == run_key:
            return Standing(action="unchanged", generation=current["generation"], current=current)
        older = next((run for run in runs[:-1] if run["run_key"] == run_key), None)
        if older is None:
            return Standing(action="replace", generation=generation, current=current)
        message = (
            f"interval {interval}: this run key was published by run {older['run_id']} and replaced by run "
            f"{current['run_id']} (generation {current['generation']}). Nothing was written. "
            "To publish it again on purpose, use --force."
        )
        return Standing(action="superseded", generation=generation, current=current, message=message)

    def published_runs(self, interval: str) -> list[dict[str, Any]]:
        """An interval's published runs, oldest first: what the audit holds, and what only the scores log says yet."""
        # The log first: a run that another driver folds meanwhile is then seen twice, never missed.
        new = [core for core in self.unfolded() if core.get("interval") == interval]
        runs: list[dict[str, Any]] = []
        if self.audit.exists():
            frame = self.audit.read().where(f"kind in {PUBLISHING}")
            frame = frame.where(frame["interval"] == interval).orderBy("seq")
            runs = [json.loads(row["record"]) for row in frame.select("record").collect()]
        known = {run["run_id"] for run in runs}
        return [*runs, *(core for core in new if core["run_id"] not in known)]

    def records(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Every audit record, newest first."""
        frame = self.audit.read().orderBy("seq", ascending=False)
        if limit is not None:
            frame = frame.limit(limit)
        return [{"seq": row["seq"], **json.loads(row["record"])} for row in frame.select("seq", "record").collect()]

    def prepare_tables(self, prepared: Prepared) -> None:
        """Create the tables, or check that they may take this job's rows."""
        config = self.job.config
        create_scores(self.scores, scores_schema(prepared.fields), config.job, config.interval.grain)
        create_append_only(self.quarantine, quarantine_schema(prepared.key_fields), "output.quarantine")
        self._create_audit()

    def repair(self) -> Head | None:
        """Bring the audit up to the scores log, and clear stages whose driver died. Seconds, and scores nothing."""
        for table in (self.scores, self.quarantine, self.audit):
            table.repair()
        abandoned = []
        for run_id in list_stages(self.spark, self.stage_folder):
            location = self.stage_location(run_id)
            if not is_claimed(self.spark, location):
                note = read_note(self.spark, location)
                if note is not None and not self.is_published(str(note["run_id"])):
                    abandoned.append({**note, "kind": "abandoned", "status": "abandoned"})
                remove_stage(self.spark, location)
        if not self.scores.exists() and not abandoned:
            return None
        return self.fold(events=abandoned)

    def fold(
        self,
        *,
        events: Sequence[Mapping[str, Any]] = (),
        additions: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Head:
        """Project new scores commits into the audit, and add events."""
        self._create_audit()
        return fold(self.scores, self.audit, _audit_schema(), events=events, additions=additions)

    def is_published(self, run_id: str) -> bool:
        """Whether a run's scores were committed, whatever its driver lived to see."""
        if any(core.get("run_id") == run_id for core in self.unfolded()):
            return True
        if not self.audit.exists():
            return False
        frame = self.audit.read().where(f"kind in {PUBLISHING}")
        return not frame.where(frame["run_id"] == run_id).isEmpty()

    def unfolded(self) -> Iterator[dict[str, Any]]:
        """What the scores commits that the audit does not hold yet say of themselves."""
        seen = read_head(self.audit).scores_version if self.audit.exists() else -1
        for commit in self.scores.commits(seen) if self.scores.exists() else []:
            core = read_metadata(commit)
            if core is not None:
                yield core

    def chain_head(self) -> dict[str, Any]:
        """The end of the audit chain, as the scores commit quotes it."""
        head = read_head(self.audit)
        return {"seq": head.seq, "sha256": head.sha256}

    def write_detail(self, digest: str, content: bytes) -> None:
        """Keep a run's whole record under its digest, before the commit that quotes it."""
        self.audit.write_side_file(f"{digest}.json", content)

    def note_start(self, record: RunRecord) -> None:
        """Leave beside the stage what is known of the run, for the one that finds it abandoned."""
        write_note(self.spark, self.stage_location(record.run_id), to_dict(record))

    def scored_rows(self, staged: DataFrame, prepared: Prepared, record: RunRecord) -> DataFrame:
        """Staged rows as the scores table takes them."""
        from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

        return staged.select(
            *[quote(field.name) for field in prepared.fields],
            F.lit(record.interval).alias("_interval"),
            F.lit(record.run_id).alias("_run_id"),
            F.lit(record.generation).cast("bigint").alias("_generation"),
            F.lit(prepared.model.label).alias("_model"),
            F.lit(datetime.now(UTC)).alias("_scored_at"),
        )

    def quarantined_rows(self, staged: DataFrame, prepared: Prepared, record: RunRecord) -> DataFrame:
        """Staged rows as the quarantine takes them, each with its whole input row as JSON.

        Where the key is unique, the row is fetched by a second read of the pinned input; else the stage carries it.
        """
        from pyspark.sql import functions as F  # noqa: PLC0415

        options = {"ignoreNullFields": "false"}
        keys = [field.name for field in prepared.key_fields]
        if prepared.spec.raw:
            rows = staged.withColumn("_row", F.to_json("_raw", options))
        else:
            whole = prepared.source.select(
                *[F.col(quote(key)).alias(f"_k{i}") for i, key in enumerate(keys)],
                F.to_json(F.struct(*[F.col(quote(c)) for c in prepared.source.columns]), options).alias("_row"),
            )
            condition = F.lit(True)
            for position, key in enumerate(keys):
                condition = condition & staged[quote(key)].eqNullSafe(whole[f"_k{position}"])
            rows = staged.join(whole, condition, "left")
        return rows.select(
            *[F.col(quote(key)) for key in keys],
            "_row",
            "_stage",
            "_reasons",
            F.lit(record.interval).alias("_interval"),
            F.lit(record.run_id).alias("_run_id"),
            F.lit(record.generation).cast("bigint").alias("_generation"),
        )

    def open_quarantine(self) -> DataFrame:
        """Quarantined rows of the published runs; rows of runs that never published stay hidden."""
        if not self.quarantine.exists():
            return self.spark.createDataFrame([], quarantine_schema([]))
        from pyspark.sql import functions as F  # noqa: PLC0415

        newest = self.audit.read().where(f"kind in {PUBLISHING}").groupBy("interval")
        runs = newest.agg(F.max_by("run_id", "generation").alias("_run_id")).select("_run_id")
        rows: DataFrame = self.quarantine.read()
        return rows.join(F.broadcast(runs), "_run_id", "left_semi")

    def _create_audit(self) -> None:
        create_append_only(self.audit, _audit_schema(), "output.audit")


def open_outputs(spark: SparkSession, job: Job) -> Outputs:
    """The output tables that a job names; none of them is created."""
    output = job.config.output
    store = ParquetTable if output.format == "parquet" else DeltaTable
    # Beside the resolved path: a reference may expand to one that ends in a slash.
    scores = resolve_table(job, output.scores).rstrip("/")
    quarantine = resolve_table(job, output.quarantine) if output.quarantine else f"{scores}_quarantine"
    audit = resolve_table(job, output.audit) if output.audit else f"{scores}_audit"
    return Outputs(spark, job, store(spark, scores), store(spark, quarantine), store(spark, audit), f"{scores}_stage")


def _audit_schema() -> Any:
    from pyspark.sql.types import StructType  # noqa: PLC0415

    return StructType.fromDDL(SCHEMA_DDL)
