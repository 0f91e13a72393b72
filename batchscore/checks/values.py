"""Values written in a suite, cast to the type of the column that they meet, or the reason why they cannot be."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from batchscore.kernel.arrays import to_decimal

DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?")
EPOCH = dt.datetime(1970, 1, 1)
INT64 = 2**63
DECIMAL_DIGITS = 38


class Unsupported(Exception):  # noqa: N818 - an answer, caught by compile
    """Only Great Expectations can evaluate this; holds the reason."""


def cast_bound(value: Any, kind: pa.DataType, time_zone: str) -> Any:
    """A bound as the typed value that it is compared as; None stays None.

    Returns:
        Numbers as float (as GX itself reads them), or as written for decimals; text as str; dates as date;
        timestamps as datetime, in UTC where the column has a zone.

    Raises:
        Unsupported: The value does not fit the column's type.
    """
    if value is None:
        return None
    if is_number(kind):
        return _cast_number(value, kind)
    if is_text(kind):
        if isinstance(value, str) and not _looks_typed(value):
            return value
        raise Unsupported("Great Expectations reads this bound of a text column as a number or a date")
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return cast_time(value, kind, time_zone)
    raise Unsupported(f"the column's type {kind} has no order here")


def cast_time(value: Any, kind: pa.DataType, time_zone: str) -> dt.date:
    """ISO text as a date, or as a datetime in UTC (without zone for a column without).

    A time without zone is read in `time_zone`; a date alone is its midnight.

    Raises:
        Unsupported: The text has another form, or the column lacks what it says.
    """
    if not isinstance(value, str) or not (DATE.fullmatch(value) or TIMESTAMP.fullmatch(value)):
        raise Unsupported(f"a value for a column of type {kind} is not ISO text such as 2013-10-01")
    try:
        if pa.types.is_date(kind):
            if not DATE.fullmatch(value):
                raise Unsupported("a date column meets a value with a time of day")
            return dt.date.fromisoformat(value)
        moment = dt.datetime.fromisoformat(value)
    except ValueError as error:
        raise Unsupported(f"a value for a column of type {kind} is not on the calendar") from error
    if kind.tz is None:
        if moment.tzinfo is not None:
            raise Unsupported("a timestamp column without time zone meets a value with one")
        return moment
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(time_zone))).astimezone(dt.UTC)


def cast_set(values: Any, kind: pa.DataType, time_zone: str) -> list[Any]:
    """A value set as typed values; see `cast_bound`, except that integers stay integers.

    Raises:
        Unsupported: It is not a list, holds null, or a value that does not fit the column's type.
    """
    if not isinstance(values, list):
        raise Unsupported("value_set is not a list")
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return [cast_time(value, kind, time_zone) for value in values]
    if is_number(kind):
        if not all(is_plain_number(v) and abs(v) < INT64 for v in values):
            raise Unsupported("value_set holds something that is not a number of 64 bits, for a number column")
        if pa.types.is_integer(kind) and any(isinstance(v, float) for v in values):
            return [float(v) for v in values]
        return list(values)
    wanted = str if is_text(kind) else bool if pa.types.is_boolean(kind) else None
    if wanted is None or not all(isinstance(v, wanted) for v in values):
        raise Unsupported(f"value_set holds something that does not fit the column's type {kind}")
    return list(values)


def to_plain(value: Any) -> Any:
    """A typed value as the kernel takes it: dates as days since 1970, datetimes as microseconds since 1970."""
    if isinstance(value, dt.datetime):
        return (value.replace(tzinfo=None) - EPOCH) // dt.timedelta(microseconds=1)
    return (value - EPOCH.date()).days if isinstance(value, dt.date) else value


def is_number(kind: pa.DataType) -> bool:
    """Whether it is an integer, float or decimal type."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether it is a string type."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_plain_number(value: Any) -> bool:
    """Whether it is a JSON number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cast_number(value: Any, kind: pa.DataType) -> Any:
    if not is_plain_number(value):
        raise Unsupported("a number column meets a bound that is not a number")
    if pa.types.is_decimal(kind):
        number = to_decimal(value)
        exponent = number.as_tuple().exponent
        if number.adjusted() >= DECIMAL_DIGITS or not isinstance(exponent, int) or exponent < -DECIMAL_DIGITS:
            raise Unsupported("a decimal column meets a bound of more than 38 digits")
        return value
    try:
        return float(value)
    except OverflowError as error:
        raise Unsupported("a bound is too large for a double") from error


def _looks_typed(text: str) -> bool:
    """Whether GX's pydantic would take the text for a number, date or datetime."""
    if not text or re.match(r"\s*\d{4}-\d", text):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True
