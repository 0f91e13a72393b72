"""The output tables of a job as Spark sees them: where they lie, and the rows that a run adds to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from batchscore.audit.chain import SCHEMA_DDL
from batchscore.config import Job
from batchscore.errors import ConfigError
from batchscore.hooks import reached
from batchscore.ledger import PUBLISHING, Ledger
from batchscore.pinning import resolve_table
from batchscore.planning import Prepared
from batchscore.ports import TablePort
from batchscore.publish.comparison import TableSpec, check_table
from batchscore.publish.schema import (
    QUARANTINE_EXTRA,
    SCORES_EXTRA,
    append_only_spec,
    challenger_schema,
    differences_schema,
    ensure_table,
    quarantine_schema,
    scores_schema,
    scores_spec,
)
from batchscore.records import RunRecord, show_model
from batchscore.redaction import redact
from batchscore.references import TABLE_NAME
from batchscore.tables.adoption import OwnFiles
from batchscore.tables.delta import DeltaTable
from batchscore.tables.locations import is_path, qualify
from batchscore.tables.parquet import ParquetTable
from batchscore.tables.read import quote
from batchscore.tables.stage import Stage, read_stage
from batchscore.tables.stages import StageFolder
from batchscore.tables.stores import check_store

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True, slots=True)
class Outputs:
    """Scores, quarantine and audit of one job, its stages, the ledger over them, and a challenger's tables."""

    spark: SparkSession
    job: Job
    scores: TablePort
    quarantine: TablePort
    audit: TablePort
    stages: StageFolder
    ledger: Ledger
    challenger: TablePort | None = None
    differences: TablePort | None = None

    def locations(self) -> dict[str, str]:
        """Where the tables lie."""
        names = ("scores", "quarantine", "audit", "challenger", "differences")
        return {name: table.location for name in names if (table := getattr(self, name)) is not None}

    def specs(self, prepared: Prepared) -> dict[str, tuple[TablePort, TableSpec]]:
        """Each table, and what it must be for this job's rows."""
        config = self.job.config
        key, delta = config.input.key, config.output.format == "delta"
        schemas = scores_schema(prepared.fields), quarantine_schema(prepared.key_fields)
        scores = scores_spec(schemas[0], config.job, config.interval.grain, key=key, delta=delta)
        quarantine = append_only_spec("output.quarantine", schemas[1], config.job, key=key, delta=delta)
        specs = {
            "scores": (self.scores, scores),
            "quarantine": (self.quarantine, quarantine),
            "audit": (self.audit, _audit_spec(self.job)),
        }
        for name, table, schema in (
            ("challenger", self.challenger, challenger_schema(prepared.challenger_fields)),
            ("differences", self.differences, differences_schema(prepared.key_fields)),
        ):
            if table is not None:
                own = append_only_spec(f"output.{name}", schema, config.job, key=key, delta=delta)
                specs[name] = (table, own)
        return specs

    def prepare_tables(self, prepared: Prepared) -> None:
        """Create the tables, once those that stand are seen to take this job's rows.

        Raises:
            ConfigError: One of them does not; nothing is changed.
        """
        specs = self.specs(prepared)
        for table, spec in specs.values():
            if table.exists():
                check_table(table, spec)
        for name, (table, spec) in specs.items():
            ensure_table(table, spec)
            reached(f"tables.{name}")
        _check_stores(self.spark, self.job, self.locations())  # a catalog may have its own mind where a table goes

    def write_detail(self, digest: str, content: bytes) -> None:
        """Keep a run's whole record under its digest, before the commit that quotes it."""
        self.audit.write_side_file(f"{digest}.json", content)

    def read_distributions(self, record: Mapping[str, Any]) -> dict[str, Any] | None:
        """The file with the counts of a run's distributions; None where there is none, or it is another by now."""
        digest = (record.get("distributions") or {}).get("sha256")
        content = self.audit.read_side_file(f"{digest}.json") if digest else None
        if content is None or sha256(content).hexdigest() != digest:
            return None
        found: dict[str, Any] = json.loads(content)
        return found

    def scored_rows(self, rows: DataFrame, record: RunRecord) -> DataFrame:
        """Staged rows as the scores table takes them.

        Rows that were scores before, as `rollback` brings them, keep their model and the time of their scoring.
        """
        from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

        added = {name for name, _ in SCORES_EXTRA}
        now = {
            "_model": F.lit(show_model(record.model)),
            "_scored_at": F.lit(datetime.now(UTC)),
        }
        # Rows from before a column was added have none of it.
        columns = {name: kind for name, kind in self.scores.columns().items() if name not in added}
        return rows.select(
            *[
                F.col(quote(name)) if name in rows.columns else F.lit(None).cast(kind).alias(name)
                for name, kind in columns.items()
            ],
            F.lit(record.interval).alias("_interval"),
            F.lit(record.run_id).alias("_run_id"),
            F.lit(record.generation).cast("bigint").alias("_generation"),
            *[rows[name] if name in rows.columns else value.alias(name) for name, value in now.items()],
        )

    def staged_scores(self, stage: Stage, record: RunRecord) -> DataFrame | OwnFiles:
        """The scored rows of a stage as the scores table takes them: its files as they are, where that is safe."""
        rows = self.scored_rows(read_stage(self.spark, stage, "scored"), record)
        own = stamps_of(record)
        files = tuple(f"{stage.location}/{file}" for file in stage.files.get("scored", ()))
        same = bool(stage.stamps) and all(stage.stamps.get(name) == value for name, value in own.items())
        if same and isinstance(self.scores, DeltaTable) and self.scores.takes_files(rows.schema, files):
            return OwnFiles(rows, files)
        return rows

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


