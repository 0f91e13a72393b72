"""Pinning: what a URI leads to, what is told when it leads nowhere, and how long that may take."""

from __future__ import annotations

import gc
import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from onnx_models import (
    MLMODEL,
    Answer,
    add_version,
    linear_graph,
    make_classifier,
    make_external,
    make_linear,
    make_model,
    make_registry,
    registry_answers,
    serve,
    write_folder,
)

from batchscore.errors import BatchscoreError, ConfigError, ModelError, RegistryError
from batchscore.models.pin import pin_model
from batchscore.models.register import register_onnx
from batchscore.records import TensorSpec

WIDE = make_model(linear_graph(np.linspace(-1, 1, 1200, dtype=np.float32).reshape(2, 600), 0.5))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("registry")
    uri = make_registry(folder)
    add_version(uri, "net", write_folder(folder / "one", make_linear([1, 2])))
    add_version(uri, "net", write_folder(folder / "two", make_linear([3, 4])), alias="champion")
    return uri


def test_an_alias_leads_to_a_version_and_its_bytes(registry: str) -> None:
    pinned, content = pin_model("models:/net@champion", registry)
    assert (pinned.name, pinned.version, pinned.alias, pinned.label) == ("net", 2, "champion", "net/2")
    assert content == make_linear([3, 4]).SerializeToString()
    assert pinned.sha256 == hashlib.sha256(content).hexdigest()
    assert pinned.size_bytes == len(content)
    assert pinned.inputs == (TensorSpec(name="x", dtype="tensor(float)", shape=(None, 2)),)
    assert pinned.outputs == (TensorSpec(name="y", dtype="tensor(float)", shape=(None, 1)),)
    assert pinned.opsets == {"ai.onnx": 15}


def test_a_version_number_leads_to_the_same_digest_each_time(registry: str) -> None:
    first, _ = pin_model("models:/net/1", registry)
    again, content = pin_model("models:/net/1", registry)
    assert first == again
    assert (first.version, first.alias) == (1, None)
    assert content == make_linear([1, 2]).SerializeToString()


def test_a_moved_alias_leads_to_the_other_version(tmp_path: Path) -> None:
    uri = make_registry(tmp_path)
    add_version(uri, "net", write_folder(tmp_path / "one", make_linear([1])), alias="champion")
    before, _ = pin_model("models:/net@champion", uri)
    add_version(uri, "net", write_folder(tmp_path / "two", make_linear([2])), alias="champion")
    after, _ = pin_model("models:/net@champion", uri)
    assert (before.version, after.version) == (1, 2)
    assert before.sha256 != after.sha256


