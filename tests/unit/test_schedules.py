"""Calendars: lists of intervals, the latest one, and what a schedule has made due."""

from __future__ import annotations

import bisect
import functools
import itertools
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from module_map import REPOSITORY

from batchscore import api
from batchscore.config import Grain, IntervalConfig
from batchscore.errors import ConfigError
from batchscore.intervals import SNAPSHOT, Interval, interval_at, make_interval, parse_interval
from batchscore.schedules import MAX_INTERVALS, due_intervals, list_intervals, resolve_interval

NEW_YORK, BERLIN, LORD_HOWE = "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"
# Apia left out 2011-12-30; Sao Paulo had no midnight once a year; clocks of St John's went back over midnight to 2011
ZONES = [NEW_YORK, BERLIN, LORD_HOWE, "UTC", "Pacific/Apia", "America/Sao_Paulo", "America/St_Johns"]
GRAINS: list[Grain] = [grain for grain in get_args(Grain) if grain != "snapshot"]
SCHEDULES = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}
TEN_YEARS = {
    "hour": ("2008-01-01T00", "2018-01-01T00"),
    "day": ("2008-01-01", "2018-01-01"),
    "week": ("2008-W01", "2018-W01"),
    "month": ("2008-01", "2018-01"),
}
FIRST_DAY = {"hour": "2008-01-01", "day": "2008-01-01", "week": "2007-12-31", "month": "2008-01-01"}
INSTANT = timedelta(microseconds=1)


