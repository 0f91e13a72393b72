"""Logs an ONNX model and registers it as a new version: the writer behind the demo and the tests."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

from batchscore.models.calls import mlflow_settings  # before mlflow: it sets what mlflow reads on import

import mlflow  # isort: skip
import mlflow.onnx  # isort: skip

_TIMEOUT_S = 60.0


def register_onnx(
    onnx_model: onnx.ModelProto,
    name: str,
    registry_uri: str,
    *,
    artifact_folder: Path,
    signature_frame: Any = None,
    alias: str | None = None,
    tags: Mapping[str, str] | None = None,
    external_data: bool = True,
) -> int:
    """The number of the new version.

    Args:
        onnx_model: The model; it is left as it is.
        name: Registered name, created on first use; also the name of the experiment that holds the run.
        registry_uri: Tracking server and registry; an SQLite file is created if it is missing.
        artifact_folder: Folder for the files of experiments that this call creates.
        signature_frame: A pandas frame with the model's columns, for the signature; None logs none.
        alias: Alias to set on the new version.
        tags: Tags of the new version.
        external_data: Whether tensors of 1 KiB and more go to a file beside the model, as MLflow does by default.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(onnx_model)  # saving with external data empties the tensors of what it is given
    signature = None if signature_frame is None else mlflow.models.infer_signature(signature_frame)
    with mlflow_settings(_TIMEOUT_S), _tracking_uri(registry_uri), warnings.catch_warnings():
        # Given by MLflow about classes of its own, when it imports them.
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        client = mlflow.MlflowClient(tracking_uri=registry_uri, registry_uri=registry_uri)
        logged = _log_model(client, copy, name, artifact_folder, signature, external_data)
        if not list(client.search_registered_models(f"name='{name}'", max_results=1)):
            client.create_registered_model(name)
        version = client.create_model_version(
            name, logged.model_uri, run_id=logged.run_id, tags=dict(tags or {}), model_id=logged.model_id
        )
        if alias is not None:
            client.set_registered_model_alias(name, alias, version.version)
    return int(version.version)


def _log_model(
    client: Any, onnx_model: onnx.ModelProto, name: str, artifact_folder: Path, signature: Any, external_data: bool
) -> Any:
    experiment = client.get_experiment_by_name(name)
    place = artifact_folder.resolve().as_uri()
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name, place)
    with mlflow.start_run(experiment_id=experiment_id):
        return mlflow.onnx.log_model(
            onnx_model,
            name="model",
            signature=signature,
            pip_requirements=["onnxruntime"],  # else MLflow loads the model to find out
            save_as_external_data=external_data,
        )


@contextmanager
def _tracking_uri(uri: str) -> Iterator[None]:
    """MLflow's logging functions know only one global address; whatever it was is put back."""
    before = mlflow.get_tracking_uri() if mlflow.tracking.is_tracking_uri_set() else None
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
