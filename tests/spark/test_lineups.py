# ruff: noqa: E501 - model sections in one line
"""Several models in one job: ensembles, segments, a challenger, and columns computed from the scores, through Spark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from onnx_models import add_version, make_classifier, write_folder
from small_job import JOB, SmallJob, make_small_job, probability, row

from batchscore.errors import ConfigError, LineupChanged, ModelError
from batchscore.lineups import core_of_lineup
from batchscore.pinning import pin_job_models
from batchscore.pipeline import plan_interval, preview_interval
from batchscore.republish import override_held, rollback_interval

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST, SECOND = "2013-10-01", "2013-10-02"
QUIET = ("2013-09-01", "2013-09-02", "2013-09-03")
CITIES = {0: "x", 1: "z", 2: "x", 3: "z", 4: "x"}
OTHER = (1.0, 0.5)
ROWS = [
    row(id=i + 5 * d, day=day, city=city, a=float(i), b=4 - i)
    for d, day in enumerate((FIRST, SECOND))
    for i, city in CITIES.items()
] + [row(id=100 + i, day=day) for i, day in enumerate(QUIET)]
OUTPUTS = 'outputs: {p: "probabilities[:, 1]"}'
Make = Callable[[str], SmallJob]


@pytest.fixture(scope="module")
def base(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """A small job of ten rows over two days, and a registry with two models."""
    small = make_small_job(spark, tmp_path_factory.mktemp("lineups"), ROWS)
    small.add_model(OTHER, name="other")
    return small


@pytest.fixture
def make(base: SmallJob, request: pytest.FixtureRequest) -> Make:
    """The small job with the model section given, and with outputs and a name of its own."""
    place = request.node.name.removeprefix("test_")[:40]

    def build(section: str) -> SmallJob:
        small = replace(base, file_name=f"{place}.yaml")
        rewrite(small, section)
        return small

    return build


def rewrite(small: SmallJob, section: str) -> None:
    before = 'model: {uri: "models:/small@champion", ' + OUTPUTS + "}"
    assert before in JOB
    text = JOB.replace(before, f"model: {section}").replace("./scores", f"./{small.file_name[:-5]}/scores")
    Path(small.file).write_text(text)


def both(i: int) -> tuple[float, float]:
    """Probabilities of row `i` of a day by the two models."""
    a, ratio = float(i), (4 - i) / {"x": 2, "z": 1}[CITIES[i]]
    return probability(a, ratio), 1 / (1 + 2.718281828459045 ** -(OTHER[0] * a + OTHER[1] * ratio))


def test_an_ensemble_is_scored_recorded_rolled_back_and_pinned(base: SmallJob, make: Make) -> None:
    members = "[{uri: models:/small@champion, weight: 3}, {uri: models:/moving@champion}]"
    base.add_model(OTHER, name="moving")
    small = make("{ensemble: " + members + ", " + OUTPUTS + "}")
    record = small.run()
    expected = [(3 * one + other) / 4 for one, other in map(both, CITIES)]
    scores = small.scores()
    assert [r["p"] for r in scores] == pytest.approx(expected, rel=1e-6)
    assert {r["_model"] for r in scores} == {"small/1 + moving/1"}
    assert record.model is not None
    assert [(m["name"], m["version"], m["weight"]) for m in record.model["ensemble"]] == [
        ("small", 1, 3.0),
        ("moving", 1, 1.0),
    ]
    assert {m: one["rows"] for m, one in record.runtime["models"].items()} == {"moving/1": 5, "small/1": 5}
    assert ("model", "small/1 + moving/1") in record.sheet().facts
    assert small.run().status == "unchanged"

    small.add_model((0.0, 0.0), name="moving")
    moved = small.run()
    assert moved.status == "published"
    assert {r["_model"] for r in small.scores()} == {"small/1 + moving/2"}

    job, interval = small.load(), small.interval(FIRST)
    rollback_interval(small.spark, job, interval, record.run_id, "as it was")
    assert [r["p"] for r in small.scores()] == pytest.approx(expected, rel=1e-6)
    assert small.run().status == "unchanged"  # the rollback pins both versions
    rewrite(small, "{ensemble: " + members.replace("weight: 3", "weight: 1") + ", " + OUTPUTS + "}")
    assert small.run(SECOND).status == "published"


def test_pinned_versions_meet_the_jobs_own_weights_and_segments(base: SmallJob, make: Make) -> None:
    base.add_model(OTHER, name="later")
    small = make("{ensemble: [{uri: models:/small@champion}, {uri: models:/later@champion}], " + OUTPUTS + "}")
    first = small.run()
    base.add_model((0.0, 0.0), name="later")
    assert first.model is not None
    pinned, contents = pin_job_models(small.load(), core_of_lineup(first.model))
    assert (pinned.label, pinned.weights, len(contents)) == ("small/1 + later/1", (1.0, 1.0), 2)
    rewrite(
        small, "{ensemble: [{uri: models:/small@champion, weight: 9}, {uri: models:/later@champion}], " + OUTPUTS + "}"
    )
    assert pin_job_models(small.load(), first.model)[0].weights == (9.0, 1.0)
    rewrite(
        small, "{segments: {by: city, models: {x: models:/later@champion}, default: models:/small/1}, " + OUTPUTS + "}"
    )
    assert pin_job_models(small.load(), first.model)[0].label == "later/1, small/1"
    rewrite(small, "{uri: models:/other@champion, " + OUTPUTS + "}")
    with pytest.raises(
        LineupChanged, match=r"model models:/other@champion: expected one version of it .* small/1, later/1"
    ):
        pin_job_models(small.load(), first.model)


def test_each_segment_is_scored_by_its_model_in_one_pass(make: Make) -> None:
    small = make(
        "{segments: {by: city, models: {x: models:/small@champion, y: models:/other@champion}}, " + OUTPUTS + "}"
    )
    record = small.run()
    scores = small.scores()
    assert [(r["id"], r["_model"]) for r in scores] == [(0, "small/1"), (2, "small/1"), (4, "small/1")]
    assert [r["p"] for r in scores] == pytest.approx([both(i)[0] for i in (0, 2, 4)], rel=1e-6)
    aside = small.quarantined()
    assert {(r["id"], r["_reasons"][0]["kind"], r["_reasons"][0]["column"]) for r in aside} == {
        (1, "no_model", "city"),
        (3, "no_model", "city"),
    }
    assert record.model is not None
    assert record.model["segments"]["by"] == "city"
    assert {v: m["name"] for v, m in record.model["segments"]["models"].items()} == {"x": "small", "y": "other"}

    section = (
        "{segments: {by: city, models: {x: models:/small@champion}, default: models:/other@champion}, " + OUTPUTS + "}"
    )
    rewrite(small, section)
    record = small.run()
    assert [(r["_model"], r["p"]) for r in small.scores()] == [
        ("small/1" if i % 2 == 0 else "other/1", pytest.approx(both(i)[i % 2], rel=1e-6)) for i in CITIES
    ]
    assert {m: one["rows"] for m, one in record.runtime["models"].items()} == {"other/1": 2, "small/1": 3}
    facts = plan_interval(small.spark, small.load(), small.interval(FIRST)).sheet().facts
    assert [value.partition(" (")[0] for name, value in facts if name == "model"] == [
        "city x: small/1",
        "city all others: other/1",
    ]


def test_segments_by_a_feature_of_another_kind(make: Make) -> None:
    small = make("{segments: {by: ratio, models: {'1': models:/small@champion}}, " + OUTPUTS + "}")
    with pytest.raises(
        ModelError,
        match=r"model\.segments\.by: expected a column of text, whole numbers or booleans; 'ratio' is double",
    ):
        small.run()


def test_nulls_of_a_feature_that_only_routes_go_to_the_default(make: Make) -> None:
    small = make(
        "{segments: {by: where, models: {x: models:/small@champion}, default: models:/other@champion}, inputs: {x: [a, ratio]}, "
        + OUTPUTS
        + "}"
    )
    text = (
        Path(small.file)
        .read_text()
        .replace("    - {name: a}\n", "    - {name: a}\n    - {name: where, sql: \"nullif(city, 'z')\"}\n")
    )
    Path(small.file).write_text(text)
    small.run()
    assert [r["_model"] for r in small.scores()] == ["small/1", "other/1", "small/1", "other/1", "small/1"]


@pytest.mark.parametrize(
    ("section", "kind", "message"),
    [
        ("segments: {by: id, models: {'01': models:/small@champion}}, " + OUTPUTS, ModelError, r"expected values that 'id' \(int64\) can have, whole numbers .* found '01'"),
        ("uri: models:/small@champion, outputs: {'p late': 'probabilities[:, 1]'}", ConfigError, "expected column names that Delta can store; found 'p late'"),
    ],
)  # fmt: skip
def test_what_can_be_known_at_the_plan_is_refused_there(
    make: Make, section: str, kind: type[Exception], message: str
) -> None:
    small = make("{" + section + "}")
    with pytest.raises(kind, match=message):
        plan_interval(small.spark, small.load(), small.interval(FIRST))


def test_steps_make_columns_from_scores(make: Make) -> None:
    steps = """
      - {name: late, of: both, do: argmax, classes: ["no", "yes"]}
      - {name: p, of: both, do: pick, index: 1}
      - {name: risk, of: p, do: categories, categories: {low: "<0.4", high: ">=0.6"}, otherwise: middle}
      - {name: calibrated, of: p, do: calibrate, points: [[0, 0], [0.5, 0.3], [1, 1]]}