def at(text: str, zone: str = "UTC") -> datetime:
    """The instant at which a zone's clock shows this time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def calendar(grain: Grain = "day", zone: str = "UTC", **keys: Any) -> IntervalConfig:
    return IntervalConfig(column="t", grain=grain, time_zone=zone, **keys)


def start_of(interval: Interval) -> datetime:
    assert interval.start is not None
    return interval.start


def end_of(interval: Interval) -> datetime:
    assert interval.end is not None
    return interval.end


@functools.cache
def decade(grain: Grain, zone: str) -> tuple[Interval, ...]:
    return tuple(list_intervals(*TEN_YEARS[grain], calendar(grain, zone)))


@functools.cache
def starts_of(grain: Grain, zone: str) -> tuple[datetime, ...]:
    return tuple(start_of(interval) for interval in decade(grain, zone))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("grain", GRAINS)
def test_ten_years_have_no_gap_and_no_overlap(grain: Grain, zone: str) -> None:
    found = decade(grain, zone)
    assert start_of(found[0]) == at(FIRST_DAY[grain], zone)
    assert end_of(found[-1]) == at("2018-01-01", zone)
    assert all(end_of(one) == start_of(next_one) for one, next_one in itertools.pairwise(found))
    assert all(start_of(interval) < end_of(interval) for interval in found)
    labels = [interval.label for interval in found]
    assert len(set(labels)) == len(labels)
    assert {(interval.grain, interval.time_zone) for interval in found} == {(grain, zone)}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("grain", GRAINS)
def test_ten_years_of_labels_read_back(grain: Grain, zone: str) -> None:
    """All but of hours, of which one in 37, and every one within a day of a change of clocks."""
    found = decade(grain, zone)
    if grain == "hour":
        moved = [n for n, h in enumerate(found) if end_of(h).astimezone(ZoneInfo(zone)).utcoffset() != offset_of(h)]
        assert (len(moved) >= 10) == (zone != "UTC")
        near = {n for change in moved for n in range(change - 24, change + 25)} | set(range(0, len(found), 37))
        found = tuple(found[n] for n in sorted(near))
    assert [parse_interval(interval.label, grain, zone) for interval in found] == list(found)


def offset_of(interval: Interval) -> timedelta | None:
    return start_of(interval).astimezone(ZoneInfo(interval.time_zone)).utcoffset()


@pytest.mark.parametrize(
    ("grain", "zone", "count"),
    [
        ("hour", "UTC", 87_672),  # 3653 days
        ("hour", NEW_YORK, 87_672),
        ("hour", LORD_HOWE, 87_672 - 10),  # clocks move by half an hour: one hour of 90 minutes at either change
        ("day", NEW_YORK, 3653),
        ("day", "Pacific/Apia", 3652),
        ("week", BERLIN, 522),
        ("month", "UTC", 120),
    ],
)
def test_ten_years_count(grain: Grain, zone: str, count: int) -> None:
    assert len(decade(grain, zone)) == count


@pytest.mark.parametrize(
    ("grain", "start", "end", "labels"),
    [
        ("day", "2016-02-28", "2016-03-02", ["2016-02-28", "2016-02-29", "2016-03-01"]),
        ("day", " 2013-10-01", "2013-10-02 ", ["2013-10-01"]),
        ("week", "2015-W52", "2016-W02", ["2015-W52", "2015-W53", "2016-W01"]),
        ("month", "2013-11", "2014-02", ["2013-11", "2013-12", "2014-01"]),
        ("hour", "2013-11-03T00", "2013-11-03T02", [f"2013-11-03T{h}:00" for h in ("00-04", "01-04", "01-05")]),
        ("hour", "2013-03-10T01", "2013-03-10T04", [f"2013-03-10T{h}:00" for h in ("01-05", "03-04")]),
    ],
)
def test_lists(grain: Grain, start: str, end: str, labels: list[str]) -> None:
    config = calendar(grain, NEW_YORK, start=None if grain == "hour" else end)  # the calendar limits no list
    assert [interval.label for interval in list_intervals(start, end, config)] == labels


@pytest.mark.parametrize(
    ("grain", "zone", "start", "end", "message"),
    [
        ("day", "UTC", "2013-10-01", "2013-10-01", "--start 2013-10-01 --end 2013-10-01: start and end are the same"),
        ("hour", "UTC", "2013-10-01T05", "2013-10-01T05:00Z", "trigger timetables pass start = end"),
        ("day", "UTC", "2013-10-02", "2013-10-01", "expected the end to be later than the start; swap the two."),
        ("day", "UTC", "2013-10", "2013-10-01", "--start 2013-10: expected one day of the calendar, as 2013-10-01"),
        ("day", "UTC", "2013-10-01", "2013-02-30", "--end 2013-02-30: expected one day of the calendar"),
        ("day", "UTC", "2013-10-01", "latest", "--end latest: expected one day of the calendar"),
        ("hour", BERLIN, "2013-10-27T02", "2013-10-28T00", "--start 2013-10-27T02: the clock of Europe/Berlin shows"),
        ("day", "UTC", "1613-10-01", "2013-10-01", "expected at most 100,000 intervals; found more"),
        ("snapshot", "UTC", "2013-10-01", "2013-10-02", "--start, --end: this job takes a snapshot"),
        # Liberia's clocks were 44 minutes and a half behind until 1972
        ("hour", "Africa/Monrovia", "1972-01-06T00", "1972-01-08T00", "Africa/Monrovia changed its offset by minutes"),
    ],
)
def test_bad_lists(grain: Grain, zone: str, start: str, end: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        list_intervals(start, end, calendar(grain, zone))


def test_the_longest_list() -> None:
    days = list_intervals("1900-01-01", "2173-10-16", calendar())
    assert len(days) == MAX_INTERVALS
    with pytest.raises(ConfigError, match="found more"):
        list_intervals("1900-01-01", "2173-10-17", calendar())


@pytest.mark.parametrize(
    ("text", "config", "now", "label"),
    [
        ("latest", calendar(zone=NEW_YORK), at("2013-10-02T00:00", NEW_YORK), "2013-10-01"),
        ("latest", calendar(zone=NEW_YORK), at("2013-10-02T00:00", NEW_YORK) - INSTANT, "2013-09-30"),
        ("latest", calendar(zone=NEW_YORK), at("2013-10-02T02:00"), "2013-09-30"),  # it is still the 1st in New York
        ("latest", calendar("hour", NEW_YORK), at("2013-11-03T06:30"), "2013-11-03T01-04:00"),
        ("latest", calendar("hour", NEW_YORK), at("2013-11-03T07:00"), "2013-11-03T01-05:00"),
        ("latest", calendar("hour", LORD_HOWE), at("2013-10-06T02:59", LORD_HOWE), "2013-10-06T00+10:30"),
        ("latest", calendar("hour", LORD_HOWE), at("2013-10-06T03:00", LORD_HOWE), "2013-10-06T01+10:30"),
        ("latest", calendar("week", BERLIN), at("2016-01-04T00:00", BERLIN), "2015-W53"),
        ("latest", calendar("month"), at("2013-12-31T23:59"), "2013-11"),
        ("latest", calendar(zone="Pacific/Apia"), at("2011-12-31T05:00", "Pacific/Apia"), "2011-12-29"),
        ("latest", calendar(start="2013-10-01"), at("2013-10-02T00:00"), "2013-10-01"),
        ("latest", calendar(end="2014-01-01"), at("2026-05-05T00:00"), "2013-12-31"),
        ("latest", calendar(end="2014-01-01"), at("2014-01-01T00:00"), "2013-12-31"),
        ("latest", calendar(end="2014-01-01"), at("2013-12-31T23:59"), "2013-12-30"),
        ("latest", calendar("month", start="2013-01", end="2013-02"), at("2013-07-01T00:00"), "2013-01"),
        ("latest", IntervalConfig(grain="snapshot"), at("2013-10-02T00:00"), SNAPSHOT),
        (None, IntervalConfig(grain="snapshot"), at("2013-10-02T00:00"), SNAPSHOT),
        ("yesterday", calendar(zone=NEW_YORK), at("2013-10-03T03:59"), "2013-10-01"),
        ("yesterday", calendar(zone=NEW_YORK), at("2013-10-03T04:00"), "2013-10-02"),
        ("yesterday", calendar(zone="Pacific/Apia"), at("2011-12-31T05:00", "Pacific/Apia"), "2011-12-29"),
        ("yesterday", calendar(end="2014-01-01"), at("2026-05-05T00:00"), "2026-05-04"),  # said, so meant
        ("2013-10-01", calendar(end="2013-01-01"), at("2012-01-01T00:00"), "2013-10-01"),
        ("2013-10-01/2013-10-02", calendar(), at("2012-01-01T00:00"), "2013-10-01"),
    ],
)
def test_names_of_one_interval(text: str | None, config: IntervalConfig, now: datetime, label: str) -> None:
    assert resolve_interval(text, config, now).label == label


@pytest.mark.parametrize(
    ("text", "config", "message"),
    [
        (
            "latest",
            calendar(zone=NEW_YORK, start="2013-10-01"),
            "--interval latest: no day of this job is complete yet. Its first, 2013-10-01, ends at "
            "2013-10-02T04:00:00Z; run it after that, or correct `interval.start`.",
        ),
        ("latest", calendar("month", start="2030-01", end="2031-01"), "Its first, 2030-01, ends at 2030-02-01T00:00"),
        ("yesterday", calendar("hour"), "--interval yesterday: this job runs by the hour; use --interval latest."),
        ("yesterday", calendar("week"), "this job runs by the week; use --interval latest."),
        ("yesterday", IntervalConfig(grain="snapshot"), "takes a snapshot of the whole table; leave --interval out"),
        ("Latest", calendar(), "--interval Latest: expected one day of the calendar"),
        ("2013-10-01/2013-10-01", calendar(), "zero length"),
        (None, calendar(), "--interval: missing"),
        ("latest", calendar(start="2013-10"), "interval.start: expected one day of the calendar"),  # made in Python
        ("latest", calendar(end="2013-10"), "interval.end: expected one day of the calendar"),
    ],
)
def test_names_of_none(text: str | None, config: IntervalConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve_interval(text, config, at("2013-10-02T00:00"))


# No deadline for the properties: whichever example comes first lists ten years.
MOMENTS = st.datetimes(datetime(2008, 2, 8), datetime(2017, 12, 1), timezones=st.just(UTC))
GRAIN, ZONE = st.sampled_from(GRAINS), st.sampled_from(ZONES)


@settings(deadline=None)
@given(MOMENTS, GRAIN, ZONE)
def test_latest_is_complete_and_the_next_is_not(moment: datetime, grain: Grain, zone: str) -> None:
    latest = resolve_interval("latest", calendar(grain, zone), moment)
    following = make_interval(end_of(latest), grain, zone)
    assert end_of(latest) <= moment < end_of(following)
    assert interval_at(moment, grain, zone) == following
    assert following == decade(grain, zone)[bisect.bisect_right(starts_of(grain, zone), moment) - 1]


@settings(deadline=None)
@given(st.integers(100, 3000), GRAIN, ZONE, st.sampled_from([-INSTANT, timedelta(), INSTANT]))
def test_latest_beside_an_edge(number: int, grain: Grain, zone: str, aside: timedelta) -> None:
    found = decade(grain, zone)
    number %= len(found) - 3
    latest = resolve_interval("latest", calendar(grain, zone), end_of(found[number + 1]) + aside)
    assert latest == found[number if aside < timedelta() else number + 1]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("grain", GRAINS)
def test_every_instant_around_changes_of_clocks_is_in_its_interval(grain: Grain, zone: str) -> None:
    """Each ten minutes of three days around every change in 2010 and 2011."""
    found, starts = decade(grain, zone), starts_of(grain, zone)
    days = [at(f"{year}-01-01") + timedelta(days=n) for year in (2010, 2011) for n in range(365)]
    local = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    for day in (day for day, one, other in zip(days, local, local[1:], strict=False) if one != other):
        for instant in (day + timedelta(minutes=10 * n) for n in range(-144, 288)):
            assert interval_at(instant, grain, zone) == found[bisect.bisect_right(starts, instant) - 1]


def test_clocks_that_go_back_over_midnight() -> None:
    """St John's, 7 November 2010, a minute past midnight: the clock shows the 6th again, for 59 minutes."""
    instant = datetime(2010, 11, 7, 2, 45, tzinfo=UTC)
    assert instant.astimezone(ZoneInfo("America/St_Johns")).day == 6
    assert interval_at(instant, "day", "America/St_Johns").label == "2010-11-07"


