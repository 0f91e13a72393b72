"""All of a suite's queries as one: grouped, ordered and plain figures of a frame come back as a single row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

from batchscore.checks.answers import Answer
from batchscore.checks.queries import KEY, Query

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ERROR_CLASS = re.compile(r"\[([A-Z][A-Z0-9_]*(?:\.[A-Z0-9_]+)*)\]")  # Spark's error conditions


def run_queries(frame: DataFrame, queries: Mapping[str, Query]) -> dict[str, Answer]:
    """Answer every query with one Spark action, and one more for those that build on their own figures.

    Where Spark cannot compute them together, each is tried alone, so that a fault stays with its own expectation.

    Args:
        frame: The rows.
        queries: Rule id to query.

    Returns:
        Rule id to answer. Errors name Spark's error condition, and hold no cell values.
    """
    if not queries:
        return {}
    try:
        return _answer(frame, queries)
    except Exception as error:
        if len(queries) == 1:
            condition = ERROR_CLASS.search(str(error))
            what = f"[{condition.group(1)}]" if condition else type(error).__name__
            return dict.fromkeys(queries, Answer(success=False, error=f"Spark could not evaluate it: {what}"))
        return {
            rule: answer for rule, query in queries.items() for answer in run_queries(frame, {rule: query}).values()
        }


def _answer(frame: DataFrame, queries: Mapping[str, Query]) -> dict[str, Answer]:
    listed = list(queries.values())
    found: list[dict[str, Any]] = [{} for _ in listed]
    parts = [*_plain(frame, [q.figures for q in listed]), *_grouped(frame, listed), *_ordered(frame, listed)]
    _collect(parts, found)
    second = [query.second(figures) if query.second else {} for query, figures in zip(listed, found, strict=True)]
    _collect(_plain(frame, second), found)
    return {rule: query.read(figures) for (rule, query), figures in zip(queries.items(), found, strict=True)}


def _collect(parts: list[DataFrame], found: list[dict[str, Any]]) -> None:
    """Fill in the figures of one-row frames whose columns are named `POSITION_FIGURE`."""
    if not parts:
        return
    row = reduce(lambda left, right: left.crossJoin(right), parts).collect()[0]
    for name, value in row.asDict().items():
        position, _, figure = name.partition("_")
        found[int(position)][figure] = value


def _plain(frame: DataFrame, asked: list[Mapping[str, str]] | list[dict[str, str]]) -> list[DataFrame]:
    columns = [f"{sql} AS `{i}_{name}`" for i, figures in enumerate(asked) for name, sql in figures.items()]
    return [frame.selectExpr(*columns)] if columns else []


def _grouped(frame: DataFrame, queries: list[Query]) -> list[DataFrame]:
    """Every grouping in one shuffle: each row goes to each of them, told apart by `g`."""
    groupings = list(dict.fromkeys((query.keys, query.where) for query in queries if query.keys))
    if not groupings:
        return []
    types = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    kinds = [[types[key[1:-1].replace("``", "`")] for key in keys] for keys, _ in groupings]
    structs = []
    for g, (keys, where) in enumerate(groupings):
        fields = [f"'g', CASE WHEN {where} THEN {g} END"]
        for other, others in enumerate(kinds):
            for j, kind in enumerate(others):
                fields.append(f"'g{other}k{j}', {keys[j] if other == g else f'CAST(NULL AS {kind})'}")
        structs.append(f"named_struct({', '.join(fields)})")
    names = ["g", *(f"g{g}k{j}" for g, held in enumerate(kinds) for j in range(len(held)))]
    spread = frame.selectExpr(f"inline(array({', '.join(structs)}))").where("g IS NOT NULL")
    counted = spread.groupBy(*names).count().withColumnRenamed("count", "n")
    if any(query.modes for query in queries):
        counted = counted.selectExpr("*", "max(n) OVER (PARTITION BY g) AS most")
    columns = []
    for i, query in enumerate(queries):
        if query.keys:
            g = groupings.index((query.keys, query.where))
            for name, sql in query.of_groups.items():
                columns.append(f"{sql.replace(KEY, f'g{g}k0')} FILTER (WHERE g = {g}) AS `{i}_{name}`")
    return [counted.selectExpr(*columns)]


def _ordered(frame: DataFrame, queries: list[Query]) -> list[DataFrame]:
    parts = []
    for i, query in enumerate(queries):
        if query.step:
            steps = frame.where(query.where).selectExpr(f"{query.step} AS step")
            parts.append(steps.selectExpr(*[f"{sql} AS `{i}_{name}`" for name, sql in query.ordered.items()]))
    return parts
