"""Window aggregates: what the previous hours or days of a key amount to, as known before an input row's own moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from batchscore.config import LookupConfig
from batchscore.errors import InputError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.window import WindowSpec

_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")


def check_windows(where: str, lookup: LookupConfig, known: Mapping[str, str]) -> None:
    """Compare windows with the columns of their table.

    Raises:
        InputError: A column is missing, or is no number where one is needed.
    """
    for name, window in lookup.windows.items():
        if window.of is None:
            continue
        if window.of not in known:
            raise InputError(
                f"{where}.windows.{name}: expected column '{window.of}' in the table {lookup.table}; found only: "
                f"{', '.join(known)}. Correct `of`."
            )
        if window.do in ("sum", "mean") and not known[window.of].startswith(_NUMBERS):
            raise InputError(
                f"{where}.windows.{name}: {window.do} expects numbers; '{window.of}' is {known[window.of]}. "
                "Cast it upstream."
            )


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
    at, known = F.col(_quote(str(lookup.at))), F.col(_quote(str(lookup.known_at)))
    own = [F.col(_quote(key)) for key in lookup.on]
    usable = at.isNotNull()
    for key in own:
        usable = usable & key.isNotNull()
    values = {window.of: f"_v{i}" for i, window in enumerate(lookup.windows.values()) if window.of is not None}
    types = {field.name: field.dataType for field in table.schema}
    left = rows.select(
        *[key.alias(alias) for key, alias in zip(own, keys, strict=True)],
        F.unix_micros(at).alias("_t"),
        # rows without a key would else all meet in one task
        F.when(~usable, F.spark_partition_id()).alias("_apart"),
        F.struct(*[F.col(_quote(column)) for column in rows.columns]).alias("_row"),
        *[F.lit(None).cast(types[of]).alias(alias) for of, alias in values.items()],
    )
    spans = {name: window.over_s * 1_000_000 for name, window in lookup.windows.items()}
    first = rows.select(F.min(F.unix_micros(at))).scalar() - max(spans.values())
    last = rows.select(F.max(F.unix_micros(at))).scalar()
    counted = (F.unix_micros(known) >= first) & (F.unix_micros(known) < last)
    for key in own:
        counted = counted & key.isNotNull()
    right = table.where(counted).select(
        *[key.alias(alias) for key, alias in zip(own, keys, strict=True)],
        F.unix_micros(known).alias("_t"),
        F.lit(None).cast("int").alias("_apart"),
        F.lit(None).cast(left.schema["_row"].dataType).alias("_row"),
        *[F.col(_quote(of)).alias(alias) for of, alias in values.items()],
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
    found = F.when(F.col("_apart").isNull(), F.struct(*[F.col(_quote(one)) for one in lookup.windows]))
    return joined.select("_row.*", found.alias(name))


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


def _quote(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
