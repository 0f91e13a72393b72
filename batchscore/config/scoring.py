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
class EncodeConfig:
    """An encoder: a function of one column whose constants were fitted once, and stand in `features.constants`.

    Attributes:
        do: `scale` takes the mean off and divides by the standard deviation; `one_hot` gives an array with a 1 at the
            value's place, `ordinal` that place, from 1, and 0 for a value that was not seen; `hash` gives a bucket
            from 0; `bucketize` the number of edges that are not above the value; `impute` a value in place of null.
        of: The column, or other feature, that is encoded.
        size: What fitting may choose: categories of `one_hot` and `ordinal` (at most), buckets of `hash` and
            `bucketize`.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    do: Literal["scale", "one_hot", "ordinal", "hash", "bucketize", "impute"]
    of: str
    size: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureConfig:
    """One column given to the model: SQL, a lookup's column, an encoder, a Python function, or an input column.

    Attributes:
        name: The feature's name; without `sql`, `from` and `encode` also that of a function in `features.modules`, or
            of an input column.
        sql: Spark SQL expression over the columns of the input, the lookups and other features.
        from_: `LOOKUP.COLUMN`.
        encode: An encoder of another column.
        on_null: What becomes of a row in which the feature is null.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    name: str
    sql: str | None = None
    from_: str | None = None
    encode: EncodeConfig | None = None
    on_null: Literal["fail", "quarantine", "nan"] | ImputeConfig = "quarantine"