def former_differences(target: Outputs) -> TablePort | None:
    """The differences table of a challenger that the job no longer has, where it stands at its usual place."""
    job = target.job
    if target.differences is not None or job.config.output.format != "delta":
        return None
    scores = resolve_table(job, job.config.output.scores).rstrip("/")
    place = _beside(job, job.config.output.differences, scores, "differences")
    table = DeltaTable(target.spark, _absolute(target.spark, job, "differences", place))
    return table if table.exists() else None


def stamps_of(record: RunRecord, scored_at: datetime | None = None) -> dict[str, Any]:
    """What every scored row of a run has in columns of its own.

    Args:
        record: The run's record.
        scored_at: When its rows are scored; left out without it.
    """
    found = {"_run_id": record.run_id, "_generation": record.generation, "_model": show_model(record.model)}
    return {**found, **({} if scored_at is None else {"_scored_at": scored_at})}


def open_outputs(spark: SparkSession, job: Job) -> Outputs:
    """The output tables that a job names; none of them is created.

    Raises:
        ConfigError: A name or a place cannot be an output table's.
    """
    output = job.config.output
    # Beside the resolved path: a reference may expand to one that ends in a slash.
    place = resolve_table(job, output.scores).rstrip("/")
    places = {
        "scores": place,
        "quarantine": _beside(job, output.quarantine, place, "quarantine"),
        "audit": _beside(job, output.audit, place, "audit"),
    }
    if output.challenger is not None:
        places["challenger"] = resolve_table(job, output.challenger).rstrip("/")
    challenger = job.config.model.challenger
    if challenger is not None and challenger.worst and job.config.input.key:
        places["differences"] = _beside(job, output.differences, place, "differences")
    store = ParquetTable if output.format == "parquet" else DeltaTable
    tables = {name: store(spark, _absolute(spark, job, name, place)) for name, place in places.items()}
    _check_stores(spark, job, {name: table.location for name, table in tables.items()})
    scores, quarantine, audit = tables["scores"], tables["quarantine"], tables["audit"]
    audit_spec = _audit_spec(job)
    stages = StageFolder(spark, lambda: f"{scores.location}_stage")
    ledger = Ledger(
        job=job.config.job,
        scores=scores,
        quarantine=quarantine,
        audit=audit,
        stages=stages,
        audit_schema=audit_spec.schema,
        create_audit=lambda: ensure_table(audit, audit_spec),
        stage_retention=timedelta(days=output.stage_retention_d),
        clock=lambda: datetime.now(UTC),
    )
    beside = {name: tables.get(name) for name in ("challenger", "differences")}
    return Outputs(spark, job, scores, quarantine, audit, stages, ledger, **beside)


def _beside(job: Job, named: str | None, scores: str, suffix: str) -> str:
    return resolve_table(job, named).rstrip("/") if named else f"{scores}_{suffix}"


def _absolute(spark: SparkSession, job: Job, key: str, place: str) -> str:
    """A path with the scheme of the file system that it lies on, or a catalog name that may be one."""
    if is_path(place):
        return qualify(spark, place)
    if job.config.output.format == "parquet":
        raise ConfigError(f"output.{key}: expected a path with a '/' for Parquet output; found the name '{place}'.")
    if not TABLE_NAME.match(place):
        raise ConfigError(
            f"output.{key}: expected a path with a '/', or a catalog name, as SCHEMA.TABLE; found '{redact(place)}'."
        )
    return place


def _check_stores(spark: SparkSession, job: Job, locations: Mapping[str, str]) -> None:
    """Refuse tables on a store where two drivers could lose each other's commits."""
    output = job.config.output

    def setting(name: str) -> str | None:
        return spark.sparkContext.getConf().get(name, None)

    for key, location in locations.items():
        check_store(
            f"output.{key}",
            location,
            setting,
            single_driver=output.single_driver,
            delta=output.format == "delta",
        )


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


def _audit_spec(job: Job) -> TableSpec:
    from pyspark.sql.types import StructType  # noqa: PLC0415

    config = job.config
    schema: Any = StructType.fromDDL(SCHEMA_DDL)
    return append_only_spec("output.audit", schema, config.job, delta=config.output.format == "delta")
