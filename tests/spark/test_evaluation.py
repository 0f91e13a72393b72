"""Evaluation: figures equal scikit-learn's, go to the audit by model, and what cannot be measured is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve
from small_job import SmallJob, make_small_job, row

from batchscore.errors import ConfigError, InputError
from batchscore.watching import evaluate

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import SparkSession

DAYS = ("2013-10-01", "2013-10-02")
ROWS = 150
EXACT = {"abs": 1e-9}


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """Two days of rows with many equal scores, by two models; labels for most of them, and for rows of others."""
    chance = np.random.default_rng(3)
    rows = [
        row(id=1000 * d + i, day=day, a=float(chance.integers(0, 12)) / 4, city="xz"[i % 2])
        for d, day in enumerate(DAYS)
        for i in range(ROWS)
    ]
    small = make_small_job(spark, tmp_path_factory.mktemp("evaluation"), rows)
    small.run(DAYS[0])
    small.add_model(weights=(0.9, -0.25))
    small.run(DAYS[1])
    labels = [
        (r[0], int(chance.random() < 0.4), float(chance.normal())) if i % 10 else (r[0], None, None)
        for i, r in enumerate(rows)
    ]
    frame = spark.createDataFrame([*labels, (-1, 1, 0.5), (-1, 0, 0.5)], "id bigint, late int, size double")
    frame.coalesce(1).write.format("delta").save(str(small.folder / "labels"))
    twice = spark.createDataFrame([(1, 1), (1, 0)], "id bigint, late int").coalesce(1)
    twice.write.format("delta").save(str(small.folder / "twice"))
    return small


def published(small: SmallJob, label: str) -> pd.DataFrame:
    """Scores with their labels, in pandas."""
    scores = small.spark.read.format("delta").load(str(small.folder / "scores")).toPandas()
    labels = small.spark.read.format("delta").load(str(small.folder / "labels")).toPandas()
    both = scores.merge(labels[labels["id"] >= 0], on="id")
    return both[both[label].notna()].assign(p=lambda rows: rows["p"].astype("float64"))


def check_binary(found: Mapping[str, Any], rows: pd.DataFrame) -> None:
    late, score = rows["late"].to_numpy(dtype=int), rows["p"].to_numpy()
    assert found["rows"] == len(rows) and found["positives"] == late.sum()
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(late, score), **EXACT)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(late, score), **EXACT)
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(late, score), **EXACT)
    shares, means = calibration_curve(late, score, n_bins=10)
    assert [one["positive_share"] for one in found["calibration"]] == pytest.approx(shares, **EXACT)
    assert [one["mean_score"] for one in found["calibration"]] == pytest.approx(means, **EXACT)
    for cut in found["thresholds"]:
        above = score >= cut["threshold"]
        precision = metrics.precision_score(late, above, zero_division=np.nan)
        assert cut["rows"] == above.sum()
        assert (math.nan if cut["precision"] is None else cut["precision"]) == pytest.approx(precision, nan_ok=True)
        assert cut["recall"] == pytest.approx(metrics.recall_score(late, above), **EXACT)


def test_figures_of_probabilities_equal_scikit_learns(small: SmallJob) -> None:
    found = evaluate(small.file, "./labels", *("2013-10-01", "2013-10-03"), label="late = 1", by="city")
    rows = published(small, "late")
    assert (found.kind, found.span, found.counts) == (
        "binary",
        "2013-10-01 to 2013-10-02",
        {"scored": 2 * ROWS, "labelled": len(rows), "used": len(rows)},
    )
    assert list(found.models) == ["small/1", "small/2"]
    for model, figures in found.models.items():
        mine = rows[rows["_model"] == model]
        check_binary(figures, mine)
        for city, segment in found.segments[model].items():
            check_binary(segment, mine[mine["city"] == city])
    assert "small/2, by city" in str(found) and "calibration" in str(found)


def test_figures_of_numbers_equal_scikit_learns(small: SmallJob) -> None:
    found = evaluate(small.file, "./labels", label="size")
    rows = published(small, "size")
    assert (found.kind, found.span) == ("regression", "all")
    for model, figures in found.models.items():
        mine = rows[rows["_model"] == model]
        assert figures["mean_error"] == pytest.approx((mine["p"] - mine["size"]).mean(), **EXACT)
        for name, function in (
            ("mean_absolute_error", metrics.mean_absolute_error),
            ("root_mean_squared_error", metrics.root_mean_squared_error),
            ("r2", metrics.r2_score),
        ):
            assert figures[name] == pytest.approx(function(mine["size"], mine["p"]), **EXACT)


def test_the_audit_keeps_the_figures_by_model_and_runs_are_as_before(small: SmallJob) -> None:
    before = len(small.audit())
    found = evaluate(small.file, "./labels", *("2013-10-02", "2013-10-03"), label="late", kind="binary")
    (record,) = small.audit()[before:]
    assert (record["kind"], record["model_label"], record["interval_label"]) == ("evaluation", "small/2", "2013-10-02")
    assert record["figures"] == found.models["small/2"]
    assert record["evaluation"]["labels"]["version"] == 0
    account = small.outputs().ledger.account("2013-10-02T04:00:00Z")
    assert account.current is not None and account.newest is account.current
    assert small.run("2013-10-02").status == "unchanged"


REFUSED: list[tuple[type[Exception], str, dict[str, Any]]] = [
    (InputError, "--labels: expected a table at ./nowhere; found nothing there", {"labels": "./nowhere"}),
    (InputError, "--labels ./cities: expected the key column 'id'; found none", {"labels": "./cities"}),
    (InputError, "--labels ./twice: expected one label for each id; found keys with several", {"labels": "./twice"}),
    (InputError, "found 0 scores, 0 of them with a label", {"start": "2013-11-01", "end": "2013-11-02"}),
    (ConfigError, "--label: ", {"label": "lat = 1"}),
    (ConfigError, "--label: expected a boolean or a number; found string", {"label": "cast(id as string)"}),
    (ConfigError, "--label: expected true or false, or 1 or 0; found 270 rows", {"label": "size", "kind": "binary"}),
    (ConfigError, "--score: expected one of the columns p; found q", {"score": "q"}),
    (ConfigError, "--by nothing: expected a column of the scores; they have id,", {"by": "nothing"}),
    (ConfigError, "--by id: expected at most 200 segments; found more", {"by": "id"}),
    (ConfigError, "expected both, or neither", {"start": "2013-10-01"}),
    (ConfigError, "--threshold 7: expected a number from 0 to 1", {"thresholds": [7.0]}),
]


@pytest.mark.parametrize(("kind", "message", "changes"), REFUSED, ids=[case[1][:50] for case in REFUSED])
def test_refused(small: SmallJob, kind: type[Exception], message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(kind) as caught:
        evaluate(small.file, **{"labels": "./labels", "label": "late", **changes})
    assert message in str(caught.value)


def test_a_job_without_scores_is_told_so(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> None:
    fresh = make_small_job(spark, tmp_path_factory.mktemp("fresh"))
    with pytest.raises(InputError, match=r"expected published scores; found no table\. Run one"):
        evaluate(fresh.file, "./rows")
    with pytest.raises(ConfigError, match=r"input\.key: expected a key, by which labels are joined; found none"):
        evaluate(fresh.load("input.key=[]"), "./rows")
