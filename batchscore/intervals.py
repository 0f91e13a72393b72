"""Intervals: half-open spans of one grain in a stated time zone, and their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from batchscore.config import Grain
from batchscore.errors import ConfigError

SNAPSHOT = "snapshot"

_FORMS = {
    "hour": "2013-10-01T05 (local hour)",
    "day": "2013-10-01",
    "week": "2013-W40 (ISO week)",
    "month": "2013-10",
    "snapshot": "no --interval at all",
}
_HOUR = re.compile(r"(\d{4}-\d{2}-\d{2})T([01]\d|2[0-3])(?::?00)?([+-]\d{2}:\d{2}|Z)?", re.ASCII)
_QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Interval:
    """One half-open span `[start, end)`; a snapshot has neither.

    Attributes:
        grain: The grain that it is one unit of.
        label: What people type, such as `2013-10-01`.
        start: First instant, in UTC.
        end: First instant after it, in UTC.
        time_zone: The IANA zone whose clock the interval follows.
    """

    grain: Grain
    label: str
    start: datetime | None
    end: datetime | None
    time_zone: str

    @property
    def name(self) -> str:
        """The value of the `_interval` column: the start in UTC, such as `2013-10-01T04:00:00Z`."""
        return format_utc(self.start) if self.start else SNAPSHOT

    @property
    def local_start(self) -> datetime | None:
        """The first instant as the zone's wall clock shows it, without zone."""
        return _wall(self.start, self.time_zone)

    @property
    def local_end(self) -> datetime | None:
        """The end as the zone's wall clock shows it, without zone."""
        return _wall(self.end, self.time_zone)

    def __str__(self) -> str:
        return f"{self.label} ({self.time_zone})" if self.start else SNAPSHOT


def format_utc(instant: datetime) -> str:
    """An instant in ISO 8601, UTC, whole seconds, ending in `Z`."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def parse_interval(text: str | None, grain: Grain, time_zone: str) -> Interval:
    """The interval that a user named.

    Accepts the grain's own form (`2013-10-01T05`, `2013-10-01`, `2013-W40`, `2013-10`), or `START/END` in that
    form, half-open, spanning exactly one unit.

    Args:
        text: What stands behind `--interval`; None only for a snapshot.
        grain: The job's grain.
        time_zone: The job's IANA zone.

    Raises:
        ConfigError: The text is no interval of this grain, has zero length, or spans several units.
    """
    if grain == "snapshot":
        if text not in (None, SNAPSHOT):
            raise ConfigError("--interval: this job takes a snapshot of the whole table; leave --interval out.")
        return Interval(grain, SNAPSHOT, None, None, time_zone)
    if text is None:
        raise ConfigError(f"--interval: missing. This job runs by the {grain}: give one, as {_FORMS[grain]}.")
    first, slash, last = text.partition("/")
    where = f"--interval {text}: "
    interval = parse_unit(first.strip(), grain, time_zone, where)
    if slash:
        end = parse_unit(last.strip(), grain, time_zone, where).start
        if end == interval.start:
            raise ConfigError(
                f"{where}start and end are the same, so the interval has zero length. "
                f"Give one {grain}, as {_FORMS[grain]} (schedulers with trigger timetables pass start = end)."
            )
        if end != interval.end:
            raise ConfigError(f"{where}expected exactly one {grain}; give one, as {_FORMS[grain]}.")
    return interval


def parse_unit(text: str, grain: Grain, time_zone: str, where: str) -> Interval:
    """The interval that a text names in the grain's own form.

    Args:
        text: Such as `2013-10-01`.
        grain: Any but `snapshot`.
        time_zone: An IANA zone.
        where: What messages begin with: where the text stood, such as `--start 2013-10-01: `.

    Raises:
        ConfigError: The text is no interval of this grain.
    """
    zone = ZoneInfo(time_zone)
    try:
        interval = make_interval(_parse_start(text, grain, zone, where), grain, time_zone)
        # a week 53 that the year lacks, or a day that a zone left out when it crossed the date line, is another's name
        if grain != "hour" and interval.label != text:
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{where}expected one {grain} of the calendar, as {_FORMS[grain]}. "
            "Check the value, or the job's `interval.grain`."
        ) from error
    return interval


def make_interval(start: datetime, grain: Grain, time_zone: str) -> Interval:
    """The interval of this grain that begins at `start`, an aware datetime on a boundary of the grain."""
    zone = ZoneInfo(time_zone)
    begin = start.astimezone(UTC)
    if grain == "hour":
        return Interval(grain, _hour_label(begin, zone), begin, _next_hour(begin, zone), time_zone)
    day = begin.astimezone(zone).date()
    following = next_date(day, grain)
    return Interval(grain, _label(day, grain), begin, midnight(following, zone), time_zone)


def interval_at(instant: datetime, grain: Grain, time_zone: str) -> Interval:
    """The interval of this grain, any but `snapshot`, that holds an instant, an aware datetime."""
    zone = ZoneInfo(time_zone)
    if grain == "hour":
        return make_interval(_hour_before(instant, zone), grain, time_zone)
    # From the day before on: clocks put back across midnight show yesterday's date again, after today has begun.
    day = instant.astimezone(zone).date() - timedelta(days=1)
    if grain == "week":
        day -= timedelta(days=day.weekday())
    if grain == "month":
        day = day.replace(day=1)
    while midnight(next_date(day, grain), zone) <= instant:
        day = next_date(day, grain)
    return make_interval(midnight(day, zone), grain, time_zone)


def find_interval(name: str, grain: Grain, time_zone: str) -> Interval:
    """The interval that a value of the `_interval` column names."""
    if name == SNAPSHOT:
        return parse_interval(None, grain, time_zone)
    return make_interval(datetime.fromisoformat(name), grain, time_zone)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """First instant of a local day, in UTC (where DST skips midnight, the first instant that exists)."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def next_date(day: date, grain: Grain) -> date:
    """First day of the unit after the one that begins on `day`."""
    if grain == "month":
        return date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return day + timedelta(days=7 if grain == "week" else 1)


