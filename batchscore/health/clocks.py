"""Clocks: whether Python, which names intervals, and Java, which cuts and reads them, know the same time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from batchscore.health.checks import Check

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST_YEAR, YEARS_AHEAD = 2000, 3
Offset = Callable[[datetime], int]


def check_clocks(spark: SparkSession, zone: str) -> Check:
    """Compare the offsets of a time zone in Python's data with those in Java's, month by month."""
    jvm: Any = spark._jvm
    rules = jvm.java.time.ZoneId.of(zone).getRules()

    def java(instant: datetime) -> int:
        return int(rules.getOffset(jvm.java.time.Instant.ofEpochSecond(int(instant.timestamp()))).getTotalSeconds())

    return compare_clocks(zone, python_offset(zone), java, datetime.now(UTC).year + YEARS_AHEAD)


def compare_clocks(zone: str, python: Offset, java: Offset, last_year: int) -> Check:
    """A verdict on two clocks of one zone.

    Args:
        zone: Its IANA name.
        python: Seconds ahead of UTC at an instant, by Python.
        java: The same by Java.
        last_year: The last year that is looked at.
    """
    months = [
        datetime(year, month, 1, 12, tzinfo=UTC) for year in range(FIRST_YEAR, last_year) for month in range(1, 13)
    ]
    apart = [month for month in months if python(month) != java(month)]
    if apart:
        return Check(
            "time zone",
            "FAIL",
            f"{zone}: expected Python and Java to have one clock; they differ in {len(apart)} months, first in "
            f"{apart[0]:%Y-%m}. Rows would fall into other intervals: update the tzdata package, or Java.",
        )
    return Check("time zone", "OK", f"{zone}: Python and Java agree from {FIRST_YEAR} to {last_year - 1}")


def python_offset(zone: str) -> Offset:
    """Seconds ahead of UTC at an instant, by Python's data."""

    def offset(instant: datetime) -> int:
        found = instant.astimezone(ZoneInfo(zone)).utcoffset()
        assert found is not None
        return int(found.total_seconds())

    return offset
