"""A registered model as a function of columns: the scores of a job, nulls for rows that have none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from onnx_models import add_version, make_classifier, make_lookup, make_registry, write_folder
from pyspark.sql import functions as F
from small_job import WEIGHTS, probability

import batchscore as bs
from batchscore.errors import ConfigError, ModelError
from batchscore.failures import retell

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

POINTS = [(0, 1.0, 2), (1, None, 2), (2, -3.0, 4), (3, 1.0, 2**30 + 1)]
P = {"p": "probabilities[:, 1]"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("udfs")
    uri = make_registry(folder)
    add_version(uri, "m", write_folder(folder / "m", make_classifier(WEIGHTS)), "champion")
    add_version(uri, "table", write_folder(folder / "table", make_lookup([5.0, 6.0])), "champion")
    return uri


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    return spark.createDataFrame(POINTS, "id int, a double, b int").repartition(3)


def collect(frame: DataFrame) -> dict[int, Any]:
    return {row["id"]: row["s"] for row in frame.collect()}


def expected() -> dict[int, Any]:
    """`b` of the last row is no float32, and the second row has a null."""
    return {
        0: pytest.approx(probability(1.0, 2), rel=1e-6),
        1: None,
        2: pytest.approx(probability(-3.0, 4), rel=1e-6),
        3: None,
    }


def test_columns_structs_and_names_give_the_same_scores(spark: SparkSession, registry: str, rows: DataFrame) -> None:
    score = bs.score_udf(spark, "models:/m@champion", registry=registry, inputs={"x": ["a", "b"]}, outputs=P)
    assert (score.model.label, score.features) == ("m/1", ("a", "b"))
    for column in (score(), score("a", "b"), score(F.col("a"), "b"), score(F.struct("b", "a", "id"))):
        assert collect(rows.select("id", column.alias("s"))) == expected()
    renamed = rows.withColumnRenamed("a", "z")
    assert collect(renamed.select("id", score("z", "b").alias("s"))) == expected()


def test_several_outputs_are_a_struct(spark: SparkSession, registry: str, rows: DataFrame) -> None:
    score = bs.score_udf(spark, "models:/m/1", registry=registry, inputs={"x": ["a", "b"]}, device="cpu")
    frame = rows.select("id", score().alias("s"))
    assert frame.schema["s"].dataType.simpleString() == "struct<label:bigint,probabilities:array<float>>"
    found = collect(frame)
    assert found[0]["probabilities"][1] == expected()[0]
    assert (found[0]["label"], found[2]["label"], found[1], found[3]) == (int(probability(1.0, 2) > 0.5), 0, None, None)


def test_a_row_that_onnx_runtime_refuses_is_null(spark: SparkSession, registry: str) -> None:
    score = bs.score_udf(spark, "models:/table@champion", registry=registry)
    frame = spark.range(0, 5, 1, 2).select("id", score(F.col("id")).alias("s"))
    assert collect(frame) == {0: 5.0, 1: 6.0, 2: None, 3: None, 4: None}


def test_an_empty_table_has_an_empty_column(spark: SparkSession, registry: str, rows: DataFrame) -> None:
    score = bs.score_udf(spark, "models:/m@champion", registry=registry, inputs={"x": ["a", "b"]}, outputs=P)
    assert collect(rows.where("id < 0").select("id", score().alias("s"))) == {}


def test_what_does_not_fit_is_refused(spark: SparkSession, registry: str, rows: DataFrame) -> None:
    with pytest.raises(ModelError, match=r"expected an output of the model"):
        bs.score_udf(spark, "models:/m@champion", registry=registry, outputs={"p": "q"})
    score = bs.score_udf(spark, "models:/m@champion", registry=registry, inputs={"x": ["a", "b"]}, outputs=P)
    with pytest.raises(ConfigError, match=r"expected 2 columns \(a, b\) or one struct of them; found 3 columns"):
        score("a", "b", "id")
    for column, message in (
        (score(F.struct("a", "id")), "expected a struct with the fields a, b; found a, id"),
        (score(F.lit("x"), "b"), "feature 'a' for model input 'x'"),
    ):
        with pytest.raises(Exception, match=r"score_udf|feature") as caught:
            rows.select(column).collect()
        assert message in str(retell(caught.value))
