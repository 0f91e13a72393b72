"""Training sets: the features that scoring computes, on the same rows, without a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from small_job import SmallJob, make_small_job, row

from batchscore import training
from batchscore.errors import ConfigError, InputError, ScoringError
from batchscore.failures import retell
from batchscore.planning import prepare

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST, SECOND, THIRD = "2013-10-01", "2013-10-02", "2013-10-03"
ROWS = [
    row(id=1, day=FIRST, a=0.5, b=4),
    row(id=2, day=FIRST, a=None, b=4),  # no `a`
    row(id=3, day=FIRST, a=1.5, b=4, city="y"),  # a division by zero
    row(id=4, day=SECOND, a=-7.0, b=None),
    row(id=5, day=SECOND, a=2.0, b=6, city="nowhere"),
    row(id=6, day=THIRD, a=3.0, b=1),
]


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    made = make_small_job(spark, tmp_path_factory.mktemp("training"), ROWS)
    text = (
        Path(made.file).read_text().replace('model: {uri: "models:/small@champion"', 'model: {uri: "models:/none@yet"')
    )
    Path(made.file).write_text(text)
    return made


def collect(small: SmallJob, *sets: str, label: str | None = None) -> dict[int, dict[str, Any]]:
    frame = training.training_set(small.load(*sets), FIRST, THIRD, label=label).frame
    return {r["id"]: r.asDict() for r in frame.collect()}


def test_it_has_the_rows_that_have_every_feature(small: SmallJob) -> None:
    found = collect(small, label="b > 4")
    assert {i: (r["a"], r["ratio"], r["label"]) for i, r in found.items()} == {1: (0.5, 2.0, False)}
    assert list(found[1]) == ["id", "day", "label", "a", "ratio"]


def test_null_policies_hold(small: SmallJob) -> None:
    sets = ["features.columns.0.on_null=nan", "features.columns.1.on_null={impute: -1.0}"]
    found = collect(small, *sets)
    assert math.isnan(found[2]["a"])
    assert {i: r["ratio"] for i, r in found.items()} == {1: 2.0, 2: 2.0, 4: -1.0, 5: -1.0}
    with pytest.raises(Exception, match="feature 'a': expected no nulls") as caught:
        collect(small, "features.columns.0.on_null=fail")
    assert isinstance(retell(caught.value), ScoringError)


def test_it_equals_what_scoring_gives_the_model(small: SmallJob) -> None:
    job = small.load("model.uri=models:/small@champion", "features.columns.0.on_null=nan")
    frame = training.training_set(small.load("features.columns.0.on_null=nan"), FIRST, SECOND).frame
    prepared = prepare(small.spark, job, small.interval(FIRST))
    scored = {r["id"]: (r["a"], r["ratio"]) for r in prepared.rows.select("id", "a", "ratio").collect()}
    for found in frame.collect():
        a, ratio = scored[found["id"]]
        assert found["ratio"] == ratio
        assert found["a"] == a or (a is None and math.isnan(found["a"]))


def test_it_is_written_once(small: SmallJob, tmp_path: Path) -> None:
    written = training.training_set(small.load(), FIRST, THIRD, label="b").save(str(tmp_path / "set"))
    assert (written.rows, written.columns[2]) == (1, ("label", "int"))
    assert "2013-10-01 to 2013-10-02" in str(written.sheet().title)
    assert small.spark.read.parquet(str(tmp_path / "set")).count() == 1
    with pytest.raises(ConfigError, match="expected a place where nothing is yet"):
        training.training_set(small.load(), FIRST, THIRD).save(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("sets", "span", "label", "kind", "message"),
    [
        ([], (FIRST, THIRD), "java_method('x', 'y')", ConfigError, "label"),
        ([], (FIRST, THIRD), "nothing + 1", ConfigError, "label"),
        ([], (FIRST, THIRD), "a +", ConfigError, "label"),
        (["features.columns=[]"], (FIRST, THIRD), None, ConfigError, "features.columns: expected the features"),
        (["features.columns=[{name: label, sql: a + 1}]"], (FIRST, THIRD), "a", ConfigError, "of the name 'label'"),
        ([], (None, None), None, ConfigError, "--start and --end: expected a range"),
        (["input.table=./none"], (FIRST, THIRD), None, InputError, "none"),
    ],
)
def test_what_it_cannot_be_made_of(
    small: SmallJob, sets: list[str], span: tuple[Any, Any], label: str | None, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        training.training_set(small.load(*sets), *span, label=label)
