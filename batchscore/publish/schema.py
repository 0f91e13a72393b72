"""The output tables: their columns, partitions and properties, and whether an existing table may take this job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from batchscore.errors import ConfigError
from batchscore.ports import TablePort

if TYPE_CHECKING:
    from pyspark.sql.types import StructField, StructType

REASONS = "array<struct<rule: string, fingerprint: string, column: string, severity: string, kind: string>>"
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
JOB_PROPERTY = "batchscore.job"
GRAIN_PROPERTY = "batchscore.grain"
# The audit is read from the log's commit metadata, which goes with log retention.
_KEPT = {"delta.logRetentionDuration": "interval 365 days", "delta.deletedFileRetentionDuration": "interval 30 days"}
_FORBIDDEN = "delta.setTransactionRetentionDuration"  # it would forget generations


def scores_schema(fields: Sequence[StructField]) -> StructType:
    """Columns of the scores table: keys, passthrough and outputs, then where each row comes from."""
    return _with_extra(fields, SCORES_EXTRA)


def quarantine_schema(fields: Sequence[StructField]) -> StructType:
    """Columns of the quarantine table: keys, then the row, its reasons, and where it comes from."""
    return _with_extra(fields, QUARANTINE_EXTRA)


def create_scores(table: TablePort, schema: StructType, job: str, grain: str) -> None:
    """Create the scores table, partitioned by interval, or check that the existing one may take this job.

    Raises:
        ConfigError: It belongs to another job or grain, has other columns, or settings that break the protocol.
    """
    if not table.exists():
        table.create(schema, ["_interval"], {**_KEPT, JOB_PROPERTY: job, GRAIN_PROPERTY: grain})
        return
    properties = table.properties()
    where = f"output.scores {table.location}"
    for key, wanted, noun in ((JOB_PROPERTY, job, "job"), (GRAIN_PROPERTY, grain, "grain")):
        found = properties.get(key)
        if found != wanted:
            raise ConfigError(
                f"{where}: expected a table of {noun} '{wanted}'; found "
                f"{f'{noun} {found!r}' if found else 'a table that batchscore did not make'}. "
                "One scores table belongs to one job and one grain: choose another path."
            )
    if _FORBIDDEN in properties:
        raise ConfigError(
            f"{where}: property {_FORBIDDEN} makes Delta forget which runs were published. Unset it: "
            f"ALTER TABLE … UNSET TBLPROPERTIES ('{_FORBIDDEN}')."
        )
    _check_columns(where, table.columns(), schema)


def create_append_only(table: TablePort, schema: StructType, where: str) -> None:
    """Create a quarantine or audit table that only grows, or check that the existing one has the same columns.

    Raises:
        ConfigError: It has other columns.
    """
    if not table.exists():
        table.create(schema, [], {**_KEPT, "delta.appendOnly": "true"})
        return
    _check_columns(f"{where} {table.location}", table.columns(), schema)


def _with_extra(fields: Sequence[StructField], extra: Sequence[tuple[str, str]]) -> StructType:
    from pyspark.sql.types import StructType, _parse_datatype_string  # noqa: PLC0415 - the driver alone needs it

    schema = StructType(list(fields))
    for name, kind in extra:
        schema = schema.add(name, _parse_datatype_string(kind))
    return schema


def _check_columns(where: str, found: Mapping[str, str], schema: StructType) -> None:
    wanted = {field.name: field.dataType for field in schema.fields}
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    changed = [
        f"{name} is {found[name]}, not {kind.typeName()}"
        for name, kind in wanted.items()
        if name in found and found[name] not in ("nested", kind.typeName(), kind.simpleString())
    ]
    if missing or extra or changed:
        parts = [f"missing {', '.join(missing)}"] if missing else []
        parts += [f"too many: {', '.join(extra)}"] if extra else []
        parts += changed
        raise ConfigError(
            f"{where}: expected the columns that this job writes; found {'; '.join(parts)}. Tables never change "
            "inside a run: name a new path, or undo the change to the job's outputs."
        )
