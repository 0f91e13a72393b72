"""Suggestions: a suite to start from, out of what one pass over an interval has counted."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa

from batchscore.checks.schema_rules import SPARK_TYPES
from batchscore.checks.values import is_number, is_text
from batchscore.kernel.columns import ColumnTally
from batchscore.kernel.spec import TallySpec
from batchscore.kernel.tally import Tally

MOST_IN_SET = 20  # a column with more different values is described by its range, or not at all
GX_VERSION = "1.24.0"


def profile_specs(schema: pa.Schema) -> tuple[TallySpec, ...]:
    """What to count of each column that a suggestion can be made of."""
    specs = []
    for field in schema:
        stats = {"count"}
        if _is_ordered(field.type):
            stats.add("range")
        if is_text(field.type) or pa.types.is_boolean(field.type):
            stats.add("values")
        specs.append(TallySpec(place="input", column=field.name, stats=frozenset(stats), max_values=MOST_IN_SET))
    return tuple(specs)


def suggest_suite(name: str, schema: pa.Schema, tally: Tally, *, interval_column: str | None) -> dict[str, Any]:
    """A Great Expectations suite that the profiled rows meet.

    Columns and types are critical, since a job that meets others fails anyway; what was only seen in one interval is
    a warning.

    Args:
        name: Name of the suite.
        schema: The profiled columns.
        tally: Counts by `profile_specs`.
        interval_column: The column that intervals are cut by: its range is the interval's, and no rule.
    """
    found = tally.columns.get("input", {})
    expectations = [
        _expect("expect_table_row_count_to_be_between", "warning", min_value=tally.read // 2, max_value=tally.read * 2),
        _expect("expect_table_columns_to_match_set", column_set=schema.names, exact_match=False),
    ]
    for field in schema:
        expectations += _suggest(field, found.get(field.name, ColumnTally()), ranged=field.name != interval_column)
    return {"name": name, "expectations": expectations, "meta": {"great_expectations_version": GX_VERSION}}


def _suggest(field: pa.Field, column: ColumnTally, *, ranged: bool) -> Iterator[dict[str, Any]]:
    kind = next((names[0] for fits, names in SPARK_TYPES if fits(field.type)), None)
    if kind is not None:
        yield _expect("expect_column_values_to_be_of_type", column=field.name, type_=kind)
    present = column.rows - column.nulls
    if not present:
        return
    share = math.floor(100 * present / column.rows) / 100
    if not column.nulls:
        yield _expect("expect_column_values_to_not_be_null", "warning", column=field.name)
    elif share:
        yield _expect("expect_column_values_to_not_be_null", "warning", column=field.name, mostly=share)
    low, high = _plain(column.low), _plain(column.high)
    if ranged and low is not None and high is not None:
        yield _expect("expect_column_values_to_be_between", "warning", column=field.name, min_value=low, max_value=high)
    few = column.values is not None and len(column.values) < max(2, present)
    if (is_text(field.type) or pa.types.is_boolean(field.type)) and few and column.values:
        yield _expect(
            "expect_column_values_to_be_in_set", "warning", column=field.name, value_set=sorted(column.values)
        )


def _expect(kind: str, severity: str = "critical", **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs, "severity": severity, "meta": {}}


def _is_ordered(kind: pa.DataType) -> bool:
    return bool(is_number(kind) or pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def _plain(value: Any) -> Any:
    """A bound as a suite holds it; None where JSON has none for it that is the same."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value) if Decimal(repr(float(value))) == value else None  # read back as it is written
    return None if isinstance(value, float) and not math.isfinite(value) else value
