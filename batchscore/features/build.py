"""The rows as the kernel takes them: keys, checked columns and computed features, each column once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchscore.config import FeatureConfig, ImputeConfig
from batchscore.errors import BatchscoreError, ConfigError, InputError
from batchscore.expressions import check_expression, guard
from batchscore.kernel.spec import FeatureSpec

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

BITS = 62  # failure bits in one bigint column; the kernel's FAILED_BITS


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Rows ready for the kernel.

    Attributes:
        rows: One column for each name that keys, rules, features and passthrough need, and the flag columns.
        features: What the kernel must know of each feature.
        failed: Whether `_failed_<word>` columns travel along.
    """

    rows: DataFrame
    features: tuple[FeatureSpec, ...]
    failed: bool


def build_features(
    spark: SparkSession,
    rows: DataFrame,
    features: Sequence[FeatureConfig],
    *,
    needed: Sequence[str],
    flags: Sequence[Column],
) -> FeatureRows:
    """Compute the features of a job in Spark.

    A SQL feature that cannot be computed for a row (overflow, bad cast, division by zero) leaves null, and its bit
    in `_failed_<word>`; the kernel sets that row aside with the reason.

    Args:
        spark: The session.
        rows: [n] input rows with lookups joined.
        features: The job's features.
        needed: Input columns that travel beside the features, without doubles.
        flags: Further columns, such as `_raw` and `_duplicate`.

    Returns:
        [n] rows.

    Raises:
        ConfigError: An expression does not parse, is not allowed, or names no known column.
        InputError: A feature without `sql` and `from` is no input column, or one with them has an input column's name.
    """
    _check_names(rows, features)
    base = [_column(name).alias(name) for name in needed]
    plain, tried = [], []
    for position, feature in enumerate(features):
        where = f"features.columns.{position} ({feature.name})"
        if feature.sql is not None:
            check_expression(spark, feature.sql, where, rows.columns)
            tried.append((feature, where))
        elif feature.from_ is not None:
            lookup, _, column = feature.from_.partition(".")
            plain.append(_column(lookup).getField(column).alias(feature.name))
        elif feature.name not in needed:
            plain.append(_column(feature.name).alias(feature.name))
    attempts = [guard(spark, str(f.sql), where).alias(f"_try_{i}") for i, (f, where) in enumerate(tried)]
    first = _select(spark, rows, [*base, *plain, *flags, *attempts], tried)
    if not tried:
        return FeatureRows(first, tuple(_spec(f, None) for f in features), failed=False)
    bits = {f.name: i for i, (f, _) in enumerate(tried)}
    kept = [_column(name) for name in first.columns if not name.startswith("_try_")]
    values = [_column(f"_try_{i}").getField("v").alias(f.name) for i, (f, _) in enumerate(tried)]
    final = first.select(*kept, *values, *_failure_words(len(tried)))
    return FeatureRows(final, tuple(_spec(f, bits.get(f.name)) for f in features), failed=True)


def _failure_words(count: int) -> list[Column]:
    from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

    words = []
    for word, start in enumerate(range(0, count, BITS)):
        total = F.lit(0).cast("bigint")
        for i in range(start, min(start + BITS, count)):
            bit = F.lit(1 << (i - start)).cast("bigint")
            total = total.bitwiseOR(F.when(_column(f"_try_{i}").isNull(), bit).otherwise(F.lit(0).cast("bigint")))
        words.append(total.alias(f"_failed_{word}"))
    return words


def _select(
    spark: SparkSession, rows: DataFrame, columns: list[Column], tried: Sequence[tuple[FeatureConfig, str]]
) -> DataFrame:
    """Select, and where Spark cannot resolve it, say which feature is to blame."""
    try:
        return rows.select(*columns)
    except BatchscoreError:
        raise
    except Exception as error:
        for feature, where in tried:
            reason = find_fault(lambda f=feature, w=where: rows.select(guard(spark, str(f.sql), w)))  # type: ignore[misc]
            if reason:
                raise ConfigError(f"{where}: {reason}") from error
        raise


def find_fault(attempt: Callable[[], object]) -> str | None:
    """What Spark has against an expression, in our words; None where it takes it."""
    try:
        attempt()
    except Exception as error:
        condition = getattr(error, "getCondition", lambda: None)()
        parameters: dict[str, str] = getattr(error, "getMessageParameters", dict)() or {}
        if condition and condition.startswith("UNRESOLVED_COLUMN"):
            near = parameters.get("proposal", "").replace("`_left`.", "")
            return (
                f"expected columns of the input table or LOOKUP.COLUMN; found {parameters.get('objectName')}. "
                f"Did you mean one of: {near}?"
            )
        first = str(error).splitlines()[0]
        return f"expected an expression that Spark can resolve; found: {first[:300]}. Correct it."
    return None


def _check_names(rows: DataFrame, features: Sequence[FeatureConfig]) -> None:
    known = {name.lower(): name for name in rows.columns}
    for position, feature in enumerate(features):
        where = f"features.columns.{position} ({feature.name})"
        computed = feature.sql is not None or feature.from_ is not None
        if computed and feature.name.lower() in known:
            raise InputError(
                f"{where}: the input table or a lookup already has this name. Give the feature another name, "
                "or leave out `sql` and `from` to take the column as it is."
            )
        if not computed and feature.name not in rows.columns:
            from difflib import get_close_matches  # noqa: PLC0415

            near = get_close_matches(feature.name, rows.columns, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise InputError(
                f"{where}: expected an input column of this name, `sql` or `from`; found none of them.{hint}"
            )


def _spec(feature: FeatureConfig, bit: int | None) -> FeatureSpec:
    if isinstance(feature.on_null, ImputeConfig):
        return FeatureSpec(name=feature.name, on_null="impute", impute=feature.on_null.impute, failed_bit=bit)
    return FeatureSpec(name=feature.name, on_null=feature.on_null, failed_bit=bit)


def _column(name: str) -> Column:
    from pyspark.sql import functions as F  # noqa: PLC0415

    return F.col(f"`{name.replace('`', '``')}`")
