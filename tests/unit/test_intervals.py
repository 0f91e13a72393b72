from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchscore.config import Grain
from batchscore.errors import ConfigError
from batchscore.intervals import (
    SNAPSHOT,
    Interval,
    find_interval,
    format_utc,
    make_interval,
    midnight,
    parse_interval,
)

NEW_YORK, LORD_HOWE = "America/New_York", "Australia/Lord_Howe"
ZONES = [NEW_YORK, "Europe/Berlin", LORD_HOWE]
ODD_ZONES = ["America/Sao_Paulo", "America/Havana", "Asia/Kathmandu", "Pacific/Apia", "Asia/Pyongyang", "Africa/Cairo"]
GRAINS: list[Grain] = [grain for grain in get_args(Grain) if grain != "snapshot"]


@pytest.mark.parametrize(
    ("text", "grain", "zone", "expected"),
    [
        ("2013-10-01", "day", NEW_YORK, ("2013-10-01", "2013-10-01T04:00", "2013-10-02T04:00")),
        ("2013-10-01", "day", "UTC", ("2013-10-01", "2013-10-01T00:00", "2013-10-02T00:00")),
        # clocks move: 23 and 25 hours (New York, 10 March and 3 November 2013)
        ("2013-03-10", "day", NEW_YORK, ("2013-03-10", "2013-03-10T05:00", "2013-03-11T04:00")),
        ("2013-11-03", "day", NEW_YORK, ("2013-11-03", "2013-11-03T04:00", "2013-11-04T05:00")),
        # by half an hour (Lord Howe Island, 6 October 2013, +10:30 to +11)
        ("2013-10-06", "day", LORD_HOWE, ("2013-10-06", "2013-10-05T13:30", "2013-10-06T13:00")),
        ("2013-W40", "week", "Europe/Berlin", ("2013-W40", "2013-09-29T22:00", "2013-10-06T22:00")),
        ("2015-W53", "week", "UTC", ("2015-W53", "2015-12-28T00:00", "2016-01-04T00:00")),
        ("2016-02", "month", "UTC", ("2016-02", "2016-02-01T00:00", "2016-03-01T00:00")),
        ("2013-12", "month", "UTC", ("2013-12", "2013-12-01T00:00", "2014-01-01T00:00")),
        ("2016-02-29", "day", "UTC", ("2016-02-29", "2016-02-29T00:00", "2016-03-01T00:00")),
        ("2013-10-01T05", "hour", "UTC", ("2013-10-01T05+00:00", "2013-10-01T05:00", "2013-10-01T06:00")),
        ("2013-10-01T05:00", "hour", "UTC", ("2013-10-01T05+00:00", "2013-10-01T05:00", "2013-10-01T06:00")),
        ("2013-10-01T09Z", "hour", NEW_YORK, ("2013-10-01T05-04:00", "2013-10-01T09:00", "2013-10-01T10:00")),
        ("2013-11-03T01-04:00", "hour", NEW_YORK, ("2013-11-03T01-04:00", "2013-11-03T05:00", "2013-11-03T06:00")),
        ("2013-11-03T01-05:00", "hour", NEW_YORK, ("2013-11-03T01-05:00", "2013-11-03T06:00", "2013-11-03T07:00")),
        ("2013-10-06T01", "hour", LORD_HOWE, ("2013-10-06T01+10:30", "2013-10-05T14:30", "2013-10-05T16:00")),
        # midnight does not exist (Sao Paulo, 4 November 2018): the day begins at 01:00
        ("2018-11-04", "day", "America/Sao_Paulo", ("2018-11-04", "2018-11-04T03:00", "2018-11-05T02:00")),
        # half-open START/END of one unit, as Airflow gives them
        ("2013-10-01/2013-10-02", "day", "UTC", ("2013-10-01", "2013-10-01T00:00", "2013-10-02T00:00")),
        ("2013-12 / 2014-01", "month", "UTC", ("2013-12", "2013-12-01T00:00", "2014-01-01T00:00")),
        ("0999-01-01", "day", "UTC", ("0999-01-01", "0999-01-01T00:00", "0999-01-02T00:00")),
    ],
)  # fmt: skip
def test_parse(text: str, grain: Grain, zone: str, expected: tuple[str, str, str]) -> None:
    label, start, end = expected
    interval = parse_interval(text, grain, zone)
    assert interval.start is not None
    assert interval.end is not None
    assert (interval.label, interval.name, format_utc(interval.end)) == (label, f"{start}:00Z", f"{end}:00Z")
    assert (interval.grain, interval.time_zone) == (grain, zone)
    assert str(interval) == f"{label} ({zone})"


