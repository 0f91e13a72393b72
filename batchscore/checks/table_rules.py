"""Expectations on whole tables and columns: decided by the schema, or from what the kernel tallies.

A builder gives (what to tally, arguments); `measure` turns a tally into GX's verdict.
Source: great_expectations 1.24, expectations/core and expectations/metrics/column_aggregate_metrics (Spark engine).
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from batchscore.checks.row_rules import BOUNDS, Kwargs
from batchscore.checks.values import Unsupported, cast_bound, cast_set, is_number, is_plain_number, is_text, to_plain
from batchscore.kernel.columns import ColumnTally
from batchscore.kernel.spec import TallySpec

DEFAULT_VALUES = 1000
MOST_VALUES = 10_000  # distinct values that a task may keep
NUMBER = pa.float64()

Args = Mapping[str, Any]
Wanted = tuple[frozenset[str], dict[str, Any]]  # statistics to tally, and the arguments of the verdict
Measure = tuple[bool, Any]  # success, and the observed value


def bounds(kwargs: Kwargs, kind: pa.DataType, time_zone: str = "UTC") -> dict[str, Any]:
    """Typed bounds; both may be missing: then any value will do.

    Raises:
        Unsupported: They do not fit the type.
    """
    strict = {name: kwargs.get(name, False) for name in ("strict_min", "strict_max")}
    if not all(isinstance(value, bool) for value in strict.values()):
        raise Unsupported("strict_min or strict_max is not true or false")
    low, high = (cast_bound(kwargs.get(name), kind, time_zone) for name in ("min_value", "max_value"))
    return {"min": low, "max": high, **strict}


def _extreme(kwargs: Kwargs, kind: pa.DataType, time_zone: str) -> Wanted:
    if not (is_number(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        raise Unsupported(f"it orders a column of type {kind}")
    return frozenset({"range"}), bounds(kwargs, kind, time_zone)


def _sum(kwargs: Kwargs, kind: pa.DataType, _: str) -> Wanted:
    if not is_number(kind):
        raise Unsupported(f"it sums a column of type {kind}")
    return frozenset({"sum"}), bounds(kwargs, NUMBER)


def _mean(kwargs: Kwargs, kind: pa.DataType, time_zone: str) -> Wanted:
    if pa.types.is_int8(kind) or pa.types.is_int16(kind):
        raise Unsupported("Great Expectations takes no mean of bytes and shorts")
    scale = {"scale": kind.scale} if pa.types.is_decimal(kind) else {}
    stats, args = _sum(kwargs, kind, time_zone)
    return stats, {**args, **scale}


def _spread(kwargs: Kwargs, kind: pa.DataType, time_zone: str) -> Wanted:
    return frozenset({"spread"}), _sum(kwargs, kind, time_zone)[1]


def _distinct_count(kwargs: Kwargs, kind: pa.DataType, _: str) -> Wanted:
    limits = [value for value in (kwargs.get("min_value"), kwargs.get("max_value")) if value is not None]
    if not all(is_plain_number(value) and 0 <= value < MOST_VALUES for value in limits) or not limits:
        raise Unsupported("it has no limit of fewer than 10,000 distinct values")
    if not (is_number(kind) or is_text(kind) or pa.types.is_date(kind) or pa.types.is_boolean(kind)):
        raise Unsupported(f"it collects values of type {kind}")
    return frozenset({"values"}), {**bounds(kwargs, NUMBER), "values": [None] * int(max(limits) + 1)}


def _proportion(kwargs: Kwargs, _: pa.DataType, __: str) -> Wanted:
    return frozenset({"count"}), bounds(kwargs, NUMBER)


def _set_within(kwargs: Kwargs, kind: pa.DataType, time_zone: str) -> Wanted:
    if pa.types.is_timestamp(kind) or pa.types.is_decimal(kind):
        raise Unsupported(f"it collects values of type {kind}")
    values = cast_set(kwargs.get("value_set"), kind, time_zone)
    if not values:
        raise Unsupported("value_set is empty")
    return frozenset({"values"}), {"values": values}


def _set_equal(kwargs: Kwargs, kind: pa.DataType, time_zone: str) -> Wanted:
    if pa.types.is_date(kind):
        raise Unsupported("Great Expectations compares the text with dates here, and never finds it")
    return _set_within(kwargs, kind, time_zone)


def _set_containing(kwargs: Kwargs, kind: pa.DataType, time_zone: str) -> Wanted:
    return frozenset({"found"}), _set_equal(kwargs, kind, time_zone)[1]


def _measure_low(column: ColumnTally, args: Args) -> Measure:
    return _measure(column.low, args)


def _measure_high(column: ColumnTally, args: Args) -> Measure:
    return _measure(column.high, args)


def _measure_sum(column: ColumnTally, args: Args) -> Measure:
    total = column.sum
    return _measure(float(total) if isinstance(total, int) else total, args)  # Spark 4 sums integers as doubles


def _measure_mean(column: ColumnTally, args: Args) -> Measure:
    total, count = column.sum, column.rows - column.nulls
    if not isinstance(total, decimal.Decimal):
        return _measure(None if total is None else total / count, args)
    digits = decimal.Context(prec=76, rounding=decimal.ROUND_HALF_UP)
    scale = min(args["scale"] + 4, 38)  # as Spark's avg
    return _measure(digits.divide(total, count).quantize(decimal.Decimal(1).scaleb(-scale), context=digits), args)


def _measure_spread(column: ColumnTally, args: Args) -> Measure:
    return _measure(column.deviation, args)


def _measure_distinct_count(column: ColumnTally, args: Args) -> Measure:
    if column.values is None:  # more than any limit
        return args["max"] is None, f"more than {column.max_values}"
    return _measure(len(column.values), args)


def _measure_proportion(column: ColumnTally, args: Args) -> Measure:
    return _measure((column.rows - column.nulls) / column.rows if column.rows else 0, args)


def _measure(value: Any, args: Args) -> Measure:
    return is_between(value, args), value


def is_between(value: Any, args: Args) -> bool:
    """Whether a value lies within typed bounds; not if it is None or NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    low, high = args["min"], args["max"]
    above = low is None or (value > low if args["strict_min"] else value >= low)
    below = high is None or (value < high if args["strict_max"] else value <= high)
    return bool(above and below)


