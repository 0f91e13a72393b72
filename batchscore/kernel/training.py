"""Features as a model would take them, without a model: rows that scoring sets aside left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.errors import ConfigError, InputError
from batchscore.kernel.filling import fill_features
from batchscore.kernel.nested import leaf_type
from batchscore.kernel.reasons import Failures
from batchscore.kernel.spec import FeatureSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class FillSpec:
    """What to give back.

    Attributes:
        carried: Columns that travel along: keys, the interval's column, the label.
        features: The features.
        schema: The Arrow schema of what comes out, serialized.
    """

    carried: tuple[str, ...]
    features: tuple[FeatureSpec, ...]
    schema: bytes


def filled_type(feature: FeatureSpec, kind: pa.DataType) -> pa.DataType:
    """The type of a feature after its null policy: `nan` makes doubles of what is no floating-point number.

    Raises:
        ConfigError: The policy has no meaning for such a feature.
    """
    leaf, depth = leaf_type(kind)
    fault = _find_fault(feature, leaf)
    if fault is not None:
        raise ConfigError(f"feature '{feature.name}': {fault}. Choose another `on_null`.")
    if feature.on_null != "nan" or pa.types.is_floating(leaf):
        return kind
    made = pa.float64()
    for _ in range(depth):
        made = pa.list_(made)
    return made


def _find_fault(feature: FeatureSpec, leaf: pa.DataType) -> str | None:
    number = pa.types.is_integer(leaf) or pa.types.is_floating(leaf) or pa.types.is_decimal(leaf)
    if feature.on_null == "nan" and not (number or pa.types.is_boolean(leaf)):
        return f"`on_null: nan` expects numbers; the feature is {leaf}"
    if feature.on_null == "impute":
        value = feature.impute
        try:
            held = pa.scalar(value).cast(leaf).as_py()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            held = None
        text = pa.types.is_string(leaf)
        if held is None or isinstance(value, str) != text or (pa.types.is_integer(leaf) and held != value):
            return f"`impute` expects a value of type {leaf}; found {type(value).__name__} {value!r}"
    return None


def fill_batches(batches: Iterator[pa.RecordBatch], spec: FillSpec) -> Iterator[pa.RecordBatch]:
    """A task's rows with their features.

    Args:
        batches: Rows with the carried columns, the features, and what tells of features that could not be computed.
        spec: What to give back.

    Returns:
        The rows that have every feature, in their order.

    Raises:
        ScoringError: A null under `on_null: fail`.
        InputError: A lookup has two rows for one key.
    """
    schema = pa.ipc.read_schema(pa.py_buffer(spec.schema))
    for batch in batches:
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        check_doubled(columns)
        failures = Failures(batch.num_rows)
        filled = fill_features(spec.features, (), columns, failures)
        values = {**{name: columns[name] for name in spec.carried}, **filled}
        arrays = [_cast(values[item.name], item.type) for item in schema]
        out = pa.RecordBatch.from_arrays(arrays, schema=schema)
        failed = failures.failed()
        yield out.filter(pa.array(~failed)) if np.any(failed) else out


def check_doubled(columns: dict[str, pa.Array]) -> None:
    """Refuse a batch with a row whose key is doubled in a lookup without times.

    Raises:
        InputError: There is one; `_doubled` names the lookup.
    """
    doubled = columns.get("_doubled")
    if doubled is not None and doubled.null_count < len(doubled):
        name = pc.drop_null(doubled)[0].as_py()
        raise InputError(
            f"lookups.{name}: expected one row for each key; found a key with several rows in the lookup table. "
            "Make its keys unique upstream, or look up as of a time (at, known_at, max_age)."
        )


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return column if column.type == kind else column.cast(kind)
