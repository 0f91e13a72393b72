"""Walks every message of an ONNX model, and refuses what a plain graph does not need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import Message  # type: ignore[import-untyped]
from onnx import ModelProto, TensorProto

from batchscore.errors import ModelError
from batchscore.models.files import shown

MAX_NODES = 200_000  # with the bodies of model-local functions counted at each call
MAX_DEPTH = 10  # If, Loop and Scan inside each other; loading time can double with each level
MAX_CALLS = 32  # model-local functions calling each other

_STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
# What ONNX Runtime's own quantiser and optimiser write; they are built into it, as the standard operators are.
_RUNTIME_OPERATORS = frozenset(
    """Attention BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu ConvTransposeWithDynamicPads
    DequantizeLinear DynamicQuantizeLSTM DynamicQuantizeMatMul EmbedLayerNormalization FastGelu FusedConv FusedGemm
    FusedMatMul FusedMatMulActivation Gelu GroupQueryAttention MatMulInteger16 MatMulIntegerToFloat MatMulNBits
    MultiHeadAttention NhwcConv NhwcFusedConv NhwcMaxPool QAttention QEmbedLayerNormalization QGemm QLinearAdd
    QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean
    QLinearSigmoid QLinearSoftmax QLinearWhere QMoE QOrderedAttention QOrderedGelu QOrderedLayerNormalization
    QOrderedMatMul QuantizeLinear QuickGelu RotaryEmbedding SimplifiedLayerNormalization SkipLayerNormalization
    SkipSimplifiedLayerNormalization TransposeMatMul""".split()
)
_LEAVES = frozenset({"TensorProto", "ValueInfoProto", "StringStringEntryProto", "OperatorSetIdProto"})

_Operator = tuple[str, str]


def check_graph(model: ModelProto, where: str) -> list[TensorProto]:
    """The tensors whose values lie outside the model file, wherever in it they stand.

    Every message is visited by reflection (graphs, subgraphs, functions, attributes, sparse tensors, training
    graphs), so no place is forgotten.

    Args:
        model: The parsed model.
        where: How messages name the model.

    Raises:
        ModelError: An operator outside the standard domains, external data in a sparse tensor, or more nodes,
            nesting or function calls than the limits allow.

    Source: ONNX IR, https://onnx.ai/onnx/repo-docs/IR.html
    """
    functions: dict[_Operator, Counter[_Operator]] = {(f.domain, f.name): Counter() for f in model.functions}
    main: Counter[_Operator] = Counter()
    external: list[TensorProto] = []
    for part in _children(model):
        is_function = part.DESCRIPTOR.name == "FunctionProto"
        operators = functions[(part.domain, part.name)] if is_function else main
        for message in _walk(part, where):
            kind = message.DESCRIPTOR.name
            if kind == "NodeProto":
                _check_operator(message.domain, message.op_type, functions, where)
                operators[(message.domain, message.op_type)] += 1
            elif kind == "SparseTensorProto":
                _check_sparse(message, where)
            elif kind == "TensorProto" and _is_external(message):
                external.append(message)
    nodes = _count_nodes(main, functions, where)
    if nodes > MAX_NODES:
        raise ModelError(f"{where}: expected at most {MAX_NODES} operators; found {nodes}, functions expanded.")
    return external


def _children(message: Message) -> Iterator[Any]:
    for field, value in message.ListFields():
        if field.message_type is not None:
            yield from (value,) if isinstance(value, Message) else value


def _walk(root: Message, where: str) -> Iterator[Any]:
    stack = [(root, 0)]
    while stack:
        message, depth = stack.pop()
        kind = message.DESCRIPTOR.name
        depth += kind == "GraphProto"
        if depth > MAX_DEPTH:
            raise ModelError(
                f"{where}: expected graphs at most {MAX_DEPTH} deep inside each other (If, Loop, Scan); found more."
            )
        yield message
        if kind not in _LEAVES:
            stack.extend((child, depth) for child in _children(message))


def _check_operator(domain: str, operator: str, functions: Mapping[_Operator, Any], where: str) -> None:
    if operator == "EPContext":
        raise ModelError(
            f"{where}: found an EPContext operator, a precompiled blob for one device that cannot be checked. "
            "Register the model from which it was compiled."
        )
    if domain in _STANDARD_DOMAINS or (domain, operator) in functions:
        return
    if domain == "com.microsoft" and operator in _RUNTIME_OPERATORS:
        return
    raise ModelError(
        f"{where}: expected operators of the standard domains ai.onnx and ai.onnx.ml; found {shown(operator)} of the "
        f"domain {shown(domain)}. Export the model without custom operators."
    )


def _is_external(tensor: TensorProto) -> bool:
    # Entries without the flag count too: readers differ in which of the two they believe.
    return tensor.data_location == TensorProto.EXTERNAL or len(tensor.external_data) > 0


def _check_sparse(sparse: Any, where: str) -> None:
    if _is_external(sparse.values) or _is_external(sparse.indices):
        raise ModelError(
            f"{where}: the sparse tensor {shown(sparse.values.name)} points outside the model file, which no exporter "
            "writes. Save the model with its sparse tensors inside."
        )


def _count_nodes(main: Counter[_Operator], functions: Mapping[_Operator, Counter[_Operator]], where: str) -> int:
    """Nodes after every function call is replaced by the function's body, without replacing it."""
    sizes: dict[_Operator, int] = {}

    def expand(operators: Counter[_Operator], callers: tuple[_Operator, ...]) -> int:
        if len(callers) > MAX_CALLS:
            raise ModelError(
                f"{where}: expected model-local functions to call each other at most {MAX_CALLS} deep; found more, "
                f"by way of {shown(callers[-1][1])}."
            )
        total = 0
        for called, times in operators.items():
            if called in functions and called not in sizes:
                sizes[called] = expand(functions[called], (*callers, called))
            total += times * sizes.get(called, 1)
        return total

    return expand(main, ())
