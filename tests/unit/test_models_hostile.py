"""Hostile model artifacts: each is refused before anything loads it, with a sentence, and none leaves a mark."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx_models import (
    MLMODEL,
    OPSET,
    add_version,
    linear_graph,
    make_external,
    make_linear,
    make_model,
    make_registry,
    point_outside,
    write_folder,
)

from batchscore.errors import ModelError
from batchscore.models import pin
from batchscore.models.files import MAX_MODEL_BYTES
from batchscore.models.mlmodel import MAX_MLMODEL_BYTES
from batchscore.models.onnx_external import merge_external
from batchscore.models.onnx_graph import MAX_DEPTH
from batchscore.models.probe import probe_model

Build = Callable[[Path], object]
GOOD = make_linear([3, 4])
COLUMN = np.float32([[3], [4]])
SECRET = b"\x00\x00\x40\x40\x00\x00\x80\x40"  # the values of GOOD's weights, kept where no model may reach


class _Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_registry(tmp_path_factory.mktemp("registry"))


# -- builders ----------------------------------------------------------------------------------------------------------


def _mlmodel(text: str | bytes) -> Build:
    return lambda folder: write_folder(folder, GOOD, text)


def _data(name: str) -> Build:
    return _mlmodel(MLMODEL.replace("data: model.onnx", f"data: {name}"))


def _content(content: ModelProto | bytes) -> Build:
    return lambda folder: write_folder(folder, content)


def _external(location: str, **entries: str) -> Build:
    return _content(make_external(GOOD, location, **entries)[0])


def _external_beside(**entries: str) -> Build:
    return lambda folder: write_folder(
        folder, make_external(GOOD, "weights.data", **entries)[0], weights_data=SECRET + b"more"
    )


def _in_place_of(name: str, put: Callable[[Path, Path], object], model: ModelProto = GOOD) -> Build:
    """A folder whose file `name` is `put(file, elsewhere)` instead; `elsewhere` has the right content."""

    def build(folder: Path) -> None:
        write_folder(folder, model, weights_data=SECRET)
        elsewhere = folder.parent / f"{folder.name}-elsewhere"
        (folder / name).rename(elsewhere)
        put(folder / name, elsewhere)

    return build


def _node(domain: str, operator: str) -> ModelProto:
    node = helper.make_node(operator, ["y"], ["unused"], domain=domain)
    return make_model(linear_graph(COLUMN, extra=[node]), **{domain.replace(".", "_"): 1})


def _outside_tensor(name: str = "hidden") -> TensorProto:
    tensor = numpy_helper.from_array(np.float32([3, 4]), name)
    point_outside(tensor, "../secret.data", offset="0", length="8")
    return tensor


def _sparse() -> object:
    indices = numpy_helper.from_array(np.int64([0, 1]), "indices")
    return helper.make_sparse_tensor(_outside_tensor(), indices, [4])


def _sparse_initializer() -> ModelProto:
    graph = linear_graph(COLUMN)
    graph.sparse_initializer.append(_sparse())
    return make_model(graph)


def _constant(**attribute: object) -> NodeProto:
    return helper.make_node("Constant", [], ["constant"], **attribute)


def _branch(output: str, nodes: Sequence[NodeProto] = (), tensors: Sequence[TensorProto] = ()) -> GraphProto:
    value = numpy_helper.from_array(np.float32([1]), output)
    inner = [*nodes] or [helper.make_node("Constant", [], [output], value=value)]
    return helper.make_graph(inner, "branch", [], [helper.make_tensor_value_info(output, 1, [1])], tensors)


def _if(depth: int, tensors: Sequence[TensorProto] = ()) -> NodeProto:
    branch = _branch(f"d{depth}", [_if(depth - 1, tensors)] if depth > 1 else [], tensors)
    condition = f"c{depth}"
    node = helper.make_node("If", [condition], [f"d{depth + 1}"], then_branch=branch, else_branch=_branch(f"e{depth}"))
    return node


def _nested(depth: int, tensors: Sequence[TensorProto] = ()) -> ModelProto:
    return make_model(linear_graph(COLUMN, extra=[_if(depth, tensors)]))


def _nested_on_the_wire(depth: int) -> bytes:
    """If inside If, deeper than a protobuf library agrees to write."""

    def field(number: int, content: bytes) -> bytes:
        size, length = b"", len(content)
        while length > 127:
            size, length = size + bytes([length % 128 + 128]), length // 128
        return bytes([number * 8 + 2]) + size + bytes([length]) + content

    graph = b""
    for _ in range(depth):
        graph = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, graph)))
    return GOOD.SerializeToString() + field(7, graph)


def _functions(bodies: dict[str, Sequence[NodeProto]]) -> ModelProto:
    model = make_model(linear_graph(COLUMN, extra=[_call("f0")]), local=1)
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("local", 1)]
    for name, nodes in bodies.items():
        model.functions.append(helper.make_function("local", name, ["a"], ["b"], list(nodes), imports))
    return model


def _call(name: str) -> NodeProto:
    return helper.make_node(name, ["a"], ["b"], domain="local")


def _header(**fields: int) -> ModelProto:
    model = make_linear([3, 4])
    if "opset" in fields:
        model.opset_import[0].version = fields["opset"]
    model.ir_version = fields.get("ir", model.ir_version)
    return model


def _entries(*entries: tuple[str, str]) -> ModelProto:
    model = make_external(GOOD, "weights.data")[0]
    tensor = model.graph.initializer[0]
    tensor.ClearField("external_data")
    for key, value in entries:
        tensor.external_data.add(key=key, value=value)
    return model


def _inside_and_outside() -> ModelProto:
    model = make_external(GOOD, "weights.data")[0]
    model.graph.initializer[0].raw_data = SECRET
    return model


def _flag_only(location: str) -> ModelProto:
    """The entries of external data without the flag that says that there are some."""
    model = make_external(GOOD, location)[0]
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    model.graph.initializer[0].raw_data = SECRET
    return model


def _endless_type(data_type: int, dims: Sequence[int]) -> ModelProto:
    model = make_external(GOOD, "weights.data")[0]
    tensor = model.graph.initializer[0]
    tensor.data_type = data_type
    del tensor.dims[:]
    tensor.dims.extend(dims)
    return model


def _amplified(folder: Path) -> None:
    """A thousand tensors that each claim the same 4 MiB of a small file."""
    model = make_linear([3, 4])
    for number in range(1000):
        tensor = model.graph.initializer.add(name=f"t{number}", data_type=TensorProto.FLOAT, dims=[1 << 20])
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.data")
    write_folder(folder, model, weights_data=b"\0" * (1 << 22))


def _huge(name: str, size: int) -> Build:
    def build(folder: Path) -> None:
        write_folder(folder, GOOD)
        os.truncate(folder / name, size)

    return build


def _flavors(text: str) -> Build:
    return _mlmodel("flavors:\n" + text)


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
PYFUNC = "  python_function:\n    data: model.onnx\n    loader_module: {}\n"
ONNX = "  onnx:\n    data: model.onnx\n"

CORPUS: dict[str, tuple[Build, str]] = {
    # MLmodel
    "no MLmodel": (lambda folder: (write_folder(folder, GOOD) / "MLmodel").unlink(), "expected the file 'MLmodel'"),
    "MLmodel is a folder": (_in_place_of("MLmodel", lambda f, _: f.mkdir()), "found a folder, pipe or device"),
    "MLmodel is a pipe": (_in_place_of("MLmodel", lambda f, _: os.mkfifo(f)), "found a folder, pipe or device"),
    "MLmodel is a link": (_in_place_of("MLmodel", Path.symlink_to), "found a symbolic link"),
    "MLmodel oversized": (_huge("MLmodel", MAX_MLMODEL_BYTES + 1), "of at most 1048576 bytes; found 1048577"),
    "alias bomb": (_mlmodel(ALIASES + MLMODEL), "found an anchor or alias"),
    "python tag": (_mlmodel(MLMODEL + "x: !!python/object/apply:os.system [touch marker]\n"), "found the tag"),
    "deep YAML": (_mlmodel(MLMODEL + "x: " + "[" * 20_000), "16 deep; found more"),
    "long YAML": (_mlmodel(MLMODEL + "x:\n" + "- a\n" * 30_000), "at most 5000 entries"),
    "doubled key": (_mlmodel(MLMODEL + MLMODEL), "found duplicate key"),
    "not YAML": (_mlmodel("flavors: {onnx: [\n"), "expected YAML; it does not parse"),
    "not UTF-8": (_mlmodel(b"flavors: \xff\xfe"), "expected YAML; it does not parse"),
    "a list": (_mlmodel("- flavors\n"), "expected a YAML mapping; found list"),
    "no flavors": (_mlmodel("model_uuid: m\n"), "expected a mapping `flavors`; found NoneType"),
    "sklearn only": (
        _flavors("  sklearn: {pickled_model: model.pkl}\n"),
        "expected the flavour `onnx`; found 'sklearn'",
    ),
    "pyfunc only": (_flavors(PYFUNC.format("mlflow.onnx")), "expected the flavour `onnx`; found 'python_function'"),
    "sklearn too": (_flavors(ONNX + "  sklearn: {pickled_model: model.pkl}\n"), "found 'sklearn' too"),
    "another loader": (_flavors(ONNX + PYFUNC.format("evil.loader")), "found 'evil.loader', so the ONNX file is not"),
    "loader of a subclass": (_flavors(ONNX + PYFUNC.format("mlflow.pyfunc.model")), "expected the loader mlflow.onnx"),
    "code": (_flavors(ONNX + PYFUNC.format("mlflow.onnx") + "    code: code\n"), "found `code`"),
    "code paths": (_flavors(ONNX + "    code_paths: [helper.py]\n"), "found `code_paths`"),
    "no data": (_flavors("  onnx: {onnx_version: 1.23.2}\n"), "flavors.onnx.data: expected a plain file name"),
    "data is a number": (_data("7"), "expected a plain file name beside MLmodel"),
    "data traverses": (_data("../../etc/passwd"), "found '../../etc/passwd'"),
    "data is absolute": (_data("/etc/passwd"), "found '/etc/passwd'"),
    "data in a folder": (_data("sub/model.onnx"), "found 'sub/model.onnx'"),
    "data by backslash": (_data("'..\\..\\model.onnx'"), "expected a plain file name"),
    "data by escape": (_data("'%2e%2e%2fmodel.onnx'"), "expected a plain file name"),
    "data is hidden": (_data(".model.onnx"), "expected a plain file name"),
    "data with a line break": (_data('"model.onnx\\nmodel net/2: fine"'), r"found 'model.onnx\nmodel net/2: fine'"),
    "data is very long": (_data("a" * 300), "...'"),
    "data is missing": (_data("other.onnx"), "expected the file 'other.onnx' in its artifacts; found none"),
    "signature not JSON": (_mlmodel(MLMODEL + "signature: {inputs: '[{'}\n"), "expected signature.inputs to be JSON"),
    "signature too deep": (_mlmodel(f"{MLMODEL}signature: {{inputs: '{'[' * 100_000}'}}\n"), "it does not parse"),
    "signature of text": (_mlmodel(MLMODEL + "signature: {inputs: '[\"a\"]'}\n"), "to be a list of columns"),
    # The model file
    "model is a link": (
        _in_place_of("model.onnx", Path.symlink_to),
        "expected 'model.onnx' to be a readable plain file",
    ),
    "model is a hard link": (_in_place_of("model.onnx", Path.hardlink_to), "found 2 hard links to it"),
    "model is a device": (_in_place_of("model.onnx", lambda f, _: f.symlink_to("/dev/zero")), "found a symbolic link"),
    "model too large": (_huge("model.onnx", MAX_MODEL_BYTES + 1), "of at most 2147483647 bytes; found 2147483648"),
    "empty": (_content(b""), "expected an ONNX protobuf; found an empty file"),
    "cut off": (_content(GOOD.SerializeToString()[:-7]), "bytes that do not parse: cut off, damaged"),
    "cut off between fields": (_content(GOOD.SerializeToString()[:2]), "bytes without a graph"),
    "HTML": (_content(b"\n<!DOCTYPE html><title>Log in</title>"), "found an HTML or XML page"),
    "zip": (_content(b"PK\x03\x04" + b"\0" * 60), "found a zip archive, as PyTorch and Keras write"),
    "LFS pointer": (_content(b"version https://git-lfs.github.com/spec/v1\n"), "found a Git LFS pointer"),
    "ORT format": (_content(b"\x18\0\0\0ORTM" + b"\0" * 60), "found a file in ONNX Runtime's own ORT format"),
    "random bytes": (_content(np.random.default_rng(1).bytes(4096)), "expected an ONNX protobuf; found 4096 bytes"),
    "opset 999": (_content(_header(opset=999)), "of ai.onnx; found 999"),
    "opset 0": (_content(_header(opset=0)), "of ai.onnx; found 0"),
    "IR 99": (_content(_header(ir=99)), "or older; found 99"),
    "unknown domain": (_content(_node("com.evil", "Run")), "found 'Run' of the domain 'com.evil'"),
    "unlisted runtime operator": (_content(_node("com.microsoft", "PyOp")), "found 'PyOp' of the domain"),
    "training domain": (_content(_node("ai.onnx.preview.training", "Adam")), "found 'Adam' of the domain"),
    "EPContext": (_content(_node("com.microsoft", "EPContext")), "found an EPContext operator"),
    "operator in a subgraph": (
        _content(
            make_model(
                linear_graph(
                    COLUMN,
                    extra=[
                        helper.make_node(
                            "If",
                            ["c"],
                            ["d"],
                            then_branch=_branch("t", [helper.make_node("Run", [], ["t"], domain="com.evil")]),
                            else_branch=_branch("e"),
                        )
                    ],
                )
            )
        ),
        "found 'Run' of the domain 'com.evil'",
    ),
    "operator in a function": (
        _content(_functions({"f0": [helper.make_node("Run", ["a"], ["b"], domain="com.evil")]})),
        "found 'Run' of the domain 'com.evil'",
    ),
    "nested If": (_content(_nested(MAX_DEPTH + 1)), "at most 10 deep inside each other"),
    "nested If, past the parser": (_content(_nested_on_the_wire(60)), "nested too deeply"),
    "function calls itself": (_content(_functions({"f0": [_call("f0")]})), "to call each other at most 32 deep"),
    "functions in a circle": (_content(_functions({"f0": [_call("f1")], "f1": [_call("f0")]})), "at most 32 deep"),
    "function bomb": (
        _content(_functions({f"f{i}": [_call(f"f{i + 1}")] * 10 for i in range(9)} | {"f9": [_constant(value_int=1)]})),
        "expected at most 200000 operators; found 1000000002, functions expanded",
    ),
    # External data
    "external ..": (_external("../secret.data"), "external data of the tensor 'W': expected a plain file name"),
    "external absolute": (_external("/etc/passwd"), "found '/etc/passwd'"),
    "external in a folder": (_external("sub/weights.data"), "found 'sub/weights.data'"),
    "external by memory address": (_external("*/_ORT_MEM_ADDR_/*", offset="4096"), "found '*/_ORT_MEM_ADDR_/*'"),
    "external of nothing": (_external(""), "found ''"),
    "external is the model": (_external("model.onnx", length="8"), "points into the model file itself"),
    "external is missing": (_external("weights.data"), "expected the file 'weights.data' in its artifacts; found none"),
    "external is a link": (
        _in_place_of("weights.data", Path.symlink_to, make_external(GOOD, "weights.data")[0]),
        "expected 'weights.data' to be a readable plain file; found a symbolic link",
    ),
    "external is a hard link": (
        _in_place_of("weights.data", Path.hardlink_to, make_external(GOOD, "weights.data")[0]),
        "found 2 hard links to it",
    ),
    "offset past the end": (
        _external_beside(offset="5", length="8"),
        "found bytes 5 to 13 of 'weights.data', which has 12",
    ),
    "length past the tensor": (
        _external_beside(length="12"),
        "a length of 12 bytes where its type and dimensions need 8",
    ),
    "length short of the tensor": (_external_beside(length="4"), "a length of 4 bytes where its type"),
    "negative offset": (_external_beside(offset="-4"), "found offset '-4' and length '8'"),
    "offset of letters": (_external_beside(offset="0x4"), "found offset '0x4'"),
    "offset of 30 digits": (_external_beside(offset="9" * 30), "found offset '9999"),
    "unknown entry": (_external_beside(basepath="/"), "found the entries ['location', 'basepath']"),
    "doubled location": (
        _content(_entries(("location", "weights.data"), ("location", "../secret.data"))),
        "found the entries ['location', 'location']",
    ),
    "no location": (_content(_entries(("offset", "0"))), "found the entries ['offset']"),
    "inside and outside": (_content(_inside_and_outside()), "found values both inside the model and outside it"),
    "entries without the flag": (
        _content(_flag_only("../secret.data")),
        "found values both inside the model and outside",
    ),
    "strings outside": (
        _content(_endless_type(TensorProto.STRING, [2])),
        "found data type 8, which has no fixed width",
    ),
    "unknown type outside": (_content(_endless_type(77, [2])), "found data type 77"),
    "negative dimension": (_content(_endless_type(TensorProto.FLOAT, [-2])), "found a negative dimension"),
    "amplified": (_amplified, "of less than 2 GiB with its external data; found 4194"),
    "outside, in an initializer of a subgraph": (_content(_nested(2, [_outside_tensor()])), "found '../secret.data'"),
    "outside, in a sparse initializer": (_content(_sparse_initializer()), "the sparse tensor 'hidden' points outside"),
    "outside, in a constant": (
        _content(make_model(linear_graph(COLUMN, extra=[_constant(value=_outside_tensor())]))),
        "found '../secret.data'",
    ),
    "outside, in a sparse constant": (
        _content(make_model(linear_graph(COLUMN, extra=[_constant(sparse_value=_sparse())]))),
        "the sparse tensor 'hidden' points outside the model file",
    ),
    "outside, in a function": (
        _content(_functions({"f0": [_constant(value=_outside_tensor())]})),
        "found '../secret.data'",
    ),
    "outside, in a list of tensors": (
        _content(
            make_model(linear_graph(COLUMN, extra=[helper.make_node("Identity", ["y"], ["z"], t=[_outside_tensor()])]))
        ),
        "found '../secret.data'",
    ),
}


@pytest.mark.parametrize("case", CORPUS)
def test_a_hostile_artifact_is_refused_before_anything_loads_it(
    case: str, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, message = CORPUS[case]
    (tmp_path / "secret.data").write_bytes(SECRET)
    build(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pin, "probe_model", lambda *_: pytest.fail("it reached the first load"))
    version = add_version(registry, "net", tmp_path / "model")
    with pytest.raises(ModelError) as caught:
        pin.pin_model(f"models:/net/{version}", registry)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"model net/{version}: ")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("file", ["model.pkl", "python_model.pkl", "model.onnx"])
@pytest.mark.parametrize("flavor", ["onnx", "sklearn"])
def test_a_pickle_in_the_artifact_is_never_loaded(file: str, flavor: str, registry: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    text = MLMODEL if flavor == "onnx" else f"flavors:\n  sklearn: {{pickled_model: {file}}}\n"
    folder = write_folder(tmp_path / "model", GOOD, text)
    (folder / file).write_bytes(pickle.dumps(_Marker(marker)))
    version = add_version(registry, "net", folder)
    if flavor == "onnx" and file != "model.onnx":
        assert pin.pin_model(f"models:/net/{version}", registry)[1] == GOOD.SerializeToString()
    else:
        expected = "found a Python pickle" if flavor == "onnx" else "expected the flavour `onnx`"
        with pytest.raises(ModelError, match=expected):
            pin.pin_model(f"models:/net/{version}", registry)
    assert not marker.exists()
    pickle.loads((folder / file).read_bytes())
    assert marker.exists(), "the pickle of this test does nothing"


def test_no_loader_of_mlflow_is_imported_by_pinning(registry: str, tmp_path: Path) -> None:
    version = add_version(registry, "net", write_folder(tmp_path / "model", GOOD))
    before = set(sys.modules)
    pin.pin_model(f"models:/net/{version}", registry)
    assert not {
        m for m in set(sys.modules) - before if m.startswith(("mlflow.sklearn", "cloudpickle", "mlflow.pyfunc"))
    }


def test_the_private_folder_is_gone_afterwards(registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    good = add_version(registry, "net", write_folder(tmp_path / "good", GOOD))
    bad = add_version(registry, "net", write_folder(tmp_path / "bad", b"no"))
    pin.pin_model(f"models:/net/{good}", registry)
    with pytest.raises(ModelError):
        pin.pin_model(f"models:/net/{bad}", registry)
    assert not list((tmp_path / "temporary").iterdir())


def test_a_quantised_operator_of_the_runtime_passes_the_walk(registry: str, tmp_path: Path) -> None:
    node = helper.make_node("Gelu", ["y"], ["unused"], domain="com.microsoft")
    model = make_model(linear_graph(COLUMN, extra=[node]), com_microsoft=1)
    version = add_version(registry, "net", write_folder(tmp_path / "model", model))
    assert pin.pin_model(f"models:/net/{version}", registry)[0].opsets == {"ai.onnx": OPSET, "com.microsoft": 1}


def test_a_function_of_the_model_itself_is_allowed(registry: str, tmp_path: Path) -> None:
    model = _functions({"f0": [helper.make_node("Relu", ["a"], ["b"])]})
    model.graph.node[-1].input[0] = "y"
    model.graph.node[-1].output[0] = "z"
    version = add_version(registry, "net", write_folder(tmp_path / "model", model))
    assert pin.pin_model(f"models:/net/{version}", registry)[1] == model.SerializeToString()


def test_packed_values_take_half_a_byte() -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.INT4, dims=[3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.data")
    model = make_linear([1])
    model.graph.initializer.append(tensor)
    merge_external(model, [model.graph.initializer[-1]], lambda _: b"\x21\x03", 100, "model net/1")
    assert model.graph.initializer[-1].raw_data == b"\x21\x03"


# -- the first load ----------------------------------------------------------------------------------------------------


def _probe(model: ModelProto, **limits: float) -> object:
    content = model.SerializeToString()
    return probe_model(content, hashlib.sha256(content).hexdigest(), "model net/1", **limits)


def test_what_the_runtime_refuses_is_told_in_its_words() -> None:
    model = make_linear([1, 2])
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ModelError, match=r"model net/1: it cannot be loaded: .*NoSuchOperator"):
        _probe(model)


def test_changed_bytes_are_not_loaded() -> None:
    with pytest.raises(ModelError, match="the bytes changed on their way into the process that loads them"):
        probe_model(GOOD.SerializeToString(), "0" * 64, "model net/1")


def test_a_model_that_loads_for_ever_is_stopped() -> None:
    # 2^30 additions of constants, which the runtime folds while it loads.
    names = ["one"]
    nodes = [helper.make_node("Constant", [], ["one"], value=numpy_helper.from_array(np.float32([1]), "v"))]
    for number in range(60):
        shape = numpy_helper.from_array(np.int64([4000, 4000]), "s")
        nodes.append(helper.make_node("Constant", [], [f"s{number}"], value=shape))
        nodes.append(helper.make_node("Expand", ["one", f"s{number}"], [f"e{number}"]))
        nodes.append(helper.make_node("MatMul", [f"e{number}", f"e{number}"], [f"m{number}"]))
        names.append(f"m{number}")
    nodes.append(helper.make_node("Sum", names, ["sum"]))
    graph = linear_graph(COLUMN, extra=nodes)
    graph.output.append(helper.make_tensor_value_info("sum", TensorProto.FLOAT, [4000, 4000]))
    with pytest.raises(ModelError, match=r"expected it to load within 2 s of processor time and 4 GiB; it was stopped"):
        _probe(make_model(graph), cpu_s=2)


def test_a_model_that_needs_more_memory_than_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchscore.models.probe._MEMORY_PER_MODEL_BYTE", 0)
    content = bytes(150 << 20)
    digest = hashlib.sha256(content).hexdigest()
    with pytest.raises(ModelError, match=r"model net/1: it cannot be loaded: it needs more memory than the limit"):
        probe_model(content, digest, "model net/1", memory_bytes=120 << 20)


def test_a_slow_child_is_stopped() -> None:
    with pytest.raises(ModelError, match=r"expected it to load within 0.01 s; it was still loading"):
        _probe(GOOD, wall_s=0.01)


def test_the_child_sees_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spy = tmp_path / "onnxruntime.py"
    spy.write_text("import os\nraise ImportError(f'{sorted(os.environ)} {os.listdir()}')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    with pytest.raises(Exception, match="expected ONNX Runtime; it cannot be imported") as caught:
        _probe(GOOD)
    assert "AWS_SECRET_ACCESS_KEY" not in str(caught.value)
    assert "[]" in str(caught.value), "its working folder is not empty"
