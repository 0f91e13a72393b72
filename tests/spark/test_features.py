# ruff: noqa: E501
"""Features of every kind in Spark: their values, their order, their faults; and from fitting to the skew gate."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx_models import make_classifier
from pyspark.sql import functions as F
from small_job import WEIGHTS, SmallJob, make_small_job, row

import batchscore as bs
from batchscore.config import FeatureConfig
from batchscore.errors import ConfigError, InputError, ModelError, ScoringError
from batchscore.failures import retell
from batchscore.features.build import Sources, build_features
from batchscore.features.encoders import encode_column
from batchscore.features.fallible import find_fallible
from batchscore.features.modules import read_modules
from batchscore.pipeline import plan_interval

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MODULE = '''
import math

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column
from pyspark.sql import functions as F

from batchscore import arrow_feature, feature


@feature
def per_b(a: Column, b: Column) -> Column:
    """`a` for each `b`; cannot be computed where that is 0."""
    return a / b


@feature
def rooted(per_b: Column) -> Column:
    return F.sqrt(per_b)


@arrow_feature(returns="double")
def hypotenuse(a: pa.Array, b: pa.Array) -> pa.Array:
    return pc.sqrt(pc.add(pc.multiply(a, a), pc.multiply(b, b)))


@feature
def chance(a: Column) -> Column:
    return F.rand() + a


@feature
def total(a: Column) -> Column:
    return F.sum(a)


@feature
def nothing(a: Column) -> Column:
    return 3


@feature
def broken(a: Column) -> Column:
    return F.no_such_function(a)


@feature
def lost(a: Column) -> Column:
    return a + F.col("elsewhere")


@arrow_feature(returns="double")
def short(a: pa.Array) -> pa.Array:
    return a[:-1]


@feature
def sneaky(a: Column) -> Column:
    return a + F.col("b")


@arrow_feature(returns="banana")
def fruit(a: pa.Array) -> pa.Array:
    return a


@arrow_feature(returns="double")
def worded(a: pa.Array) -> pa.Array:
    return pa.array(["secret"] * len(a))


@arrow_feature(returns="double")
def raising(a: pa.Array) -> pa.Array:
    raise ValueError(f"secret {a[0]}")
'''


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    file = tmp_path_factory.mktemp("modules") / "own.py"
    file.write_text(MODULE)
    return Sources(functions=read_modules({"own.py": str(file)}), where_of="job.yaml:{}".format)


def sql(name: str, text: str) -> FeatureConfig:
    return FeatureConfig(name=name, sql=text)


def built(spark: SparkSession, sources: Sources, *features: FeatureConfig, needed: tuple[str, ...] = ("id",)) -> Any:
    rows = spark.sql(
        "select * from values (1, 3.0D, 4, named_struct('size', 2)), (2, 8.0D, 0, named_struct('size', 0)), "
        "(3, null, 1, null) as t(id, a, b, town)"
    )
    return build_features(spark, rows, features, needed=needed, flags=[], sources=sources)


def collected(made: Any) -> dict[int, dict[str, Any]]:
    return {r["id"]: r.asDict() for r in made.rows.collect()}


def test_features_of_all_kinds_read_each_other(spark: SparkSession, sources: Sources) -> None:
    made = built(
        spark,
        sources,
        sql("high", "hypotenuse + twice"),
        sql("twice", "A * 2"),
        FeatureConfig(name="hypotenuse"),
        FeatureConfig(name="rooted"),
        FeatureConfig(name="size", from_="town.size"),
        sql("half_size", "size div 2"),
        FeatureConfig(name="b"),
        needed=("id", "b"),
    )
    found = collected(made)
    assert set(made.rows.columns) == {
        "id",
        "b",
        "size",
        "twice",
        "hypotenuse",
        "half_size",
        "rooted",
        "high",
        "_failed_0",
    }
    bits = {spec.name: spec.failed_bit for spec in made.features}
    # `per_b` may divide by zero, and so what reads it; floating-point products may not fail
    assert [name for name, bit in bits.items() if bit is not None] == ["rooted", "half_size"]

    def failed(number: int) -> set[str]:
        return {name for name, bit in bits.items() if bit is not None and found[number]["_failed_0"] >> bit & 1}

    assert (found[1]["high"], found[1]["twice"], found[1]["hypotenuse"], found[1]["half_size"]) == (11.0, 6.0, 5.0, 1)
    assert found[1]["rooted"] == math.sqrt(0.75)
    assert [failed(number) for number in (1, 2, 3)] == [set(), {"rooted"}, set()]  # 8 / 0 in a helper
    assert (found[2]["rooted"], found[3]["high"], found[3]["size"]) == (None, None, None)


def test_what_reads_a_feature_that_failed_has_failed(spark: SparkSession, sources: Sources) -> None:
    made = built(
        spark, sources, sql("x", "a / b"), sql("y", "coalesce(x, 0) + 1"), sql("z", "y + 1"), sql("free", "b + 1")
    )
    bits = [spec.failed_bit for spec in made.features]
    assert {i: [bool(r["_failed_0"] >> bit & 1) for bit in bits] for i, r in collected(made).items()} == {
        1: [False] * 4,
        2: [True, True, True, False],
        3: [False] * 4,
    }


def test_one_layer_takes_one_projection_more_than_none(spark: SparkSession, sources: Sources) -> None:
    plan = built(spark, sources, sql("x", "a / b"), sql("y", "a + 1")).rows._jdf.queryExecution().optimizedPlan()
    assert str(plan).count("Project") <= 2


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (sql("x", "a +"), "job.yaml:0 (x): expected a Spark SQL expression"),
        (sql("x", "town.sise"), "job.yaml:0 (x): expected an expression that Spark can resolve; found: [FIELD_NOT_FOUND]"),
        (sql("x", "reflect('java.lang.System', 'exit')"), "job.yaml:0 (x): function 'reflect' is not allowed"),
        (FeatureConfig(name="chance"), "job.yaml:0 (chance): own.py:28: chance: function 'rand' is not allowed in a job file: it does not give the same value"),
        (FeatureConfig(name="sneaky"), "sneaky: expected to read its parameters alone; found column b. Make it one, too."),
        (FeatureConfig(name="fruit"), "fruit: expected the name of a Spark type, such as 'double'; found 'banana'"),
        (FeatureConfig(name="total"), "own.py:33: total: function 'sum' is not allowed"),
        (FeatureConfig(name="nothing"), "own.py:38: nothing: expected a Column; it gave int"),
        (FeatureConfig(name="broken"), "own.py:45: expected a column; the function raised AttributeError"),
        (FeatureConfig(name="lost"), "own.py:48: lost: expected columns of the input table, LOOKUP.COLUMN or other features; found `elsewhere`"),
    ],
)  # fmt: skip
def test_a_feature_that_is_none(feature: FeatureConfig, message: str, spark: SparkSession, sources: Sources) -> None:
    with pytest.raises(ConfigError) as caught:
        built(spark, sources, feature)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short", r"feature 'short': expected one pyarrow.Array of \d+ values from own.py; found \d+ values."),
        ("worded", "feature 'worded': expected double from own.py, as it says; found string"),
        ("raising", "feature 'raising': own.py:75: the function raised ValueError. Mend it"),
    ],
)
def test_an_arrow_function_that_fails_tells_no_values(
    name: str, message: str, spark: SparkSession, sources: Sources
) -> None:
    with pytest.raises(Exception, match="feature") as caught:
        built(spark, sources, FeatureConfig(name=name)).rows.collect()
    error = retell(caught.value)
    assert isinstance(error, ScoringError)
    assert re.search(message, str(error)), error
    assert "secret" not in str(error)


CASES: list[tuple[str, str, str, dict[str, Any], list[Any]]] = [
    ("scale", "double", "(1.0D), (null), (4.0D)", {"mean": 2.0, "std": 2.0}, [-0.5, None, 1.0]),
    ("scale", "int", "(1), (null), (4)", {"mean": 2, "std": 0.5}, [-2.0, None, 4.0]),
    ("one_hot", "string", "('x'), (null), ('z')", {"categories": ["x", "y"]}, [[1.0, 0.0], None, [0.0, 0.0]]),
    ("one_hot", "boolean", "(true), (null), (false)", {"categories": [False, True]}, [[0.0, 1.0], None, [1.0, 0.0]]),
    ("ordinal", "string", "('y'), (null), ('z')", {"categories": ["x", "y"]}, [2, None, 0]),
    ("ordinal", "bigint", "(7L), (null), (9L)", {"categories": [7, 8]}, [1, None, 0]),
    ("hash", "string", "('y'), (null), ('z')", {"size": 16}, [11, None, 11]),
    ("hash", "bigint", "(1L), (null), (2L)", {"size": 1000}, [418, None, 989]),
    ("bucketize", "double", "(1.0D), (null), (2.5D), (double('nan'))", {"edges": [1.0, 2.5, 9]}, [1, None, 2, None]),
    ("bucketize", "int", "(0), (null), (100)", {"edges": [1, 2, 9]}, [0, None, 3]),
    ("impute", "int", "(1), (null)", {"value": 5}, [1, 5]),
    ("impute", "double", "(1.0D), (null)", {"value": 5}, [1.0, 5.0]),
    ("impute", "string", "('x'), (null)", {"value": "?"}, ["x", "?"]),
]


@pytest.mark.parametrize(("do", "kind", "rows", "constants", "expected"), CASES)
def test_encoders(
    do: str, kind: str, rows: str, constants: dict[str, Any], expected: list[Any], spark: SparkSession
) -> None:
    frame = spark.sql(f"select cast(v as {kind}) as v from values {rows} as t(v)")
    made = [r["e"] for r in frame.select(encode_column(do, F.col("v"), kind, constants, "here").alias("e")).collect()]
    assert made == expected


@pytest.mark.parametrize(
    ("do", "kind", "constants", "message"),
    [
        ("scale", "string", {"mean": 0, "std": 1}, "here: `scale` expects numbers; the column is string"),
        (
            "one_hot",
            "double",
            {"categories": [1]},
            "`one_hot` expects text, whole numbers or booleans; the column is double",
        ),
        (
            "ordinal",
            "string",
            {"categories": [1, 2]},
            "expected constants for a column of string; found a int, so the column's type has changed",
        ),
        ("impute", "int", {"value": "x"}, "expected constants for a column of int; found a str"),
        ("impute", "boolean", {"value": 1}, "expected constants for a column of boolean; found a int"),
        ("hash", "array<int>", {"size": 4}, "`hash` expects one value"),
    ],
)
def test_an_encoder_refuses_what_it_has_no_meaning_for(
    do: str, kind: str, constants: dict[str, Any], message: str, spark: SparkSession
) -> None:
    with pytest.raises(ConfigError) as caught:
        encode_column(do, F.col("v"), kind, constants, "here")
    assert message in str(caught.value)


DAYS = ("2013-10-01", "2013-10-02", "2013-10-03")
FEATURES = """
features:
  modules: [own.py]
  constants: constants.json
  columns:
    - {name: a_scaled, encode: {do: scale, of: filled}}
    - {name: per_b, on_null: nan}
    - {name: filled, encode: {do: impute, of: a}}
