"""Preflight: compare the model's tensors, its signature, the features and the output columns before any task starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import numpy as np
import pyarrow as pa

from batchscore.config import ModelConfig
from batchscore.errors import ModelError
from batchscore.kernel.nested import leaf_type
from batchscore.kernel.spec import FeatureSpec, InputSpec, ModelSpec
from batchscore.kernel.tensors import DTYPES, FLOATS, find_lossy, find_overflows
from batchscore.records import PinnedModel, TensorSpec, show_shape
from batchscore.scoring.selections import match_outputs

_WHOLE_NUMBERS = tuple(dtype for dtype, kind in DTYPES.items() if np.dtype(kind).kind in "iu")


def match_model(
    model: PinnedModel,
    config: ModelConfig,
    features: Sequence[FeatureSpec],
    types: Mapping[str, pa.DataType],
    taken: Sequence[str],
) -> ModelSpec:
    """How rows meet a model.

    Args:
        model: The pinned model.
        config: The job's model section.
        features: The job's features.
        types: Arrow type of each column that the kernel will see.
        taken: Names of key and passthrough columns.

    Raises:
        ModelError: Features, model and output columns do not fit together, with both sides named.
    """
    inputs = match_inputs(model, config, features, types)
    outputs = match_outputs(model, config, taken)
    batch = _fixed_batch(inputs)
    return ModelSpec(sha256=model.sha256, label=model.label, inputs=inputs, outputs=outputs, batch=batch)


def match_inputs(
    model: PinnedModel, config: ModelConfig, features: Sequence[FeatureSpec], types: Mapping[str, pa.DataType]
) -> tuple[InputSpec, ...]:
    """Which features make up which ONNX input.

    From `model.inputs` where it is given; else by name, where every ONNX input has the name of a feature; else all
    features, in the order of the MLflow signature if it names them, into the model's only input.

    Args:
        model: The pinned model.
        config: The job's model section.
        features: The job's features.
        types: Arrow type of each column that the kernel will see.

    Raises:
        ModelError: They do not fit, with both sides named.
    """
    wanted = _wanted(model, config, [f.name for f in features])
    known = {f.name: f for f in features}
    specs = []
    for tensor in model.inputs:
        names = wanted[tensor.name]
        if tensor.dtype not in DTYPES:
            raise ModelError(
                f"model input '{tensor.name}': expected numbers, booleans or strings; found {tensor.dtype}. "
                "Export the model without it."
            )
        for name in names:
            if name not in known:
                near = get_close_matches(name, list(known), n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise ModelError(
                    f"model input '{tensor.name}': expected feature '{name}'; the job has no such feature.{hint} "
                    f"Add it under features.columns."
                )
        spec = _fit_shape(tensor, names, types, {f.name: f.width for f in features})
        for name in names:
            _check_type(tensor, known[name], leaf_type(types[name])[0])
        specs.append(spec)
    return tuple(specs)


def _wanted(model: PinnedModel, config: ModelConfig, names: list[str]) -> dict[str, list[str]]:
    tensors = [tensor.name for tensor in model.inputs]
    if config.inputs:
        if set(config.inputs) != set(tensors):
            raise ModelError(
                f"model.inputs: expected the model's inputs ({', '.join(tensors)}); "
                f"found {', '.join(config.inputs)}. Name each of them once."
            )
        return {name: list(columns) for name, columns in config.inputs.items()}
    if set(tensors) <= set(names):
        return {name: [name] for name in tensors}
    if len(tensors) != 1:
        missing = [name for name in tensors if name not in names]
        raise ModelError(
            f"model: its inputs are {', '.join(tensors)}, but the job has no feature '{missing[0]}'. "
            "Add the feature, or say under model.inputs which features each input takes."
        )
    if model.signature_inputs and set(model.signature_inputs) != {tensors[0]}:
        missing = [name for name in model.signature_inputs if name not in names]
        if missing:
            raise ModelError(
                f"model {model.label}: its MLflow signature expects {', '.join(model.signature_inputs)}; "
                f"the job lacks {', '.join(missing)}. Add them under features.columns, or write model.inputs."
            )
        return {tensors[0]: list(model.signature_inputs)}
    if not names:
        raise ModelError("features.columns: expected the features that the model takes; found none. Name them.")
    return {tensors[0]: names}


def _fit_shape(
    tensor: TensorSpec,
    names: Sequence[str],
    types: Mapping[str, pa.DataType],
    sizes: Mapping[str, int | None],
) -> InputSpec:
    where, shape, count = f"model input '{tensor.name}'", tensor.shape, len(names)
    depths = {name: leaf_type(types[name])[1] for name in names}
    depth, rank = depths[names[0]], len(shape)
    if not rank:
        raise ModelError(f"{where}: expected a batch as its first dimension; found a single value. Export it with one.")
    widths = [1 if not depths[name] else sizes[name] for name in names]
    if rank == 2 and any(depths.values()) and count > 1 and set(depths.values()) <= {0, 1} and None not in widths:
        return _fit_widths(tensor, names, [width or 0 for width in widths])
    if len(set(depths.values())) > 1:
        found = ", ".join(f"{name} {types[name]}" for name in names)
        raise ModelError(f"{where}: expected features that are all arrays of one depth, or none; found {found}.")
    stacked = depth == rank - 2 and (count > 1 or depth == 0 or shape[-1] in (None, 1))
    whole = depth == rank - 1 and count == 1
    flat = depth == 1 and count == 1 and rank > 2 and None not in shape[1:]
    if not (stacked or whole or flat):
        _refuse_shape(where, shape, names, types)
    width = shape[-1] if stacked else 1
    if width is not None and width != count:
        raise ModelError(
            f"{where}: expected {width} feature{'s' if width != 1 else ''}; found {count} ({', '.join(names)}). "
            "Make features.columns or model.inputs agree with the model."
        )
    return InputSpec(
        tensor=tensor.name, dtype=tensor.dtype, features=tuple(names), shape=shape, stacked=stacked, depth=depth
    )


def _fit_widths(tensor: TensorSpec, names: Sequence[str], widths: Sequence[int]) -> InputSpec:
    """Numbers, and arrays of known lengths such as `one_hot` gives, side by side."""
    wanted, total = tensor.shape[-1], sum(widths)
    if wanted is not None and wanted != total:
        found = ", ".join(f"{name} {width}" for name, width in zip(names, widths, strict=True))
        raise ModelError(
            f"model input '{tensor.name}': expected {wanted} values; found {total} ({found}). "
            "Make features.columns or model.inputs agree with the model."
        )
    return InputSpec(
        tensor=tensor.name, dtype=tensor.dtype, features=tuple(names), shape=tensor.shape, stacked=True,
        widths=tuple(widths),
    )  # fmt: skip


def _refuse_shape(
    where: str, shape: Sequence[int | None], names: Sequence[str], types: Mapping[str, pa.DataType]
) -> None:
    if len(shape) == 1 and len(names) > 1:
        raise ModelError(
            f"{where}: expected 1 feature; found {len(names)} ({', '.join(names)}). "
            "Make features.columns or model.inputs agree with the model."
        )
    if len(shape) <= 2:
        form = "one value a row" if len(shape) == 1 else "numbers, one feature for each column, or one array a row"
    else:
        depth = len(shape) - 1
        form = (
            f"one feature of arrays {depth} deep, one of flat arrays where every size is fixed, or features of arrays "
            f"{depth - 1} deep side by side"
        )
    found = ", ".join(f"{name} {types[name]}" for name in names)
    raise ModelError(f"{where} of shape {show_shape(shape)}: expected {form}; found {found}. Reshape it in its `sql`.")


def _check_type(tensor: TensorSpec, feature: FeatureSpec, found: pa.DataType) -> None:
    where = f"feature '{feature.name}' for model input '{tensor.name}' ({tensor.dtype})"
    number = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)
    boolean, text = pa.types.is_boolean(found), pa.types.is_string(found)
    if tensor.dtype == "tensor(string)":
        fits = text
    elif tensor.dtype == "tensor(bool)":
        fits = boolean
    elif tensor.dtype in FLOATS:
        fits = number or boolean
    else:
        fits = pa.types.is_integer(found) or boolean
    if not fits:
        raise ModelError(
            f"{where}: found type {found}, which does not fit. Say what is meant in the feature's `sql`"
            f"{_advise(tensor.dtype, found, feature.name)}."
        )
    if feature.on_null == "nan" and tensor.dtype not in FLOATS:
        raise ModelError(f"{where}: `on_null: nan` needs a floating-point input. Choose quarantine, fail or impute.")
    if feature.on_null == "impute":
        _check_impute(where, tensor.dtype, feature, found)


def _advise(dtype: str, found: pa.DataType, name: str) -> str:
    """The expression that says most often what is meant, where there is one."""
    column = name if name.isidentifier() else f"`{name}`"
    rules = (
        (pa.types.is_date, "number", f"unix_date({column})"),
        (pa.types.is_timestamp, "tensor(int64)", f"unix_micros({column})"),
        (pa.types.is_timestamp, "number", f"unix_micros({column}) / 1e6"),
        (pa.types.is_string, "number", f"cast({column} as double)"),
        (pa.types.is_floating, "whole", f"cast(round({column}) as bigint)"),
        (pa.types.is_decimal, "whole", f"cast(round({column}) as bigint)"),
        (pa.types.is_integer, "tensor(bool)", f"{column} <> 0"),
    )
    for fits, takes, expression in rules:
        wanted = {"number": (*FLOATS, *_WHOLE_NUMBERS), "whole": _WHOLE_NUMBERS}.get(takes, (takes,))
        if fits(found) and dtype in wanted:
            return f", such as '{expression}'"
    return f", such as 'cast({column} as string)'" if dtype == "tensor(string)" else ""


def _check_impute(where: str, dtype: str, feature: FeatureSpec, found: pa.DataType) -> None:
    try:
        value = pa.array([feature.impute]).cast(found)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ModelError(
            f"{where}: `impute` expects a value of type {found}; found {type(feature.impute).__name__}. "
            "Give one that fits."
        ) from error
    if find_overflows(value, dtype) is not None or find_lossy(value, dtype) is not None:
        raise ModelError(f"{where}: `impute` expects a value that this input can hold; found {feature.impute}.")


def _fixed_batch(inputs: Sequence[InputSpec]) -> int | None:
    fixed = {spec.tensor: spec.shape[0] for spec in inputs if spec.shape[0] is not None}
    if len(set(fixed.values())) > 1:
        found = ", ".join(f"'{tensor}' {rows}" for tensor, rows in fixed.items())
        raise ModelError(f"model: expected one batch size for all inputs; found {found}. Export with a dynamic batch.")
    return next(iter(fixed.values()), None)
