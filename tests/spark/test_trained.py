"""Models of real trainers through Spark, beside the predictions that the trainers themselves gave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from onnx_kinds import Kind
from test_models import score

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDER = Path(__file__).resolve().parents[1] / "trained"
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))


def test_every_trainer_is_there() -> None:
    assert NAMES == ["int8", "lightgbm", "sklearn", "torch", "xgboost"]


@pytest.mark.parametrize("name", NAMES)
def test_scores_equal_the_trainers_own_predictions(name: str, spark: SparkSession) -> None:
    told = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    kind = Kind(
        name=name,
        model=(FOLDER / f"{name}.onnx").read_bytes(),
        columns={key: as_column(values) for key, values in told["columns"].items()},
        inputs={key: tuple(names) for key, names in told["inputs"].items()},
        outputs=told["outputs"],
    )
    found = score(spark, kind, 2)
    for column, expected in told["expected"].items():
        got = [found[row][column] for row in range(len(expected))]
        if isinstance(expected[0], str):
            assert got == expected
        else:
            np.testing.assert_allclose(got, expected, atol=told["tolerance"], err_msg=column)


def as_column(values: list[Any]) -> pa.Array:
    """A column; floats as the float32 that the trainers saw."""
    array = pa.array(values)
    return array.cast(pa.float32()) if pa.types.is_floating(array.type) else array
