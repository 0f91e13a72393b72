"""The sections that say what is computed and on what: features, model, scoring, engine, registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from batchscore.config.forms import FORBID

Scalar = bool | int | float | str


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
        outputs: Output column to an output of the model or a part of it; empty: every output under its own name.
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
        max_failed_rows: Rows that ONNX Runtime may refuse on their own, and that are set aside, before the run fails.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    device: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    batch_rows: int | Literal["auto"] = "auto"
    on_bad_score: Literal["quarantine", "keep", "fail"] = "quarantine"
    max_failed_rows: int = 100


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
