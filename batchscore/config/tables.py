"""The sections that say which rows go in and where rows come out: interval, input, lookups, output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from batchscore.config.forms import FORBID, Format
from batchscore.patterns import duration_s

Grain = Literal["hour", "day", "week", "month", "snapshot"]


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalConfig:
    """Which part of the input table one run takes.

    Attributes:
        grain: Length of one interval; `snapshot` takes the whole table and needs no column.
        column: Date or timestamp column that the interval is cut by.
        time_zone: IANA zone in which intervals begin and SQL features read clocks.
        schedule: How often the job is due; a scheduled job fails on an interval without rows.
        start: The first interval that is the job's to run, in the grain's own form.
        end: The interval from which nothing is due any more, in the same form.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    column: str | None = None
    grain: Grain = "day"
    time_zone: str = "UTC"
    schedule: Literal["hourly", "daily", "weekly", "monthly"] | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class InputConfig:
    """The table to score.

    Attributes:
        table: A path, or a catalog name; `${env:NAME}` may stand in it.
        format: How the table is stored.
        key: Columns that identify a row; they travel to every output table.
        on_duplicate_key: What becomes of rows whose key is not unique.
        allow_empty: Whether a scheduled job may find no rows at all.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    table: str
    format: Format = "delta"
    key: tuple[str, ...] = ()
    on_duplicate_key: Literal["fail", "quarantine", "keep"] = "fail"
    allow_empty: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowConfig:
    """One aggregate over the rows of a key that became known in the time before an input row's own moment.

    Attributes:
        do: What is computed: rows counted, or their values added up, averaged, the least, greatest or latest of them,
            or how many there are without doubles.
        of: The column, or Spark SQL expression over the table's columns, that it is computed from; `count` without it
            counts rows.
        over: How far back it looks, as `90s`, `15m`, `6h` or `7d`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    do: Literal["count", "sum", "mean", "min", "max", "distinct", "last"]
    over: str
    of: str | None = None

    @property
    def over_s(self) -> int:
        """Seconds that it looks back."""
        return duration_s(self.over)


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupConfig:
    """A table joined to the input by equal keys, or by equal keys as of a point in time.

    With `at` and `known_at`: the latest row whose `known_at` lies before the input row's `at`, not more than
    `max_age` before it; or with `windows`, aggregates over all rows that became known in the time before `at`.
    Without them: the one row with the same key; two such rows are an error.

    Attributes:
        table: A path, or a catalog name; `${env:NAME}` may stand in it.
        columns: Columns that it brings.
        on: Key columns, under the same names in both tables.
        format: How the table is stored.
        at: Input column with the moment that a row is scored for.
        known_at: Lookup column with the moment that its row became known.
        max_age: How long a row stays usable after that, as `90s`, `15m`, `6h` or `7d`.
        windows: Aggregates, by name, in place of `columns` and `max_age`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    table: str
    on: tuple[str, ...]
    columns: tuple[str, ...] = ()
    format: Format = "delta"
    at: str | None = None
    known_at: str | None = None
    max_age: str | None = None
    windows: dict[str, WindowConfig] = field(default_factory=dict)

    @property
    def brings(self) -> tuple[str, ...]:
        """What features may name of it: columns, or windows."""
        return (*self.columns, *self.windows)

    @property
    def max_age_s(self) -> int:
        """Seconds that a row stays usable after it became known."""
        return duration_s(self.max_age or "0s")

    @property
    def back_s(self) -> int:
        """Seconds before `at` in which rows that became known may count."""
        return max([self.max_age_s, *(window.over_s for window in self.windows.values())])


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputConfig:
    """Where results go.

    Attributes:
        scores: Path or catalog name of the scores table; `${env:NAME}` may stand in it.
        quarantine: The same of the quarantine table; the scores' with `_quarantine` added, unless given.
        audit: The same of the audit table; the scores' with `_audit` added, unless given.
        format: How the tables are stored; a catalog name is Delta's.
        challenger: The same of the table for a challenger's scores; none unless given.
        differences: The same of the table for the keys of rows where a challenger differs most; the scores' with
            `_differences` added, unless given.
        passthrough: Input columns that travel to the scores table unchanged.
        stage_retention_d: Days that the staged rows of a held, failed or abandoned run are kept.
        single_driver: The promise that one driver at a time publishes, for stores that cannot tell two apart.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    scores: str
    quarantine: str | None = None
    challenger: str | None = None
    differences: str | None = None
    audit: str | None = None
    format: Format = "delta"
    passthrough: tuple[str, ...] = ()
    stage_retention_d: int = 7
    single_driver: bool = False

    @property
    def quarantine_table(self) -> str:
        """Path or name of the quarantine table."""
        return self.quarantine or self.scores.rstrip("/") + "_quarantine"

    @property
    def audit_table(self) -> str:
        """Path or name of the audit table."""
        return self.audit or self.scores.rstrip("/") + "_audit"
