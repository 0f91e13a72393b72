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
from batchscore.demo.build import read_rows
from batchscore.demo.packages import find_data_folder
from batchscore.demo.sources import read_planes
from batchscore.demo.training import train_planes
from batchscore.loading import load_job

DATA = find_data_folder()
TOLERANCE = 1e-5
JETS = ("Turbo-fan", "Turbo-jet")
MAKERS = ("AIRBUS", "AIRBUS INDUSTRIE", "BOEING", "BOMBARDIER INC", "EMBRAER", "MCDONNELL DOUGLAS")
BUSY_DAY = "2013-10-07"  # 19 flights without a tail number, 2 with one that is no registration


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, Any]:
    """The records of two days, the second run here."""
    record = api.run(folder / "flights.yaml", BUSY_DAY)
    first = next(r for r in api.runs(folder / "flights.yaml").records if r["interval_label"].startswith(DEMO_DAY))
    return {DEMO_DAY: first["counts"], BUSY_DAY: record.counts}


@pytest.mark.parametrize("day", [DEMO_DAY, BUSY_DAY])
def test_published_probabilities_equal_those_of_scikit_learn(folder: Path, runs: dict[str, Any], day: str) -> None:
    wanted = oracle.expected_scores(DATA, date.fromisoformat(day), folder).set_index("flight_id").sort_index()
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
    features = pd.DataFrame(
        {
            "year": jets["year"].fillna(2001),
            "engines": jets["engines"],
            "jet": jets["engine"].map({name: place for place, name in enumerate(JETS, 1)}),
            "maker_code": jets["manufacturer"].map({name: place for place, name in enumerate(MAKERS, 1)}).fillna(0),
        }
    ).to_numpy(dtype=np.float32)
    estimator = train_planes(read_rows(folder / "training" / "planes")).estimator
    wanted = pd.Series(estimator.predict(features), index=jets["tailnum"])
    found = api.scores(folder / "planes.yaml").toPandas().set_index("tailnum")["seats_expected"].sort_index()
    wanted = wanted.sort_index()
    assert list(found.index) == list(wanted.index)
    # Seats are in the hundreds, so that float32 alone moves them by more than the probabilities' tolerance.
    np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=0)
    assert record.counts["read"] == len(planes)
    assert record.counts["quarantined"] == len(planes) - len(jets)
    assert not any(math.isnan(value) for value in found)


def probabilities(folder: Path, name: str) -> pd.Series:
    frame = api.scores(folder / name).select("flight_id", "probability_late").toPandas()
    return frame.set_index("flight_id")["probability_late"].sort_index()


@pytest.mark.slow
def test_the_examples_of_several_models_score_the_same_flights(folder: Path) -> None:
    day = f"_interval = '{DEMO_DAY}T04:00:00Z'"
    rows = api.scores(folder / "flights.yaml").where(day).select("flight_id", "probability_late").toPandas()
    champion = rows.set_index("flight_id")["probability_late"].sort_index()
    challenger = load_job(folder / "flights_challenger.yaml", ["output.challenger=tables/beside"])
    challenged = api.run(challenger, DEMO_DAY)
    own = probabilities(folder, "flights_challenger.yaml")  # without checks: a flight more, which has no tail number
    assert own.loc[champion.index].equals(champion)
    champion = own
    spark = api.spark_session(challenger)
    beside = spark.read.format("delta").load(str(folder / "tables" / "beside")).toPandas()
    linear = beside.set_index("flight_id")["probability_late"].sort_index()
    told = challenged.challenger["columns"]["probability_late"]
    difference = (linear - champion).astype("float64")
    assert told["rows"] == len(champion)
    assert told["mean_difference"] == pytest.approx(difference.mean(), abs=1e-7)
    assert told["rank_correlation"] == pytest.approx(champion.corr(linear, method="spearman"), abs=1e-9)
    worst = spark.read.format("delta").load(str(folder / "tables" / "flights_challenger_scores_differences")).toPandas()
    assert set(worst["flight_id"]) == set(difference.abs().nlargest(20).index)

    api.run(folder / "flights_ensemble.yaml", DEMO_DAY)
    mean = probabilities(folder, "flights_ensemble.yaml")
    np.testing.assert_allclose(mean, 0.75 * champion + 0.25 * linear, rtol=1e-5)
    found = api.scores(folder / "flights_ensemble.yaml").select("flight_id", "risk").toPandas().set_index("flight_id")
    wanted = np.where(mean < 0.15, "low", np.where(mean >= 0.4, "high", "medium"))
    assert found["risk"].sort_index().tolist() == wanted.tolist()

    api.run(folder / "flights_segments.yaml", DEMO_DAY)
    frame = api.scores(folder / "flights_segments.yaml").select("flight_id", "origin", "probability_late", "_model")
    segments = frame.toPandas().set_index("flight_id").sort_index()
    is_champion = segments["origin"].isin(["EWR", "JFK"])
    assert segments["probability_late"].equals(champion.where(is_champion, linear))
    assert (segments["_model"] == np.where(is_champion, "flights_delay/1", "flights_delay_linear/1")).all()


def test_comet_publishes_what_spark_did(folder: Path, runs: dict[str, Any]) -> None:
    def published() -> list[Any]:
        frame = api.scores(folder / "flights.yaml").where(f"_interval = '{BUSY_DAY}T04:00:00Z'")
        return frame.drop("_run_id", "_generation", "_scored_at").orderBy("flight_id").collect()

    before = published()
    record = api.run(api.load(folder / "flights.yaml", ["engine.accelerator=comet"]), BUSY_DAY, force=True)
    assert (record.scan["by"], record.counts) == ("comet", runs[BUSY_DAY])
    assert published() == before
