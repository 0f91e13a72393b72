"""The jobs of the demo: what they publish equals scikit-learn's own predictions on independently made features."""

from __future__ import annotations

import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import flights_oracle as oracle
import numpy as np
import pandas as pd
import pytest
from flights_oracle import DEMO_DAY

from batchscore import api
from batchscore.demo.packages import find_data_folder
from batchscore.demo.sources import read_planes
from batchscore.demo.training import JETS, plane_features, train_planes

DATA = find_data_folder()
TOLERANCE = 1e-5
BUSY_DAY = "2013-10-07"  # 19 flights without a tail number, 2 with one that is no registration


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, Any]:
    """The records of two days, the second run here."""
    record = api.run(folder / "flights.yaml", BUSY_DAY)
    first = next(r for r in api.runs(folder / "flights.yaml").records if r["interval_label"].startswith(DEMO_DAY))
    return {DEMO_DAY: first["counts"], BUSY_DAY: record.counts}


@pytest.mark.parametrize("day", [DEMO_DAY, BUSY_DAY])
def test_published_probabilities_equal_those_of_scikit_learn(folder: Path, runs: dict[str, Any], day: str) -> None:
    wanted = oracle.expected_scores(DATA, date.fromisoformat(day)).set_index("flight_id").sort_index()
    frame = api.scores(folder / "flights.yaml").where(f"_interval = '{day}T04:00:00Z'")
    found = frame.select("flight_id", "probability_late").toPandas().set_index("flight_id").sort_index()
    assert list(found.index) == list(wanted.index)
    np.testing.assert_allclose(found["probability_late"], wanted["probability_late"], rtol=0, atol=TOLERANCE)
    assert len(found) == runs[day]["scored"]


@pytest.mark.parametrize("day", [DEMO_DAY, BUSY_DAY])
def test_every_other_row_is_in_quarantine_with_its_reason(folder: Path, runs: dict[str, Any], day: str) -> None:
    wanted = oracle.expected_quarantine(DATA, date.fromisoformat(day))
    rows = oracle.flights_of_day(DATA, date.fromisoformat(day))
    frame = api.quarantine(folder / "flights.yaml").where(f"_interval = '{day}T04:00:00Z'")
    found = {row["flight_id"]: row for row in frame.collect()}
    assert {k: [r["kind"] for r in row["_reasons"]] for k, row in found.items()} == {k: [v] for k, v in wanted.items()}
    raw = {k: json.loads(row["_row"]) for k, row in found.items()}
    assert {k: (r["flight_id"], r["dest"]) for k, r in raw.items()} == {k: (k, rows[k]["dest"]) for k in wanted}
    assert runs[day] == {"read": len(rows), "scored": len(rows) - len(wanted), "quarantined": len(wanted)}


def test_a_snapshot_of_the_planes_is_scored_whole(folder: Path) -> None:
    record = api.run(folder / "planes.yaml")
    planes = read_planes(DATA)
    jets = planes[planes["engine"].isin(JETS)]
    wanted = pd.Series(train_planes(DATA).estimator.predict(plane_features(jets).to_numpy()), index=jets["tailnum"])
    found = api.scores(folder / "planes.yaml").toPandas().set_index("tailnum")["seats_expected"].sort_index()
    wanted = wanted.sort_index()
    assert list(found.index) == list(wanted.index)
    # Seats are in the hundreds, so that float32 alone moves them by more than the probabilities' tolerance.
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=0)
    assert record.counts["read"] == len(planes)
    assert record.counts["quarantined"] == len(planes) - len(jets)
    assert not any(math.isnan(value) for value in found)
