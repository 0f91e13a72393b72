"""Expectations that only a look at all rows together decides: what each asks of one query, and what the figures mean.

Source: great_expectations 1.24, expectations/core and expectations/metrics (Spark engine).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow as pa

from batchscore.checks.answers import Answer, answer_rows
from batchscore.checks.divergence import check_partition, diverge_bins, diverge_values
from batchscore.checks.names import MANY
from batchscore.checks.row_rules import BOUNDS, Kwargs, ignored_rows
from batchscore.checks.sql import literal, quote
from batchscore.checks.table_rules import bounds, is_between
from batchscore.checks.values import Unsupported, cast_set, is_number, is_plain_number

Figures = Mapping[str, Any]
NUMBER = pa.float64()
QUARTILES = (0.25, 0.75)
KEY = "\0"  # stands for a group's first key in `of_groups`; no literal holds it


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """What one expectation asks of a frame, as Spark SQL.

    Attributes:
        figures: Name to an aggregate over the rows.
        keys: Columns to group by, for `of_groups`.
        where: Condition on the rows that are grouped or ordered.
        of_groups: Name to an aggregate over the groups, each with its first key, `KEY`, and its number of rows `n`.
        modes: Whether groups also know `most`, the largest `n` of all.
        ordered: Name to an aggregate over the rows in the order in which Spark reads them, each with `step`.
        step: What an ordered row knows of the one before it, as SQL.
        second: Aggregates that need the figures of the first query.
        read: Figures to the answer.
    """

    figures: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    where: str = "true"
    of_groups: Mapping[str, str] = field(default_factory=dict)
    modes: bool = False
    ordered: Mapping[str, str] = field(default_factory=dict)
    step: str = ""
    second: Callable[[Figures], Mapping[str, str]] | None = None
    read: Callable[[Figures], Answer]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a builder is given.

    Attributes:
        kwargs: The arguments, with resolved column names.
        kinds: Types of the columns.
        where: The row condition as SQL; `true` for all rows.
        time_zone: Zone in which times without one are read.
    """

    kwargs: Kwargs
    kinds: Sequence[pa.DataType]
    where: str
    time_zone: str

    @property
    def column(self) -> str:
        """The one column, quoted."""
        return quote(self.kwargs["column"])

    @property
    def present(self) -> str:
        """Condition on rows that are asked about and have a value."""
        return f"{self.where} AND {self.column} IS NOT NULL"

    @property
    def value(self) -> str:
        """The number of each row that is asked about, as a double; null for NaN."""
        if not is_number(self.kinds[0]):
            raise Unsupported(f"it orders a column of type {self.kinds[0]}")
        double = f"CAST({self.column} AS DOUBLE)"
        return f"CASE WHEN {self.where} AND NOT isnan({double}) THEN {double} END"


def count_if(condition: str) -> str:
    """An aggregate that counts rows."""
    return f"count(CASE WHEN {condition} THEN 1 END)"


def _unique(asked: Asked) -> Query:
    return _grouped((asked.column,), asked.present, asked)


def _compound_unique(asked: Asked) -> Query:
    names = [quote(name) for name in asked.kwargs[MANY]]
    joiner = ignored_rows(asked.kwargs, "all_values_are_missing")
    nulls = [f"{name} IS NULL" for name in names]
    ignored = {"all": " AND ".join(nulls), "any": " OR ".join(nulls)}.get(joiner.partition("_")[0], "false")
    return _grouped(tuple(names), f"{asked.where} AND NOT ({ignored})", asked)


def _grouped(keys: tuple[str, ...], where: str, asked: Asked) -> Query:
    if any(pa.types.is_map(kind) for kind in asked.kinds):
        raise Unsupported("maps cannot be compared")
    return Query(
        keys=keys,
        where=where,
        of_groups={"rows": "sum(n)", "doubled": "sum(CASE WHEN n > 1 THEN n END)"},
        read=lambda found: answer_rows(found["rows"] or 0, found["doubled"] or 0, asked.kwargs),
    )


