"""The job as frozen dataclasses: what stands in the YAML file is what runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, ClassVar, Literal

Grain = Literal["hour", "day", "week", "month", "snapshot"]
Format = Literal["delta", "parquet"]
Scalar = bool | int | float | str


def yaml_key(field_name: str) -> str:
    """The YAML key of a dataclass field: its name, without the underscore that keeps a Python keyword legal."""
    return field_name.rstrip("_")


# Read by pydantic in the loader; nothing to import here. Unknown keys are faults.
FORBID: dict[str, Any] = {"extra": "forbid", "alias_generator": yaml_key}
NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_]{0,99}\Z")
DURATION = re.compile(r"^([1-9][0-9]{0,5})(s|m|h|d)\Z")
MODEL_URI = re.compile(r"^models:/([A-Za-z0-9_. -]{1,200})(?:@([A-Za-z0-9_-]{1,100})|/([1-9][0-9]{0,8}))\Z")
OUTPUT_SELECTOR = re.compile(r"^([^\[\]]+?)(?:\[\s*:\s*,\s*([0-9]{1,6})\s*\])?\Z")
RESERVED_PREFIX = "_"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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
class ChecksConfig:
    """Great Expectations suite files, one for each place, and the share of rows that may be set aside.

    Attributes:
        input: Suite file for the raw rows.
        features: Suite file for the computed features, before null policies.
        output: Suite file for the scores.
        max_quarantine_pct: Percent of the rows read, all reasons together.
        max_quarantine_rows: Rows, all reasons together.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    input: str | None = None
    features: str | None = None
    output: str | None = None
    max_quarantine_pct: float = 100.0
    max_quarantine_rows: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LookupConfig:
    """A table joined to the input by equal keys, or by equal keys as of a point in time.

    With `at` and `known_at`: the latest row whose `known_at` lies before the input row's `at`, not more than
    `max_age` before it. Without them: the one row with the same key; two such rows are an error.

    Attributes:
        table: A path, or a catalog name; `${env:NAME}` may stand in it.
        columns: Columns that it brings.
        on: Key columns, under the same names in both tables.
        format: How the table is stored.
        at: Input column with the moment that a row is scored for.
        known_at: Lookup column with the moment that its row became known.
        max_age: How long a row stays usable after that, as `90s`, `15m`, `6h` or `7d`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    table: str
    columns: tuple[str, ...]
    on: tuple[str, ...]
    format: Format = "delta"
    at: str | None = None
    known_at: str | None = None
    max_age: str | None = None

    @property
    def max_age_s(self) -> int:
        """Seconds that a row stays usable after it became known."""
        return duration_s(self.max_age or "0s")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImputeConfig:
    """Null policy: put this value where the feature is null.

    Attributes:
        impute: The value.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    impute: Scalar


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureConfig:
    """One column given to the model: a SQL expression, a lookup's column (`from`), or an input column by its name.

    Attributes:
        name: The feature's name, and the input column's where neither `sql` nor `from` is given.
        sql: Spark SQL expression over the input's and the lookups' columns.
        from_: `LOOKUP.COLUMN`.
        on_null: What becomes of a row in which the feature is null.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    name: str
    sql: str | None = None
    from_: str | None = None
    on_null: Literal["fail", "quarantine", "nan"] | ImputeConfig = "quarantine"


@dataclass(frozen=True, kw_only=True, slots=True)
class FeaturesConfig:
    """The features, in the order in which a packed model input takes them.

    Attributes:
        columns: One entry per feature.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    columns: tuple[FeatureConfig, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The registered model and how its tensors meet the job's columns.

    Attributes:
        uri: `models:/name@alias` or `models:/name/version`.
        inputs: ONNX input name to the features it takes; empty: by name, or all features into the only input.
        outputs: Output column to `tensor` or `tensor[:, k]`; empty: every tensor under its own name.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    uri: str
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringConfig:
    """How batches meet the model.

    Attributes:
        device: Where ONNX Runtime computes; `auto` takes a GPU where there is one.
        batch_rows: Rows given to one ONNX Runtime call.
        on_bad_score: What becomes of a row whose score is NaN or infinite.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    device: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    batch_rows: int | Literal["auto"] = "auto"
    on_bad_score: Literal["quarantine", "keep", "fail"] = "quarantine"


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputConfig:
    """Where results go.

    Attributes:
        scores: Path or catalog name of the scores table; `${env:NAME}` may stand in it.
        quarantine: The same of the quarantine table; the scores' with `_quarantine` added, unless given.
        audit: The same of the audit table; the scores' with `_audit` added, unless given.
        format: How the tables are stored; a catalog name is Delta's.
        passthrough: Input columns that travel to the scores table unchanged.
        stage_retention_d: Days that the staged rows of a held, failed or abandoned run are kept.
        single_driver: The promise that one driver at a time publishes, for stores that cannot tell two apart.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    scores: str
    quarantine: str | None = None
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


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """The Spark session, where batchscore makes it itself. Ignored inside spark-submit and notebooks' own sessions.

    Attributes:
        master: Spark master URL.
        driver_memory: Java heap of the driver, such as `2g`.
        conf: Further Spark settings; those that decide values or safety are refused.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    master: str = "local[*]"
    driver_memory: str = "2g"
    conf: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryConfig:
    """The MLflow registry.

    Attributes:
        uri: Tracking URI; a relative `sqlite:///` path counts from the job file's folder.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    uri: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobConfig:
    """One job. Relative paths count from the folder of the job file, wherever the command is run.

    Attributes:
        job: The job's name: letters, digits and underscores.
        interval: Which part of the input table one run takes.
        input: The table to score.
        model: The registered model.
        output: Where results go.
        gates: What may hold a run before it is published.
        checks: Expectations on input, features and scores.
        lookups: Tables joined to the input, by name.
        features: What the model is given.
        scoring: How batches meet the model.
        engine: The Spark session.
        registry: The MLflow registry.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    job: str
    interval: IntervalConfig
    input: InputConfig
    model: ModelConfig
    output: OutputConfig
    checks: ChecksConfig = ChecksConfig()
    lookups: dict[str, LookupConfig] = field(default_factory=dict)
    features: FeaturesConfig = FeaturesConfig()
    scoring: ScoringConfig = ScoringConfig()
    gates: GatesConfig = GatesConfig()
    engine: EngineConfig = EngineConfig()
    registry: RegistryConfig = RegistryConfig()


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A validated config with its place: the folder that relative paths count from, and the file it came from.

    Attributes:
        config: The resolved config; references such as `${env:NAME}` still stand in it as written.
        folder: Absolute path of the job file's folder.
        file: The job file as the user named it, for messages and command lines.
    """

    config: JobConfig
    folder: str
    file: str


def duration_s(text: str) -> int:
    """Seconds in a duration such as `90s`, `15m`, `6h`, `7d`; 0 for `0s`."""
    found = DURATION.match(text)
    return int(found[1]) * SECONDS[found[2]] if found else 0


def to_plain(value: Any) -> Any:
    """The config as plain dicts, lists and scalars, with YAML's key names (`from_` becomes `from`)."""
    if is_dataclass(value) and not isinstance(value, type):
        return {yaml_key(f.name): to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    return [to_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
