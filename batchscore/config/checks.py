"""The sections that say what is expected: checks of rows and columns, gates of a whole run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from batchscore.config.forms import FORBID


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectationConfig:
    """An expectation in the job file: one of Great Expectations by `type`, or a SQL rule of one's own on single rows.

    Attributes:
        type: Name of the expectation, such as expect_column_values_to_be_between.
        kwargs: Its arguments, as Great Expectations takes them.
        expect_row_sql: In place of `type`: a SQL expression of the row's columns that must not be false.
        name: What reports call it.
        severity: Whether a failure stops the run (critical), is reported (warning) or recorded (info).
        on_row_fail: What becomes of failing rows; set aside at critical, else kept, where nothing is said.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    type: str | None = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    expect_row_sql: str | None = None
    name: str = ""
    severity: Literal["critical", "warning", "info"] = "critical"
    on_row_fail: Literal["quarantine", "keep"] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChecksConfig:
    """Expectations of each place: a Great Expectations suite file, or a list here; and how many rows may be set aside.

    Attributes:
        input: On the raw rows.
        features: On the computed features, before null policies.
        output: On the scores.
        max_quarantine_pct: Percent of the rows read, all reasons together.
        max_quarantine_rows: Rows, all reasons together.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    input: str | tuple[ExpectationConfig, ...] | None = None
    features: str | tuple[ExpectationConfig, ...] | None = None
    output: str | tuple[ExpectationConfig, ...] | None = None
    max_quarantine_pct: float = 100.0
    max_quarantine_rows: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeGateConfig:
    """How many rows an interval may have, against the median of the job's last published intervals.

    Attributes:
        of_median: Least and most, as multiples of the median; no verdict before three intervals are published.
        last: How many of the newest published intervals the median is taken of.
        on_fail: `hold` keeps the run from publishing until someone decides; `warn` and `record` publish it.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    of_median: tuple[float, float] = (0.5, 2.0)
    last: int = 28
    on_fail: Literal["hold", "warn", "record"] = "hold"


@dataclass(frozen=True, kw_only=True, slots=True)
class GatesConfig:
    """What is decided of a whole stage before anything becomes visible.

    Attributes:
        volume: The number of rows.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    volume: VolumeGateConfig | None = None