def test_what_mlflow_logs_is_pinned_with_and_without_external_data(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    frame = pd.DataFrame({"distance": [1.0], "hour": [2.0]})
    before = WIDE.SerializeToString()
    for external in (True, False):
        register_onnx(
            WIDE,
            "net",
            uri,
            artifact_folder=tmp_path / "files",
            signature_frame=frame,
            alias="champion",
            tags={"trained": "2013"},
            external_data=external,
        )
    assert WIDE.SerializeToString() == before
    assert len(list((tmp_path / "files").rglob("*.data"))) == 1
    beside, content = pin_model("models:/net/1", uri)
    inside, _ = pin_model("models:/net@champion", uri)
    assert (beside.version, inside.version) == (1, 2)
    assert beside.sha256 == inside.sha256
    assert beside.run_id is not None
    assert beside.run_id != inside.run_id
    assert beside.signature_inputs == ("distance", "hour")
    x = np.float32([[1, 2]])
    (y,) = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(["y"], {"x": x})
    weights = np.linspace(-1, 1, 1200, dtype=np.float32).reshape(2, 600)
    np.testing.assert_allclose(y, x @ weights + 0.5, rtol=1e-6)


def test_external_data_beside_the_model_is_merged(registry: str, tmp_path: Path) -> None:
    plain = make_linear([3, 4])
    outside, values = make_external(plain, "weights.data", offset="16", length="8")
    folder = write_folder(tmp_path / "m", outside, weights_data=b"\0" * 16 + values + b"tail")
    add_version(registry, "beside", folder)
    pinned, content = pin_model("models:/beside/1", registry)
    assert content == plain.SerializeToString(deterministic=True)
    assert pinned.sha256 == hashlib.sha256(content).hexdigest()


def test_a_classifier_keeps_both_outputs(registry: str, tmp_path: Path) -> None:
    add_version(registry, "clf", write_folder(tmp_path / "m", make_classifier([0.5, -0.25], 0.1)))
    pinned, content = pin_model("models:/clf/1", registry)
    assert [(t.name, t.dtype, t.shape) for t in pinned.outputs] == [
        ("label", "tensor(int64)", (None,)),
        ("probabilities", "tensor(float)", (None, 2)),
    ]
    x = np.float32([[1, 2], [-3, 4]])
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (p,) = session.run(["probabilities"], {"x": x})
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-(x @ [0.5, -0.25] + 0.1))), rtol=1e-6)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ('[{"name": "a", "type": "double"}, {"name": "b", "type": "long"}]', ("a", "b")),
        ('[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]', ()),
        ('[{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}]', ()),
        ('[{"type": "double"}, {"type": "double"}]', ()),
        ("null", ()),
    ],
)
def test_the_signature_gives_column_names_where_it_has_them(
    registry: str, tmp_path: Path, signature: str, expected: tuple[str, ...]
) -> None:
    text = f"{MLMODEL}signature:\n  inputs: '{signature}'\n  outputs: null\n"
    version = add_version(registry, "signed", write_folder(tmp_path / "m", make_linear([1, 2]), text))
    assert pin_model(f"models:/signed/{version}", registry)[0].signature_inputs == expected


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("models:/nte/1", "expected a registered model 'nte'; found "),
        (
            "models:/net@chalenger",
            "expected the alias 'chalenger' of the model 'net'; found versions 1, 2, and aliases",
        ),
        ("models:/net@chalenger", "champion (version 2)"),
        ("models:/net/9", "expected version 9 of the model 'net'; found versions 1, 2"),
    ],
)
def test_an_unknown_name_alias_or_version_is_told_with_what_there_is(registry: str, model: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        pin_model(model, registry)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"registry {registry}: ")


@pytest.mark.parametrize(
    "uri", ["models:/net", "models:/net/latest", "models:/net/0", "runs:/abc/model", "net@champion"]
)
def test_only_an_alias_or_a_number_is_a_model_uri(registry: str, uri: str) -> None:
    with pytest.raises(ConfigError, match=r"expected 'models:/NAME@ALIAS' or 'models:/NAME/VERSION'"):
        pin_model(uri, registry)


def test_a_registry_in_a_folder_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mlflow migrate-filestore"):
        pin_model("models:/net/1", str(tmp_path / "mlruns"))
    assert not list(tmp_path.iterdir())


def test_a_missing_sqlite_file_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"expected a file at .*mlflow.db; found none"):
        pin_model("models:/net/1", f"sqlite:///{tmp_path / 'sub' / 'mlflow.db'}")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is text, and long enough not to be taken for an empty file" * 20)
    with pytest.raises(RegistryError, match="expected an MLflow database; found file is not a database"):
        pin_model("models:/net/1", f"sqlite:///{tmp_path / 'mlflow.db'}")


