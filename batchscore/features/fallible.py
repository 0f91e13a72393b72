"""Which expressions can fail for a row: all but those made of parts that give a value or null whatever they are given.

Source: Spark SQL reference, "ANSI Compliance"; the lists name classes of Catalyst's expressions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_NEVER = frozenset(
    "Alias AttributeReference Literal GetStructField CreateNamedStruct CreateArray "
    "If CaseWhen Coalesce Nvl Nvl2 NullIf NaNvl Greatest Least "
    "And Or Not IsNull IsNotNull IsNaN EqualTo EqualNullSafe LessThan LessThanOrEqual GreaterThan GreaterThanOrEqual "
    "In InSet Between "
    "Log Log10 Log2 Log1p Exp Expm1 Sqrt Cbrt Pow Sin Cos Tan Asin Acos Atan Atan2 Sinh Cosh Tanh Signum Rint Hypot "
    "ToDegrees ToRadians XxHash64 Murmur3Hash "
    "Hour Minute Second Year Month DayOfMonth DayOfWeek DayOfYear WeekDay WeekOfYear Quarter UnixDate UnixMicros "
    "Upper Lower Length StringTrim StringTrimLeft StringTrimRight Concat Substring StartsWith EndsWith Contains "
    "ArrayPosition ArrayContains Size".split()
)
_FLOATS = ("double", "float")
_FLOATING = frozenset(
    "Add Subtract Multiply UnaryMinus UnaryPositive Abs Round BRound".split()
)  # whole numbers overflow
_TINY = 1e-30  # smaller divisors may be zero as a float
_NOT_NEGATIVE = frozenset("Abs Sqrt Exp Length".split())
_OF_FLOATS = frozenset("Floor Ceil".split())
_WIDER = ("tinyint", "smallint", "int", "bigint", "float", "double")
_CASTS = frozenset({("timestamp", "date"), ("date", "timestamp"), ("boolean", "int"), ("boolean", "double")})


def find_fallible(rows: DataFrame, columns: list[Column]) -> list[bool]:
    """For each column whether there may be rows for which it cannot be computed.

    Args:
        rows: Rows that the columns are computed from.
        columns: The columns; Spark can resolve them.
    """
    analyzed: Any = rows.select(*columns)._jdf.queryExecution().analyzed()
    found = analyzed.expressions()
    return [not _is_safe(found.apply(place)) for place in range(len(columns))]


def _is_safe(node: Any) -> bool:
    name = str(node.getClass().getSimpleName())
    if name in _FLOATING:
        safe = _kind(node) in _FLOATS
    elif name in _OF_FLOATS:
        safe = _kind(node.children().apply(0)) in _FLOATS
    elif name == "Divide":
        safe = _kind(node) in _FLOATS and _is_not_zero(node.children().apply(1))
    elif name == "Cast":
        safe = _is_safe_cast(_kind(node.children().apply(0)), _kind(node))
    else:
        safe = name in _NEVER
    children = node.children()
    return safe and all(_is_safe(children.apply(place)) for place in range(children.size()))


def _is_safe_cast(source: str, target: str) -> bool:
    if source == target or (source, target) in _CASTS:
        return True
    if target == "string":
        return source in (*_WIDER, "boolean", "date", "timestamp")
    if source.startswith("decimal") and target in _FLOATS:  # as `x + 1.5` has it; 38 digits fit into either
        return True
    return source in _WIDER and target in _WIDER and _WIDER.index(source) <= _WIDER.index(target)


def _is_not_zero(node: Any) -> bool:
    """Whether a divisor is a literal other than zero, or nothing below a literal above zero, as `abs(x) + 1` is."""
    return abs(_literal(node) or 0.0) > _TINY or _least(node) > _TINY


def _least(node: Any) -> float:
    """A number that no value of a floating-point expression is below; minus infinity where none is known."""
    name = str(node.getClass().getSimpleName())
    if name == "Cast":
        return _least(node.children().apply(0))
    if name == "Literal":
        found = _literal(node)
        return -math.inf if found is None else found
    children = node.children()
    if name == "Add":
        return _least(children.apply(0)) + _least(children.apply(1))
    if name == "Greatest":
        return max(_least(children.apply(place)) for place in range(children.size()))
    return 0.0 if name in _NOT_NEGATIVE else -math.inf


def _literal(node: Any) -> float | None:
    """The number of a literal, behind any casts."""
    while str(node.getClass().getSimpleName()) == "Cast":
        node = node.children().apply(0)
    if str(node.getClass().getSimpleName()) != "Literal":
        return None
    try:
        return float(str(node.toString()))
    except ValueError:
        return None


def _kind(node: Any) -> str:
    return str(node.dataType().simpleString())