def _distinct(asked: Asked, measure: Callable[[int, int], float]) -> Query:
    if any(pa.types.is_map(kind) for kind in asked.kinds):
        raise Unsupported("maps cannot be compared")
    limits = bounds(asked.kwargs, NUMBER)

    def read(found: Figures) -> Answer:
        value = measure(found["kinds"] or 0, found["rows"] or 0)
        return Answer(success=is_between(value, limits), observed=value)

    return Query(
        keys=(asked.column,), where=asked.present, of_groups={"kinds": "count(1)", "rows": "sum(n)"}, read=read
    )


def _unique_proportion(asked: Asked) -> Query:
    return _distinct(asked, lambda kinds, rows: kinds / rows if rows else 0)


def _unique_count(asked: Asked) -> Query:
    return _distinct(asked, lambda kinds, _: kinds)


def _most_common(asked: Asked) -> Query:
    kind = asked.kinds[0]
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_decimal(kind):
        raise Unsupported(f"Great Expectations compares values of type {kind} with the text of the suite")
    values = cast_set(asked.kwargs.get("value_set"), kind, asked.time_zone)
    if not values:
        raise Unsupported("value_set is empty")
    ties = asked.kwargs.get("ties_okay")
    listed = ", ".join(literal(value) for value in values)

    def read(found: Figures) -> Answer:
        tied, expected = found["tied"] or 0, found["expected"] or 0
        success = expected > 0 if ties else tied == 1 and expected == 1
        return Answer(success=success, observed={"most common values": tied, "expected": expected})

    return Query(
        keys=(asked.column,),
        where=asked.present,
        modes=True,
        of_groups={"tied": count_if("n = most"), "expected": count_if(f"n = most AND {KEY} IN ({listed})")},
        read=read,
    )


def _median(asked: Asked) -> Query:
    limits = bounds(asked.kwargs, NUMBER)
    return Query(
        figures={"median": f"percentile({asked.value}, 0.5)"},
        read=lambda found: Answer(success=is_between(found["median"], limits), observed=found["median"]),
    )


def _quantiles(asked: Asked) -> Query:
    ranges = asked.kwargs.get("quantile_ranges")
    listed = ranges.get("quantiles") if isinstance(ranges, dict) else None
    spans = ranges.get("value_ranges") if isinstance(ranges, dict) else None
    if not isinstance(listed, list) or not isinstance(spans, list) or len(listed) != len(spans) or not listed:
        raise Unsupported("its quantile_ranges have another form")
    if not all(is_plain_number(q) and 0 <= q <= 1 for q in listed):
        raise Unsupported("a quantile is not between 0 and 1")
    for span in spans:
        if not isinstance(span, list) or len(span) != 2 or not all(v is None or is_plain_number(v) for v in span):
            raise Unsupported("a range of its quantile_ranges is not two numbers")

    def read(found: Figures) -> Answer:
        values = [found[f"q{i}"] for i in range(len(listed))]
        success = all(_is_near(value, *span) for value, span in zip(values, spans, strict=True))
        return Answer(success=success, observed={"quantiles": listed, "values": values})

    figures = {f"q{i}": f"percentile_disc({q!r}) WITHIN GROUP (ORDER BY {asked.value})" for i, q in enumerate(listed)}
    return Query(figures=figures, read=read)


def _is_near(value: float | None, low: float | None, high: float | None) -> bool:
    """Whether a quantile lies in its range, or as near to an end of it as GX lets it."""
    if value is None:
        return False
    least, most = -math.inf if low is None else low, math.inf if high is None else high
    close = any(v == value or abs(value - v) <= 1e-8 + 1e-4 * abs(v) for v in (least, most) if math.isfinite(v))
    return close or least <= value <= most


