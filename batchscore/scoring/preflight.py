"""Preflight: compare the model's tensors, its signature, the features and the output columns before any task starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import pyarrow as pa

from batchscore.config import ModelConfig
from batchscore.errors import ModelError
from batchscore.kernel.spec import FeatureSpec, InputSpec, OutputSpec
from batchscore.kernel.tensors import ARROW_TYPES, DTYPES
from batchscore.patterns import OUTPUT_SELECTOR
from batchscore.records import PinnedModel, TensorSpec


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
        _check_shape(tensor, names)
        for name in names:
            if name not in known:
                near = get_close_matches(name, list(known), n=1)
                hint = f" Did you mean '{near[0]}'?" if near else ""
                raise ModelError(
                    f"model input '{tensor.name}': expected feature '{name}'; the job has no such feature.{hint} "
                    f"Add it under features.columns."
                )
            _check_type(tensor, known[name], types[name])
        rank = len(tensor.shape)
        specs.append(InputSpec(tensor=tensor.name, dtype=tensor.dtype, features=tuple(names), rank=rank))
    return tuple(specs)


def match_outputs(model: PinnedModel, config: ModelConfig, taken: Sequence[str]) -> tuple[OutputSpec, ...]:
    """The output columns: from `model.outputs`, or every tensor of one value a row under its own name.

    Args:
        model: The pinned model.
        config: The job's model section.
        taken: Names of key and passthrough columns.

    Raises:
        ModelError: A selector names no such tensor or column, a type has no column type, or a name is taken.
    """
    tensors = {tensor.name: tensor for tensor in model.outputs}
    selectors = config.outputs or {name: name for name in tensors}
    specs = []
    for column, selector in selectors.items():
        found = OUTPUT_SELECTOR.match(selector)
        assert found is not None  # find_faults has checked the form
        name, index = found[1].strip(), int(found[2]) if found[2] is not None else None
        where = f"model.outputs.{column}"
        if name not in tensors:
            raise ModelError(f"{where}: expected an output of the model ({', '.join(tensors)}); found '{name}'.")
        _check_output(where, tensors[name], index, bool(config.outputs))
        if column in taken or column.startswith("_"):
            raise ModelError(
                f"{where}: output column '{column}' collides with a key, passthrough or reserved column. "
                "Name it under model.outputs."
            )
        specs.append(OutputSpec(column=column, tensor=name, index=index, dtype=tensors[name].dtype))
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


def _check_shape(tensor: TensorSpec, names: Sequence[str]) -> None:
    where = f"model input '{tensor.name}'"
    if tensor.dtype not in DTYPES:
        raise ModelError(f"{where}: expected a plain tensor; found {tensor.dtype}. Export the model without it.")
    if len(tensor.shape) not in (1, 2):
        raise ModelError(f"{where}: expected shape [N] or [N, F]; found {_shape(tensor.shape)}.")
    if tensor.shape[0] is not None:
        raise ModelError(
            f"{where}: expected an open batch dimension; found {_shape(tensor.shape)}. Export it with a dynamic batch."
        )
    width = tensor.shape[1] if len(tensor.shape) == 2 else 1
    if width is not None and width != len(names):
        raise ModelError(
            f"{where}: expected {width} feature{'s' if width != 1 else ''}; found {len(names)} "
            f"({', '.join(names)}). Make features.columns or model.inputs agree with the model."
        )


def _check_type(tensor: TensorSpec, feature: FeatureSpec, found: pa.DataType) -> None:
    where = f"feature '{feature.name}' for model input '{tensor.name}' ({tensor.dtype})"
    number = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)
    boolean, text = pa.types.is_boolean(found), pa.types.is_string(found)
    if tensor.dtype == "tensor(string)":
        fits = text
    elif tensor.dtype == "tensor(bool)":
        fits = boolean
    elif tensor.dtype in ("tensor(float)", "tensor(double)", "tensor(float16)"):
        fits = number or boolean
    else:
        fits = pa.types.is_integer(found) or boolean
    if not fits:
        raise ModelError(f"{where}: found type {found}, which does not fit. Cast it in the feature's `sql`.")
    floats = tensor.dtype in ("tensor(float)", "tensor(double)", "tensor(float16)")
    if feature.on_null == "nan" and not floats:
        raise ModelError(f"{where}: `on_null: nan` needs a floating-point input. Choose quarantine, fail or impute.")
    if feature.on_null == "impute":
        try:
            pa.scalar(feature.impute).cast(found)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ModelError(
                f"{where}: `impute` expects a value of type {found}; found {type(feature.impute).__name__}. "
                "Give one that fits."
            ) from error


def _check_output(where: str, tensor: TensorSpec, index: int | None, named: bool) -> None:
    advice = "" if named else " Name the columns you want under model.outputs."
    if tensor.dtype not in ARROW_TYPES:
        raise ModelError(
            f"{where}: expected a plain tensor; found {tensor.dtype}. Export without ZipMap (zipmap=False).{advice}"
        )
    width = tensor.shape[1] if len(tensor.shape) == 2 else 1
    if index is None and (len(tensor.shape) > 2 or (width is not None and width != 1)):
        raise ModelError(
            f"{where}: expected one value a row; tensor '{tensor.name}' has shape {_shape(tensor.shape)}. "
            f"Name a column of it, as '{tensor.name}[:, 0]'.{advice}"
        )
    if index is not None and (len(tensor.shape) != 2 or (width is not None and index >= width)):
        raise ModelError(
            f"{where}: expected a column of '{tensor.name}' of shape {_shape(tensor.shape)}; found index {index}."
        )


def _shape(shape: Sequence[Any]) -> str:
    return "[" + ", ".join("N" if d is None else str(d) for d in shape) + "]"
