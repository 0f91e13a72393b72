"""Lookups: columns of another table, by equal keys or as of a point in time, never more than one row for each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from batchscore.config import LookupConfig
from batchscore.errors import InputError
from batchscore.features.windows import bound_table, check_windows, join_windows
from batchscore.features.words import quote

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_LEFT, _RIGHT = "_left", "_right"
_LATEST = 2**62  # microseconds, later than any instant


def add_lookups(
    rows: DataFrame,
    lookups: Mapping[str, LookupConfig],
    tables: Mapping[str, DataFrame],
    bounded: Collection[str] = (),
    where_of: Callable[[str], str] = "lookups.{}".format,
) -> DataFrame:
    """The rows with one struct column for each lookup, null where nothing matched.

    Args:
        rows: [n] rows.
        lookups: Name to config.
        tables: Name to the pinned right-hand table.
        bounded: Lookups whose tables hold little more than the rows may know.
        where_of: Place of a lookup by its name, for messages.

    Returns:
        [n] rows in any order; `weather.temp` reads a brought column.

    Raises:
        InputError: A key, time or brought column is missing, or a lookup's name is taken by a column.
    """
    start = rows
    # Windows first: their rows are sorted, and carry what was joined before.
    for name, lookup in sorted(lookups.items(), key=lambda item: not item[1].windows):
        table = tables[name]
        check_lookup(rows, name, lookup, table, where_of(name))
        if lookup.windows:
            known = table if name in bounded else bound_table(start, lookup, table)
            rows = join_windows(rows, name, lookup, known)
        else:
            rows = (_join_as_of if lookup.known_at else _join_exact)(rows, name, lookup, table)
    return rows


def check_lookup(rows: DataFrame, name: str, lookup: LookupConfig, table: DataFrame, where: str) -> None:
    """Compare a lookup with the columns of both sides.

    Raises:
        InputError: A column is missing or of the wrong type, or the lookup's name is taken.
    """
    left, right = dict(rows.dtypes), dict(table.dtypes)
    if name.lower() in {column.lower() for column in left}:
        raise InputError(f"{where}: the input table has a column of this name. Give the lookup another name.")
    for side, wanted, known in (
        ("input table", [*lookup.on, lookup.at], left),
        (f"table {lookup.table}", [*lookup.on, lookup.known_at, *lookup.columns], right),
    ):
        missing = [column for column in wanted if column is not None and column not in known]
        if missing:
            raise InputError(
                f"{where}: expected column '{missing[0]}' in the {side}; found only: {', '.join(known)}. "
                "Correct the lookup."
            )
    for key in lookup.on:
        if left[key] != right[key]:
            raise InputError(
                f"{where}.on: expected '{key}' to have one type on both sides; found {left[key]} in the input "
                f"and {right[key]} in {lookup.table}. Cast one upstream."
            )
    for column, known in ((lookup.at, left), (lookup.known_at, right)):
        if column is not None and known[column] != "timestamp":
            raise InputError(
                f"{where}: expected '{column}' to be a timestamp; found {known[column]}. Cast it upstream."
            )
    check_windows(where, lookup, table)


def _join_exact(rows: DataFrame, name: str, lookup: LookupConfig, table: DataFrame) -> DataFrame:
    """Equal keys, one row for each; where a key is doubled on the right, `_doubled_<name>` is true.

    Doubles are found by looking at neighbours in the order that a sort-merge join needs anyway: no further shuffle.
    """
    from pyspark.sql import Window  # noqa: PLC0415 - the driver alone needs it
    from pyspark.sql import functions as F  # noqa: PLC0415

    keys = [F.col(quote(key)) for key in lookup.on]
    names = [f"_k{i}" for i in range(len(keys))]
    brought = F.struct(*[F.col(quote(column)) for column in lookup.columns])
    same = Window.partitionBy(*names).orderBy(*names)
    right = (
        table.where(_all_present(keys))
        .select(*[key.alias(n) for key, n in zip(keys, names, strict=True)], brought.alias("_v"))
        .select("*", F.row_number().over(same).alias("_place"), F.lead(F.lit(1)).over(same).alias("_more"))
        .where("_place = 1")
    )
    joined = rows.alias(_LEFT).join(right.alias(_RIGHT), _equal_keys(lookup), "left")
    return joined.select(f"{_LEFT}.*", F.col("_v").alias(name), F.col("_more").isNotNull().alias(f"_doubled_{name}"))


def flag_doubled(lookups: Mapping[str, LookupConfig]) -> Column | None:
    """The column `_doubled`: the lookup in which a row's key is doubled, else null; None without exact lookups.

    The kernel stops the run at such a row. An error raised here would be caught by the guard of a SQL feature.
    """
    from pyspark.sql import functions as F  # noqa: PLC0415

    exact = [name for name, lookup in lookups.items() if lookup.known_at is None]
    if not exact:
        return None
    return F.coalesce(*[F.when(F.col(f"_doubled_{name}"), F.lit(name)) for name in exact]).alias("_doubled")


def _join_as_of(rows: DataFrame, name: str, lookup: LookupConfig, table: DataFrame) -> DataFrame:
    """The latest row with `known_at` strictly before `at`, at most `max_age` old.

    Right rows become disjoint spans `[known_at, next known_at)` per key, cut off at `max_age`, and both sides fall into
    buckets of `max_age`, of which a span meets one or two: an equality join with at most one match, no cross join, no
    shuffle of a broadcast left side. Ties (one key, one `known_at`) take the greatest row, compared column by column,
    so the choice is stable.
    """
    from pyspark.sql import Window  # noqa: PLC0415
    from pyspark.sql import functions as F  # noqa: PLC0415

    width = lookup.max_age_s
    keys = [F.col(quote(key)) for key in lookup.on]
    known = F.col(quote(str(lookup.known_at)))
    brought = F.struct(*[F.col(quote(column)) for column in lookup.columns])
    names = [f"_k{i}" for i in range(len(keys))]
    following = F.lead("_known").over(Window.partitionBy(*names).orderBy("_known", "_v"))
    spans = (
        table.where(_all_present([*keys, known]))
        .select(*[key.alias(n) for key, n in zip(keys, names, strict=True)], known.alias("_known"), brought.alias("_v"))
        .withColumn("_until", following)
        .where("_until is null or _until > _known")  # of rows that tie the last, which is the greatest
    )
    micros = width * 1_000_000
    ends = f"least(unix_micros(_known) + {micros}, coalesce(unix_micros(_until), {_LATEST}))"
    buckets = F.expr(f"sequence(unix_micros(_known) div {micros}, {ends} div {micros})")
    right = spans.withColumn("_bucket", F.explode(buckets))
    at_name = f"{_LEFT}.{quote(str(lookup.at))}"
    at = F.col(at_name)
    condition = (
        _equal_keys(lookup)
        & (F.expr(f"unix_micros({at_name}) div {micros}") == F.col(f"{_RIGHT}._bucket"))
        & (F.col(f"{_RIGHT}._known") < at)
        & (F.col(f"{_RIGHT}._until").isNull() | (at <= F.col(f"{_RIGHT}._until")))
        & (F.unix_micros(at) - F.unix_micros(F.col(f"{_RIGHT}._known")) <= F.lit(micros))
    )
    joined = rows.alias(_LEFT).join(right.alias(_RIGHT), condition, "left")
    return joined.select(f"{_LEFT}.*", F.col(f"{_RIGHT}._v").alias(name))


def _equal_keys(lookup: LookupConfig) -> Column:
    from pyspark.sql import functions as F  # noqa: PLC0415

    condition = F.lit(True)
    for position, key in enumerate(lookup.on):
        condition = condition & (F.col(f"{_LEFT}.{quote(key)}") == F.col(f"{_RIGHT}._k{position}"))
    return condition


def _all_present(columns: list[Column]) -> Column:
    condition = columns[0].isNotNull()
    for column in columns[1:]:
        condition = condition & column.isNotNull()
    return condition