"""
    small = make(
        "\n  uri: models:/small@champion\n  outputs: {both: probabilities}\n  drop: [both]\n  postprocess:" + steps
    )
    small.run()
    for found, i in zip(small.scores(), CITIES, strict=True):
        p = both(i)[0]
        assert "both" not in found
        assert found["p"] == pytest.approx(p, rel=1e-6)
        assert found["late"] == ("yes" if p > 0.5 else "no")
        assert found["risk"] == ("low" if p < 0.4 else "high" if p >= 0.6 else "middle")
        assert found["calibrated"] == pytest.approx(0.6 * p if p < 0.5 else 0.3 + 1.4 * (p - 0.5), rel=1e-6)
    before = small.scores()
    Path(small.file).write_text(Path(small.file).read_text().replace('"<0.4"', '"<0.45"'))
    assert small.run().status == "published"  # what is computed from scores decides values
    assert len(small.scores()) == len(before)


def test_a_challenger_is_compared_and_decides_nothing(make: Make) -> None:
    champion = "{uri: models:/small@champion, " + OUTPUTS
    small = make(champion + "}")
    alone = small.run()
    before = [r["p"] for r in small.scores()]
    rewrite(small, champion + ", challenger: {uri: models:/other@champion, worst: 2}}")
    assert small.run().status == "unchanged"  # a challenger decides no value
    text = Path(small.file).read_text().replace("output: {", "output: {challenger: ./beside, ")
    Path(small.file).write_text(text)

    record = small.run(force=True)
    assert record.content_key == alone.content_key
    assert [r["p"] for r in small.scores()] == before
    told = record.challenger["columns"]["p"]
    pairs = [both(i) for i in CITIES]
    differences = [other - one for one, other in pairs]
    assert record.challenger["model"]["name"] == "other"
    assert (told["rows"], told["pairs"], told["not_finite"]) == (5, 5, 0)
    assert told["mean"] == pytest.approx(sum(one for one, _ in pairs) / 5, rel=1e-6)
    assert told["challenger_mean"] == pytest.approx(sum(other for _, other in pairs) / 5, rel=1e-6)
    assert told["mean_difference"] == pytest.approx(sum(differences) / 5, rel=1e-6)
    assert told["max_abs_difference"] == pytest.approx(max(map(abs, differences)), rel=1e-6)
    assert told["abs_difference_quantiles"]["p50"] == pytest.approx(sorted(map(abs, differences))[2], rel=1e-6)
    assert told["psi"] > 0
    assert -1 <= told["rank_correlation"] <= 1
    assert (record.challenger["rows"], record.challenger["scored"], record.challenger["not_scored"]) == (5, 5, {})
    assert all("id" not in one for one in record.challenger["columns"].values())  # keys lie in a table of their own

    kept = small.spark.read.format("delta").load(str(small.folder / "beside")).orderBy("id").collect()
    assert [(r["id"], r["_model"], r["_run_id"]) for r in kept] == [(i, "other/1", record.run_id) for i in CITIES]
    assert [r["p"] for r in kept] == pytest.approx([other for _, other in pairs], rel=1e-6)
    worst = small.spark.read.format("delta").load(small.outputs().differences.location).collect()
    right = sorted(CITIES, key=lambda i: -abs(differences[i]))[:2]
    assert [r["id"] for r in worst] == right
    for r in worst:
        assert (r["_column"], r["_run_id"]) == ("p", record.run_id)
        assert (r["_score"], r["_challenger_score"]) == pytest.approx(both(r["id"]), rel=1e-6)
        assert r["_difference"] == pytest.approx(r["_challenger_score"] - r["_score"])
    table = next(t for t in record.sheet().tables if t[0] == "challenger other/1")
    assert table[2][0][0] == "p"


def test_flips_of_a_category_are_counted(make: Make) -> None:
    steps = "postprocess: [{name: risk, of: p, do: categories, categories: {low: '<0.5'}, otherwise: high}], drop: [p]"
    small = make(
        "{uri: models:/small@champion, " + OUTPUTS + ", " + steps + ", challenger: {uri: models:/other@champion}}"
    )
    record = small.run()
    flips = sum((one < 0.5) != (other < 0.5) for one, other in map(both, CITIES))
    assert record.challenger["columns"] == {"risk": {"rows": 5, "flips": flips}}
    assert not small.outputs().differences.read().count()  # type: ignore[union-attr]


@pytest.mark.slow  # four runs before the one that is looked at
def test_a_held_run_keeps_its_comparison(make: Make) -> None:
    section = "{uri: models:/small@champion, " + OUTPUTS + ", challenger: {uri: models:/other@champion}}"
    small = make(section)
    for day in QUIET:
        small.run(day)
    with Path(small.file).open("a") as file:
        file.write("gates: {volume: {of_median: [0.5, 2.0]}}\n")
    held = small.run(SECOND)
    assert held.status == "held"
    assert held.challenger["columns"]["p"]["rows"] == 5
    assert small.outputs().differences.read().where(f"_run_id = '{held.run_id}'").isEmpty()  # type: ignore[union-attr]
    published = override_held(small.spark, small.load(), held.run_id, "looked at")
    assert published.challenger == held.challenger
    worst = small.outputs().differences.read().where(f"_run_id = '{published.run_id}'")  # type: ignore[union-attr]
    assert worst.count() == 5


MISFITS = [
    ("{ensemble: [{uri: models:/small@champion}, {uri: models:/other@champion}]}", "output column 'label' is int64"),
    ("{ensemble: [{uri: models:/small@champion}, {uri: models:/three@champion}], " + OUTPUTS + "}", "three/1: model input 'x': expected 3 features; found 2"),
    ("{ensemble: [{uri: models:/small@champion}, {uri: models:/other@champion, outputs: {q: 'probabilities[:, 1]'}}], " + OUTPUTS + "}", "expected the output columns of small/1 (p) from every model; other/1 gives q"),
    ("{uri: models:/small@champion, " + OUTPUTS + ", challenger: {uri: models:/other@champion, outputs: {q: label}}}", "model.challenger: expected the output columns p; other/1 gives q"),
    ("{uri: models:/small@champion, " + OUTPUTS + ", challenger: {uri: models:/other@champion, outputs: {p: probabilities}}}", "model.challenger: expected 'p' to be float"),
    ("{uri: models:/small@champion, " + OUTPUTS + ", challenger: {uri: models:/none@champion}}", "none"),
    ("{uri: models:/small@champion, " + OUTPUTS + ", drop: [q]}", "model.drop: expected columns among p; found 'q'"),
    ("{uri: models:/small@champion, " + OUTPUTS + ", drop: [p]}", "model.drop: expected at least one output column that is kept"),
    ("{uri: models:/small@champion, " + OUTPUTS + ", postprocess: [{name: q, of: r, do: sigmoid}]}", "model.postprocess.0 'q': expected a column among p; found 'r'"),
    ("{uri: models:/small@champion, " + OUTPUTS + ", postprocess: [{name: q, of: p, do: softmax}]}", "softmax expects an array of floating-point numbers; 'p' is float"),
    ("{uri: models:/small@champion, postprocess: [{name: label, of: probabilities, do: argmax}]}", "'label': expected a new name"),
]  # fmt: skip


def test_models_that_do_not_fit_together_are_refused(make: Make) -> None:
    small = make("{uri: models:/small@champion}")
    add_version(
        small.registry, "three", write_folder(small.folder / "three", make_classifier((1.0, 1.0, 1.0))), "champion"
    )
    for section, message in MISFITS:
        rewrite(small, section)
        with pytest.raises(ModelError) as caught:
            plan_interval(small.spark, small.load(), small.interval(FIRST))
        assert message in str(caught.value), section


def test_a_preview_shows_all_of_it(make: Make) -> None:
    small = make(
        "{segments: {by: city, models: {x: models:/small@champion}, default: models:/other@champion}, "
        + OUTPUTS
        + ", challenger: {uri: models:/other@champion}}"
    )
    rows = preview_interval(small.spark, small.load(), small.interval(FIRST), 5)
    assert {name for name in rows[0] if not name.startswith("_")} == {"id", "city", "p"}
