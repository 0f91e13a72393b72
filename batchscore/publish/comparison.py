"""Comparison: where a table that stands differs from what a job writes, and whether `migrate` can mend it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batchscore.errors import ConfigError
from batchscore.ports import TablePort

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

JOB_PROPERTY = "batchscore.job"
GRAIN_PROPERTY = "batchscore.grain"
APPEND_ONLY = "delta.appendOnly"
LOG_RETENTION = "delta.logRetentionDuration"
FILE_RETENTION = "delta.deletedFileRetentionDuration"
FORBIDDEN = "delta.setTransactionRetentionDuration"  # Delta would forget generations
# What Delta does where a table says nothing, and why that is too short.
# Source: https://docs.delta.io/table-properties
_RETENTIONS = {
    LOG_RETENTION: ("interval 30 days", "the audit is rebuilt from the log"),
    FILE_RETENTION: ("interval 1 week", "a rollback needs the files that were replaced"),
}
_MIGRATE = "`batchscore migrate CONFIG` sets it."
_UNIT_S = {"week": 604_800, "day": 86_400, "hour": 3600, "minute": 60, "second": 1}
_SPAN = re.compile(r"(\d+)\s+(week|day|hour|minute|second)s?", re.IGNORECASE)
_SPANS = re.compile(rf"(?:interval\s+)?{_SPAN.pattern}(?:\s+{_SPAN.pattern})*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSpec:
    """What an output table must be.

    Attributes:
        where: The config key that names it, such as `output.scores`.
        schema: Its columns.
        properties: Its properties; retentions are the least that will do.
        partition_by: Its partition columns; empty where that does not matter.
        key: Columns that identify a row, which cannot be added later.
        evolves: Whether its store can add columns.
    """

    where: str
    schema: StructType
    properties: Mapping[str, str]
    partition_by: Sequence[str] = ()
    key: Sequence[str] = ()
    evolves: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One way in which a table is not what its spec says.

    Attributes:
        message: Where, what was expected, what was found, and what to do.
        columns: Columns whose addition mends it.
        properties: Properties that mend it when they are set.
    """

    message: str
    columns: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def mendable(self) -> bool:
        """Whether `migrate` can mend it."""
        return bool(self.columns or self.properties)


def check_table(table: TablePort, spec: TableSpec) -> None:
    """Refuse a table that stands and cannot take the job's rows as it is; nothing is changed.

    Raises:
        ConfigError: It belongs to another job or grain, has other columns, or settings that break the protocol.
    """
    found = find_differences(table, spec)
    if found:
        raise ConfigError("\n".join(difference.message for difference in found))


def find_differences(table: TablePort, spec: TableSpec) -> list[Difference]:
    """Where a table that stands is not what its spec says; empty where the job may write to it."""
    properties = table.properties()
    where = f"{spec.where} {table.location}"
    owner = _find_owner(where, properties, spec)
    if owner is not None:
        return [owner]
    return [
        *_compare_partitions(where, table, spec),
        *_compare_properties(where, properties, spec),
        *_compare_columns(where, table.columns(), spec),
    ]


def duration_of(text: str) -> int | None:
    """Seconds in a Delta interval such as `interval 30 days`; None for what is none."""
    if not _SPANS.fullmatch(text.strip()):
        return None
    return sum(int(number) * _UNIT_S[unit.lower()] for number, unit in _SPAN.findall(text))


def _find_owner(where: str, properties: Mapping[str, str], spec: TableSpec) -> Difference | None:
    for key, noun in ((JOB_PROPERTY, "job"), (GRAIN_PROPERTY, "grain")):
        wanted, found = spec.properties.get(key), properties.get(key)
        if wanted is not None and found != wanted:
            message = (
                f"{where}: expected a table of {noun} '{wanted}'; found "
                f"{f'{noun} {found!r}' if found else 'a table that batchscore did not make'}. "
                "One table belongs to one job and one grain: choose another path."
            )
            return Difference(message=message)
    return None


def _compare_partitions(where: str, table: TablePort, spec: TableSpec) -> Iterator[Difference]:
    found = list(table.partition_columns()) if spec.partition_by else []
    if found != list(spec.partition_by):
        message = (
            f"{where}: expected it to be partitioned by {', '.join(spec.partition_by)} alone, so that two intervals "
            f"never meet; found {', '.join(found) or 'no partitions'}. Partitions stay as they are: name a new path."
        )
        yield Difference(message=message)


def _compare_properties(where: str, properties: Mapping[str, str], spec: TableSpec) -> Iterator[Difference]:
    if FORBIDDEN in properties:
        message = (
            f"{where}: expected no property {FORBIDDEN}, which makes Delta forget which runs were published; found "
            f"'{properties[FORBIDDEN]}'. Unset it: ALTER TABLE … UNSET TBLPROPERTIES ('{FORBIDDEN}')."
        )
        yield Difference(message=message)
    wanted = spec.properties.get(APPEND_ONLY, "false")
    found = properties.get(APPEND_ONLY, "false")
    if found.lower() != wanted:
        why = (
            "rows of the quarantine and the audit only grow" if wanted == "true" else "an interval's rows are replaced"
        )
        message = f"{where}: expected {APPEND_ONLY}={wanted}, since {why}; found {found}. {_MIGRATE}"
        yield Difference(message=message, properties={APPEND_ONLY: wanted})
    for key in (LOG_RETENTION, FILE_RETENTION):
        if key in spec.properties:
            yield from _compare_retention(where, key, spec.properties[key], properties.get(key))


def _compare_retention(where: str, key: str, wanted: str, found: str | None) -> Iterator[Difference]:
    default, why = _RETENTIONS[key]
    if (duration_of(found or default) or 0) < (duration_of(wanted) or 0):
        message = (
            f"{where}: expected {key} of '{wanted}' or longer, since {why}; found "
            f"{f'{found!r}' if found else f'none, which is {default!r}'}. {_MIGRATE}"
        )
        yield Difference(message=message, properties={key: wanted})


def _compare_columns(where: str, found: Mapping[str, str], spec: TableSpec) -> Iterator[Difference]:
    wanted = {column.name: column.dataType.simpleString() for column in spec.schema.fields}
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    changed = [
        f"{name} is {found[name]}, not {kind}" for name, kind in wanted.items() if name in found and found[name] != kind
    ]
    if not (missing or extra or changed):
        return
    parts = [f"missing {', '.join(missing)}"] if missing else []
    parts += [f"too many: {', '.join(extra)}"] if extra else []
    parts += changed
    text = (
        f"{where}: expected the columns that this job writes; found {'; '.join(parts)}. "
        "Tables never change inside a run: "
    )
    if extra or changed or not spec.evolves:
        yield Difference(message=f"{text}name a new path, or undo the change to the job's outputs.")
    elif set(missing) & set(spec.key):
        yield Difference(message=f"{text}rows published before have no such key, so name a new path.")
    else:
        yield Difference(message=f"{text}`batchscore migrate CONFIG` adds them.", columns=tuple(missing))
