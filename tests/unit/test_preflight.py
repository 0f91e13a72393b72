"""Preflight: which features meet which inputs, which parts of outputs become columns, and what does not fit."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from batchscore.config import ModelConfig
from batchscore.errors import ModelError
from batchscore.kernel.scores import column_type
from batchscore.kernel.spec import FeatureSpec, InputSpec, ModelSpec
from batchscore.records import PinnedModel, TensorSpec
from batchscore.scoring.preflight import match_model

FLOAT, INT, TEXT = "tensor(float)", "tensor(int64)", "tensor(string)"
BYTES = {"a": pa.int8()}
AB = {"a": pa.float64(), "b": pa.float64()}
Shape = tuple[int | None, ...]
DOUBLES, CUBES = pa.list_(pa.float64()), pa.list_(pa.list_(pa.float64()))
NAMES = "seq(map(string,tensor(float)))"
NUMBERS = "seq(map(int64,tensor(float)))"


def tensor(name: str, *shape: int | None, dtype: str = FLOAT) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def match(
    takes: tuple[TensorSpec, ...] = (tensor("x", None, 1),),
    gives: tuple[TensorSpec, ...] = (tensor("y", None, 1),),
    types: dict[str, pa.DataType] | None = None,
    signature: tuple[str, ...] = (),
    policy: dict[str, Any] | None = None,
    widths: dict[str, int] | None = None,
    **config: Any,
) -> ModelSpec:
    types = types or {"a": pa.float64()}
    pinned = PinnedModel(
        uri="models:/m/1", name="m", version=1, alias=None, sha256="0", size_bytes=1,
        inputs=takes, outputs=gives, signature_inputs=signature,
    )  # fmt: skip
    sizes = widths or {}
    features = [FeatureSpec(name=n, width=sizes.get(n), **(policy or {"on_null": "quarantine"})) for n in types]
    return match_model(pinned, ModelConfig(uri="models:/m/1", **config), features, types, ["id"])


FITS: list[tuple[str, Shape, dict[str, pa.DataType], dict[str, Any]]] = [
    ("vector", (None,), {"a": pa.float64()}, {}),
    ("column", (None, 1), {"a": pa.float64()}, {"stacked": True}),
    ("packed", (None, 2), {"a": pa.float64(), "b": pa.int8()}, {"stacked": True}),
    ("packed, open width", (None, None), {"a": pa.float64(), "b": pa.bool_()}, {"stacked": True}),
    ("array", (None, 3), {"a": DOUBLES}, {"depth": 1}),
    ("array, open size", (None, None), {"a": DOUBLES}, {"depth": 1}),
    ("arrays side by side", (None, 5, 2), {"a": DOUBLES, "b": DOUBLES}, {"depth": 1, "stacked": True}),
    ("one array of one wide", (None, None, 1), {"a": DOUBLES}, {"depth": 1, "stacked": True}),
    ("flat", (None, 5, 2), {"a": DOUBLES}, {"depth": 1}),
    ("cube", (None, 5, 2), {"a": CUBES}, {"depth": 2}),
    ("flat image", (None, 3, 8, 8), {"a": DOUBLES}, {"depth": 1}),
    ("cubes side by side", (None, 4, 4, 2), {"a": CUBES, "b": CUBES}, {"depth": 2, "stacked": True}),
    ("fixed batch", (8, 1), {"a": pa.float64()}, {"stacked": True}),
]


@pytest.mark.parametrize(("shape", "types", "more"), [row[1:] for row in FITS], ids=[row[0] for row in FITS])
def test_features_fit_an_input(shape: Shape, types: dict[str, pa.DataType], more: dict[str, Any]) -> None:
    found = match((tensor("x", *shape),), types=types)
    assert found.inputs == (InputSpec(tensor="x", dtype=FLOAT, features=tuple(types), shape=shape, **more),)
    assert found.batch == shape[0]


def test_numbers_and_arrays_of_known_lengths_lie_side_by_side() -> None:
    types = {"a": pa.float64(), "b": DOUBLES, "c": pa.int8()}
    for width in (None, 5):
        (found,) = match((tensor("x", None, width),), types=types, widths={"b": 3}).inputs
        assert (found.widths, found.stacked, found.item_of("b"), found.item_of("c")) == ((1, 3, 1), True, (3,), (1,))


UNFIT: list[tuple[str, dict[str, Any], str]] = [
    ("no batch", {"takes": (tensor("x"),)}, r"'x': expected a batch as its first dimension; found a single value"),
    ("a map", {"takes": (tensor("x", dtype=NUMBERS),)}, "expected numbers, booleans or strings; found seq"),
    ("too many", {"takes": (tensor("x", None),), "types": AB}, "expected 1 feature; found 2"),
    ("too few", {"takes": (tensor("x", None, 3),)}, r"expected 3 features; found 1 \(a\)"),
    ("array for a number", {"takes": (tensor("x", None),), "types": {"a": DOUBLES}},
     r"'x' of shape \[N\]: expected one value a row; found a list<"),
    ("cube for an array", {"takes": (tensor("x", None, 3),), "types": {"a": CUBES}},
     r"'x' of shape \[N, 3\]: expected numbers, one feature for each column, or one array a row; found a list<"),
    ("number for a cube", {"takes": (tensor("x", None, 3, 2),)},
     r"\[N, 3, 2\]: expected one feature of arrays 2 deep, one of flat .* arrays 1 deep side by side; found a "),
    ("flat, open size", {"takes": (tensor("x", None, None, 2),), "types": {"a": DOUBLES}}, "where every size is fixed"),
    ("mixed", {"takes": (tensor("x", None, 3, 2),), "types": {"a": DOUBLES, "b": pa.int8()}},
     "expected features that are all arrays of one depth, or none; found a list.*, b int8"),
    ("array of unknown length in a row", {"takes": (tensor("x", None, 4),), "types": {"a": DOUBLES, "b": pa.int8()}},
     "expected features that are all arrays of one depth, or none"),
    ("too few values in a row", {"takes": (tensor("x", None, 9),), "types": {"a": DOUBLES, "b": pa.int8()},
     "widths": {"a": 3}}, r"'x': expected 9 values; found 4 \(a 3, b 1\)"),
    ("two batches", {"takes": (tensor("a", 2), tensor("b", 3)), "types": {"a": pa.int8(), "b": pa.int8()}},
     "expected one batch size for all inputs; found 'a' 2, 'b' 3"),
    ("unknown feature", {"types": {"price": pa.int8()}, "inputs": {"x": ("prise",)}},
     "expected feature 'prise'; the job has no such feature. Did you mean 'price'?"),
    ("string as number", {"types": {"a": pa.string()}}, r"found type string, .* such as 'cast\(a as double\)'"),
    ("date as number", {"types": {"a": pa.date32()}}, r"found type date32\[day\], .* such as 'unix_date\(a\)'"),
    ("time as number", {"types": {"a b": pa.timestamp("us", "UTC")}}, r"such as 'unix_micros\(`a b`\) / 1e6'"),
    ("time as int", {"takes": (tensor("x", None, dtype=INT),), "types": {"a": pa.timestamp("us")}},
     r"such as 'unix_micros\(a\)'"),
    ("double as int", {"takes": (tensor("x", None, dtype=INT),)}, r"such as 'cast\(round\(a\) as bigint\)'"),
    ("decimal as int", {"takes": (tensor("x", None, dtype=INT),), "types": {"a": pa.decimal128(5, 0)}},
     r"found type decimal128\(5, 0\), .* such as 'cast\(round\(a\) as bigint\)'"),
    ("int as bool", {"takes": (tensor("x", None, dtype="tensor(bool)"),), "types": BYTES}, "'a <> 0'"),
    ("int as string", {"takes": (tensor("x", None, dtype=TEXT),), "types": BYTES}, r"'cast\(a as string\)'"),
    ("struct", {"types": {"a": pa.struct([("b", pa.int8())])}}, "Say what is meant in the feature's `sql`"),
    ("strings in an array", {"types": {"a": pa.list_(pa.string())}, "takes": (tensor("x", None, 2),)}, "type string"),
    ("nan for an int", {"takes": (tensor("x", None, dtype=INT),), "types": BYTES, "policy": {"on_null": "nan"}},
     "`on_null: nan` needs a floating-point input"),
    ("impute of another type", {"policy": {"on_null": "impute", "impute": "many"}}, "expects a value of type double"),
    ("impute too large", {"takes": (tensor("x", None, dtype="tensor(float16)"),),
     "policy": {"on_null": "impute", "impute": 1e6}}, "expects a value that this input can hold; found 1000000.0"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), [row[1:] for row in UNFIT], ids=[row[0] for row in UNFIT])
def test_features_that_do_not_fit_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        match(**given)


OUTPUTS: list[tuple[str, TensorSpec, str | None, str]] = [
    ("one value", tensor("y", None), None, "float"),
    ("one wide", tensor("y", None, 1), None, "float"),
    ("open width", tensor("y", None, None), None, "float"),
    ("unknown rank", tensor("y"), None, "float"),
    ("part of unknown rank", tensor("y"), "y[:, 1]", "float"),
    ("one deep", tensor("y", None, 1, 1), None, "float"),
    ("several wide", tensor("y", None, 3), None, "list<item: float>"),
    ("cube", tensor("y", None, None, 3), None, "list<item: list<item: float>>"),
    ("column", tensor("y", None, 3), "y[:, 2]", "float"),
    ("row of a cube", tensor("y", None, 2, 3), "y[:, 1, :]", "list<item: float>"),
    ("whole by its picks", tensor("y", None, 1), "y[:, :]", "list<item: float>"),
    ("strings", tensor("y", None, 2, dtype=TEXT), None, "list<item: string>"),
    ("unsigned", tensor("y", None, dtype="tensor(uint64)"), None, "decimal128(20, 0)"),
    ("map", tensor("y", dtype=NAMES), None, "map<string, float>"),
    ("key of a map", tensor("y", dtype=NAMES), 'y[:, "yes"]', "float"),
    ("number of a map", tensor("y", dtype=NUMBERS), "y[:, 20]", "float"),
    ("whole map by its pick", tensor("y", dtype=NUMBERS), "y[:, :]", "map<int64, float>"),
]


@pytest.mark.parametrize(("output", "selector", "kind"), [row[1:] for row in OUTPUTS], ids=[row[0] for row in OUTPUTS])
def test_outputs_become_columns(output: TensorSpec, selector: str | None, kind: str) -> None:
    found = match(gives=(output,), outputs={} if selector is None else {"p": selector})
    assert [(spec.column, str(column_type(spec))) for spec in found.outputs] == [("p" if selector else "y", kind)]


PROBABILITIES = tensor("p", None, 2)
NOT_THERE: list[tuple[str, TensorSpec, dict[str, str], str]] = [
    ("unknown", PROBABILITIES, {"a": "q"}, r"model.outputs.a: expected an output of the model \(p\); found 'q'"),
    ("beyond", PROBABILITIES, {"a": "p[:, 2]"}, r"expected a part of 'p' of shape \[N, 2\]; found index 2"),
    (
        "too deep",
        PROBABILITIES,
        {"a": "p[:, 1, 1]"},
        r"each dimension of 'p' of .* after the first; found 2",
    ),
    ("key of a tensor", PROBABILITIES, {"a": "p[:, 'yes']"}, r"expected positions in 'p' .*; found the key 'yes'"),
    ("reserved", PROBABILITIES, {"_a": "p"}, "output column '_a' collides with a key, passthrough or reserved column"),
    ("a key's name", PROBABILITIES, {"id": "p"}, "output column 'id' collides"),
    ("number of names", tensor("m", dtype=NAMES), {"a": "m[:, 1]"}, r"keys of type string, such as 'm\[:, \"yes\"\]'"),
    ("name of numbers", tensor("m", dtype=NUMBERS), {"a": "m[:, '1']"}, r"keys of type int64, such as 'm\[:, 1\]'"),
    ("two keys", tensor("m", dtype=NUMBERS), {"a": "m[:, 1, 2]"}, "found another form"),
    ("sequence", tensor("s", dtype="seq(tensor(float))"), {"a": "s"}, r"or a map for each row; found seq\(tensor"),
    ("map of strings", tensor("s", dtype="seq(map(int64,tensor(complex64)))"), {"a": "s"}, "expected a map of numbers"),
]


@pytest.mark.parametrize(
    ("output", "outputs", "message"), [row[1:] for row in NOT_THERE], ids=[row[0] for row in NOT_THERE]
)
def test_outputs_that_are_not_there_are_refused(output: TensorSpec, outputs: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        match(gives=(output,), outputs=outputs)


WANTED: list[tuple[str, dict[str, Any], list[tuple[str, ...]]]] = [
    ("by name", {"takes": (tensor("b", None), tensor("a", None)), "types": AB}, [("b",), ("a",)]),
    ("all into the only one", {"takes": (tensor("x", None, 2),), "types": AB}, [("a", "b")]),
    ("by the signature", {"takes": (tensor("x", None, 2),), "types": AB, "signature": ("b", "a")}, [("b", "a")]),
    ("by the config", {"takes": (tensor("x", None, 1),), "types": AB, "inputs": {"x": ("b",)}}, [("b",)]),
    ("one feature twice", {"takes": (tensor("x", None, 2),), "types": AB, "inputs": {"x": ("b", "b")}}, [("b", "b")]),
]


@pytest.mark.parametrize(("given", "features"), [row[1:] for row in WANTED], ids=[row[0] for row in WANTED])
def test_features_are_found(given: dict[str, Any], features: list[tuple[str, ...]]) -> None:
    assert [spec.features for spec in match(**given).inputs] == features
