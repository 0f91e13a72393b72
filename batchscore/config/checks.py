"""The sections that say what is expected: checks of rows and columns, gates of a whole run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from batchscore.config.forms import FORBID

OnFail = Literal["hold", "warn", "record"]


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
    on_fail: OnFail = "hold"


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantineGateConfig:
    """How many of the rows read may be set aside before somebody is to look.

    Attributes:
        max_pct: Percent of the rows read.
        on_fail: What becomes of a run with more.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    max_pct: float
    on_fail: OnFail = "hold"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreGateConfig:
    """What the scores of one output column may be, over all rows that would be published.

    Attributes:
        between: Least and greatest score.
        mean_between: Least and greatest mean.
        max_missing_pct: Percent of the rows whose score is null or NaN.
        on_fail: What becomes of a run with others.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    between: tuple[float, float] | None = None
    mean_between: tuple[float, float] | None = None
    max_missing_pct: float | None = None
    on_fail: OnFail = "hold"


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftGateConfig:
    """How far the distributions of features and scores may be from those of a reference.

    Attributes:
        reference: `runs`, the job's published intervals before this one; `model`, what `log_model` stored with the
            model; or the id of one published run.
        last: For `runs`, how many intervals.
        measure: `psi` (population stability index), `jensen_shannon` (base 2) or `kolmogorov_smirnov`, from counts in
            ten bins with equal shares of the reference.
        threshold: The most that a column may reach; without it, what resampling the reference's intervals shows of
            each column, or 0.25 where the reference is a single distribution.
        deviations: For the resampling, how many standard deviations of the measure's logarithm above its mean.
        columns: Features and output columns that are looked at; empty for all.
        ignore: Those that are not.
        on_fail: What becomes of a run that has drifted.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    reference: str = "runs"
    last: int = 28
    measure: Literal["psi", "jensen_shannon", "kolmogorov_smirnov"] = "psi"
    threshold: float | None = None
    deviations: float = 4.0
    columns: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    on_fail: OnFail = "hold"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChallengerGateConfig:
    """How far the challenger's scores may be from the champion's.

    Attributes:
        max_psi: Population stability index of a column's scores.
        min_rank_correlation: Spearman's.
        max_mean_abs_difference: Mean distance between both scores of a row.
        max_flips_pct: For columns that are no numbers, percent of the rows with another value.
        on_fail: What becomes of a run that is further away.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    max_psi: float | None = None
    min_rank_correlation: float | None = None
    max_mean_abs_difference: float | None = None
    max_flips_pct: float | None = None
    on_fail: OnFail = "hold"


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputGateConfig:
    """What becomes of a run whose scores fail a critical expectation of `checks.output`, in place of its failure.

    Attributes:
        on_fail: `hold` keeps the staged rows until someone decides.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    on_fail: OnFail = "hold"


@dataclass(frozen=True, kw_only=True, slots=True)
class GatesConfig:
    """What is decided of a whole stage before anything becomes visible.

    Attributes:
        volume: The number of rows.
        quarantine: The share of rows set aside.
        scores: The scores, by output column.
        drift: Distributions of features and scores.
        challenger: The challenger's scores.
        output: Critical expectations of the scores.
        sample_rows: About how many rows of a run, chosen at random, the distributions are counted from; 0 counts none.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    volume: VolumeGateConfig | None = None
    quarantine: QuarantineGateConfig | None = None
    scores: dict[str, ScoreGateConfig] = field(default_factory=dict)
    drift: DriftGateConfig | None = None
    challenger: ChallengerGateConfig | None = None
    output: OutputGateConfig | None = None
    sample_rows: int = 100_000
