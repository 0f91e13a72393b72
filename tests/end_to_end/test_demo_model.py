"""The demo's flights model: ONNX agrees with scikit-learn, and features with the oracle's, in training and scoring."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import flights_oracle as oracle
import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest
from onnx import TensorProto, helper

import batchscore as bs
from batchscore.demo.build import read_rows
from batchscore.demo.export import export_onnx
from batchscore.demo.packages import find_data_folder
from batchscore.demo.training import FLIGHTS_FEATURES
from batchscore.loading import load_job

if TYPE_CHECKING:
    from onnx import ModelProto

DATA = find_data_folder()


@pytest.fixture(scope="module")
def rows(demo_folder: Path) -> pd.DataFrame:
    """The flights job's training set: the whole year."""
    return read_rows(demo_folder / "training" / "flights")


def to_tensor(rows: pd.DataFrame) -> np.ndarray:
    return rows[list(FLIGHTS_FEATURES)].to_numpy(dtype=np.float32)


def test_onnx_gives_the_probabilities_of_scikit_learn_on_every_flight_of_the_year(
    rows: pd.DataFrame, demo_folder: Path
) -> None:
    model = oracle.trained_model(demo_folder)
    exported = export_onnx(model.estimator, len(model.feature_names))
    session = ort.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"features": to_tensor(rows)})
    assert found.shape == (336_000, 2)  # 776 flights have had no weather for 6 hours
    np.testing.assert_allclose(found, model.estimator.predict_proba(to_tensor(rows)), rtol=0, atol=1e-5)


def test_the_model_is_better_than_chance_on_the_months_after_its_training(demo_folder: Path) -> None:
    quality = json.loads((demo_folder / "models" / "flights_delay.json").read_text())["quality"]
    assert quality["training_rows"] == 244_737
    assert quality["test_rows"] == 81_850
    assert quality["auc"] > 0.72  # 0.687 without what is known of earlier flights


# Both changes of the clock (10 March, 3 November), a day after missing tail numbers, the end of the weather file.
@pytest.mark.parametrize("day", ["2013-01-01", "2013-03-10", "2013-10-07", "2013-11-03", "2013-12-30"])
def test_training_features_equal_the_oracle(rows: pd.DataFrame, day: str) -> None:
    chosen = rows[rows["day"] == date.fromisoformat(day)].sort_values("flight_id")
    flights = oracle.flights_of_day(DATA, date.fromisoformat(day))
    wanted = {number: oracle.expected_features(flight, DATA) for number, flight in flights.items()}
    seen = [number for number, values in wanted.items() if not np.isnan(values[FLIGHTS_FEATURES.index("visib")])]
    assert list(chosen["flight_id"]) == seen
    np.testing.assert_array_equal(to_tensor(chosen), np.array([wanted[n] for n in seen], dtype=np.float32))


def test_training_and_scoring_have_the_same_features_bit_by_bit(rows: pd.DataFrame, folder: Path) -> None:
    """A model that gives back what it is given, scored as any other."""
    version = bs.log_model(folder / "flights.yaml", echo_model(len(FLIGHTS_FEATURES)), name="echo")
    own = ("job=echo", "output.scores=tables/echo_scores", "checks.output=null", "scoring.on_bad_score=keep")
    model = (f"model.uri=models:/echo/{version}", "model.outputs={given: given}")
    job = load_job(folder / "flights.yaml", [*own, *model])
    day = "2013-10-07"
    assert bs.run(job, day).status == "published"
    found = bs.scores(job).select("flight_id", "given").toPandas().sort_values("flight_id")
    wanted = rows[rows["flight_id"].isin(found["flight_id"])].sort_values("flight_id")
    assert list(wanted["flight_id"]) == list(found["flight_id"])
    scored = np.array(found["given"].tolist(), dtype=np.float32)
    assert scored.tobytes() == to_tensor(wanted).tobytes()
    assert len(scored) == 973


def echo_model(width: int) -> ModelProto:
    given = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, width])
    told = helper.make_tensor_value_info("given", TensorProto.FLOAT, [None, width])
    graph = helper.make_graph([helper.make_node("Identity", ["features"], ["given"])], "echo", [given], [told])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("day", "no_number", "no_registration"), [("2013-10-01", 1, 0), ("2013-10-07", 19, 2), ("2013-10-11", 12, 2)]
)
def test_days_hold_flights_that_the_input_suite_sets_aside(day: str, no_number: int, no_registration: int) -> None:
    reasons = list(oracle.expected_quarantine(DATA, date.fromisoformat(day)).values())
    assert reasons.count("expect_column_values_to_not_be_null") == no_number
    assert reasons.count("expect_column_values_to_match_regex") == no_registration


def test_the_oracle_scores_every_flight_of_the_day_that_is_not_set_aside(demo_folder: Path) -> None:
    day = date(2013, 10, 7)
    scores, set_aside = oracle.expected_scores(DATA, day, demo_folder), oracle.expected_quarantine(DATA, day)
    assert len(scores) == 973
    assert sorted([*scores["flight_id"], *set_aside]) == list(oracle.flights_of_day(DATA, day))
    assert scores["probability_late"].between(0, 1).all()
