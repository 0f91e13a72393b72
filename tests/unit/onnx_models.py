"""Tiny ONNX models with known answers, model folders, SQLite registries and a registry server, for tests."""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

OPSET = 15
IR = 8
MLMODEL = """\
flavors:
  onnx:
    code: null
    data: model.onnx
    onnx_version: 1.23.2
  python_function:
    data: model.onnx
    loader_module: mlflow.onnx
"""


# -- models ------------------------------------------------------------------------------------------------------------


def make_model(graph: GraphProto, **opsets: int) -> ModelProto:
    """A model around a graph; `opsets` adds domains, with `_` for `.` (`com_evil=1`)."""
    imports = [helper.make_opsetid("", OPSET)]
    imports += [helper.make_opsetid(domain.replace("_", "."), version) for domain, version in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=IR)


def make_linear(weights: Sequence[float], bias: float = 0.0) -> ModelProto:
    """`y[n, 1] = x[n, f] @ weights + bias`, float32."""
    return make_model(linear_graph(np.asarray(weights, np.float32).reshape(-1, 1), bias))


def make_classifier(weights: Sequence[float], bias: float = 0.0) -> ModelProto:
    """Two classes by logistic regression, with scikit-learn's outputs.

    `label[n]` is int64; `probabilities[n, 2]` is float32, its column 1 `1 / (1 + exp(-(x @ weights + bias)))`.
    """
    column = np.asarray(weights, np.float32).reshape(-1, 1)
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["xw"]),
        helper.make_node("Add", ["xw", "b"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p1"]),
        helper.make_node("Sub", ["one", "p1"], ["p0"]),
        helper.make_node("Concat", ["p0", "p1"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    tensors = {"W": column, "b": np.float32([bias]), "one": np.float32([1.0])}
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, len(column)])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    return make_model(graph)


def make_lookup(values: Sequence[float]) -> ModelProto:
    """`y[n] = values[x[n]]`, x int64; ONNX Runtime refuses a batch with any x that is no position of `values`."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["values", "x"], ["y"], axis=0)],
        "lookup",
        [helper.make_tensor_value_info("x", TensorProto.INT64, [None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
        [numpy_helper.from_array(np.asarray(values, np.float32), "values")],
    )
    return make_model(graph)


def linear_graph(weights: np.ndarray, bias: float = 0.0, extra: Sequence[NodeProto] = ()) -> GraphProto:
    """The graph of `make_linear`, for weights [f, k]; `extra` nodes come after it."""
    rows, columns = weights.shape
    return helper.make_graph(
        [helper.make_node("MatMul", ["x", "W"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"]), *extra],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, rows])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, columns])],
        [
            numpy_helper.from_array(weights.astype(np.float32), "W"),
            numpy_helper.from_array(np.full(columns, bias, np.float32), "b"),
        ],
    )


def make_external(model: ModelProto, location: str, **entries: str) -> tuple[ModelProto, bytes]:
    """A copy of the model whose first initializer lies outside, and the values that belong there."""
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy, point_outside(copy.graph.initializer[0], location, **entries)


def point_outside(tensor: TensorProto, location: str, **entries: str) -> bytes:
    """Make a tensor external, in place; returns the values that it had."""
    values = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return values


# -- registries --------------------------------------------------------------------------------------------------------


def write_folder(folder: Path, model: ModelProto | bytes, mlmodel: str | bytes = MLMODEL, **files: bytes) -> Path:
    """A model folder as MLflow lays it out; `files` are named by `name_ext` (`weights_data` for `weights.data`)."""
    folder.mkdir(parents=True, exist_ok=True)
    content = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    (folder / "MLmodel").write_bytes(mlmodel if isinstance(mlmodel, bytes) else mlmodel.encode())
    for name, value in files.items():
        (folder / name.replace("_", ".")).write_bytes(value)
    return folder


def make_registry(folder: Path) -> str:
    """A new, empty SQLite registry; returns its URI. The slow part, MLflow's migrations, runs once per process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow.db").write_bytes(_empty_database())
    return f"sqlite:///{folder / 'mlflow.db'}"


def add_version(registry_uri: str, name: str, folder: Path, alias: str | None = None) -> int:
    """Register a folder as the next version of a model, whatever it holds."""
    from batchscore.models.registry import ModelRegistryClient  # noqa: PLC0415 - tests without MLflow import this file

    client = ModelRegistryClient(registry_uri, registry_uri)
    if not client.search_registered_models(f"name='{name}'", max_results=1):
        client.create_registered_model(name)
    version = int(client.create_model_version(name, str(folder), run_id=None, await_creation_for=0).version)
    if alias is not None:
        client.set_registered_model_alias(name, alias, str(version))
    return version


@cache
def _empty_database() -> bytes:
    from batchscore.models.calls import mlflow_settings  # noqa: PLC0415 - as above
    from batchscore.models.registry import ModelRegistryClient  # noqa: PLC0415

    folder = tempfile.mkdtemp()
    try:
        path = Path(folder) / "mlflow.db"
        with mlflow_settings(60.0):
            _ = ModelRegistryClient(f"sqlite:///{path}", f"sqlite:///{path}").store
        return path.read_bytes()
    finally:
        shutil.rmtree(folder)


# -- a registry server -------------------------------------------------------------------------------------------------

Answer = tuple[int, Iterator[bytes]]


@contextmanager
def serve(answer: Callable[[str, dict[str, str]], Answer]) -> Iterator[str]:
    """An HTTP server on a free port of this machine; yields its address.

    Args:
        answer: From path and query to a status and the chunks of a body.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            status, chunks = answer(unquote(parts.path), query)
            try:
                self.send_response(status)
                self.end_headers()
                for chunk in chunks:
                    self.wfile.write(chunk)
                    self.wfile.flush()
            except OSError:
                self.close_connection = True  # the client has gone, as the tests of deadlines want it to

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def registry_answers(
    folder: Path, name: str = "net", alias: str = "champion"
) -> Callable[[str, dict[str, str]], Answer]:
    """How an MLflow server answers that has version 1 of one model, with its files in `folder`.

    Source: MLflow REST API, https://mlflow.org/docs/latest/api_reference/rest-api.html
    """
    version = {"name": name, "version": "1", "status": "READY", "source": "mlflow-artifacts:/1/model", "run_id": "r1"}
    model = {"name": name, "aliases": [{"alias": alias, "version": "1"}]}
    absent = (404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing"})

    def answer(path: str, query: dict[str, str]) -> Answer:
        right_name = query.get("name") == name
        answers = {
            "registered-models/get": (200, {"registered_model": model}) if right_name else absent,
            "registered-models/search": (200, {"registered_models": [model]}),
            "model-versions/get": (200, {"model_version": version})
            if right_name and query.get("version") == "1"
            else absent,
            "model-versions/search": (200, {"model_versions": [version]}),
            "model-versions/get-download-uri": (200, {"artifact_uri": version["source"]}),
        }
        _, api, rest = path.partition("/api/2.0/mlflow/")
        if api and rest in answers:
            status, body = answers[rest]
            return status, iter([json.dumps(body).encode()])
        _, artifacts, file = path.partition("/api/2.0/mlflow-artifacts/artifacts/1/model/")
        if artifacts and (folder / file).is_file():
            return 200, iter([(folder / file).read_bytes()])
        return 404, iter([b"not found"])

    return answer


def load_model(content: bytes) -> ModelProto:
    """The model in these bytes."""
    return onnx.load_model_from_string(content)
