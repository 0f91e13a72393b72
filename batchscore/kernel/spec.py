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
        on_null: `fail`, `quarantine`, `nan` or `impute`.
        impute: The value for `impute`.
        failed_bit: Its bit in the `_failed` column, set by Spark where its SQL could not be computed; else None.
    """

    name: str
    on_null: str
    impute: Any = None
    failed_bit: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSpec:
    """One ONNX input: the features that make it up, stacked as columns where there are several.

    Attributes:
        tensor: ONNX input name.
        dtype: ONNX Runtime's type string, such as `tensor(float)`.
        features: Feature names, in order.
        rank: 1 for `[n]`, 2 for `[n, f]`.
    """

    tensor: str
    dtype: str
    features: tuple[str, ...]
    rank: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputSpec:
    """One output column: a tensor, or one column of it.

    Attributes:
        column: Output column name.
        tensor: ONNX output name.
        index: Column of a rank-2 tensor; None takes the whole tensor, of one value a row.
        dtype: ONNX Runtime's type string.
    """

    column: str
    tensor: str
    index: int | None
    dtype: str


@dataclass(frozen=True, kw_only=True, slots=True)
class KernelSpec:
    """Everything the kernel needs besides rows and model bytes.

    Attributes:
        keys: Key columns.
        passthrough: Columns that travel along.
        rules: Row rules of all places.
        tallies: Column sums of all places.
        features: Features with null policies.
        inputs: Tensors to build.
        outputs: Columns to make.
        on_bad_score: `quarantine`, `keep` or `fail` for NaN and infinite scores.
        batch_rows: Rows in one ONNX Runtime call; 0 takes the Arrow batch as it comes.
        max_failed_rows: Rows of a task that ONNX Runtime may refuse on their own.
        device: `auto`, `cpu`, `cuda` or `tensorrt`.
        model_sha256: Digest that the model bytes must have on the worker.
        model_label: `name/version`, for messages.
        raw: Whether the batch carries the whole input row in a struct column `_raw`.
        duplicates: Whether the batch carries `_duplicate`, true where the key is not unique.
        failed: Whether the batch carries `_failed`, bits of features that could not be computed.
        doubled: Whether the batch carries `_doubled`, the lookup in which the row's key is doubled.
        schema: The Arrow schema of what comes out, serialized.
    """

    keys: tuple[str, ...]
    passthrough: tuple[str, ...]
    rules: tuple[RuleSpec, ...]
    tallies: tuple[TallySpec, ...]
    features: tuple[FeatureSpec, ...]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    on_bad_score: str
    batch_rows: int
    max_failed_rows: int
    device: str
    model_sha256: str
    model_label: str
    raw: bool
    duplicates: bool
    failed: bool
    doubled: bool
    schema: bytes