def _measure_within(column: ColumnTally, args: Args) -> Measure:
    if column.values is None:  # more values than the set has
        return False, {"distinct": f"more than {column.max_values}"}
    unexpected = len(column.values - set(args["values"]))
    return not unexpected, {"distinct": len(column.values), "unexpected": unexpected}


def _measure_equal(column: ColumnTally, args: Args) -> Measure:
    success, observed = _measure_within(column, args)
    if column.values is None:
        return success, observed
    missing = sum(value not in column.values for value in args["values"])
    return success and not missing, {**observed, "missing": missing}


def _measure_containing(column: ColumnTally, args: Args) -> Measure:
    missing = sum(value not in column.found for value in args["values"])
    return not missing, {"missing": missing}


SET = frozenset({"value_set"})
Builder = Callable[[Kwargs, pa.DataType, str], Wanted]

# GX type: its other arguments, what makes its tally, and what reads it.
COLUMN_TALLIES: dict[str, tuple[frozenset[str], Builder, Callable[[ColumnTally, Args], Measure]]] = {
    "expect_column_min_to_be_between": (BOUNDS, _extreme, _measure_low),
    "expect_column_max_to_be_between": (BOUNDS, _extreme, _measure_high),
    "expect_column_sum_to_be_between": (BOUNDS, _sum, _measure_sum),
    "expect_column_mean_to_be_between": (BOUNDS, _mean, _measure_mean),
    "expect_column_stdev_to_be_between": (BOUNDS, _spread, _measure_spread),
    "expect_column_unique_value_count_to_be_between": (BOUNDS, _distinct_count, _measure_distinct_count),
    "expect_column_proportion_of_non_null_values_to_be_between": (BOUNDS, _proportion, _measure_proportion),
    "expect_column_distinct_values_to_be_in_set": (SET, _set_within, _measure_within),
    "expect_column_distinct_values_to_equal_set": (SET, _set_equal, _measure_equal),
    "expect_column_distinct_values_to_contain_set": (SET, _set_containing, _measure_containing),
}
COUNTS: dict[str, frozenset[str]] = {
    "expect_table_row_count_to_be_between": BOUNDS,
    "expect_table_row_count_to_equal": frozenset({"value"}),
}


def tally_column(type_: str, place: str, kwargs: Kwargs, kind: pa.DataType, time_zone: str) -> tuple[TallySpec, Args]:
    """What to tally for one expectation, and the arguments of its verdict.

    Raises:
        Unsupported: Only GX can evaluate it.
    """
    stats, args = COLUMN_TALLIES[type_][1](kwargs, kind, time_zone)
    values = args.get("values", [])
    spec = TallySpec(
        place=place,
        column=kwargs["column"],
        stats=stats,
        max_values=max(DEFAULT_VALUES, len(values) + 1),
        wanted=tuple(to_plain(v) for v in values) if "found" in stats else (),
    )
    return spec, args


def count_args(kwargs: Kwargs) -> Args:
    """Bounds of a row or column count.

    Raises:
        Unsupported: A bound is not a whole number.
    """
    values = {name: kwargs.get(name) for name in ("min_value", "max_value", "value")}
    if not all(v is None or (isinstance(v, int) and not isinstance(v, bool)) for v in values.values()):
        raise Unsupported("a count is not a whole number")
    if "value" in kwargs:
        return {"min": kwargs["value"], "max": kwargs["value"], "strict_min": False, "strict_max": False}
    args = bounds({k: v for k, v in kwargs.items() if k.startswith("strict")}, NUMBER)
    return {**args, "min": values["min_value"], "max": values["max_value"]}
