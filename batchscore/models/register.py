"""Logs an ONNX model and registers it as a new version: the writer behind `log_model`, the demo and the tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

from batchscore.errors import ModelError
from batchscore.models.mlmodel import FEATURES_KEY, REFERENCE_KEY

from batchscore.models.calls import mlflow_settings  # isort: skip  # before mlflow: it sets what mlflow reads on import

import mlflow  # isort: skip
import mlflow.onnx  # isort: skip

_TIMEOUT_S = 60.0


def register_onnx(
    onnx_model: onnx.ModelProto | bytes | str | Path,
    name: str,
    registry_uri: str,
    *,
    artifact_folder: Path | None,
    signature_frame: Any = None,
    columns: Sequence[str] = (),
    alias: str | None = None,
    tags: Mapping[str, str] | None = None,
    external_data: bool = True,
    features: str | None = None,
    reference: str | None = None,
) -> int:
    """The number of the new version.

    Args:
        onnx_model: The model, its bytes or its file; it is left as it is.
        name: Registered name, created on first use; also the name of the experiment that holds the run.
        registry_uri: Tracking server and registry; an SQLite file is created if it is missing.
        artifact_folder: Folder for the files of experiments that this call creates; None leaves it to the server.
        signature_frame: A pandas frame with the model's columns, for the signature.
        columns: In its place, names of the features that the model's only input takes, in order.
        alias: Alias to set on the new version.
        tags: Tags of the new version.
        external_data: Whether tensors of 1 KiB and more go to a file beside the model, as MLflow does by default.
        features: Definitions of the features that it was trained with, as JSON, for the model's metadata.
        reference: Distributions of the rows that runs are compared with, as JSON, for the same place.

    Raises:
        ModelError: It is no ONNX model.
    """
    copy = _copy(onnx_model)
    metadata = {k: v for k, v in ((FEATURES_KEY, features), (REFERENCE_KEY, reference)) if v is not None}
    signature = None if signature_frame is None else mlflow.models.infer_signature(signature_frame)
    if signature is None and columns and len(_inputs(copy)) == 1:
        specs = [mlflow.types.ColSpec("double", column) for column in columns]
        signature = mlflow.models.ModelSignature(mlflow.types.Schema(specs))
    with mlflow_settings(_TIMEOUT_S), _tracking_uri(registry_uri), warnings.catch_warnings():
        # Given by MLflow about classes of its own, when it imports them.
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        client = mlflow.MlflowClient(tracking_uri=registry_uri, registry_uri=registry_uri)
        experiment = _experiment(client, name, artifact_folder)
        with mlflow.start_run(experiment_id=experiment):
            logged: Any = mlflow.onnx.log_model(
                copy,
                name="model",
                signature=signature,
                pip_requirements=["onnxruntime"],  # else MLflow loads the model to find out
                save_as_external_data=external_data,
                metadata=metadata or None,
            )
        if not list(client.search_registered_models(f"name='{name}'", max_results=1)):
            client.create_registered_model(name)
        version = client.create_model_version(
            name, logged.model_uri, run_id=logged.run_id, tags=dict(tags or {}), model_id=logged.model_id
        )
        if alias is not None:
            client.set_registered_model_alias(name, alias, version.version)
    return int(version.version)


def _copy(model: onnx.ModelProto | bytes | str | Path) -> onnx.ModelProto:
    """A copy: saving with external data empties the tensors of what it is given."""
    if isinstance(model, onnx.ModelProto):
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy
    try:
        loaded = onnx.load_model_from_string(model) if isinstance(model, bytes) else onnx.load_model(str(model))
        onnx.checker.check_model(loaded)
    except OSError as error:
        raise ModelError(
            f"{model!r}: expected a readable ONNX file; found: {error.strerror}. Check the path."
        ) from error
    except Exception as error:  # protobuf's and the checker's own
        raise ModelError("log_model: expected an ONNX model; it does not parse or is not valid.") from error
    return loaded


def _inputs(model: onnx.ModelProto) -> list[str]:
    held = {tensor.name for tensor in model.graph.initializer}
    return [one.name for one in model.graph.input if one.name not in held]


def _experiment(client: Any, name: str, artifact_folder: Path | None) -> str:
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    return str(client.create_experiment(name, artifact_folder and artifact_folder.resolve().as_uri()))


@contextmanager
def _tracking_uri(uri: str) -> Iterator[None]:
    """MLflow's logging functions know only one global address; whatever it was is put back."""
    before = mlflow.get_tracking_uri() if mlflow.tracking.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