def _z_scores(asked: Asked) -> Query:
    threshold: Any = asked.kwargs.get("threshold")
    double = asked.kwargs.get("double_sided", True)
    if not is_plain_number(threshold) or not isinstance(double, bool) or not is_number(asked.kinds[0]):
        raise Unsupported("its threshold, its double_sided or its column is no such thing")
    number = f"CAST({asked.column} AS DOUBLE)"
    kept = f"CASE WHEN {asked.where} THEN {number} END"

    def second(found: Figures) -> dict[str, str]:
        if not found["spread"] or math.isnan(found["spread"]):
            return {}
        score = f"({number} - {literal(float(found['mean']))}) / {literal(float(found['spread']))}"
        score, limit = (f"abs({score})", abs(threshold)) if double else (score, threshold)
        return {"far": count_if(f"{asked.present} AND NOT ({score} < {literal(float(limit))})")}

    return Query(
        figures={"rows": count_if(asked.present), "mean": f"avg({kept})", "spread": f"stddev_samp({kept})"},
        second=second,
        read=lambda found: answer_rows(found["rows"], found.get("far", 0), asked.kwargs),
    )


def _outliers(asked: Asked) -> Query:
    method, multiplier = asked.kwargs.get("method", "iqr"), asked.kwargs.get("multiplier", 1.5)
    if method not in ("iqr", "std") or not is_plain_number(multiplier) or not is_number(asked.kinds[0]):
        raise Unsupported("its method, its multiplier or its column is no such thing")
    number = f"CAST({asked.column} AS DOUBLE)"
    kept = f"CASE WHEN {asked.where} THEN {number} END"
    names = {"iqr": [f"percentile({kept}, {q})" for q in QUARTILES], "std": [f"avg({kept})", f"stddev_samp({kept})"]}
    first, last = names[method]

    def second(found: Figures) -> dict[str, str]:
        low, high = found["first"], found["last"]
        if low is None or high is None:
            return {}
        inside = (
            _inside_fences(number, low, high, multiplier) if method == "iqr" else _near(number, low, high * multiplier)
        )
        return {"far": count_if(f"{asked.present} AND NOT ({inside})")}

    return Query(
        figures={"rows": count_if(asked.present), "first": first, "last": last},
        second=second,
        read=lambda found: answer_rows(found["rows"], found.get("far", 0), asked.kwargs),
    )


def _inside_fences(number: str, low: float, high: float, multiplier: float) -> str:
    reach = multiplier * (high - low)
    return f"{number} >= {literal(low - reach)} AND {number} <= {literal(high + reach)}"


def _near(number: str, mean: float, reach: float) -> str:
    if reach <= 0:
        return f"{number} = {literal(float(mean))}"
    return f"abs({number} - {literal(float(mean))}) < {literal(float(reach))}"


def _divergence(asked: Asked) -> Query:
    partition = check_partition(asked.kwargs)
    if "values" in partition:
        return _divergence_of_values(asked, partition)
    edges = [literal(float(edge)) for edge in partition["bins"]]
    value = asked.value
    figures = {"rows": count_if(asked.present), "below": count_if(f"({value}) < {edges[0]}")}
    # NaN is above any number here, as it is for Spark
    figures["above"] = count_if(f"{asked.where} AND CAST({asked.column} AS DOUBLE) > {edges[-1]}")
    for i, (low, high) in enumerate(pairwise(edges)):
        end = "<=" if i == len(edges) - 2 else "<"
        figures[f"bin{i}"] = count_if(f"({value}) >= {low} AND ({value}) {end} {high}")

    def read(found: Figures) -> Answer:
        counts = [found[f"bin{i}"] for i in range(len(edges) - 1)]
        return diverge_bins(counts, found["below"], found["above"], found["rows"], asked.kwargs)

    return Query(figures=figures, read=read)


