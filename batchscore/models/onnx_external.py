"""Brings tensors kept in files beside an ONNX model into the model itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from onnx import ModelProto, TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from batchscore.errors import ModelError
from batchscore.models.files import MAX_MODEL_BYTES, check_plain_name, shown

_KEYS = {"location", "offset", "length", "checksum"}
_NUMBER = re.compile(r"[0-9]{1,19}")
_PACKED_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


@dataclass(frozen=True, slots=True)
class _Segment:
    tensor: TensorProto
    file: str
    offset: int
    length: int


def merge_external(
    model: ModelProto, tensors: Sequence[TensorProto], read: Callable[[str], bytes], model_bytes: int, where: str
) -> bytes:
    """The model as one self-contained file; `model` is changed in place.

    Args:
        model: The parsed model.
        tensors: Its external tensors.
        read: Gives the content of a file beside the model, by its plain name.
        model_bytes: Length of the model file itself.
        where: How messages name the model.

    Raises:
        ModelError: A tensor points anywhere but into a file beside the model, its place does not fit its type and
            dimensions, or the whole is 2 GiB or more.

    Source: External data, https://onnx.ai/onnx/repo-docs/ExternalData.html
    """
    segments = [_locate(tensor, where) for tensor in tensors]
    # Many tensors may share one range of a small file, so the sum is taken before anything is copied.
    total = model_bytes + sum(segment.length for segment in segments)
    if total > MAX_MODEL_BYTES:
        raise ModelError(
            f"{where}: expected a model of less than 2 GiB with its external data; found {total} bytes. "
            "Larger models cannot be sent to the workers as one file; quantise it or split it."
        )
    files: dict[str, bytes] = {}
    for segment in segments:
        if segment.file not in files:
            files[segment.file] = read(segment.file)
        _fill(segment, files[segment.file], where)
    merged: bytes = model.SerializeToString(deterministic=True)
    return merged


def _fill(segment: _Segment, content: bytes, where: str) -> None:
    end = segment.offset + segment.length
    if end > len(content):
        found = f"bytes {segment.offset} to {end} of {shown(segment.file)}, which has {len(content)}"
        raise _misplaced(segment.tensor, where, found)
    segment.tensor.raw_data = content[segment.offset : end]
    segment.tensor.ClearField("external_data")
    segment.tensor.ClearField("data_location")


def _locate(tensor: TensorProto, where: str) -> _Segment:
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) != len(tensor.external_data) or not entries.keys() <= _KEYS or "location" not in entries:
        raise _misplaced(tensor, where, f"the entries {shown([e.key for e in tensor.external_data])}")
    if tensor.data_location != TensorProto.EXTERNAL or tensor.raw_data:
        raise _misplaced(tensor, where, "values both inside the model and outside it")
    name = check_plain_name(entries["location"], f"{where}: external data of the tensor {shown(tensor.name)}")
    expected = _value_bytes(tensor, where)
    numbers = [entries.get("offset", "0"), entries.get("length", str(expected))]
    if not all(_NUMBER.fullmatch(number) for number in numbers):
        raise _misplaced(tensor, where, f"offset {shown(numbers[0])} and length {shown(numbers[1])}")
    offset, length = (int(number) for number in numbers)
    if length != expected:
        raise _misplaced(tensor, where, f"a length of {length} bytes where its type and dimensions need {expected}")
    return _Segment(tensor, name, offset, length)


def _value_bytes(tensor: TensorProto, where: str) -> int:
    known = TensorProto.DataType.values()
    if tensor.data_type not in known or tensor.data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        raise _misplaced(tensor, where, f"data type {tensor.data_type}, which has no fixed width")
    if any(size < 0 for size in tensor.dims):
        raise _misplaced(tensor, where, "a negative dimension")
    name = TensorProto.DataType.Name(tensor.data_type)
    bits = _PACKED_BITS.get(name) or 8 * tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(prod(tensor.dims) * bits + 7) // 8


def _misplaced(tensor: TensorProto, where: str, found: str) -> ModelError:
    return ModelError(
        f"{where}: external data of the tensor {shown(tensor.name)}: expected one file beside the model, and a place "
        f"inside it that fits the tensor; found {found}. Save the model again with onnx.save_model."
    )
