"""Reads an MLmodel file as plain data: which file holds the ONNX graph, and the signature's columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionStartEvent, MappingEndEvent, SequenceEndEvent

from batchscore.errors import ModelError
from batchscore.kernel.distributions import Distribution
from batchscore.models.files import check_plain_name, shown

MAX_MLMODEL_BYTES = 1 << 20
FEATURES_KEY = "batchscore_features"
REFERENCE_KEY = "batchscore_reference"

_MAX_EVENTS = 5_000
_MAX_DEPTH = 16
_READ_FLAVORS = ("onnx", "python_function")  # the second only describes; it is never loaded
_CODE_KEYS = ("code", "code_paths", "model_code_path")


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """What an MLmodel file says.

    Attributes:
        data_file: Name of the ONNX file beside it.
        signature_inputs: Column names of the signature, in order; empty without one, or where it speaks of tensors.
        features: Definitions of the features that the model was trained with, as `log_model` writes them.
        reference: Place and column to the distribution on the rows that it was logged with.
    """

    data_file: str
    signature_inputs: tuple[str, ...]
    features: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] = field(default_factory=dict)


def read_mlmodel(content: bytes, where: str) -> LoggedModel:
    """The MLmodel file's description of an ONNX model.

    Args:
        content: The file, at most `MAX_MLMODEL_BYTES`.
        where: How messages name the model, such as `model flights_delay/3`.

    Raises:
        ModelError: It is no safe YAML, or the model needs more than its ONNX file.
    """
    fields = _load_yaml(content, f"{where}: MLmodel")
    flavors = fields.get("flavors")
    if not isinstance(flavors, Mapping):
        raise ModelError(f"{where}: MLmodel: expected a mapping `flavors`; found {type(flavors).__name__}.")
    onnx = _onnx_flavor(flavors, where)
    return LoggedModel(
        data_file=check_plain_name(onnx.get("data"), f"{where}: MLmodel: flavors.onnx.data"),
        signature_inputs=_signature_columns(fields.get("signature"), where),
        features=_features(fields.get("metadata"), where),
        reference=_reference(fields.get("metadata"), where),
    )


def _features(metadata: Any, where: str) -> Mapping[str, Any]:
    found = _parse_metadata(metadata, FEATURES_KEY, where)
    if found is None:
        return {}
    if not isinstance(found, dict) or not isinstance(found.get("sha256"), str):
        raise ModelError(f"{where}: MLmodel: expected feature definitions under metadata.{FEATURES_KEY}; found none.")
    return found


def _reference(metadata: Any, where: str) -> Mapping[str, Any]:
    found = _parse_metadata(metadata, REFERENCE_KEY, where)
    if found is None:
        return {}
    try:
        for columns in found.values():
            for one in columns.values():
                Distribution.from_plain(one)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{where}: MLmodel: expected distributions under metadata.{REFERENCE_KEY}.") from error
    return dict(found)


def _parse_metadata(metadata: Any, key: str, where: str) -> Any:
    text = metadata.get(key) if isinstance(metadata, Mapping) else None
    if text is None:
        return None
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelError(f"{where}: MLmodel: expected metadata.{key} to be JSON; it is none.") from error


def _onnx_flavor(flavors: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    onnx = flavors.get("onnx")
    if not isinstance(onnx, Mapping):
        raise ModelError(
            f"{where}: expected the flavour `onnx`; found {_listed(flavors)}. Only ONNX models are scored, because "
            "other flavours run code when they load. Convert the model (skl2onnx, onnxmltools, torch.onnx) and log "
            "it with mlflow.onnx.log_model."
        )
    others = [name for name in flavors if name not in _READ_FLAVORS]
    pyfunc = flavors.get("python_function") or {}
    loader = pyfunc.get("loader_module", "mlflow.onnx") if isinstance(pyfunc, Mapping) else pyfunc
    if others:
        raise ModelError(
            f"{where}: expected the flavours onnx and python_function only; found {_listed(others)} too. Log the "
            "ONNX model on its own with mlflow.onnx.log_model."
        )
    if loader != "mlflow.onnx":
        raise ModelError(
            f"{where}: expected the loader mlflow.onnx; found {shown(loader)}, so the ONNX file is not the whole "
            "model. Bring the other steps into the graph, or make them features of the job."
        )
    for flavor in (onnx, pyfunc):
        for key in _CODE_KEYS:
            if flavor.get(key) is not None:
                raise ModelError(
                    f"{where}: expected no code beside the ONNX file; found `{key}`. Log the model without "
                    "code_paths; code out of a model is never run."
                )
    return onnx


def _listed(names: Any) -> str:
    return ", ".join(shown(name) for name in list(names)[:8]) or "none"


def _signature_columns(signature: Any, where: str) -> tuple[str, ...]:
    text = signature.get("inputs") if isinstance(signature, Mapping) else None
    if not isinstance(text, str):
        return ()
    try:
        columns = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where}: MLmodel: expected signature.inputs to be JSON; it does not parse.") from error
    entries = columns if isinstance(columns, list) else []
    if not all(isinstance(entry, dict) for entry in entries):
        raise ModelError(f"{where}: MLmodel: expected signature.inputs to be a list of columns.")
    names = [entry.get("name") for entry in entries if entry.get("type") != "tensor"]
    return tuple(names) if len(names) == len(entries) and all(isinstance(n, str) for n in names) else ()


def _load_yaml(content: bytes, where: str) -> Mapping[str, Any]:
    """A YAML mapping without tags, anchors and aliases: MLflow writes none, and bombs are made of them."""
    yaml = YAML(typ="safe", pure=True)
    try:
        text = content.decode("utf-8")
        _check_events(yaml, text, where)
        fields = yaml.load(text)
    except (YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        reason = getattr(error, "problem", None) or type(error).__name__
        raise ModelError(f"{where}: expected YAML; it does not parse ({shown(reason)}).") from error
    if not isinstance(fields, Mapping):
        raise ModelError(f"{where}: expected a YAML mapping; found {type(fields).__name__}.")
    return fields


def _check_events(yaml: YAML, text: str, where: str) -> None:
    depth = 0
    for number, event in enumerate(yaml.parse(text)):
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            depth -= 1
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
            raise ModelError(f"{where}: expected plain YAML; found an anchor or alias, which MLflow never writes.")
        if (tag := getattr(event, "tag", None)) is not None:
            raise ModelError(f"{where}: expected plain YAML; found the tag {shown(str(tag))}, which may build objects.")
        if number > _MAX_EVENTS or depth > _MAX_DEPTH:
            raise ModelError(
                f"{where}: expected at most {_MAX_EVENTS} entries, {_MAX_DEPTH} deep; found more. "
                "Nothing that MLflow logs for an ONNX model looks like this."
            )