DUE: list[tuple[IntervalConfig, str | None, datetime, list[str]]] = [
    # without a schedule: whatever is complete
    (calendar(start="2013-10-01"), None, at("2013-10-03T23:00"), ["2013-10-01", "2013-10-02"]),
    (calendar(start="2013-10-01", end="2013-10-02"), None, at("2013-10-09T00:00"), ["2013-10-01"]),
    (calendar(), "2013-10-02", at("2013-10-04T00:00"), ["2013-10-02", "2013-10-03"]),
    (calendar(start="2013-10-01"), "2013-10-02", at("2013-10-03T00:00"), ["2013-10-01", "2013-10-02"]),
    (calendar(start="2013-10-02"), "2013-10-01", at("2013-10-03T00:00"), ["2013-10-02"]),
    # nothing is known, or complete
    (calendar(), None, at("2013-10-04T00:00"), []),
    (calendar(schedule="daily"), None, at("2013-10-04T00:00"), []),
    (calendar(start="2013-10-01"), None, at("2013-10-01T23:59"), []),
    (calendar(start="2013-10-01", schedule="daily"), None, at("2012-10-01T00:00"), []),
    # the schedule's own grain, at the tick and a moment before
    (calendar(start="2013-10-01", schedule="daily"), None, at("2013-10-03T00:00"), ["2013-10-01", "2013-10-02"]),
    (calendar(start="2013-10-01", schedule="daily"), None, at("2013-10-03T00:00") - INSTANT, ["2013-10-01"]),
    # a coarser schedule: what is complete when it ticks; 2013-10-07 was a Monday
    (
        calendar(start="2013-10-01", schedule="weekly"),
        None,
        at("2013-10-20T12:00"),
        ["2013-10-06", "2013-10-13"],
    ),
    (calendar(start="2013-10-01", schedule="weekly"), None, at("2013-10-07T00:00") - INSTANT, []),
    (
        calendar("week", start="2013-W40", schedule="monthly"),
        None,
        at("2014-01-01T00:00"),
        ["2013-W43", "2013-W47", "2013-W52"],
    ),
    (
        calendar("hour", NEW_YORK, start="2013-11-03T00", schedule="daily"),
        None,
        at("2013-11-05T12:00"),
        ["2013-11-03T23-05:00", "2013-11-04T23-05:00"],
    ),
    # a finer one adds nothing
    (calendar("month", start="2013-10", schedule="daily"), None, at("2013-12-15T00:00"), ["2013-10", "2013-11"]),
    (calendar("week", start="2013-W40", schedule="hourly"), None, at("2013-10-14T00:00"), ["2013-W40", "2013-W41"]),
    # the job's last one stays the newest, so the tick behind the end makes it due; 2014-01-06 was a Monday
    (calendar(start="2013-12-28", end="2014-01-01", schedule="weekly"), None, at("2014-01-05T23:59"), ["2013-12-29"]),
    (
        calendar(start="2013-12-28", end="2014-01-01", schedule="weekly"),
        None,
        at("2014-01-06T00:00"),
        ["2013-12-29", "2013-12-31"],
    ),
    (
        calendar(start="2013-12-30", end="2014-01-01", schedule="daily"),
        None,
        at("2026-01-01T00:00"),
        ["2013-12-30", "2013-12-31"],
    ),
    # the day that Samoa left out is not due
    (
        calendar(zone="Pacific/Apia", start="2011-12-28", schedule="daily"),
        None,
        at("2012-01-01T00:00", "Pacific/Apia"),
        ["2011-12-28", "2011-12-29", "2011-12-31"],
    ),
]


