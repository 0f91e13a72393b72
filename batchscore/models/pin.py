"""Pins a model: alias or version, to version number, to checked bytes, to their digest, once, on the driver."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from batchscore.errors import ConfigError
from batchscore.models.artifacts import open_artifacts
from batchscore.models.calls import mlflow_settings
from batchscore.models.deadline import Deadline
from batchscore.models.files import MAX_MODEL_BYTES, read_regular, shown
from batchscore.models.mlmodel import MAX_MLMODEL_BYTES, LoggedModel, read_mlmodel
from batchscore.models.onnx_file import OnnxFacts, read_onnx
from batchscore.models.probe import probe_model
from batchscore.models.registry import RegisteredVersion, find_version
from batchscore.patterns import MODEL_URI
from batchscore.records import PinnedModel, TensorSpec

Tensors = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
MANY_MODELS = 32
_PROBED: dict[str, Tensors] = {}
TIMEOUT_S = 12.0  # with imports, an unreachable registry is reported within 15 s of the start


def pin_model(uri: str, registry_uri: str | None, *, timeout_s: float = TIMEOUT_S) -> tuple[PinnedModel, bytes]:
    """The model that a URI names now, and its self-contained ONNX bytes.

    Only `MLmodel`, the ONNX file and its external-data files are read, into a private folder and once into memory;
    what is hashed, checked, loaded in a child process and returned are those bytes in memory. Nothing is unpickled.

    Args:
        uri: `models:/NAME@ALIAS` or `models:/NAME/VERSION`.
        registry_uri: MLflow's URI of the registry; None takes MLflow's own setting.
        timeout_s: Seconds for talking to the registry and its artifact store in all; every MiB of a download that
            arrives adds one.

    Raises:
        ConfigError: The model's or the registry's URI is none.
        RegistryError: The registry or its artifact store cannot be reached in time, or refuses the credentials.
        ModelError: There is no such model, or it is not to be loaded.
    """
    parts = MODEL_URI.match(uri)
    if not parts:
        raise ConfigError(f"model.uri {shown(uri)}: expected 'models:/NAME@ALIAS' or 'models:/NAME/VERSION'.")
    name, alias, number = parts.groups()
    with mlflow_settings(timeout_s):
        deadline = Deadline(timeout_s)
        found = find_version(name, alias, int(number) if number else None, registry_uri, deadline)
        logged, content, facts = _read_files(found, deadline)
    sha256 = hashlib.sha256(content).hexdigest()
    inputs, outputs = _probe_once(content, sha256, found.where)
    pinned = PinnedModel(
        uri=uri,
        name=found.name,
        version=found.version,
        alias=found.alias,
        sha256=sha256,
        size_bytes=len(content),
        inputs=inputs,
        outputs=outputs,
        signature_inputs=logged.signature_inputs,
        opsets=facts.opsets,
        run_id=found.run_id,
        features=logged.features,
        reference=logged.reference,
    )
    return pinned, content


def _probe_once(content: bytes, sha256: str, where: str) -> Tensors:
    """The model's inputs and outputs; bytes that were loaded once in this process's life load again."""
    if sha256 not in _PROBED:
        if len(_PROBED) >= MANY_MODELS:
            _PROBED.clear()
        _PROBED[sha256] = probe_model(content, sha256, where)
    return _PROBED[sha256]


def _read_files(found: RegisteredVersion, deadline: Deadline) -> tuple[LoggedModel, bytes, OnnxFacts]:
    # A download that was given up may still be writing when the folder goes.
    with tempfile.TemporaryDirectory(prefix="batchscore-model-", ignore_cleanup_errors=True) as path:
        folder = Path(path)
        fetch = open_artifacts(found, folder, deadline)
        fetch("MLmodel", MAX_MLMODEL_BYTES)
        logged = read_mlmodel(read_regular(folder, "MLmodel", MAX_MLMODEL_BYTES, found.where), found.where)
        fetch(logged.data_file, MAX_MODEL_BYTES)
        content, facts = read_onnx(folder, logged.data_file, found.where, lambda name: fetch(name, MAX_MODEL_BYTES))
    return logged, content, facts