@dataclass(frozen=True, kw_only=True, slots=True)
class FeaturesConfig:
    """The features, in the order in which a packed model input takes them.

    Attributes:
        modules: Python files with functions marked `@feature` or `@arrow_feature`.
        constants: JSON file with the encoders' constants, as `batchscore fit-encoders` writes it.
        on_hash_mismatch: What a run does where the model was trained with other definitions of its features:
            `warn`, `stop` or `ignore`.
        columns: One entry per feature.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    modules: tuple[str, ...] = ()
    constants: str | None = None
    on_hash_mismatch: Literal["warn", "stop", "ignore"] = "warn"
    columns: tuple[FeatureConfig, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StepConfig:
    """One output column computed from another.

    Attributes:
        name: The new column.
        of: The output column, or the column of an earlier step, that it is computed from.
        do: What is computed. `softmax` and `sigmoid` keep the column's form; `argmax` gives the position of the
            largest value of an array, or its name; `pick` gives one value of an array; `categories` gives the name of
            the first category whose condition a number meets; `calibrate` interpolates a number in a table.
        index: For `pick`, the position, from 0.
        classes: For `argmax`, the names of the positions; empty for the position itself.
        categories: For `categories`, name to condition, such as `"<0.2"` or `">=0.2 <0.7"`.
        otherwise: For `categories`, the name where no condition is met; none for null.
        points: For `calibrate`, pairs of a number and what becomes of it, in rising order.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    name: str
    of: str
    do: Literal["softmax", "sigmoid", "argmax", "pick", "categories", "calibrate"]
    index: int | None = None
    classes: tuple[str, ...] = ()
    categories: dict[str, str] = field(default_factory=dict)
    otherwise: str | None = None
    points: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberConfig:
    """One model of an ensemble.

    Attributes:
        uri: `models:/name@alias` or `models:/name/version`.
        weight: Its weight in the mean; weights need not add up to 1.
        inputs: As `model.inputs`, where this model takes others.
        outputs: As `model.outputs`, where this model's are named otherwise.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    uri: str
    weight: float = 1.0
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentsConfig:
    """A model for each value of a column.

    Attributes:
        by: A column of the input table, or a feature: text, whole numbers or booleans.
        models: Value to the URI of its model.
        default: The model of all other rows, null among them; none sets those rows aside.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    by: str
    models: dict[str, str]
    default: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChallengerConfig:
    """A model that scores the same rows beside the job's own, to be compared with it; it decides nothing.

    Attributes:
        uri: `models:/name@alias` or `models:/name/version`.
        inputs: As `model.inputs`, where this model takes others.
        outputs: As `model.outputs`, where this model's are named otherwise.
        worst: Rows with the largest differences whose keys go to the differences table; 0 for none.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    uri: str
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    worst: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The registered model, or models, and how their tensors meet the job's columns.

    Attributes:
        uri: `models:/name@alias` or `models:/name/version`. Exactly one of `uri`, `ensemble` and `segments`.
        ensemble: Models whose scores are averaged.
        segments: A model for each value of a column.
        inputs: ONNX input name to the features it takes; empty: by name, or all features into the only input.
        outputs: Output column to an output of the model or a part of it; empty: every output under its own name.
        postprocess: Columns computed from the outputs, in order.
        drop: Output columns that are not kept.
        challenger: A model that is compared with the job's own.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    uri: str | None = None
    ensemble: tuple[MemberConfig, ...] = ()
    segments: SegmentsConfig | None = None
    inputs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    postprocess: tuple[StepConfig, ...] = ()
    drop: tuple[str, ...] = ()
    challenger: ChallengerConfig | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuConfig:
    """How a GPU is used, where scoring runs on one.

    Attributes:
        per_task: GPUs that each task asks Spark for on a cluster; a fraction lets tasks share one.
        sessions_per_device: Workers that may share a GPU in local mode, where Spark does not hand GPUs out.
        memory_limit: Most memory of one session's arena, such as `8g`; none for no limit.
        tf32: Whether float32 products may be computed in TF32: faster, with 10 bits of mantissa.
        fp16: Whether TensorRT may compute in half precision.
        engine_cache: Folder in which TensorRT keeps built engines, on the workers' own disks.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    per_task: float = 1.0
    sessions_per_device: int = 4
    memory_limit: str | None = None
    tf32: bool = False
    fp16: bool = False
    engine_cache: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringConfig:
    """How batches meet the model.

    Attributes:
        device: Where ONNX Runtime computes; `auto` takes a GPU where there is one.
        batch_rows: Rows given to one ONNX Runtime call.
        on_bad_score: What becomes of a row whose score is NaN or infinite.
        max_failed_rows: Rows that ONNX Runtime may refuse on their own, and that are set aside, before the run fails.
        threads: Threads of one ONNX Runtime call; `auto` finds them among the cores of a task.
        arena: Whether ONNX Runtime keeps CPU memory for the next call.
        optimization: How far ONNX Runtime rewrites the graph.
        max_sessions: ONNX Runtime sessions that a worker keeps; the one unused longest is let go.
        gpu: How a GPU is used.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    device: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    batch_rows: int | Literal["auto"] = "auto"
    on_bad_score: Literal["quarantine", "keep", "fail"] = "quarantine"
    max_failed_rows: int = 100
    threads: int | Literal["auto"] = "auto"
    arena: bool = True
    optimization: Literal["none", "basic", "extended", "all"] = "all"
    max_sessions: int = 8
    gpu: GpuConfig = GpuConfig()


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineConfig:
    """The Spark session, where batchscore makes it itself; one that is there already keeps its master and its memory.

    Attributes:
        master: Spark master URL.
        driver_memory: Java heap of the driver, such as `2g`.
        accelerator: Who computes SQL features: Spark alone (`none`), Apache DataFusion Comet (`comet`), or Comet where
            its jar is on this machine (`auto`).
        scan: Who reads the input's Parquet files: the Python workers themselves where the job lets them, else Spark
            (`auto`), or always Spark (`spark`).
        verify_pages: Whether the checksums of Parquet pages are verified wherever they are read.
        conf: Further Spark settings; those that decide values or safety are refused.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    master: str = "local[*]"
    driver_memory: str = "2g"
    accelerator: Literal["none", "comet", "auto"] = "none"
    scan: Literal["auto", "spark"] = "auto"
    verify_pages: bool = True
    conf: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistryConfig:
    """The MLflow registry.

    Attributes:
        uri: Tracking URI; a relative `sqlite:///` path counts from the job file's folder.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = FORBID
    uri: str | None = None
