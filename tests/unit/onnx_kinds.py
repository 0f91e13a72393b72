"""Generated ONNX models of every kind that is scored, with rows for each: types, ranks, outputs, opsets, batches."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx_models import make_external
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from batchscore.models.onnx_file import read_onnx

ROWS = 11
IR_OF_OPSET = {11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12}
Shape = Sequence[int | str | None]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A model, the rows to score, and how they meet.

    Attributes:
        name: Test id.
        model: Self-contained ONNX bytes.
        columns: Feature columns, `ROWS` values each.
        inputs: As `model.inputs`.
        outputs: As `model.outputs`.
    """

    name: str
    model: bytes
    columns: Mapping[str, pa.Array]
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)


def build(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, tuple[int, Shape]],
    outputs: Mapping[str, tuple[int, Shape] | onnx.ValueInfoProto],
    weights: Mapping[str, np.ndarray] | None = None,
    opset: int = 17,
) -> ModelProto:
    """A checked model; inputs and outputs are name to (element type, shape)."""
    told = [
        v if isinstance(v, onnx.ValueInfoProto) else helper.make_tensor_value_info(n, *v) for n, v in outputs.items()
    ]
    graph: GraphProto = helper.make_graph(
        list(nodes),
        "kind",
        [helper.make_tensor_value_info(name, *value) for name, value in inputs.items()],
        told,
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    domains = [helper.make_opsetid("", opset)]
    if any(node.domain == "ai.onnx.ml" for node in nodes):
        domains.append(helper.make_opsetid("ai.onnx.ml", 3))
    model = helper.make_model(graph, opset_imports=domains, ir_version=IR_OF_OPSET[opset])
    onnx.checker.check_model(model)
    return model


@cache
def all_kinds() -> tuple[Kind, ...]:
    """The table."""
    return (*_types(), *_opsets(), *_ranks(), *_inputs(), *_outputs(), *_batches(), *_storages())


def floats(*shape: int, seed: int = 1) -> np.ndarray:
    """[ROWS, *shape] standard normal float32."""
    return np.random.default_rng(seed).standard_normal((ROWS, *shape)).astype(np.float32)


_VALUES: dict[int, pa.Array] = {
    TensorProto.FLOAT: pa.array(floats()),
    TensorProto.DOUBLE: pa.array(floats().astype(np.float64) / 3),
    TensorProto.FLOAT16: pa.array(floats()),
    TensorProto.INT8: pa.array(range(-5, 6), pa.int8()),
    TensorProto.INT16: pa.array(range(-500, 600, 100), pa.int16()),
    TensorProto.INT32: pa.array(range(-50_000, 60_000, 10_000), pa.int32()),
    TensorProto.INT64: pa.array([2**53 + i for i in range(ROWS)], pa.int64()),
    TensorProto.UINT8: pa.array(range(245, 256), pa.int16()),
    TensorProto.UINT16: pa.array(range(65_525, 65_536), pa.int32()),
    TensorProto.UINT32: pa.array(range(2**32 - ROWS, 2**32), pa.int64()),
    TensorProto.UINT64: pa.array(range(2**62, 2**62 + ROWS), pa.int64()),
    TensorProto.BOOL: pa.array([i % 3 == 0 for i in range(ROWS)]),
    TensorProto.STRING: pa.array([f"value {i} é" for i in range(ROWS)]),
}


def _types() -> list[Kind]:
    """One model for each element type, the same going in and out."""
    kinds = []
    for element, values in _VALUES.items():
        name = TensorProto.DataType.Name(element).lower()
        node = helper.make_node("Identity", ["x"], ["y"])
        model = build([node], {"x": (element, ["N", 1])}, {"y": (element, ["N", 1])})
        kinds.append(Kind(name=f"type {name}", model=model.SerializeToString(), columns={"x": values}))
    return kinds


def linear(opset: int = 17, rows: Shape = ("N",)) -> ModelProto:
    """`y[rows, 2] = x[rows, 3] @ W + b`."""
    nodes = [helper.make_node("MatMul", ["x", "W"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])]
    weights = {"W": floats(3, seed=2)[:3, :2].astype(np.float32), "b": np.float32([0.5, -0.5])}
    return build(
        nodes,
        {"x": (TensorProto.FLOAT, [*rows, 3])},
        {"y": (TensorProto.FLOAT, [*rows, 2])},
        weights,
        opset,
    )


ABC = {name: pa.array(floats(seed=seed).astype(np.float64)) for seed, name in enumerate("abc")}
PACKED = {"x": ("a", "b", "c")}


def _opsets() -> list[Kind]:
    return [
        Kind(name=f"opset {opset}", model=linear(opset).SerializeToString(), columns=ABC, outputs={"p": "y[:, 1]"})
        for opset in IR_OF_OPSET
    ]


def _sum_of(rank: int, shape: Shape) -> bytes:
    """`y[n]`: the sum over all dimensions but the first."""
    nodes = [helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=0)]
    axes = {"axes": np.arange(1, rank, dtype=np.int64)}
    model = build(nodes, {"x": (TensorProto.FLOAT, shape)}, {"y": (TensorProto.FLOAT, ["N"])}, axes)
    return model.SerializeToString()


