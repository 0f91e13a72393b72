"""Scoring through Spark's workers, without tables: sessions, devices, what the tallies say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from kernel_specs import by_digest, make_kernel_spec
from onnx_models import make_lookup

from batchscore.errors import ScoringError
from batchscore.failures import retell
from batchscore.kernel.spec import FeatureSpec, InputSpec, KernelSpec, OutputSpec, SessionSpec
from batchscore.kernel.tally import Tally
from batchscore.scoring.udf import score_rows

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIELDS = [pa.field("id", pa.int64()), pa.field("y", pa.float32())]


def make_spec(model: bytes, device: str = "auto") -> KernelSpec:
    """One int64 feature `a` into the input `x`, the output `y`."""
    return make_kernel_spec(
        model,
        FIELDS,
        features=(FeatureSpec(name="a", on_null="quarantine"),),
        inputs=(InputSpec(tensor="x", dtype="tensor(int64)", features=("a",), shape=(None,)),),
        outputs=(OutputSpec(column="y", tensor="y", dtype="tensor(float)"),),
        session=SessionSpec(device=device),
    )


@pytest.mark.parametrize("partitions", [50, pytest.param(2000, marks=pytest.mark.slow)])
def test_many_partitions_build_at_most_one_session_a_worker(partitions: int, spark: SparkSession) -> None:
    model = make_lookup([0.5, 1.5, 2.5, partitions]).SerializeToString()  # no other test has built its session
    rows = spark.range(0, 3 * partitions, 1, partitions).selectExpr("id", "id % 3 as a")

    scored = score_rows(spark, rows, make_spec(model), by_digest(model)).where("_outcome = 'tally'").collect()

    tally = Tally.merge(Tally.from_json(row["_tally"]) for row in scored)
    runtime = tally.runtime()
    assert (len(scored), tally.scored) == (partitions, 3 * partitions)
    assert sum(work["tasks"] for work in runtime["workers"].values()) == partitions
    assert 1 <= runtime["sessions_built"] <= len(runtime["workers"])
    assert runtime["devices"] == {"cpu": 1.0}


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_fails_in_one_sentence(device: str, spark: SparkSession) -> None:
    model = make_lookup([0.5, 1.5, 2.5, 3.5]).SerializeToString()
    rows = spark.range(0, 10, 1, 1).selectExpr("id", "id % 3 as a")
    with pytest.raises(Exception, match=r"scoring\.device") as caught:
        score_rows(spark, rows, make_spec(model, device=device), by_digest(model)).collect()
    told = retell(caught.value)
    assert isinstance(told, ScoringError)
    assert str(told).startswith(f"scoring.device: expected {device}; found: this ONNX Runtime offers only ")
    assert "\n" not in str(told)