def _divergence_of_values(asked: Asked, partition: Mapping[str, Any]) -> Query:
    kind = asked.kinds[0]
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_decimal(kind):
        raise Unsupported(f"Great Expectations compares values of type {kind} with those of the suite as they are")
    values = [literal(value) for value in cast_set(partition["values"], kind, asked.time_zone)]
    listed = f"{KEY} IN ({', '.join(values)})"
    of_groups = {f"value{i}": f"sum(CASE WHEN {KEY} = {value} THEN n END)" for i, value in enumerate(values)}
    of_groups |= {"kinds": count_if(f"NOT {listed}"), "others": f"sum(CASE WHEN NOT {listed} THEN n END)"}
    of_groups |= {"entropy": f"sum(CASE WHEN NOT {listed} THEN n * ln(n) END)", "rows": "sum(n)"}

    def read(found: Figures) -> Answer:
        others = {"kinds": found["kinds"], "rows": found["others"], "entropy": found["entropy"]}
        counts = [found[f"value{i}"] or 0 for i in range(len(values))]
        return diverge_values(counts, others, found["rows"] or 0, asked.kwargs)

    return Query(keys=(asked.column,), where=asked.present, of_groups=of_groups, read=read)


def _rising(asked: Asked, sign: str) -> Query:
    """Rows whose value stands in the wrong order to that of the row before, as Spark happens to read them."""
    kind, strictly = asked.kinds[0], asked.kwargs.get("strictly") or False
    if not isinstance(strictly, bool):
        raise Unsupported("strictly is not true or false")
    column, before = asked.column, f"lag({asked.column}) OVER (ORDER BY 'constant')"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        step, where = f"datediff({column}, {before})", asked.where
    elif is_number(kind):
        wide = f"CAST({column} AS DECIMAL(38, 0))" if pa.types.is_integer(kind) else column
        step = f"{wide} - lag({wide}) OVER (ORDER BY 'constant')"
        nan = pa.types.is_int32(kind) or pa.types.is_int64(kind) or pa.types.is_float64(kind)
        where = f"{asked.present} AND NOT isnan({column})" if nan else asked.where
    else:
        raise Unsupported(f"it orders a column of type {kind}")
    wrong = f"step {sign}= 0" if strictly else f"step {sign} 0"
    return Query(
        figures={"rows": count_if(asked.present)},
        where=where,
        step=step,
        ordered={"wrong": count_if(wrong)},
        read=lambda found: answer_rows(found["rows"], found["wrong"], asked.kwargs),
    )


COLUMN = frozenset({"column"})
Build = Callable[[Asked], Query]
# GX type: its arguments, and what makes its query.
QUERIES: dict[str, tuple[frozenset[str], Build]] = {
    "expect_column_values_to_be_unique": (COLUMN | {"mostly"}, _unique),
    "expect_compound_columns_to_be_unique": (frozenset({MANY, "mostly", "ignore_row_if"}), _compound_unique),
    "expect_column_proportion_of_unique_values_to_be_between": (COLUMN | BOUNDS, _unique_proportion),
    "expect_column_unique_value_count_to_be_between": (COLUMN | BOUNDS, _unique_count),
    "expect_column_most_common_value_to_be_in_set": (COLUMN | {"value_set", "ties_okay"}, _most_common),
    "expect_column_median_to_be_between": (COLUMN | BOUNDS, _median),
    "expect_column_quantile_values_to_be_between": (COLUMN | {"quantile_ranges", "allow_relative_error"}, _quantiles),
    "expect_column_value_z_scores_to_be_less_than": (COLUMN | {"mostly", "threshold", "double_sided"}, _z_scores),
    "expect_column_values_to_not_be_outliers": (COLUMN | {"mostly", "method", "multiplier"}, _outliers),
    "expect_column_kl_divergence_to_be_less_than": (
        COLUMN
        | {"partition_object", "threshold", "internal_weight_holdout", "tail_weight_holdout", "bucketize_data"}
        | {"min_value", "max_value"},
        _divergence,
    ),
    "expect_column_values_to_be_increasing": (COLUMN | {"mostly", "strictly"}, lambda asked: _rising(asked, "<")),
    "expect_column_values_to_be_decreasing": (COLUMN | {"mostly", "strictly"}, lambda asked: _rising(asked, ">")),
}