def test_a_database_that_mlflow_would_migrate_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE registered_models (name TEXT)")
    database.close()
    before = path.read_bytes()
    with pytest.raises(RegistryError, match=r"tables missing .* Run `mlflow db upgrade`"):
        pin_model("models:/net/1", f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_reading_leaves_the_registry_file_unchanged(tmp_path: Path) -> None:
    uri = make_registry(tmp_path)
    add_version(uri, "net", write_folder(tmp_path / "m", make_linear([1])))
    before = (tmp_path / "mlflow.db").read_bytes()
    pin_model("models:/net/1", uri)
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_importing_the_package_imports_no_mlflow() -> None:
    script = "import sys, batchscore.models; print([m for m in sys.modules if m.startswith(('mlflow', 'onnx'))])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- over HTTP ---------------------------------------------------------------------------------------------------------


def test_a_server_is_asked_for_the_version_and_its_files(tmp_path: Path) -> None:
    outside, values = make_external(make_linear([3, 4]), "weights.data", offset="0", length="8")
    folder = write_folder(tmp_path / "m", outside, weights_data=values)
    with serve(registry_answers(folder)) as address:
        pinned, content = pin_model("models:/net@champion", address)
        with pytest.raises(ModelError, match="expected a registered model 'other'; found net"):
            pin_model("models:/other/1", address)
        with pytest.raises(ModelError, match="expected version 2 of the model 'net'; found versions 1"):
            pin_model("models:/net/2", address)
        (folder / "weights.data").unlink()
        with pytest.raises(
            ModelError, match=r"model net/1: expected the file 'weights.data' in its artifacts; found none"
        ):
            pin_model("models:/net/1", address)
    assert content == make_linear([3, 4]).SerializeToString(deterministic=True)
    assert (pinned.version, pinned.alias, pinned.run_id) == (1, "champion", "r1")


def _status(status: int, body: bytes = b"{}") -> Callable[[str, dict[str, str]], Answer]:
    return lambda path, query: (status, iter([body]))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_status(500), "answers with an error (500)"),
        (_status(503), "answers with an error (503)"),
        (_status(401, b"You are not authenticated."), "refuses the credentials (401). Set MLFLOW_TRACKING_USERNAME"),
        (_status(401, b'{"error_code": "UNAUTHENTICATED"}'), "refuses the credentials (401)"),
        (
            _status(401, b'{"detail": "log in first"}'),
            "not as an MLflow server does: INTERNAL_ERROR: Response: {'detail'",
        ),
        (_status(403, b"no"), "does not let these credentials read the model (403)"),
        (_status(404, b"<html>nothing here</html>"), "not as an MLflow server does"),
        (_status(200, b"<html>please log in</html>"), "not as an MLflow server does"),
        (_status(200, b'{"registered_model": 7}'), "gives an answer that cannot be used"),
    ],
)
def test_a_server_that_answers_wrongly_is_told(answer: Callable[[str, dict[str, str]], Answer], message: str) -> None:
    with serve(answer) as address:
        started = time.monotonic()
        with pytest.raises(RegistryError) as caught:
            pin_model("models:/net/1", address)
        assert time.monotonic() - started < 5
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"registry {address}: ")


def test_a_fault_that_passes_is_tried_again(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", make_linear([1]))
    good, asked = registry_answers(folder), []

    def answer(path: str, query: dict[str, str]) -> Answer:
        asked.append(path)
        return (503, iter([b"busy"])) if len(asked) == 1 else good(path, query)

    with serve(answer) as address:
        assert pin_model("models:/net@champion", address)[0].version == 1
    assert asked[0] == asked[1]


def test_a_refused_connection_is_told_without_the_password() -> None:
    with serve(_status(200)) as address:
        pass  # the port is free again
    with pytest.raises(RegistryError) as caught:
        pin_model("models:/net/1", address.replace("//", "//scorer:hunter2hunter2@"))
    assert "cannot be reached: [Errno 111] Connection refused" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def _drip(release: threading.Event) -> Iterator[bytes]:
    while not release.wait(0.05):
        yield b" "


# A call that is left behind leaves MLflow's own response object unclosed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("place", ["registry", "artifacts"])
@pytest.mark.parametrize("way", ["hangs", "drips"])
def test_a_server_that_never_ends_is_left_in_time(tmp_path: Path, place: str, way: str) -> None:
    good, release = registry_answers(write_folder(tmp_path / "m", make_linear([1]))), threading.Event()

    def answer(path: str, query: dict[str, str]) -> Answer:
        if (place == "artifacts") != path.endswith("/model.onnx"):
            return good(path, query)
        if way == "hangs":
            release.wait(20)
        return 200, _drip(release)

    before = dict(os.environ)
    with serve(answer) as address:
        started = time.monotonic()
        with pytest.raises(RegistryError, match=r"cannot be reached: (no complete answer within 1 s|.*timed out)"):
            pin_model("models:/net/1", address, timeout_s=1.0)
        took = time.monotonic() - started
        release.set()
    for thread in threading.enumerate():
        if thread.name == "registry-call":
            thread.join(5)
    gc.collect()
    assert took < 3
    assert dict(os.environ) == before


def test_a_download_that_is_larger_than_allowed_is_stopped(tmp_path: Path) -> None:
    good = registry_answers(write_folder(tmp_path / "m", make_linear([1])))

    def endless() -> Iterator[bytes]:
        while True:
            yield b"# padding\n" * 10_000

    def answer(path: str, query: dict[str, str]) -> Answer:
        return (200, endless()) if path.endswith("/MLmodel") else good(path, query)

    with serve(answer) as address:
        with pytest.raises(BatchscoreError, match=r"expected 'MLmodel' of at most 1048576 bytes; found more"):
            pin_model("models:/net/1", address, timeout_s=5.0)