"""


@pytest.fixture(scope="module")
def job(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """A job whose features take a module and constants, with no model yet."""
    rows = [row(id=i, day=DAYS[i % 2], a=float(i) if i % 5 else None, b=i) for i in range(1, 21)]
    small = make_small_job(spark, tmp_path_factory.mktemp("features"), rows)
    (small.folder / "own.py").write_text(MODULE)
    text = Path(small.file).read_text()
    head, tail = text.split("features:\n")[0], "model:" + text.split("model:", 1)[1]
    head = head.replace("checks: {input: input.json}\n", "").replace(
        "lookups:\n  cities: {table: ./cities, on: [city], columns: [size]}\n", ""
    )
    tail = tail.replace("models:/small@champion", "models:/trained@champion").replace(
        "outputs:", "inputs: {x: [a_scaled, per_b]}, outputs:"
    )
    Path(small.file).write_text(head + FEATURES.lstrip() + tail)
    return small


def test_constants_are_fitted_once_and_in_order(job: SmallJob) -> None:
    with pytest.raises(
        ConfigError, match=r"features\.constants: constants\.json: expected constants; found: No such file"
    ):
        bs.list_features(job.load())
    fitted = bs.fit_encoders(job.load(), DAYS[0], DAYS[2])
    assert json.loads((job.folder / "constants.json").read_text()) == fitted.constants
    values = [i for i in range(1, 21) if i % 5]
    assert fitted.constants["filled"] == {"do": "impute", "value": float(np.median(values))}
    whole = [i if i % 5 else np.median(values) for i in range(1, 21)]
    assert fitted.constants["a_scaled"] == pytest.approx({"do": "scale", "mean": np.mean(whole), "std": np.std(whole)})
    assert [line[:2] for line in fitted.sheet().tables[0][2]] == [["a_scaled", "scale"], ["filled", "impute"]]
    with pytest.raises(ConfigError, match=r"it is there\. Add --overwrite"):
        bs.fit_encoders(job.load(), DAYS[0], DAYS[2])
    assert bs.fit_encoders(job.load(), DAYS[0], DAYS[2], overwrite=True).constants == fitted.constants


def test_features_are_listed_with_what_they_cost(job: SmallJob) -> None:
    found = bs.list_features(job.load())
    assert [(f["name"], f["type"], f["kind"], f["reads"]) for f in found.features] == [
        ("a_scaled", "double", "encode", ["filled"]),
        ("per_b", "double", "python", ["a", "b"]),
        ("filled", "double", "encode", ["a"]),
    ]
    assert (found.helpers, "rooted" in found.unused, found.plan) == ((), True, ())
    cities = "lookups={cities: {table: ./cities, on: [city], columns: [size]}}"
    job_with_lookup = job.load(cities, "model.inputs={}", "features.columns.1={name: size, from: cities.size}")
    found = bs.list_features(job_with_lookup, DAYS[0])
    assert [line["join"] for line in found.lookups] == ["the one row of city"]
    assert any("Join" in line for line in found.plan)
    assert "joins" in str(found)
    slow = bs.list_features(job.load("model.inputs={}", "features.columns.1.name=hypotenuse"))
    assert [f["slow"] for f in slow.features] == [False, True, False]
    assert any(line.lstrip().startswith("ArrowEvalPython") for line in slow.plan)


def test_from_no_model_to_the_skew_gate(job: SmallJob) -> None:
    """A training set needs no model; the model that comes of it has its definitions, and changes of them are seen."""
    trained = bs.training_set(job.load(), DAYS[0], DAYS[2], label="b > 10")
    place = str(job.folder / "set")
    assert trained.save(place).rows == 20
    assert job.spark.read.parquet(place).columns == ["id", "day", "label", "a_scaled", "per_b", "filled"]
    version = bs.log_model(job.load(), make_classifier(WEIGHTS), alias="champion", trained_on=place)
    assert version == 1
    record = job.run(DAYS[0])
    assert (record.status, record.features["sha256"]) == ("published", trained.definitions.sha256)
    assert record.model is not None and record.model["features_sha256"] == trained.definitions.sha256
    assert "skew" not in record.features

    bent = job.load("features.columns.1.on_null=quarantine")
    plan = plan_interval(job.spark, bent, job.interval(DAYS[1]))
    assert [(s["feature"], s["model"]) for s in plan.skew] == [("per_b", "trained/1")]
    assert "trained with other feature definitions, so scores may be wrong: trained/1: per_b" in plan.warnings
    assert "trained otherwise" in str(plan)
    warned = job.run(DAYS[1], "features.columns.1.on_null=quarantine")
    assert warned.status == "published"
    assert "trained with other feature definitions: per_b (trained/1)" in str(warned)

    stop = ("features.columns.1.on_null=quarantine", "features.on_hash_mismatch=stop")
    assert "so a run would stop" in plan_interval(job.spark, job.load(*stop), job.interval(DAYS[0])).warnings[0]
    before = job.versions()
    with pytest.raises(ModelError, match=r"found others \(trained/1: per_b\)"):
        job.run(DAYS[0], *stop)
    assert job.versions() == before
    assert (
        plan_interval(job.spark, job.load(stop[0], "features.on_hash_mismatch=ignore"), job.interval(DAYS[0])).skew
        == ()
    )


def test_code_and_constants_are_in_the_run_key(job: SmallJob) -> None:
    def key() -> str:
        return plan_interval(job.spark, job.load(), job.interval(DAYS[0])).run_key

    before = key()
    own, constants = job.folder / "own.py", job.folder / "constants.json"
    kept = own.read_text(), constants.read_text()
    try:
        own.write_text(kept[0] + "\n# a remark\nUNUSED = 1\n")
        assert key() == before
        own.write_text(kept[0].replace("return a / b", "return a / b + 1"))
        code = key()
        own.write_text(kept[0])
        values = json.loads(kept[1])
        values["a_scaled"]["mean"] += 1
        constants.write_text(json.dumps(values))
        assert len({before, code, key()}) == 3
    finally:
        own.write_text(kept[0])
        constants.write_text(kept[1])


def test_an_unused_feature_is_named_with_its_line(job: SmallJob) -> None:
    line = next(i for i, text in enumerate(Path(job.file).read_text().splitlines(), 1) if "name: per_b" in text)
    wrong = job.load("model.inputs={x: [a_scaled, filled]}")
    with pytest.raises(ConfigError) as caught:
        plan_interval(job.spark, wrong, job.interval(DAYS[0]))
    assert f"job.yaml:{line}: features.columns.1 (per_b): expected a feature that a model takes" in str(caught.value)
    asked = job.load(
        "model.inputs={x: [a_scaled, filled]}",
        "checks.features=[{type: expect_column_max_to_be_between, kwargs: {column: per_b, max_value: 9}}]",
    )
    assert plan_interval(job.spark, asked, job.interval(DAYS[0])).action in ("new", "replace")


def test_a_column_without_values_is_not_fitted(job: SmallJob, tmp_path: Path) -> None:
    for do, of, message in (
        ("scale", "id * 0", "at least two different values"),
        ("ordinal", "nullif(city, city)", "expected values to fit"),
    ):
        sets = (
            "features.constants=other.json",
            "model.inputs={}",
            f'features.columns=[{{name: made, sql: "{of}"}}, {{name: e, encode: {{do: {do}, of: made}}}}]',
        )
        with pytest.raises(InputError, match=message):
            bs.fit_encoders(job.load(*sets), DAYS[0], DAYS[2])
    assert not (job.folder / "other.json").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [(b"none", "expected an ONNX model"), ("no/such.onnx", "expected a readable ONNX file; found: No such file")],
)
def test_what_is_logged_is_onnx(model: Any, message: str, job: SmallJob) -> None:
    with pytest.raises(ModelError, match=message):
        bs.log_model(job.load(), model)
    with pytest.raises(ConfigError, match="expected one that batchscore wrote"):
        bs.log_model(job.load(), make_classifier(WEIGHTS), trained_on=str(job.folder / "nowhere"))


def test_one_hot_lies_beside_numbers_in_one_input(job: SmallJob) -> None:
    sets = (
        "features.constants=hot.json",
        "features.columns=[{name: b}, {name: home, encode: {do: one_hot, of: city}}]",
        "model.inputs={x: [b, home]}",
        "model.uri=models:/hot@champion",
        "output.scores=./hot_scores",
        "job=hot",
    )
    fitted = bs.fit_encoders(job.load(*sets), DAYS[0], DAYS[2])
    assert fitted.constants["home"]["categories"] == ["x"]
    bs.log_model(job.load(*sets), make_classifier((0.1, -2.0)), name="hot", alias="champion")
    assert job.run(DAYS[0], *sets).counts["scored"] == 10
    rows = bs.scores(job.load(*sets)).select("id", "p").collect()
    assert {r["id"]: r["p"] for r in rows} == pytest.approx(
        {i: 1 / (1 + math.exp(-(0.1 * i - 2.0))) for i in range(2, 21, 2)}, rel=1e-6
    )


def test_what_reads_an_encoder_waits_for_it(job: SmallJob) -> None:
    sets = (
        "features.constants=waiting.json",
        "model.inputs={}",
        'features.columns=[{name: twice, sql: "scaled * 2"}, {name: scaled, encode: {do: scale, of: hypotenuse}}, '
        "{name: place, encode: {do: bucketize, of: twice, size: 2}}]",
    )
    fitted = bs.fit_encoders(job.load(*sets), DAYS[0], DAYS[2]).constants
    assert list(fitted) == ["scaled", "place"]
    values = [math.sqrt(2) * i for i in range(1, 21) if i % 5]
    assert fitted["scaled"] == pytest.approx({"do": "scale", "mean": np.mean(values), "std": np.std(values)})
    assert fitted["place"]["edges"] == pytest.approx([2 * (np.median(values) - np.mean(values)) / np.std(values)])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            "{name: e, encode: {do: hash, of: nope}}",
            r"columns\.0 \(e\): expected a column of the input table, or a feature; found 'nope'",
        ),
        (
            "{name: e, encode: {do: hash, of: f}}, {name: f, encode: {do: hash, of: e}}",
            "do not read each other in a circle",
        ),
    ],
)
def test_encoders_of_nothing_are_not_fitted(columns: str, message: str, job: SmallJob) -> None:
    sets = ("features.constants=none.json", "model.inputs={}", f"features.columns=[{columns}]")
    with pytest.raises(ConfigError, match=message):
        bs.fit_encoders(job.load(*sets), DAYS[0], DAYS[2])


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("{name: b, on_null: {impute: abc}}", "feature 'b': `impute` expects a value of type int32; found str 'abc'"),
        ("{name: b, on_null: {impute: 1.5}}", "expects a value of type int32; found float 1.5"),
        ("{name: at, on_null: nan}", r"feature 'at': `on_null: nan` expects numbers; the feature is timestamp"),
    ],
)
def test_a_null_policy_without_meaning_is_refused_before_any_row(feature: str, message: str, job: SmallJob) -> None:
    with pytest.raises(ConfigError, match=message):
        bs.training_set(job.load("model.inputs={}", f"features.columns=[{feature}]"), DAYS[0], DAYS[1])


def test_a_label_that_cannot_be_computed_is_null(job: SmallJob) -> None:
    made = bs.training_set(
        job.load("model.inputs={}", "features.columns=[{name: b}]"), DAYS[0], DAYS[2], label="1 / (b - 3)"
    )
    assert {r["id"]: r["label"] for r in made.frame.where("id in (3, 4)").collect()} == {3: None, 4: 1.0}


@pytest.mark.parametrize(
    ("sql", "fallible"),
    [
        ("x + 1.5", False),
        ("f * 2 - 0.25BD", False),
        ("x / 2", False),
        ("x / -0.5", False),
        ("i / 2.5D", False),
        ("x / 0", True),
        ("x / null", True),
        ("x / cast(1e-60 as float)", True),
        ("x / f", True),
        ("x / (abs(f) + 1)", False),
        ("f / (1e-6 + sqrt(abs(x)))", False),
        ("x / greatest(f, 0.5D)", False),
        ("x / (abs(f) - 1)", True),
        ("x / abs(f)", True),
        ("x / cast(abs(f) + 0.5 as int)", True),
        ("x / floor(abs(f) + 0.5)", True),
        ("x / (abs(f) + 0)", True),
        ("x / (f + 1)", True),
        ("x / (abs(i) + 1)", True),  # the sum may not fit
        ("i + 1", True),
        ("d / 2", True),  # a decimal may not fit
        ("cast(d as float)", False),
        ("cast(x as decimal(9, 2))", True),
    ],
)
def test_only_what_may_fail_for_a_row_is_guarded(sql: str, fallible: bool, spark: SparkSession) -> None:
    rows = spark.range(1).selectExpr("1.0D as x", "1.0F as f", "1 as i", "1.5BD as d")
    assert find_fallible(rows, [F.expr(sql)]) == [fallible]