@pytest.mark.parametrize(("config", "first", "now", "labels"), DUE)
def test_due(config: IntervalConfig, first: str | None, now: datetime, labels: list[str]) -> None:
    oldest = parse_interval(first, config.grain, config.time_zone) if first else None
    assert [interval.label for interval in due_intervals(config, oldest, now)] == labels


def test_the_flights_job_is_responsible_for_2013() -> None:
    job = api.load(REPOSITORY / "configs" / "flights.yaml")
    assert api.find_one(job, "latest").label == "2013-12-31"
    labels = [interval.label for interval in due_intervals(job.config.interval, None, datetime.now(UTC))]
    assert (len(labels), labels[0], labels[-1]) == (365, "2013-01-01", "2013-12-31")


def test_a_snapshot_is_never_due() -> None:
    config = IntervalConfig(grain="snapshot", schedule="daily")
    assert due_intervals(config, None, at("2013-10-01T00:00")) == []
    assert due_intervals(config, parse_interval(None, "snapshot", "UTC"), at("2013-10-01T00:00")) == []


@settings(deadline=None)
@given(
    GRAIN,
    st.sampled_from([*SCHEDULES]),
    ZONE,
    st.integers(0, 3000),
    st.integers(1, 60),
    st.booleans(),
    st.integers(0, 999),
)
def test_due_is_what_was_latest_at_some_tick(
    grain: Grain, schedule: Any, zone: str, skip: int, length: int, ended: bool, thousandths: int
) -> None:
    """The definition, tick by tick."""
    found = decade(grain, zone)
    skip %= len(found) - 62
    now = start_of(found[skip]) + (end_of(found[skip + length]) - start_of(found[skip])) * thousandths / 1000
    end = found[skip + max(1, length // 2)].label if ended else None
    config = calendar(grain, zone, start=found[skip].label, end=end, schedule=schedule)
    ticks = starts_of(SCHEDULES[schedule], zone)  # type: ignore[arg-type]
    expected: dict[Interval, None] = {}
    for tick in ticks[bisect.bisect_left(ticks, end_of(found[skip])) : bisect.bisect_right(ticks, now)]:
        expected[resolve_interval("latest", config, tick)] = None
    assert due_intervals(config, None, now) == [*expected]
    assert due_intervals(calendar(grain, zone, end=end, schedule=schedule), found[skip], now) == [*expected]


def test_ten_years_of_hours_are_due_in_seconds() -> None:
    config = calendar("hour", NEW_YORK, start="2008-01-01T00", schedule="hourly")
    began = time.perf_counter()
    assert len(due_intervals(config, None, at("2018-01-01T00:00", NEW_YORK))) == 87_672
    assert time.perf_counter() - began < 30  # two or three; a walk over all for each would take hours