def test_local_times_are_the_wall_clock() -> None:
    interval = parse_interval("2013-11-03", "day", "America/New_York")
    assert interval.local_start == datetime(2013, 11, 3)
    assert interval.local_end == datetime(2013, 11, 4)


@pytest.mark.parametrize("text", [None, "snapshot"])
def test_snapshot(text: str | None) -> None:
    interval = parse_interval(text, "snapshot", "UTC")
    assert find_interval(SNAPSHOT, "snapshot", "UTC") == interval
    assert interval == Interval("snapshot", SNAPSHOT, None, None, "UTC")
    assert (interval.name, str(interval), interval.local_start, interval.local_end) == (
        "snapshot",
        "snapshot",
        None,
        None,
    )


BAD: list[tuple[str | None, Grain, str, str]] = [
    (None, "day", "UTC", "--interval: missing. This job runs by the day: give one, as 2013-10-01."),
    ("2013-10-01", "snapshot", "UTC", "this job takes a snapshot of the whole table; leave --interval out"),
    ("2013-02-29", "day", "UTC", "expected one day of the calendar"),
    ("2013-10", "day", "UTC", "expected one day of the calendar, as 2013-10-01"),
    ("20131001", "day", "UTC", "expected one day of the calendar"),
    ("2013-W40-1", "day", "UTC", "expected one day of the calendar"),
    ("٢٠١٣-10-01", "day", "UTC", "expected one day of the calendar"),
    ("yesterday", "day", "UTC", "expected one day of the calendar"),
    ("", "day", "UTC", "expected one day of the calendar"),
    ("2013-10-01' OR '1'='1", "day", "UTC", "expected one day of the calendar"),
    ("9999-12-31", "day", "UTC", "expected one day of the calendar"),
    ("9999-12", "month", "UTC", "expected one month of the calendar"),
    ("0001-01-01", "day", "Europe/Berlin", "expected one day of the calendar"),
    ("2011-12-30", "day", "Pacific/Apia", "expected one day of the calendar"),  # the day that Samoa left out
    ("2013-13", "month", "UTC", "expected one month of the calendar, as 2013-10"),
    ("2013-1", "month", "UTC", "expected one month of the calendar"),
    ("2013-10-01", "month", "UTC", "expected one month of the calendar"),
    ("2013-W53", "week", "UTC", "expected one week of the calendar, as 2013-W40 (ISO week)"),
    ("2013-W00", "week", "UTC", "expected one week of the calendar"),
    ("2013-W4", "week", "UTC", "expected one week of the calendar"),
    ("2013-40", "week", "UTC", "expected one week of the calendar"),
    ("2013-10-01", "hour", "UTC", "expected one hour of the calendar, as 2013-10-01T05"),
    ("2013-10-01T24", "hour", "UTC", "expected one hour of the calendar"),
    ("2013-10-01T05:30", "hour", "UTC", "expected one hour of the calendar"),
    ("2013-10-01T05+99:00", "hour", "UTC", "expected one hour of the calendar"),
    ("2013-10-01T05+00:30", "hour", "UTC", "the clock of UTC shows no full hour then"),
    ("2013-10-01T05Z", "hour", "Asia/Kathmandu", "the clock of Asia/Kathmandu shows no full hour then"),
    ("2013-10-06T02+10:30", "hour", "Australia/Lord_Howe", "shows no full hour then"),  # it shows 02:30 then
    ("2013-11-03T01", "hour", "America/New_York", "shows this hour twice or never; add the offset"),
    ("2013-03-10T02", "hour", "America/New_York", "shows this hour twice or never"),
    ("2013-10-01/2013-10-01", "day", "UTC", "start and end are the same, so the interval has zero length"),
    ("2013-10-01/2013-10-03", "day", "UTC", "expected exactly one day; give one, as 2013-10-01"),
    ("2013-10-02/2013-10-01", "day", "UTC", "expected exactly one day"),
    ("2013-10-01/", "day", "UTC", "expected one day of the calendar"),
    ("2013-10-01/2013-10-02/2013-10-03", "day", "UTC", "expected one day of the calendar"),
]


