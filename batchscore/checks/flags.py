"""Flags: what expectations ask of Spark for each row, as boolean columns that no row's fault can bring down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from batchscore.checks.compiled import SqlColumn
from batchscore.errors import ConfigError
from batchscore.expressions import check_expression, guard, is_failed, parse_column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


def build_flags(spark: SparkSession, frame: DataFrame, columns: Sequence[SqlColumn]) -> list[Column]:
    """The columns as Spark computes them over a frame.

    Raises:
        ConfigError: An expression does not parse, is not allowed, names no known column, or is no boolean; a regular
            expression is not Java's. Names where it is written.
    """
    return [_build(spark, frame, column) for column in columns]


def check_condition(spark: SparkSession, frame: DataFrame, sql: str, where: str) -> None:
    """Refuse SQL that is no condition on single rows of a frame.

    Raises:
        ConfigError: See `build_flags`.
    """
    check_expression(spark, sql, where, frame.columns)
    _check_type(frame, parse_column(spark, sql, where), where)


def _build(spark: SparkSession, frame: DataFrame, column: SqlColumn) -> Column:
    from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

    if column.pattern is not None:
        _check_pattern(spark, column.pattern, column.where)
    check_expression(spark, column.sql, column.where, frame.columns)
    condition = parse_column(spark, column.sql, column.where)
    _check_type(frame, condition, column.where)
    value = guard(spark, condition)
    if column.null is not None:
        value = F.coalesce(value, F.lit(column.null))
    return F.when(is_failed(spark, condition), F.lit(column.failing)).otherwise(value).alias(column.name)


def _check_pattern(spark: SparkSession, pattern: str, where: str) -> None:
    jvm: Any = spark._jvm
    try:
        jvm.java.util.regex.Pattern.compile(pattern)
    except Exception as error:
        raise ConfigError(f"{where}: expected a Java regular expression; its regex does not compile.") from error


def _check_type(frame: DataFrame, condition: Column, where: str) -> None:
    try:
        kind = frame.select(condition).schema.fields[0].dataType.simpleString()
    except Exception as error:
        reason = str(error).splitlines()[0][:300]
        raise ConfigError(f"{where}: expected SQL that Spark can resolve; found: {reason}. Correct it.") from error
    if kind != "boolean":
        raise ConfigError(f"{where}: expected SQL that is true or false; found one of type {kind}.")