def lists(values: np.ndarray) -> pa.Array:
    """[n, ...] as a column of nested lists."""
    return pa.array(values.tolist(), type=_list_type(values.ndim - 1))


def _list_type(depth: int) -> pa.DataType:
    return pa.float32() if not depth else pa.list_(_list_type(depth - 1))


def _ranks() -> list[Kind]:
    square = helper.make_node("Mul", ["x", "x"], ["y"])
    vector = build([square], {"x": (TensorProto.FLOAT, ["N"])}, {"y": (TensorProto.FLOAT, ["N"])})
    image = floats(4, 3, 2)
    ragged = pa.array([[float(k) for k in range(1 + i % 4)] for i in range(ROWS)], pa.list_(pa.float32()))
    steps = {f"s{k}": lists(floats(4, seed=k)) for k in range(2)}
    return [
        Kind(name="rank 1", model=vector.SerializeToString(), columns={"x": pa.array(floats())}),
        Kind(name="rank 2 of an array", model=_sum_of(2, ["N", 4]), columns={"x": lists(floats(4))}),
        Kind(name="rank 3", model=_sum_of(3, ["N", 4, 3]), columns={"x": lists(floats(4, 3))}),
        Kind(name="rank 3 side by side", model=_sum_of(3, ["N", 4, 2]), columns=steps, inputs={"x": ("s0", "s1")}),
        Kind(name="rank 4", model=_sum_of(4, ["N", 4, 3, 2]), columns={"x": lists(image)}),
        Kind(name="rank 4 flat", model=_sum_of(4, ["N", 4, 3, 2]), columns={"x": lists(image.reshape(ROWS, -1))}),
        Kind(name="open sizes", model=_sum_of(2, ["N", "T"]), columns={"x": ragged}),
    ]


