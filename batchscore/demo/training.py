"""Train the demo's models in scikit-learn on the training sets that their jobs make: one definition of each feature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mean_absolute_error, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

FLIGHTS_FEATURES = (
    *("dep_hour", "minute_of_day", "weekday", "distance", "carrier_code", "origin_code"),
    *("temp", "wind_speed", "precip", "humid", "pressure", "visib", "plane_age", "seats"),
    *("airport_delay", "aircraft_delay", "aircraft_legs", "airline_late"),
)
PLANES_FEATURES = ("year", "engines", "jet", "maker_code")
LABELS = {"flights": "arr_delay >= 15", "planes": "seats"}  # SQL over the input's columns
FIRST_TEST_DAY = date(2013, 10, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """A fitted estimator, what it takes, and how well it does on rows that it never saw.

    Attributes:
        name: The name that it is registered under.
        estimator: The fitted scikit-learn estimator.
        feature_names: Its columns, in order.
        quality: Figures for people: rows, and the score on the held-out rows.
    """

    name: str
    estimator: Any
    feature_names: tuple[str, ...]
    quality: Mapping[str, float]


def train_flights(rows: pd.DataFrame) -> TrainedModel:
    """Fit the probability that a flight arrives 15 or more minutes late, on January to September.

    Flights that never arrived (cancelled or diverted: no label) say nothing about lateness and are left out. The
    quality is measured on October to December. Twice the same rows give twice the same estimator.

    Args:
        rows: The flights job's training set: features, `flight_id`, `day` and `label`.
    """
    estimator = HistGradientBoostingClassifier(max_iter=100, min_samples_leaf=200, early_stopping=False, random_state=0)
    return _fit_flights("flights_delay", estimator, rows)


def train_flights_linear(rows: pd.DataFrame) -> TrainedModel:
    """Fit the same probability by logistic regression, missing values at their mean: a second opinion on each flight.

    Args:
        rows: As for `train_flights`.
    """
    estimator = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=200))
    return _fit_flights("flights_delay_linear", estimator, rows)


def _fit_flights(name: str, estimator: Any, rows: pd.DataFrame) -> TrainedModel:
    rows = rows[rows["label"].notna()].sort_values("flight_id")  # sums in one order, so that every fit is the same
    features = rows[list(FLIGHTS_FEATURES)].to_numpy(dtype=np.float32)
    late = rows["label"].to_numpy(dtype=np.int64)
    past = (rows["day"] < FIRST_TEST_DAY).to_numpy(dtype=bool)
    with threadpool_limits(limits=1, user_api="openmp"):
        estimator.fit(features[past], late[past])
    score = estimator.predict_proba(features[~past])[:, 1]
    quality = {
        "training_rows": int(past.sum()),
        "test_rows": int((~past).sum()),
        "late_share": float(late[~past].mean()),
        "auc": float(roc_auc_score(late[~past], score)),
    }
    return TrainedModel(name=name, estimator=estimator, feature_names=FLIGHTS_FEATURES, quality=quality)


def train_planes(rows: pd.DataFrame) -> TrainedModel:
    """Fit the number of seats of a jet by its age and make, on four fifths of the registry; the rest measures it.

    Args:
        rows: The planes job's training set: features, `tailnum` and `label`, the seats.
    """
    rows = rows.sort_values("tailnum")
    features = rows[list(PLANES_FEATURES)].to_numpy(dtype=np.float32)
    seats = rows["label"].to_numpy(dtype=np.float64)
    held_out = np.random.default_rng(0).random(len(rows)) < 0.2
    estimator = GradientBoostingRegressor(n_estimators=100, max_depth=3, random_state=0)
    estimator.fit(features[~held_out], seats[~held_out])
    error = mean_absolute_error(seats[held_out], estimator.predict(features[held_out]))
    quality = {
        "training_rows": int((~held_out).sum()),
        "test_rows": int(held_out.sum()),
        "mean_absolute_error": float(error),
    }
    return TrainedModel(name="planes_seats", estimator=estimator, feature_names=PLANES_FEATURES, quality=quality)
