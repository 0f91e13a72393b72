"""The drift gate on a year of flights: few false holds, and a shift of half a standard deviation is found and named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batchscore.config import DriftGateConfig
from batchscore.demo.build import read_rows
from batchscore.demo.training import FLIGHTS_FEATURES
from batchscore.gates.drift import Distributions, judge_drift, measure_drift
from batchscore.kernel.distributions import Distribution
from batchscore.records import GateVerdict

DAYS = 20
REFERENCE = 28
SHIFTED = ("distance", "seats", "plane_age")
GATE = DriftGateConfig()


@pytest.fixture(scope="module")
def flights(demo_folder: Path) -> pd.DataFrame:
    """Features of the year's flights as the model takes them, by day of the year."""
    rows = read_rows(demo_folder / "training" / "flights")
    features = rows[list(FLIGHTS_FEATURES)].astype("float64")
    return features.set_index(pd.to_datetime(rows["day"]).dt.dayofyear)


@pytest.fixture(scope="module")
def counted(flights: pd.DataFrame) -> Mapping[int, Distributions]:
    return {int(day): count(rows) for day, rows in flights.groupby(level=0)}


@pytest.fixture(scope="module")
def days() -> list[int]:
    return sorted(int(day) for day in np.random.default_rng(2013).choice(np.arange(29, 366), DAYS, replace=False))


def count(rows: pd.DataFrame) -> Distributions:
    columns = {}
    for name in rows.columns:
        columns[name] = Distribution()
        columns[name].add(pa.array(rows[name].to_numpy(), pa.float64()))
    return {"features": columns}


def judge(found: Distributions, counted: Mapping[int, Distributions], day: int) -> GateVerdict:
    before = [counted[earlier] for earlier in range(day - REFERENCE, day)]
    return judge_drift(GATE, measure_drift(GATE, found, before), "the 28 days before", "")


def test_at_most_one_of_twenty_days_is_held(counted: Mapping[int, Distributions], days: list[int]) -> None:
    verdicts = [judge(counted[day], counted, day) for day in days]
    held = [verdict.found for verdict in verdicts if verdict.holds]
    assert len(held) <= 1, held
    assert {verdict.verdict for verdict in verdicts} <= {"pass", "fail"}


@pytest.mark.parametrize("name", SHIFTED)
def test_a_shift_of_half_a_standard_deviation_is_held_and_named_first(
    flights: pd.DataFrame, counted: Mapping[int, Distributions], days: list[int], name: str
) -> None:
    step = flights[name].std() / 2
    for day in days:
        rows = flights.loc[[day]]
        verdict = judge(count(rows.assign(**{name: rows[name] + step})), counted, day)
        assert verdict.holds
        assert verdict.found.split(": ")[1].startswith(f"{name} PSI"), (day, verdict.found)