def _inputs() -> list[Kind]:
    """Columns as inputs of their own, as skl2onnx writes them, and packed beside them."""
    nodes = [
        helper.make_node("Cast", ["count"], ["count_f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["flag"], ["flag_f"], to=TensorProto.FLOAT),
        helper.make_node(
            "LabelEncoder", ["city"], ["city_f"], domain="ai.onnx.ml",
            keys_strings=["Oslo", "Rome"], values_floats=[10.0, 20.0], default_float=-1.0,
        ),
        helper.make_node("Concat", ["price", "count_f", "flag_f", "city_f", "rest"], ["y"], axis=1),
    ]  # fmt: skip
    inputs = {
        "price": (TensorProto.FLOAT, ["N", 1]),
        "count": (TensorProto.INT64, ["N", 1]),
        "flag": (TensorProto.BOOL, ["N", 1]),
        "city": (TensorProto.STRING, ["N", 1]),
        "rest": (TensorProto.FLOAT, ["N", 2]),
    }
    model = build(nodes, inputs, {"y": (TensorProto.FLOAT, ["N", 6])}).SerializeToString()
    columns = {
        "price": pa.array(floats()),
        "count": pa.array(range(ROWS), pa.int64()),
        "flag": _VALUES[TensorProto.BOOL],
        "city": pa.array(["Oslo", "Rome", "Paris"] * 3 + ["Oslo"] * 2),
        "r1": pa.array(range(ROWS), pa.int16()),
        "r2": pa.array([i / 4 for i in range(ROWS)]).cast(pa.decimal128(9, 4)),
    }
    named = {name: (name,) for name in ("price", "count", "flag", "city")}
    return [Kind(name="several inputs", model=model, columns=columns, inputs={**named, "rest": ("r1", "r2")})]


def _classifier(zipmap: dict[str, list[Any]] | None, element: int) -> bytes:
    nodes = [
        helper.make_node("Softmax", ["x"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["best"], axis=1, keepdims=0),
    ]
    names = ["no", "maybe", "yes"]
    if element == TensorProto.STRING:
        keys = {"keys_int64s": [0, 1, 2], "values_strings": names}
        nodes.append(helper.make_node("LabelEncoder", ["best"], ["label"], domain="ai.onnx.ml", **keys))
    else:
        nodes.append(helper.make_node("Identity", ["best"], ["label"]))
    outputs: dict[str, Any] = {"label": (element, ["N"])}
    if zipmap is None:
        outputs["probabilities"] = (TensorProto.FLOAT, ["N", 3])
    else:
        nodes.append(helper.make_node("ZipMap", ["probabilities"], ["maps"], domain="ai.onnx.ml", **zipmap))
        value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        key = TensorProto.STRING if "classlabels_strings" in zipmap else TensorProto.INT64
        maps = helper.make_sequence_type_proto(helper.make_map_type_proto(key, value))
        outputs["maps"] = helper.make_value_info("maps", maps)
    return build(nodes, {"x": (TensorProto.FLOAT, ["N", 3])}, outputs).SerializeToString()


def _outputs() -> list[Kind]:
    text, number = TensorProto.STRING, TensorProto.INT64
    strings = {"classlabels_strings": ["no", "maybe", "yes"]}
    numbers = {"classlabels_int64s": [10, 20, 30]}
    parts = {"label": "label", "p": "probabilities[:, 2]", "all": "probabilities"}
    cube = helper.make_node("Unsqueeze", ["x", "axes"], ["y"])
    outer = [cube, helper.make_node("Mul", ["x", "y"], ["z"])]
    shapes = {"y": (TensorProto.FLOAT, ["N", 3, 1]), "z": (TensorProto.FLOAT, [None, None, 3])}
    axes = {"axes": np.int64([2])}
    # [N, 3] times [N, 3, 1] would pair rows with rows: one row a call, so that it is a product of the row with itself.
    product = build(outer, {"x": (TensorProto.FLOAT, [1, 3])}, shapes, axes).SerializeToString()
    picks = {"y": "y", "row": "z[:, 1, :]", "one": "z[:, 2, 0]", "whole": "z"}
    return [
        Kind(name="several outputs", model=_classifier(None, number), columns=ABC, inputs=PACKED, outputs=parts),
        Kind(name="string labels", model=_classifier(None, text), columns=ABC, inputs=PACKED, outputs=parts),
        Kind(name="maps by name", model=_classifier(strings, text), columns=ABC, inputs=PACKED,
             outputs={"label": "label", "yes": 'maps[:, "yes"]', "all": "maps"}),
        Kind(name="maps by number", model=_classifier(numbers, number), columns=ABC, inputs=PACKED,
             outputs={"p": "maps[:, 20]", "all": "maps"}),
        Kind(name="arrays", model=product, columns=ABC, inputs=PACKED, outputs=picks),
        Kind(name="no mapping", model=linear().SerializeToString(), columns=ABC),
    ]  # fmt: skip


def _batches() -> list[Kind]:
    """`ROWS` is no multiple of 4: the last batch is short."""
    return [
        Kind(name=f"fixed batch of {rows}", model=linear(rows=(rows,)).SerializeToString(), columns=ABC)
        for rows in (1, 4, ROWS, 64)
    ]


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """One batch to choose scales by: fixed scales, so that a row's score does not hang on its neighbours."""

    def __init__(self) -> None:
        self._left = [{"x": floats(3)}]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


def _storages() -> list[Kind]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        external, content = make_external(linear(), "weights.bin")
        (folder / "model.onnx").write_bytes(external.SerializeToString())
        (folder / "weights.bin").write_bytes(content)
        merged, _ = read_onnx(folder, "model.onnx", "model")
        (folder / "plain.onnx").write_bytes(linear().SerializeToString())
        quantize_static(folder / "plain.onnx", folder / "int8.onnx", _Calibration())
        quantised = (folder / "int8.onnx").read_bytes()
    nodes = [helper.make_node("MatMul", ["x", "W"], ["y"])]
    shapes = {"x": (TensorProto.FLOAT16, ["N", 3])}, {"y": (TensorProto.FLOAT16, ["N", 2])}
    half = build(nodes, *shapes, {"W": floats(3, seed=2)[:3, :2].astype(np.float16)}).SerializeToString()
    return [
        Kind(name="external data", model=merged, columns=ABC),
        Kind(name="int8 quantised", model=quantised, columns=ABC),
        Kind(name="fp16", model=half, columns=ABC),
    ]
