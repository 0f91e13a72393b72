"""Models of every kind through Spark, beside bare ONNX Runtime on the same rows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from kernel_specs import by_digest, make_kernel_spec
from onnx_kinds import ROWS, Kind, all_kinds

from batchscore.config import ModelConfig
from batchscore.kernel.probe import load
from batchscore.kernel.scores import column_type
from batchscore.kernel.spec import FeatureSpec, KernelSpec
from batchscore.models.probe import read_tensors
from batchscore.planning import arrow_schema
from batchscore.records import PinnedModel
from batchscore.scoring.preflight import match_model
from batchscore.scoring.udf import score_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KINDS = all_kinds()


def pin(model: bytes) -> PinnedModel:
    """A model as pinned, by ONNX Runtime's own account of it."""
    sha256 = hashlib.sha256(model).hexdigest()
    described = load(model, sha256)
    return PinnedModel(
        uri="models:/m/1", name="m", version=1, alias=None, sha256=sha256, size_bytes=len(model),
        inputs=read_tensors(described["inputs"]), outputs=read_tensors(described["outputs"]),
    )  # fmt: skip


def make_spec(kind: Kind, rows: DataFrame) -> KernelSpec:
    schema = arrow_schema(rows)
    types = dict(zip(schema.names, schema.types, strict=True))
    features = tuple(FeatureSpec(name=name, on_null="quarantine") for name in kind.columns)
    config = ModelConfig(uri="models:/m/1", inputs=dict(kind.inputs), outputs=dict(kind.outputs))
    matched = match_model(pin(kind.model), config, features, types, ["id"])
    fields = [pa.field("id", pa.int64()), *(pa.field(o.column, column_type(o)) for o in matched.outputs)]
    changes = {"features": features, "inputs": matched.inputs, "outputs": matched.outputs, "batch": matched.batch}
    return make_kernel_spec(kind.model, fields, **changes)


def score(spark: SparkSession, kind: Kind, partitions: int) -> dict[int, dict[str, Any]]:
    """Scores by row number."""
    count = len(next(iter(kind.columns.values())))
    table = pa.table({"id": pa.array(range(count), pa.int64()), **kind.columns})
    rows = spark.createDataFrame(table).repartition(partitions, "id")
    spec = make_spec(kind, rows)
    told = score_rows(spark, rows, spec, by_digest(kind.model)).where("_outcome <> 'tally'").toArrow().to_pylist()
    assert {row["_outcome"] for row in told} == {"scored"}, [row["_reasons"] for row in told]
    names = [output.column for output in spec.scores.models[0].outputs]
    return {row["id"]: {name: row[name] for name in names} for row in told}


def expect(kind: Kind) -> dict[str, list[Any]]:
    """What bare ONNX Runtime gives, row by row where the model takes a fixed number of rows."""
    session = onnxruntime.InferenceSession(kind.model, providers=["CPUExecutionProvider"])
    feeds = {}
    for tensor in session.get_inputs():
        names = kind.inputs.get(tensor.name) or ((tensor.name,) if tensor.name in kind.columns else tuple(kind.columns))
        feeds[tensor.name] = [[kind.columns[name][row].as_py() for name in names] for row in range(ROWS)]
    outputs: dict[str, list[Any]] = {tensor.name: [] for tensor in session.get_outputs()}
    for row in range(ROWS):
        found = session.run(None, {t.name: shape(t, feeds[t.name][row]) for t in session.get_inputs()})
        for name, output in zip(outputs, found, strict=True):
            outputs[name].append(output[0])
    selectors = kind.outputs or {name: name for name in outputs}
    return {column: [pick(outputs, selector, row) for row in range(ROWS)] for column, selector in selectors.items()}


def shape(tensor: Any, values: list[Any]) -> np.ndarray:
    """One row as a tensor, repeated where the model takes a fixed number of rows."""
    dtypes = {"float": np.float32, "double": np.float64, "string": object}
    name = tensor.type[len("tensor(") : -1]
    array = np.array(values, dtype=dtypes.get(name, name))
    if array.ndim > 1 and len(values) > 1:
        array = np.moveaxis(array, 0, -1)  # features lie side by side along the last dimension
    sizes = [size if isinstance(size, int) else -1 for size in tensor.shape[1:]]
    batch = tensor.shape[0] if isinstance(tensor.shape[0], int) else 1
    return np.concatenate([array.reshape(1, *sizes)] * batch)


def pick(outputs: dict[str, list[Any]], selector: str, row: int) -> Any:
    name, _, rest = selector.partition("[")
    value = outputs[name][row]
    if rest:
        part = rest.removeprefix(":,").rstrip("]")
        value = eval(f"value[{part}]", {"value": value})  # numpy's own reading of the selector
    if isinstance(value, dict):
        return list(value.items())
    value = np.asarray(value)
    return (value.reshape(()) if value.size == 1 else value).tolist()


def test_the_table_has_every_kind() -> None:
    assert len(KINDS) == len({kind.name for kind in KINDS}) >= 25


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_scores_equal_bare_onnx_runtime(kind: Kind, spark: SparkSession) -> None:
    found, expected = score(spark, kind, 3), expect(kind)
    assert sorted(found) == list(range(ROWS))
    for column, values in expected.items():
        got = [found[row][column] for row in range(ROWS)]
        if is_float(values[0]):
            np.testing.assert_allclose(got, values, rtol=1e-6, atol=1e-6, err_msg=column)
        else:
            assert got == values, column


def is_float(value: Any) -> bool:
    """Whether it is a float, or arrays of them."""
    return is_float(value[0]) if isinstance(value, list) and value else isinstance(value, float)
