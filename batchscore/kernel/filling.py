"""Features as the models take them: null policies, array shapes, and values that a tensor's type cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from batchscore.errors import ScoringError
from batchscore.kernel.nested import fill_rows, leaf_type, replace_leaf, unnest
from batchscore.kernel.reasons import Failures, make_reason
from batchscore.kernel.spec import FeatureSpec, InputSpec
from batchscore.kernel.tensors import find_lossy, find_overflows

FAILED_BITS = 62  # features per `_failed_<word>` column
_LOSSES: tuple[tuple[str, Callable[[pa.Array, str], np.ndarray | None]], ...] = (
    ("overflow", find_overflows),
    ("lossy", find_lossy),
)


def fill_features(
    features: Iterable[FeatureSpec],
    inputs: Iterable[InputSpec],
    columns: Mapping[str, pa.Array],
    failures: Failures,
) -> dict[str, pa.Array]:
    """Feature columns after their null policies; rows that are set aside may still hold nulls.

    Args:
        features: The features and their policies.
        inputs: The model inputs that take them.
        columns: [n] values by name.
        failures: Takes the rows that are set aside, with their reasons.

    Raises:
        ScoringError: A null under `on_null: fail`, in a row that nothing else sets aside.
    """
    out: dict[str, pa.Array] = {}
    taken = tuple(inputs)
    alive = ~failures.failed()
    for feature in features:
        column = columns[feature.name]
        failed = _find_failed(feature, columns)
        if failed is not None:
            failures.add("features", failed, **make_reason("not_computable", feature.name))
            alive &= ~failed
        specs = [spec for spec in taken if feature.name in spec.features]
        whole = column
        if column.null_count and specs and leaf_type(column.type)[1] and feature.on_null in ("nan", "impute"):
            whole = _fill_arrays(feature, specs, column)
        missing = _find_nulls(whole)
        if missing is not None:
            whole = _apply_null_policy(feature, whole, missing, failed, alive, failures)
        out[feature.name] = whole
    return out


def find_unfit(
    inputs: Iterable[InputSpec], columns: Mapping[str, pa.Array], filled: Mapping[str, pa.Array]
) -> list[tuple[str, str, np.ndarray]]:
    """Rows that a model cannot take as they are.

    Args:
        inputs: The model's inputs.
        columns: [n] values by name, as they came: values are compared with what a tensor holds before nulls are filled.
        filled: Feature columns after their null policies, whose arrays must have the shape that the model takes.

    Returns:
        For each fault the kind of its reason (`overflow`, `lossy`, `bad_shape`), the feature, and its rows: [n] bool.
    """
    taken = tuple(inputs)
    found = []
    for name in dict.fromkeys(name for spec in taken for name in spec.features):
        specs = [spec for spec in taken if name in spec.features]
        found += [(kind, name, mask) for kind, mask in _find_losses(specs, columns[name])]
        wrong = _find_wrong_shapes(name, specs, filled[name])
        if wrong is not None:
            found.append(("bad_shape", name, wrong))
    return found


def _find_failed(feature: FeatureSpec, columns: Mapping[str, pa.Array]) -> np.ndarray | None:
    if feature.failed_bit is None:
        return None
    word, bit = divmod(feature.failed_bit, FAILED_BITS)
    bits = columns[f"_failed_{word}"].to_numpy(zero_copy_only=False)
    failed: np.ndarray = (bits >> bit) & 1 == 1
    return failed if failed.any() else None


def _find_losses(specs: Sequence[InputSpec], column: pa.Array) -> Iterator[tuple[str, np.ndarray]]:
    nested = unnest(column) if leaf_type(column.type)[1] else None
    for dtype in dict.fromkeys(spec.dtype for spec in specs):
        for kind, find in _LOSSES:
            found = find(column if nested is None else nested.leaf, dtype)
            if found is None:
                continue
            mask = found
            if nested is not None:
                mask = np.zeros(len(column), dtype=bool)
                mask[nested.rows[found]] = True
            yield kind, mask


def _find_nulls(column: pa.Array) -> np.ndarray | None:
    """Rows that are null, or hold an array with a null in it."""
    depth = leaf_type(column.type)[1]
    if not depth and not column.null_count:
        return None
    nulls: np.ndarray = column.is_null().to_numpy(zero_copy_only=False)
    if depth:
        nested = unnest(column)
        if nested.leaf.null_count:
            nulls[nested.rows[nested.leaf.is_null().to_numpy(zero_copy_only=False)]] = True
    return nulls if nulls.any() else None


def _fill_arrays(feature: FeatureSpec, specs: list[InputSpec], column: pa.Array) -> pa.Array:
    """Null arrays filled with the policy's value, where the model says of which shape they would be."""
    spec = specs[0]
    item = spec.item_of(feature.name)
    sizes = [size for size in item if size is not None]
    if len(sizes) < len(item):
        return column
    shape = [int(np.prod(sizes))] if spec.flat else sizes
    value = float("nan") if feature.on_null == "nan" else feature.impute
    if feature.on_null == "nan":
        column = _as_floats(column)
    return fill_rows(column, value, shape)


def _apply_null_policy(
    feature: FeatureSpec,
    column: pa.Array,
    nulls: np.ndarray,
    failed: np.ndarray | None,
    alive: np.ndarray,
    failures: Failures,
) -> pa.Array:
    if feature.on_null in ("impute", "nan"):
        column = _as_floats(column) if feature.on_null == "nan" else column
        leaf = unnest(column).leaf if leaf_type(column.type)[1] else column
        value = float("nan") if feature.on_null == "nan" else feature.impute
        filled = replace_leaf(column, pc.fill_null(leaf, pa.scalar(value).cast(leaf.type)))
        nulls = filled.is_null().to_numpy(zero_copy_only=False)  # null arrays of an open shape
        if nulls.any():
            failures.add("features", nulls, **make_reason("null", feature.name))
        return filled
    if feature.on_null == "pass":
        return column
    if failed is not None:
        nulls = nulls & ~failed  # they have their reason already
    if feature.on_null == "quarantine":
        if nulls.any():
            failures.add("features", nulls, **make_reason("null", feature.name))
        return column
    count = int((nulls & alive).sum())
    if count:
        raise ScoringError(
            f"feature '{feature.name}': expected no nulls (on_null: fail); found {count} in one batch of "
            f"{len(column)} rows. Mend the input, or choose on_null: quarantine, nan or impute."
        )
    return column


def _find_wrong_shapes(name: str, specs: Sequence[InputSpec], column: pa.Array) -> np.ndarray | None:
    """Rows whose arrays are not of the shape that the model takes: [n] bool, or None where there is none."""
    if not leaf_type(column.type)[1]:
        return None
    shapes = unnest(column).shapes
    wrong = np.zeros(len(column), dtype=bool)
    wrong |= (shapes < 0).any(axis=1)
    for spec in specs:
        item = spec.item_of(name)
        sizes = [int(np.prod([size or 0 for size in item]))] if spec.flat else list(item)
        for place, size in enumerate(sizes):
            if size is not None:
                wrong |= shapes[:, place] != size
    wrong &= ~column.is_null().to_numpy(zero_copy_only=False)
    return wrong if wrong.any() else None


def _as_floats(column: pa.Array) -> pa.Array:
    kind, depth = leaf_type(column.type)
    if pa.types.is_floating(kind):
        return column
    leaf = unnest(column).leaf if depth else column
    return replace_leaf(column, leaf.cast(pa.float64(), safe=False))
