"""The three output tables of a job as Spark sees them: where they lie, and the rows that a run adds to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from batchscore.audit.chain import SCHEMA_DDL
from batchscore.config import Job
from batchscore.hooks import reached
from batchscore.ledger import PUBLISHING, Ledger
from batchscore.pinning import resolve_table
from batchscore.planning import Prepared
from batchscore.ports import TablePort
from batchscore.publish.schema import (
    QUARANTINE_EXTRA,
    SCORES_EXTRA,
    create_append_only,
    create_scores,
    quarantine_schema,
    scores_schema,
)
from batchscore.records import RunRecord
from batchscore.tables.delta import DeltaTable
from batchscore.tables.parquet import ParquetTable
from batchscore.tables.read import quote
from batchscore.tables.stages import StageFolder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True, slots=True)
class Outputs:
    """Scores, quarantine and audit of one job, the folder of its stages, and the ledger over them."""

    spark: SparkSession
    job: Job
    scores: TablePort
    quarantine: TablePort
    audit: TablePort
    stages: StageFolder
    ledger: Ledger

    def locations(self) -> dict[str, str]:
        """Where the tables lie."""
        return {
            "scores": self.scores.location,
            "quarantine": self.quarantine.location,
            "audit": self.audit.location,
        }

    def prepare_tables(self, prepared: Prepared) -> None:
        """Create the tables, or check that they may take this job's rows."""
        config = self.job.config
        create_scores(self.scores, scores_schema(prepared.fields), config.job, config.interval.grain)
        reached("tables.scores")
        create_append_only(self.quarantine, quarantine_schema(prepared.key_fields), "output.quarantine")
        reached("tables.quarantine")
        self.ledger.create_audit()
        reached("tables.audit")

    def write_detail(self, digest: str, content: bytes) -> None:
        """Keep a run's whole record under its digest, before the commit that quotes it."""
        self.audit.write_side_file(f"{digest}.json", content)

    def scored_rows(self, rows: DataFrame, record: RunRecord) -> DataFrame:
        """Staged rows as the scores table takes them.

        Rows that were scores before, as `rollback` brings them, keep their model and the time of their scoring.
        """
        from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

        added = {name for name, _ in SCORES_EXTRA}
        model = record.model or {}
        now = {
            "_model": F.lit(f"{model.get('name')}/{model.get('version')}"),
            "_scored_at": F.lit(datetime.now(UTC)),
        }
        return rows.select(
            *[F.col(quote(name)) for name in self.scores.columns() if name not in added],
            F.lit(record.interval).alias("_interval"),
            F.lit(record.run_id).alias("_run_id"),
            F.lit(record.generation).cast("bigint").alias("_generation"),
            *[rows[name] if name in rows.columns else value.alias(name) for name, value in now.items()],
        )

    def quarantined_rows(self, rows: DataFrame, source: DataFrame | None, record: RunRecord) -> DataFrame:
        """Staged rows as the quarantine takes them, each with its whole input row as JSON.

        Args:
            rows: Rows set aside; those of a job whose key is not unique carry their input row as `_raw`, those that
                were quarantined before have it as `_row`.
            source: The pinned input, from which other rows are fetched by a second read; None where none is needed.
            record: The run that sets them aside.
        """
        from pyspark.sql import functions as F  # noqa: PLC0415

        keys = self.quarantine_keys()
        if "_row" not in rows.columns:
            rows = _with_whole_row(rows, source, keys)
        return rows.select(
            *[F.col(quote(key)) for key in keys],
            "_row",
            "_stage",
            "_reasons",
            F.lit(record.interval).alias("_interval"),
            F.lit(record.run_id).alias("_run_id"),
            F.lit(record.generation).cast("bigint").alias("_generation"),
        )

    def quarantine_keys(self) -> list[str]:
        """Key columns of the quarantine."""
        added = {name for name, _ in QUARANTINE_EXTRA}
        return [name for name in self.quarantine.columns() if name not in added]

    def open_quarantine(self) -> DataFrame:
        """Quarantined rows of the published runs; rows of runs that never published stay hidden."""
        if not self.quarantine.exists():
            return self.spark.createDataFrame([], quarantine_schema([]))
        from pyspark.sql import functions as F  # noqa: PLC0415

        newest = self.audit.read().where(f"kind in {PUBLISHING}").groupBy("interval")
        runs = newest.agg(F.max_by("run_id", "generation").alias("_run_id")).select("_run_id")
        rows: DataFrame = self.quarantine.read()
        return rows.join(F.broadcast(runs), "_run_id", "left_semi")


def open_outputs(spark: SparkSession, job: Job) -> Outputs:
    """The output tables that a job names; none of them is created."""
    output = job.config.output
    store = ParquetTable if output.format == "parquet" else DeltaTable
    # Beside the resolved path: a reference may expand to one that ends in a slash.
    place = resolve_table(job, output.scores).rstrip("/")
    scores, audit = store(spark, place), store(spark, _beside(job, output.audit, place, "audit"))
    quarantine = store(spark, _beside(job, output.quarantine, place, "quarantine"))
    schema = _audit_schema()
    stages = StageFolder(spark, f"{scores.location}_stage")
    ledger = Ledger(
        job=job.config.job,
        scores=scores,
        quarantine=quarantine,
        audit=audit,
        stages=stages,
        audit_schema=schema,
        create_audit=lambda: create_append_only(audit, schema, "output.audit"),
        stage_retention=timedelta(days=output.stage_retention_d),
        clock=lambda: datetime.now(UTC),
    )
    return Outputs(spark, job, scores, quarantine, audit, stages, ledger)


def _beside(job: Job, named: str | None, scores: str, suffix: str) -> str:
    return resolve_table(job, named) if named else f"{scores}_{suffix}"


def _with_whole_row(rows: DataFrame, source: DataFrame | None, keys: Sequence[str]) -> DataFrame:
    """Rows with `_row`: the whole input row as JSON, carried by the stage or fetched by its key, which is unique."""
    from pyspark.sql import functions as F  # noqa: PLC0415

    options: Mapping[str, Any] = {"ignoreNullFields": "false"}
    if "_raw" in rows.columns:
        return rows.withColumn("_row", F.to_json("_raw", dict(options)))
    assert source is not None
    whole = source.select(
        *[F.col(quote(key)).alias(f"_k{i}") for i, key in enumerate(keys)],
        F.to_json(F.struct(*[F.col(quote(c)) for c in source.columns]), dict(options)).alias("_row"),
    )
    condition = F.lit(True)
    for position, key in enumerate(keys):
        condition = condition & rows[quote(key)].eqNullSafe(whole[f"_k{position}"])
    return rows.join(whole, condition, "left")


def _audit_schema() -> Any:
    from pyspark.sql.types import StructType  # noqa: PLC0415

    return StructType.fromDDL(SCHEMA_DDL)