@pytest.mark.parametrize(("text", "grain", "zone", "message"), BAD)
def test_bad_intervals(text: str | None, grain: Grain, zone: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_interval(text, grain, zone)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("grain", "first", "last"),
    [
        ("hour", date(2012, 12, 1), date(2014, 2, 1)),
        ("day", date(2005, 1, 1), date(2016, 1, 1)),
        ("week", date(2004, 12, 27), date(2016, 1, 4)),
        ("month", date(2000, 1, 1), date(2027, 1, 1)),
    ],
)
def test_chained_intervals_meet_and_read_back(grain: Grain, zone: str, first: date, last: date) -> None:
    """No gap, no overlap, and every label means its own interval, over years of clock changes."""
    start, end = (midnight(day, ZoneInfo(zone)) for day in (first, last))
    labels: list[str] = []
    names: list[str] = []
    while start < end:
        interval = make_interval(start, grain, zone)
        assert interval.start == start
        assert interval.end is not None
        assert interval.end > start
        assert parse_interval(interval.label, grain, zone) == interval
        labels.append(interval.label)
        names.append(interval.name)
        assert find_interval(interval.name, grain, zone) == interval
        start = interval.end
    assert start == end  # the grid of the coarser units is met again
    assert len(set(labels)) == len(labels)
    assert names == sorted(set(names))


@pytest.mark.parametrize(("zone", "odd_hours"), [("America/New_York", {1}), ("Australia/Lord_Howe", {1, 1.5})])
def test_hours_are_one_hour_but_where_clocks_move_by_half_of_one(zone: str, odd_hours: set[float]) -> None:
    start, lengths = midnight(date(2013, 1, 1), ZoneInfo(zone)), set()
    while start < datetime(2014, 1, 1, tzinfo=UTC):
        interval = make_interval(start, "hour", zone)
        assert interval.end is not None
        lengths.add((interval.end - start) / timedelta(hours=1))
        start = interval.end
    assert lengths == odd_hours


@given(st.dates(date(1975, 1, 1), date(2100, 1, 1)), st.sampled_from(GRAINS), st.sampled_from(ZONES + ODD_ZONES))
def test_an_interval_holds_its_start_and_reads_back(day: date, grain: Grain, zone: str) -> None:
    days = {"week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}
    start = midnight(days.get(grain, day), ZoneInfo(zone))
    if grain == "hour" and start.astimezone(ZoneInfo(zone)).minute:
        return
    interval = make_interval(start, grain, zone)
    assert interval.start is not None
    assert interval.end is not None
    assert interval.start == start < interval.end
    assert parse_interval(interval.label, grain, zone) == interval
    following = make_interval(interval.end, grain, zone)
    assert following.start == interval.end
    assert following.label > interval.label


@given(st.text(alphabet="0123456789-TW:+Z/ ", max_size=24), st.sampled_from(GRAINS), st.sampled_from(ZONES))
def test_any_text_is_an_interval_or_a_config_error(text: str, grain: Grain, zone: str) -> None:
    try:
        interval = parse_interval(text, grain, zone)
    except ConfigError as error:
        assert str(error).startswith("--interval")
    else:
        assert parse_interval(interval.label, grain, zone) == interval


def test_an_instant_off_the_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="is no full hour in UTC"):
        make_interval(datetime(2013, 10, 1, 5, 7, tzinfo=UTC), "hour", "UTC")
