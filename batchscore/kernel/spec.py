"""What the driver tells the kernel: rules, columns, null policies, model and output, as plain picklable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleSpec:
    """One row rule: a condition on the columns of one row.

    Attributes:
        rule: Id within the job, such as `input[3]`.
        fingerprint: sha256 of the canonical expectation.
        expectation: GX type name.
        place: `input`, `features` or `output`.
        kind: Which function of `rules.py` evaluates it.
        columns: Columns that it is about, in the order in which the function takes them.
        severity: `critical`, `warning` or `info`.
        on_row_fail: `quarantine` sets failing rows aside; `keep` only counts them.
        args: The function's arguments: plain JSON values.
        condition: A boolean column of the batch, true for the rows that the rule is asked about; empty for all rows.
        flag: A boolean column of the batch that holds Spark's verdict, in place of `columns`; empty for none.
    """

    rule: str
    fingerprint: str
    expectation: str
    place: str
    kind: str
    columns: tuple[str, ...]
    severity: str
    on_row_fail: str
    args: Mapping[str, Any] = field(default_factory=dict)
    condition: str = ""
    flag: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the batch in the order in which the rule's function takes them."""
        return (self.flag,) if self.flag else self.columns


@dataclass(frozen=True, kw_only=True, slots=True)
class TallySpec:
    """What to sum up over one column of one place.

    Attributes:
        place: `input`, `features` or `output`.
        column: Column name.
        stats: Any of `count` (rows, nulls), `range` (min, max), `sum` (sum, for the mean), `spread` (standard
            deviation), `values` (distinct), `found` (which of `wanted` occur).
        max_values: Distinct values kept before the set is given up as too large.
        wanted: Values to look for, as plain values of the column's type.
        condition: A boolean column of the batch, true for the rows that count; empty for all rows.
    """

    place: str
    column: str
    stats: frozenset[str]
    max_values: int = 1000
    wanted: tuple[Any, ...] = ()
    condition: str = ""

    @property
    def key(self) -> str:
        """What the tally is known by among those of its place."""
        return f"{self.column} where {self.condition}" if self.condition else self.column


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSpec:
    """One feature as the kernel meets it: a column of the incoming batch, and its null policy.

    Attributes:
        name: Column name in the batch.
        on_null: `fail`, `quarantine`, `nan` or `impute`; `pass` where no model takes it.
        impute: The value for `impute`.
        failed_bit: Its bit in the `_failed` column, set by Spark where its SQL could not be computed; else None.
        width: How many values each of its arrays has, where that is known beforehand.
    """

    name: str
    on_null: str
    impute: Any = None
    failed_bit: int | None = None
    width: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSpec:
    """One ONNX input and the features that make it up.

    Attributes:
        tensor: ONNX input name.
        dtype: ONNX Runtime's type string, such as `tensor(float)`.
        features: Feature names, in order.
        shape: The input's dimensions, the batch first; None where the model leaves one open.
        stacked: Whether the features lie side by side along the last dimension; else the one feature is all of it.
        depth: How many arrays deep the features' values lie: 0 for plain columns.
        widths: Places that each feature takes in the last dimension, where numbers and arrays lie side by side.
    """

    tensor: str
    dtype: str
    features: tuple[str, ...]
    shape: tuple[int | None, ...]
    stacked: bool = False
    depth: int = 0
    widths: tuple[int, ...] = ()

    def item_of(self, feature: str) -> tuple[int | None, ...]:
        """What one row of a feature has as its shape."""
        return (self.widths[self.features.index(feature)],) if self.widths else self.item

    @property
    def item(self) -> tuple[int | None, ...]:
        """What one row of one feature has as its shape."""
        return self.shape[1:-1] if self.stacked else self.shape[1:]

    @property
    def flat(self) -> bool:
        """Whether a feature holds the values of several dimensions in one array, the last dimension fastest."""
        return self.depth == 1 and len(self.item) > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputSpec:
    """One output column: a tensor, or a part of it.

    Attributes:
        column: Output column name.
        tensor: ONNX output name.
        dtype: ONNX Runtime's type string of the values.
        picks: For each dimension after the batch the position to take, or None for all of them as an array; None for
            one value a row, whatever the tensor's rank.
        key_dtype: The type string of the keys, where the output is a map for each row (`ZipMap`); else empty.
        key: The key to take; None for the whole map.
    """

    column: str
    tensor: str
    dtype: str
    picks: tuple[int | None, ...] | None = None
    key_dtype: str = ""
    key: int | str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSpec:
    """One column computed from the outputs, as `StepConfig` says.

    Attributes:
        name: The new column.
        of: The column that it is computed from.
        do: `softmax`, `sigmoid`, `argmax`, `pick`, `categories` or `calibrate`.
        index: Position that `pick` takes.
        classes: Names of the positions for `argmax`; empty for positions.
        categories: Name and comparisons, pairs of operator and number, that must all hold; the first that fits wins.
        otherwise: The category where none fits.
        points: [k, 2] table that `calibrate` interpolates, first numbers rising.
    """

    name: str
    of: str
    do: str
    index: int = 0
    classes: tuple[str, ...] = ()
    categories: tuple[tuple[str, tuple[tuple[str, float], ...]], ...] = ()
    otherwise: str | None = None
    points: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """One model and how rows meet it.

    Attributes:
        sha256: Digest that its bytes must have on the worker.
        label: `name/version`, for messages.
        inputs: Tensors to build.
        outputs: Columns to make.
        batch: Rows that one call must have; None where the model leaves that open.
    """

    sha256: str
    label: str
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    batch: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoresSpec:
    """How a row gets its scores: by one model, by the mean of several, or by the model of its segment.

    Attributes:
        models: The models, each once for each place that the config names it.
        weights: Weight of each model in the mean, adding up to 1; empty where there is no ensemble.
        by: Column of the batch that says which model scores a row; empty where there are no segments.
        routes: Value of `by`, as text, to position among the models.
        default: Position of the model of all other rows; None sets them aside.
        steps: Columns computed from the outputs, in order.
        dropped: Columns that are not kept.
        challenger: A model whose scores are compared with these; it decides nothing.
    """

    models: tuple[ModelSpec, ...]
    weights: tuple[float, ...] = ()
    by: str = ""
    routes: Mapping[str, int] = field(default_factory=dict)
    default: int | None = None
    steps: tuple[StepSpec, ...] = ()
    dropped: tuple[str, ...] = ()
    challenger: ModelSpec | None = None

    @property
    def label(self) -> str:
        """The models, for messages."""
        return ", ".join(dict.fromkeys(model.label for model in self.models))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Columns that the models give."""
        return tuple(output.column for output in self.models[0].outputs)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that are kept, in order."""
        made = (*self.outputs, *(step.name for step in self.steps))
        return tuple(name for name in made if name not in self.dropped)


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSpec:
    """How ONNX Runtime is set up. Hashable: with a model's digest it tells a worker's sessions apart.

    Attributes:
        device: `auto`, `cpu`, `cuda` or `tensorrt`.
        threads: Threads of one call, or counts to try, fewest first; none where the task's cores are to say.
        arena: Whether CPU memory is kept for the next call.
        optimization: Graph optimisation: `none`, `basic`, `extended` or `all`.
        gpu_memory_bytes: Most memory that the session's arena may take on a GPU; 0 for no limit.
        tf32: Whether float32 products may be computed in TF32 on a GPU.
        fp16: Whether TensorRT may compute in half precision.
        engine_cache: Folder in which TensorRT keeps built engines; empty for none.
        sessions_per_device: Workers that may share a device, where Spark does not hand devices out.
        gpus_per_task: GPUs that a task asks Spark for on a cluster.
        kept: Sessions that a worker keeps.
    """

    device: str = "auto"
    threads: tuple[int, ...] = (1,)
    arena: bool = True
    optimization: str = "all"
    gpu_memory_bytes: int = 0
    tf32: bool = False
    fp16: bool = False
    engine_cache: str = ""
    sessions_per_device: int = 4
    gpus_per_task: float = 1.0
    kept: int = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelSpec:
    """Everything the kernel needs besides rows and model bytes.

    Attributes:
        keys: Key columns.
        passthrough: Columns that travel along.
        rules: Row rules of all places.
        tallies: Column sums of all places.
        features: Features with null policies.
        scores: The models, and what becomes of their outputs.
        on_bad_score: `quarantine`, `keep` or `fail` for NaN and infinite scores.
        batch_rows: Rows in one ONNX Runtime call; 0 takes the Arrow batch as it comes.
        max_failed_rows: Rows of a task that ONNX Runtime may refuse on their own.
        session: How ONNX Runtime is set up.
        raw: Whether the batch carries the whole input row in a struct column `_raw`.
        duplicates: Whether the batch carries `_duplicate`, true where the key is not unique.
        failed: Whether the batch carries `_failed`, bits of features that could not be computed.
        doubled: Whether the batch carries `_doubled`, the lookup in which the row's key is doubled.
        schema: The Arrow schema of what comes out, serialized.
        watched: Features whose distributions are counted, after their null policies, in rows that go to the model.
        watched_scores: Output columns whose distributions are counted.
        watched_share: Share of the rows, chosen at random, from which these are counted. 0 where nobody knows how many
            rows there are: then a task counts its first rows one by one, and later ones by a share that halves each
            time that its rows double, each for as many as it stands for.
        ranges: Output columns whose range, mean and missing values are counted, over all rows that come out scored.
    """

    keys: tuple[str, ...]
    passthrough: tuple[str, ...]
    rules: tuple[RuleSpec, ...]
    tallies: tuple[TallySpec, ...]
    features: tuple[FeatureSpec, ...]
    scores: ScoresSpec
    on_bad_score: str
    batch_rows: int
    max_failed_rows: int
    session: SessionSpec
    raw: bool
    duplicates: bool
    failed: bool
    doubled: bool
    schema: bytes
    watched: tuple[str, ...] = ()
    watched_scores: tuple[str, ...] = ()
    watched_share: float = 1.0
    ranges: tuple[str, ...] = ()
