"""SQL expressions from a job file: parsed, checked against what they may call, and guarded row by row."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from batchscore.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# Groups of Spark's own function catalogue (ExpressionInfo.getGroup) that hold scalar functions of their arguments.
ALLOWED_GROUPS = frozenset(
    {
        "array_funcs",
        "bitwise_funcs",
        "collection_funcs",
        "conditional_funcs",
        "conversion_funcs",
        "datetime_funcs",
        "hash_funcs",
        "json_funcs",
        "lambda_funcs",
        "map_funcs",
        "math_funcs",
        "predicate_funcs",
        "string_funcs",
        "struct_funcs",
        "url_funcs",
        "variant_funcs",
    }
)
_INEXACT = re.compile(
    r"\b(exp|expm1|ln|log|log10|log2|log1p|pow|power|cbrt|a?(sin|cos|tan)h?|cot|sec|csc|atan2)\s*\(", re.IGNORECASE
)
# They depend on the moment, the machine or chance, so the same row would not always give the same value.
UNSTABLE = frozenset(
    "now current_date current_timestamp current_time curdate localtimestamp current_timezone rand randn random uniform "
    "randstr shuffle uuid unix_timestamp to_unix_timestamp monotonically_increasing_id".split()
) - {"to_unix_timestamp"}
_NEEDS_ARGUMENT = "unix_timestamp"  # without one it reads the clock
# Without brackets they parse to a column's name, and become functions where there is no such column.
_BARE_FUNCTIONS = frozenset(
    "current_date current_timestamp current_time localtimestamp current_user user session_user current_catalog "
    "current_database current_schema".split()
)
_FORBIDDEN_NODES = ("Subquery", "WindowExpression", "UnresolvedStar", "ScalaUDF", "PythonUDF", "Exists", "Parameter")


def check_expression(spark: SparkSession, sql: str, where: str, columns: Collection[str]) -> None:
    """Parse a SQL expression and refuse whatever is not a scalar function of the row.

    SQL in a job file is code: `reflect` and `java_method` call any Java method, a subquery reads any table.

    Args:
        spark: The session, whose parser and function catalogue are asked.
        sql: The expression.
        where: The config key, for messages.
        columns: Names of the columns that it may read.

    Raises:
        ConfigError: It does not parse, or calls something that is not allowed.
    """
    _walk(spark, _parse(spark, sql, where), where, {name.lower() for name in columns})


def check_column(spark: SparkSession, rows: DataFrame, column: Column, where: str, inputs: Collection[str]) -> None:
    """Refuse a column, made by a Python function, that is not a scalar function of the row.

    Args:
        spark: The session.
        rows: Rows that it is computed from.
        column: The column.
        where: What made it, for messages.
        inputs: The columns that it may read.

    Raises:
        ConfigError: It calls something that is not allowed in a job's expressions either, or reads another column.
    """
    node = rows.select(column)._jdf.queryExecution().logical().expressions().apply(0)
    _walk(spark, node, where, {name.lower() for name in rows.columns})
    others = [name for name in _attributes(node) if name.lower() not in {one.lower() for one in inputs}]
    if others:
        raise ConfigError(
            f"{where}: expected to read its parameters alone; found column {others[0]}. Make it one, too."
        )


def find_names(spark: SparkSession, sql: str, where: str) -> list[str]:
    """The columns that an expression reads, in order, each by the first part of its name.

    Raises:
        ConfigError: It does not parse.
    """
    return list(_attributes(_parse(spark, sql, where)))


def _attributes(node: Any) -> dict[str, None]:
    found: dict[str, None] = {}
    if node.getClass().getSimpleName() == "UnresolvedAttribute":
        found[str(node.nameParts().apply(0))] = None
    children = node.children()
    for position in range(children.size()):
        found |= _attributes(children.apply(position))
    return found


def parse_column(spark: SparkSession, sql: str, where: str) -> Column:
    """An expression as a column.

    Raises:
        ConfigError: It does not parse.
    """
    return _to_column(spark, _parse(spark, sql, where))


def guard(spark: SparkSession, column: Column) -> Column:
    """The column, null where it cannot be computed for a row.

    An overflow, a bad cast or a division by zero raises under ANSI; Spark's TryEval turns that into null.
    """
    made: Any = column
    jvm: Any = spark._jvm
    expression = jvm.org.apache.spark.sql.classic.ExpressionUtils.expression(made._jc)
    return _to_column(spark, jvm.org.apache.spark.sql.catalyst.expressions.TryEval(expression))


def keep_exact(column: Column) -> Column:
    """A column of type double, computed by Java wherever it is computed.

    Functions such as `ln` differ in the last digit between Java and Comet, which hands `nanvl` to Java with all that
    is within it; this one gives what it is given.
    """
    from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

    return F.nanvl(column, F.lit(math.nan))


def has_inexact(sql: str) -> bool:
    """Whether an expression may call a function whose last digit is not laid down by IEEE 754."""
    return _INEXACT.search(sql) is not None


def is_failed(spark: SparkSession, column: Column) -> Column:
    """Whether a column cannot be computed for a row; the rare row where it is null is computed twice to tell."""
    from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

    # a struct that holds null is none; a guarded one is null only where its part raised
    return guard(spark, column).isNull() & guard(spark, F.struct(column.alias("v"))).isNull()


def _to_column(spark: SparkSession, expression: Any) -> Column:
    from pyspark.sql.classic.column import Column as ClassicColumn  # noqa: PLC0415 - the driver alone needs it

    jvm: Any = spark._jvm
    return ClassicColumn(jvm.org.apache.spark.sql.classic.ExpressionUtils.column(expression))


def _parse(spark: SparkSession, sql: str, where: str) -> Any:
    session: Any = spark._jsparkSession
    try:
        return session.sessionState().sqlParser().parseExpression(sql)
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if "[" in line), "it does not parse")
        reason = reason.split(":", 1)[-1].strip() if "ParseException" in reason else reason
        raise ConfigError(f"{where}: expected a Spark SQL expression; found: {reason[:300]}. Correct it.") from error


def _walk(spark: SparkSession, node: Any, where: str, columns: Collection[str]) -> None:
    name = str(node.getClass().getSimpleName())
    if name == "UnresolvedAttribute":
        bare = str(node.name()).lower()
        if bare in _BARE_FUNCTIONS and bare not in columns:
            raise ConfigError(f"{where}: {bare} does not give the same value for the same row. Take it from a column.")
    if name.startswith(("Current", "LocalTimestamp", "Now")):  # keywords such as current_date parse to these
        raise ConfigError(f"{where}: {name} does not give the same value for the same row. Take it from a column.")
    if any(part in name for part in _FORBIDDEN_NODES):
        raise ConfigError(
            f"{where}: expected a scalar expression of the row's columns; found {name}. Use a lookup for other tables."
        )
    children = node.children()
    if name == "UnresolvedFunction":
        _check_function(spark, node, children.size(), where)
    for position in range(children.size()):
        _walk(spark, children.apply(position), where, columns)


def _check_function(spark: SparkSession, node: Any, arguments: int, where: str) -> None:
    parts = node.nameParts()
    function = str(parts.last()).lower()
    refusal = f"{where}: function '{function}' is not allowed in a job file"
    if parts.size() > 1 or node.isDistinct() or node.filter().isDefined():
        raise ConfigError(f"{refusal}; expected a built-in scalar function by its plain name.")
    if function in UNSTABLE and not (function == _NEEDS_ARGUMENT and arguments):
        raise ConfigError(f"{refusal}: it does not give the same value for the same row. Take the value from a column.")
    session: Any = spark._jsparkSession
    jvm: Any = spark._jvm
    identifier = jvm.org.apache.spark.sql.catalyst.FunctionIdentifier(function)
    registry = session.sessionState().functionRegistry()
    found = registry.lookupFunction(identifier)
    if not found.isDefined():
        raise ConfigError(f"{where}: function '{function}' is not one of Spark's own. Check its spelling.")
    information = found.get()
    builtin = str(information.getClassName()).startswith("org.apache.spark.sql.catalyst.expressions.")
    group = str(information.getGroup())
    # Operators and a few old functions (coalesce, nvl …) carry no group; those of misc_funcs stay out.
    if not builtin or (group and group not in ALLOWED_GROUPS):
        raise ConfigError(f"{refusal}; expected a scalar function of the row ({group or 'user-defined'} is refused).")
