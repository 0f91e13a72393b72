"""Window aggregates: what the previous hours or days of a key amount to, as known before an input row's own moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchscore.config import LookupConfig
from batchscore.errors import InputError
from batchscore.expressions import check_expression, guard, parse_column
from batchscore.features.words import quote

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.window import WindowSpec

_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")


def check_windows(where: str, lookup: LookupConfig, table: DataFrame) -> None:
    """Compare windows with the columns of their table.

    Raises:
        InputError: A column is missing, or is no number where one is needed.
        ConfigError: An expression does not parse, or is not allowed.
    """
    known = dict(table.dtypes)
    for name, window in lookup.windows.items():
        if window.of is None:
            continue
        if window.of in known:
            kind = known[window.of]
        else:
            check_expression(table.sparkSession, window.of, f"{where}.windows.{name}.of", table.columns)
            try:
                kind = table.select(_value(table, window.of)).dtypes[0][1]
            except Exception as error:
                raise InputError(
                    f"{where}.windows.{name}: expected a column of the table {lookup.table}, or an expression over its "
                    f"columns; found '{window.of}', and only: {', '.join(known)}. Correct `of`."
                ) from error
        if window.do in ("sum", "mean") and not kind.startswith(_NUMBERS):
            raise InputError(f"{where}.windows.{name}: {window.do} expects numbers; '{window.of}' is {kind}. Cast it.")


def join_windows(rows: DataFrame, name: str, lookup: LookupConfig, table: DataFrame) -> DataFrame:
    """The rows with a struct column of aggregates over the lookup's rows of the same key.

    A lookup row counts for an input row where `at - over <= known_at < at`: strictly before, so that what becomes
    known at the very moment leaks nothing. All windows of a lookup share one shuffle and one sort. Where a key or `at`
    is null, every aggregate is; where no lookup row counts, counts are 0 and the rest is null.

    Args:
        rows: [n] rows.
        name: The lookup's name.
        lookup: Its config.
        table: Its pinned table.

    Returns:
        [n] rows in any order.
    """
    from pyspark.sql import Window  # noqa: PLC0415 - the driver alone needs it
    from pyspark.sql import functions as F  # noqa: PLC0415

    keys = [f"_k{i}" for i in range(len(lookup.on))]
    at, known = F.col(quote(str(lookup.at))), F.col(quote(str(lookup.known_at)))
    own = [F.col(quote(key)) for key in lookup.on]
    usable = at.isNotNull()
    for key in own:
        usable = usable & key.isNotNull()
    values = {window.of: f"_v{i}" for i, window in enumerate(lookup.windows.values()) if window.of is not None}
    events = table.select("*", *[_value(table, of).alias(alias) for of, alias in values.items()])
    types = {field.name: field.dataType for field in events.schema}
    left = rows.select(
        *[key.alias(alias) for key, alias in zip(own, keys, strict=True)],
        F.unix_micros(at).alias("_t"),
        # rows without a key would else all meet in one task
        F.when(~usable, F.spark_partition_id()).alias("_apart"),
        F.struct(*[F.col(quote(column)) for column in rows.columns]).alias("_row"),
        *[F.lit(None).cast(types[alias]).alias(alias) for alias in values.values()],
    )
    spans = {name: window.over_s * 1_000_000 for name, window in lookup.windows.items()}
    counted = known.isNotNull()
    for key in own:
        counted = counted & key.isNotNull()
    right = events.where(counted).select(
        *[key.alias(alias) for key, alias in zip(own, keys, strict=True)],
        F.unix_micros(known).alias("_t"),
        F.lit(None).cast("int").alias("_apart"),
        F.lit(None).cast(left.schema["_row"].dataType).alias("_row"),
        *values.values(),
    )
    ordered = Window.partitionBy(*keys, "_apart").orderBy("_t")
    made = []
    for window_name, window in lookup.windows.items():
        value = F.col(values[window.of]) if window.of is not None else F.lit(1)
        event = F.when(F.col("_row").isNull(), value)
        frame = ordered.rangeBetween(-spans[window_name], -1)
        made.append(_aggregate(window.do, event, frame).alias(window_name))
    is_row = F.col("_row").isNotNull()
    joined = left.unionByName(right).select("_row", "_apart", *made).where(is_row)
    found = F.when(F.col("_apart").isNull(), F.struct(*[F.col(quote(one)) for one in lookup.windows]))
    return joined.select("_row.*", found.alias(name))


def _value(table: DataFrame, of: str) -> Column:
    """What a window is computed from; null where an expression cannot be computed for a row."""
    from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

    if of in table.columns:
        return F.col(quote(of))
    return guard(table.sparkSession, parse_column(table.sparkSession, of, "of"))


def bound_table(rows: DataFrame, lookup: LookupConfig, table: DataFrame) -> DataFrame:
    """The rows of a lookup's table that can count for any of some rows, by these rows' own first and last moment."""
    from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

    at, known = F.unix_micros(quote(str(lookup.at))), F.unix_micros(quote(str(lookup.known_at)))
    first = rows.select(F.min(at)).scalar() - lookup.back_s * 1_000_000
    last = rows.select(F.max(at)).scalar()
    return table.where((known >= first) & (known < last))


def _aggregate(do: str, event: Column, frame: WindowSpec) -> Column:
    """One aggregate of the values in a frame, null ones left out."""
    from pyspark.sql import functions as F  # noqa: PLC0415

    match do:
        case "count":
            return F.count(event).over(frame)
        case "sum":
            return F.try_sum(event).over(frame)  # null on overflow, which `on_null` decides about
        case "mean":
            return F.avg(event.cast("double")).over(frame)
        case "min":
            return F.min(event).over(frame)
        case "max":
            return F.max(event).over(frame)
        case "distinct":
            return F.size(F.collect_set(event).over(frame)).cast("bigint")
        case _:  # the latest; of several at one moment the greatest
            latest = F.max(F.when(event.isNotNull(), F.struct("_t", event.alias("v"))))
            return latest.over(frame).getField("v")