def _wall(instant: datetime | None, time_zone: str) -> datetime | None:
    return instant.astimezone(ZoneInfo(time_zone)).replace(tzinfo=None) if instant else None


def _hour_label(begin: datetime, zone: ZoneInfo) -> str:
    local = begin.astimezone(zone).isoformat(timespec="minutes")
    return local[:13] + local[16:]


def _next_hour(begin: datetime, zone: ZoneInfo) -> datetime:
    """The next instant at which the zone's clock shows a full hour.

    Usually one hour on. Where clocks move by half an hour (Lord Howe Island) it is longer or shorter once, so that
    hours before and after still meet.
    """
    return _first_full_hour((begin + _QUARTER * step for step in range(1, 25)), zone, begin)


def _hour_before(instant: datetime, zone: ZoneInfo) -> datetime:
    """The last instant, up to this one, at which the zone's clock shows a full hour."""
    quarter = instant - (instant - datetime(1970, 1, 1, tzinfo=UTC)) % _QUARTER
    return _first_full_hour((quarter - _QUARTER * step for step in range(24)), zone, instant)


def _first_full_hour(instants: Iterable[datetime], zone: ZoneInfo, beside: datetime) -> datetime:
    """The first full hour among quarters of hours: by these, zones differ from UTC (IANA tz, since 1972)."""
    found = next((instant for instant in instants if _is_full_hour(instant, zone)), None)
    if found is None:
        raise ValueError(f"{format_utc(beside)} is no full hour in {zone.key}")
    return found


def _is_full_hour(instant: datetime, zone: ZoneInfo) -> bool:
    local = instant.astimezone(zone)
    return local.minute == local.second == 0


def _label(day: date, grain: Grain) -> str:
    if grain == "week":
        year, week, _ = day.isocalendar()
        return f"{year:04d}-W{week:02d}"
    return day.isoformat()[:7] if grain == "month" else day.isoformat()


def _parse_start(text: str, grain: Grain, zone: ZoneInfo, where: str) -> datetime:
    if grain == "hour":
        return _parse_hour(text, zone, where)
    if grain == "week":
        year, _, week = text.partition("-W")
        return midnight(date.fromisocalendar(int(year), int(week), 1), zone)
    return midnight(date.fromisoformat(f"{text}-01" if grain == "month" else text), zone)


def _parse_hour(text: str, zone: ZoneInfo, where: str) -> datetime:
    found = _HOUR.fullmatch(text)
    if not found:
        raise ValueError
    day, hour, offset = found.groups()
    if offset:
        instant = datetime.fromisoformat(f"{day}T{hour}:00:00{offset.replace('Z', '+00:00')}").astimezone(UTC)
        if not _is_full_hour(instant, zone):
            raise ConfigError(f"{where}the clock of {zone.key} shows no full hour then; correct the offset.")
        return instant
    local = datetime.fromisoformat(f"{day}T{hour}:00:00")
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        raise ConfigError(
            f"{where}the clock of {zone.key} shows this hour twice or never; add the offset, as 2013-11-03T01-04:00."
        )
    return first.astimezone(UTC)
