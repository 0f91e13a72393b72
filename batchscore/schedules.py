"""Schedules: which intervals a job is due to have run by a given moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from batchscore.config import Grain, IntervalConfig
from batchscore.errors import ConfigError
from batchscore.intervals import Interval, format_utc, interval_at, make_interval, parse_interval, parse_unit

LATEST, YESTERDAY = "latest", "yesterday"
MAX_INTERVALS = 100_000
_TICKS: dict[str, Grain] = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}
_MOMENT = timedelta.resolution


def list_intervals(start: str, end: str, config: IntervalConfig) -> list[Interval]:
    """The intervals from `start` up to, but without, `end`.

    Args:
        start: What stands behind `--start`, in the grain's own form, such as `2013-10-01`.
        end: What stands behind `--end`, in the same form.
        config: The job's grain and zone; its calendar does not limit the list.

    Returns:
        At least one interval, oldest first; each ends where the next begins.

    Raises:
        ConfigError: One of the two is no interval, they enclose none, or more than `MAX_INTERVALS`.
    """
    grain = config.grain
    if grain == "snapshot":
        raise ConfigError("--start, --end: this job takes a snapshot of the whole table; run it without an interval.")
    first, _ = _bounds(parse_unit(start.strip(), grain, config.time_zone, f"--start {start}: "))
    last, _ = _bounds(parse_unit(end.strip(), grain, config.time_zone, f"--end {end}: "))
    where = f"--start {start} --end {end}: "
    if last == first:
        raise ConfigError(
            f"{where}start and end are the same, so there is no {grain} between them; give the {grain} behind the last "
            "one as --end (schedulers with trigger timetables pass start = end)."
        )
    if last < first:
        raise ConfigError(f"{where}expected the end to be later than the start; swap the two.")
    found = list(islice(_walk(first, last, config), MAX_INTERVALS + 1))
    if len(found) > MAX_INTERVALS:
        raise ConfigError(f"{where}expected at most {MAX_INTERVALS:,} intervals; found more. Give a part at a time.")
    return found


def resolve_interval(text: str | None, config: IntervalConfig, now: datetime) -> Interval:
    """The interval that a user named, or meant by `latest` or `yesterday`.

    `latest` is the newest interval that is complete by `now`, within the job's `start` and `end`. `yesterday` is the
    local day before the one that `now` lies in, whatever the calendar.

    Args:
        text: What stands behind `--interval`; None only for a snapshot.
        config: The job's grain, zone and calendar.
        now: The moment to judge by, an aware datetime.

    Raises:
        ConfigError: The text is no interval of this job, or the job has none that is complete.
    """
    grain, zone = config.grain, config.time_zone
    if grain == "snapshot":
        return parse_interval(None if text == LATEST else text, grain, zone)
    if text == LATEST:
        return _find_latest(config, now)
    if text == YESTERDAY:
        if grain != "day":
            raise ConfigError(f"--interval yesterday: this job runs by the {grain}; use --interval latest.")
        today, _ = _bounds(interval_at(now, grain, zone))
        return _before(today, config)
    return parse_interval(text, grain, zone)


def due_intervals(config: IntervalConfig, first: Interval | None, now: datetime) -> list[Interval]:
    """The intervals that the schedule has made due by now: each that was `latest` at one of its ticks.

    A schedule ticks where its hours, days, weeks or months begin in the job's zone. Without one, every interval that is
    complete is due.

    Args:
        config: The job's grain, zone, calendar and schedule.
        first: The oldest interval that the job has run, if any: it is where a job without `start` begins.
        now: The moment to judge by, an aware datetime.

    Returns:
        Oldest first; empty for a snapshot, and where neither `start` nor `first` is known.
    """
    if config.grain == "snapshot":
        return []
    oldest = first if config.start is None else _parse(config.start, config, "start")
    if oldest is None:
        return []
    complete = list(_walk(_bounds(oldest)[0], _last_edge(config, now), config))
    if config.schedule is None:
        return complete
    # An interval is the newest one from its end until the next one's; the last of them still is.
    ends = [_bounds(interval)[1] for interval in complete]
    untils = [*ends[1:], now + _MOMENT]
    grain = _TICKS[config.schedule]
    return [
        interval
        for interval, end, until in zip(complete, ends, untils, strict=False)
        if _next_tick(end, grain, config.time_zone) < until
    ]


def _find_latest(config: IntervalConfig, now: datetime) -> Interval:
    newest = _before(_last_edge(config, now), config)
    if config.start is not None:
        first = _parse(config.start, config, "start")
        if _bounds(newest)[0] < _bounds(first)[0]:
            raise ConfigError(
                f"--interval latest: no {config.grain} of this job is complete yet. Its first, {first.label}, ends at "
                f"{format_utc(_bounds(first)[1])}; run it after that, or correct `interval.start`."
            )
    return newest


def _last_edge(config: IntervalConfig, now: datetime) -> datetime:
    """The last moment, up to now, at which an interval of the job ends."""
    cap = now if config.end is None else min(now, _bounds(_parse(config.end, config, "end"))[0])
    return _bounds(interval_at(cap, config.grain, config.time_zone))[0]


def _before(edge: datetime, config: IntervalConfig) -> Interval:
    """The interval that ends where another begins."""
    return interval_at(edge - _MOMENT, config.grain, config.time_zone)


def _next_tick(moment: datetime, grain: Grain, time_zone: str) -> datetime:
    """The first start of a unit that is not before a moment."""
    start, end = _bounds(interval_at(moment, grain, time_zone))
    return start if start == moment else end


def _walk(first: datetime, last: datetime, config: IntervalConfig) -> Iterator[Interval]:
    """The intervals between two moments at which intervals begin."""
    while first < last:
        try:
            interval = make_interval(first, config.grain, config.time_zone)
        except ValueError as error:
            raise ConfigError(
                f"{config.time_zone} changed its offset by minutes or seconds after {format_utc(first)}, so the hours "
                "around do not meet; begin later."
            ) from error
        yield interval
        first = _bounds(interval)[1]


def _parse(text: str, config: IntervalConfig, key: str) -> Interval:
    """The value of `start` or `end`."""
    return parse_unit(text, config.grain, config.time_zone, f"interval.{key}: ")


def _bounds(interval: Interval) -> tuple[datetime, datetime]:
    """Start and end of an interval that is no snapshot."""
    assert interval.start is not None
    assert interval.end is not None
    return interval.start, interval.end
