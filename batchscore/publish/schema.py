"""The output tables: their columns, partitions and properties, and whether an existing table may take this job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchscore.ports import TablePort
from batchscore.publish.comparison import (
    APPEND_ONLY,
    FILE_RETENTION,
    GRAIN_PROPERTY,
    JOB_PROPERTY,
    LOG_RETENTION,
    TableSpec,
    check_table,
)

if TYPE_CHECKING:
    from pyspark.sql.types import StructField, StructType

REASONS = (
    "array<struct<rule: string, fingerprint: string, column: string, severity: string, kind: string, error: string>>"
)
SCORES_EXTRA = (
    ("_interval", "string"),
    ("_run_id", "string"),
    ("_generation", "bigint"),
    ("_model", "string"),
    ("_scored_at", "timestamp"),
)
QUARANTINE_EXTRA = (
    ("_row", "string"),
    ("_stage", "string"),
    ("_reasons", REASONS),
    ("_interval", "string"),
    ("_run_id", "string"),
    ("_generation", "bigint"),
)
CHALLENGER_EXTRA = (
    ("_model", "string"),
    ("_interval", "string"),
    ("_run_id", "string"),
    ("_generation", "bigint"),
)
DIFFERENCES_EXTRA = (
    ("_column", "string"),
    ("_score", "double"),
    ("_challenger_score", "double"),
    ("_difference", "double"),
    *CHALLENGER_EXTRA,
)
INTERVAL = "_interval"
# The audit is read from the log's commit metadata, which goes with log retention.
_KEPT = {LOG_RETENTION: "interval 365 days", FILE_RETENTION: "interval 30 days"}


def scores_schema(fields: Sequence[StructField]) -> StructType:
    """Columns of the scores table: keys, passthrough and outputs, then where each row comes from."""
    return _with_extra(fields, SCORES_EXTRA)


def quarantine_schema(fields: Sequence[StructField]) -> StructType:
    """Columns of the quarantine table: keys, then the row, its reasons, and where it comes from."""
    return _with_extra(fields, QUARANTINE_EXTRA)


def challenger_schema(fields: Sequence[StructField]) -> StructType:
    """Columns of the table of a challenger's scores: keys and outputs, then where each row comes from."""
    return _with_extra(fields, CHALLENGER_EXTRA)


def differences_schema(fields: Sequence[StructField]) -> StructType:
    """Columns of the differences table: keys, which scores differ and how, then where each row comes from."""
    return _with_extra(fields, DIFFERENCES_EXTRA)


def scores_spec(schema: StructType, job: str, grain: str, *, key: Sequence[str] = (), delta: bool = True) -> TableSpec:
    """What a scores table must be: partitioned by interval, and of one job and one grain.

    Args:
        schema: Its columns.
        job: The job's name.
        grain: The job's grain.
        key: The job's key columns.
        delta: Whether it is stored as Delta, whose properties mean nothing elsewhere.
    """
    own = {JOB_PROPERTY: job, GRAIN_PROPERTY: grain}
    properties = {**_KEPT, **own} if delta else own
    return TableSpec(
        where="output.scores",
        schema=schema,
        properties=properties,
        partition_by=[INTERVAL],
        key=key,
        evolves=delta,
    )


def append_only_spec(
    where: str, schema: StructType, job: str, *, key: Sequence[str] = (), delta: bool = True
) -> TableSpec:
    """What a quarantine or audit table must be: one of the job that only grows.

    Args:
        where: The config key that names it.
        schema: Its columns.
        job: The job's name.
        key: The job's key columns.
        delta: As in `scores_spec`.
    """
    own = {JOB_PROPERTY: job}
    properties = {**_KEPT, APPEND_ONLY: "true", **own} if delta else own
    return TableSpec(where=where, schema=schema, properties=properties, key=key, evolves=delta)


def ensure_table(table: TablePort, spec: TableSpec) -> None:
    """Create a table, or check that the one that stands may take the job's rows.

    Raises:
        ConfigError: It may not; the message says what to do.
    """
    if not table.exists() and _create(table, spec):
        return
    check_table(table, spec)


def _create(table: TablePort, spec: TableSpec) -> bool:
    """Create a table; False where the store complained and the table stands: most often another creator was faster."""
    try:
        table.create(spec.schema, spec.partition_by, spec.properties)
    except Exception:
        if not table.exists():
            raise
        return False
    return True


def _with_extra(fields: Sequence[StructField], extra: Sequence[tuple[str, str]]) -> StructType:
    from pyspark.sql.types import StructType, _parse_datatype_string  # noqa: PLC0415 - the driver alone needs it

    schema = StructType(list(fields))
    for name, kind in extra:
        schema = schema.add(name, _parse_datatype_string(kind))
    return schema
