"""Reads an ONNX file from a folder, checks all of it before any runtime sees it, and makes it self-contained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from batchscore.errors import ModelError
from batchscore.models.files import MAX_MODEL_BYTES, read_regular
from batchscore.models.onnx_external import merge_external
from batchscore.models.onnx_graph import check_graph

_FORMATS = (  # what people put in place of an ONNX file, by its first bytes
    (b"\x80\x02", "a Python pickle"),
    (b"\x80\x03", "a Python pickle"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"PK\x03\x04", "a zip archive, as PyTorch and Keras write"),
    (b"\x89HDF", "an HDF5 file, as Keras writes"),
    (b"\x1f\x8b", "a gzip file"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the file itself"),
    (b"<", "an HTML or XML page"),
    (b"{", "JSON text"),
)


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What an ONNX file says of itself.

    Attributes:
        opsets: Operator set versions by domain; the default domain is `ai.onnx`.
        ir_version: Version of the file format.
        external_files: Files beside the model that were merged into it, sorted.
    """

    opsets: dict[str, int]
    ir_version: int
    external_files: tuple[str, ...]


def read_onnx(
    folder: Path, data_file: str, where: str, fetch: Callable[[str], None] | None = None
) -> tuple[bytes, OnnxFacts]:
    """One self-contained ONNX model, checked without loading it.

    A model without external data is returned byte for byte; else its files are merged into it, in one canonical
    serialisation, so that equal models give equal bytes.

    Args:
        folder: Where the files lie.
        data_file: The model file's plain name.
        where: How messages name the model.
        fetch: Called with the plain name of each external-data file before it is read; None if they are there.

    Returns:
        The bytes, and the facts.

    Raises:
        ModelError: It is no ONNX file, or one that is not to be loaded; see `check_graph` and `merge_external`.
    """
    content = read_regular(folder, data_file, MAX_MODEL_BYTES, where)
    model = _parse(content, where)
    opsets = _check_versions(model, where)
    tensors = check_graph(model, where)
    names: list[str] = []

    def read(name: str) -> bytes:
        if name == data_file:
            raise ModelError(f"{where}: external data points into the model file itself; save the model again.")
        names.append(name)
        if fetch is not None:
            fetch(name)
        return read_regular(folder, name, MAX_MODEL_BYTES, where)

    if tensors:
        try:
            content = merge_external(model, tensors, read, len(content), where)
        except EncodeError as error:
            raise ModelError(f"{where}: with its external data the model exceeds 2 GiB, ONNX's own limit.") from error
    return content, OnnxFacts(opsets, model.ir_version, tuple(sorted(names)))


def _parse(content: bytes, where: str) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise _not_onnx(
            content, where, f"{len(content)} bytes that do not parse: cut off, damaged, or nested too deeply"
        ) from error
    if not model.ir_version or not model.opset_import or not model.graph.output:
        raise _not_onnx(content, where, f"{len(content)} bytes without a graph, its outputs and operator sets")
    return model


def _not_onnx(content: bytes, where: str, otherwise: str) -> ModelError:
    found = next((name for start, name in _FORMATS if content.lstrip(b"\r\n\t \xef\xbb\xbf").startswith(start)), None)
    if not content:
        found = "an empty file"
    elif content[4:8] == b"ORTM":
        found = "a file in ONNX Runtime's own ORT format"
    return ModelError(
        f"{where}: expected an ONNX protobuf; found {found or otherwise}. "
        "Check the upload, or log the model again with mlflow.onnx.log_model."
    )


def _check_versions(model: ModelProto, where: str) -> dict[str, int]:
    newest = onnx.defs.onnx_opset_version()
    opsets = {imported.domain or "ai.onnx": imported.version for imported in model.opset_import}
    if model.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"{where}: expected ONNX IR version {onnx.IR_VERSION} or older; found {model.ir_version}. "
            "Upgrade onnx and onnxruntime, or export the model for an older version."
        )
    if opsets.get("ai.onnx", 1) not in range(1, newest + 1):
        raise ModelError(
            f"{where}: expected operator set 1 to {newest} of ai.onnx; found {opsets['ai.onnx']}. "
            "Upgrade onnx and onnxruntime, or export the model with an older target_opset."
        )
    return opsets
