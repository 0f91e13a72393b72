"""Spark SQL for expectations: names and values quoted, and row conditions as Great Expectations writes them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from batchscore.checks.names import resolve_column
from batchscore.checks.values import Unsupported, is_number

ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
OPERATORS = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
GX_PARSERS = ("great_expectations", "great_expectations__experimental__")
# GX's own small language: col("x") > 5, col("x") == "a", col("x") <= date("2013-10-01"), col("x").notNull()
GX_CONDITION = re.compile(
    r"""\s*col\("(?P<column>[^"]+)"\)\s*(?:(?P<null>\.notnull\(\))|(?P<op>==|!=|<=|>=|<|>)\s*
    (?:(?P<number>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)|(?P<date>date\()?(?P<q>["'])(?P<text>[^"']*)(?P=q)\)?))\s*""",
    re.IGNORECASE | re.VERBOSE,
)


def quote(name: str) -> str:
    """A column name in backticks."""
    return f"`{name.replace('`', '``')}`"


def literal(value: Any) -> str:
    """A value as a Spark SQL literal.

    Raises:
        Unsupported: There is no literal for it.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"CAST('{value!r}' AS DOUBLE)"
    if isinstance(value, int):
        return str(value) if abs(value) < 2**63 else f"CAST('{value}' AS DECIMAL(38, 0))"
    if isinstance(value, dt.datetime):
        zone = "" if value.tzinfo is None else "Z"
        kind = "TIMESTAMP_NTZ" if value.tzinfo is None else "TIMESTAMP"
        return f"{kind}'{value.replace(tzinfo=None).isoformat(sep=' ')}{zone}'"
    if isinstance(value, dt.date):
        return f"DATE'{value.isoformat()}'"
    if isinstance(value, str):
        return f"'{value.translate(ESCAPES)}'"
    raise Unsupported("it has a value that Spark SQL cannot write")


def condition_sql(kwargs: Mapping[str, Any], schema: pa.Schema) -> str | None:
    """A `row_condition` as one SQL condition; None where there is none.

    Raises:
        Unsupported: Only GX understands it.

    Source: great_expectations 1.24, execution_engine/sparkdf_execution_engine.py and expectations/row_conditions.py.
    """
    condition = kwargs.get("row_condition")
    if not condition:
        return None
    if isinstance(condition, dict):
        return _from_object(condition, schema)
    if not isinstance(condition, str):
        raise Unsupported("its row_condition is neither text nor a condition object")
    parser = kwargs.get("condition_parser")
    if parser == "spark":
        return f"({condition})"
    if parser in GX_PARSERS:
        return _from_text(condition, schema)
    raise Unsupported(f"its condition_parser is {parser!r}")


def _from_object(condition: Mapping[str, Any], schema: pa.Schema) -> str:
    kind = condition.get("type")
    if kind == "pass_through" and isinstance(condition.get("pass_through_filter"), str):
        return f"({condition['pass_through_filter']})"
    if kind in ("and", "or") and isinstance(condition.get("conditions"), list) and condition["conditions"]:
        parts = [_from_object(part, schema) for part in condition["conditions"] if isinstance(part, dict)]
        return f"({f' {kind.upper()} '.join(parts)})"
    named = condition.get("column")
    name = named.get("name") if isinstance(named, dict) else None
    if not isinstance(name, str):
        raise Unsupported("its row_condition names no column")
    column = quote(resolve_column(name, schema) or name)
    if kind == "nullity":
        return f"{column} IS {'NULL' if condition.get('is_null') else 'NOT NULL'}"
    operator, value = condition.get("operator"), condition.get("parameter")
    if operator in ("IN", "NOT_IN") and isinstance(value, list) and value:
        return f"{column} {operator.replace('_', ' ')} ({', '.join(literal(item) for item in value)})"
    if operator in OPERATORS and isinstance(value, (bool, int, float, str)):
        return f"{column} {OPERATORS[operator]} {literal(value)}"
    raise Unsupported("its row_condition is of a kind that batchscore does not know")


def _from_text(text: str, schema: pa.Schema) -> str:
    found = GX_CONDITION.fullmatch(text)
    if found is None:
        raise Unsupported("its row_condition is of a kind that batchscore does not know")
    name = resolve_column(found["column"], schema) or found["column"]
    column = quote(name)
    if found["null"]:
        return f"{column} IS NOT NULL"
    if found["number"]:
        return f"{column} {OPERATORS[found['op']]} {found['number']}"
    value: Any = found["text"]
    if name in schema.names and is_number(schema.field(name).type):
        value = _as_number(value)
    return f"{column} {OPERATORS[found['op']]} {literal(value)}"


def _as_number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
