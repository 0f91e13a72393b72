"""The demo's flights model: the ONNX file agrees with scikit-learn, and the training features with the oracle's."""

from __future__ import annotations

from datetime import date

import flights_oracle as oracle
import numpy as np
import onnxruntime as ort
import pandas as pd
import pytest

from batchscore.demo.export import export_onnx
from batchscore.demo.packages import find_data_folder
from batchscore.demo.sources import read_flights, read_planes, read_weather
from batchscore.demo.training import flight_features

DATA = find_data_folder()


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    return read_flights(DATA)


@pytest.fixture(scope="module")
def features(flights: pd.DataFrame) -> pd.DataFrame:
    return flight_features(flights, read_weather(DATA), read_planes(DATA))


def test_onnx_gives_the_probabilities_of_scikit_learn_on_every_flight_of_the_year(features: pd.DataFrame) -> None:
    model = oracle.trained_model(DATA)
    exported = export_onnx(model.estimator, len(model.feature_names))
    session = ort.InferenceSession(exported.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"features": features.to_numpy()})
    wanted = model.estimator.predict_proba(features.to_numpy())
    assert found.shape == (336_776, 2)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def test_the_model_is_better_than_chance_on_the_months_after_its_training() -> None:
    quality = oracle.trained_model(DATA).quality
    assert quality["training_rows"] == 244_737
    assert quality["test_rows"] == 82_609
    assert quality["auc"] > 0.65


# Both changes of the clock (10 March, 3 November), a day after missing tail numbers, the end of the weather file.
@pytest.mark.parametrize("day", ["2013-01-01", "2013-03-10", "2013-10-07", "2013-11-03", "2013-12-31"])
def test_training_features_equal_the_oracle(flights: pd.DataFrame, features: pd.DataFrame, day: str) -> None:
    chosen = features[flights["day"] == date.fromisoformat(day)]
    rows = oracle.flights_of_day(DATA, date.fromisoformat(day))
    sky, planes = oracle.read_sky(DATA), oracle.read_planes(DATA)
    wanted = np.array([oracle.expected_features(row, sky, planes) for row in rows.values()], dtype=np.float32)
    assert list(rows) == list(flights.loc[chosen.index, "flight_id"])
    np.testing.assert_array_equal(chosen.to_numpy(), wanted)


@pytest.mark.parametrize(
    ("day", "no_number", "no_registration"), [("2013-10-01", 1, 0), ("2013-10-07", 19, 2), ("2013-10-11", 12, 2)]
)
def test_days_hold_flights_that_the_input_suite_sets_aside(day: str, no_number: int, no_registration: int) -> None:
    reasons = list(oracle.expected_quarantine(DATA, date.fromisoformat(day)).values())
    assert reasons.count("expect_column_values_to_not_be_null") == no_number
    assert reasons.count("expect_column_values_to_match_regex") == no_registration


def test_the_oracle_scores_every_flight_of_the_day_that_is_not_set_aside(flights: pd.DataFrame) -> None:
    day = date(2013, 10, 7)
    scores, set_aside = oracle.expected_scores(DATA, day), oracle.expected_quarantine(DATA, day)
    assert len(scores) == 973
    assert sorted([*scores["flight_id"], *set_aside]) == list(flights.loc[flights["day"] == day, "flight_id"])
    assert scores["probability_late"].between(0, 1).all()
