"""Reading: one interval of a pinned table, and the keys in it that are not unique."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from batchscore.errors import InputError
from batchscore.intervals import Interval
from batchscore.records import PinnedTable

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
FOLDER_TYPES = frozenset({"string", "date", "tinyint", "smallint", "int", "bigint", "boolean"})

_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_GLOB = re.compile(r"([\\*?\[\]{}])")


def quote(name: str) -> str:
    """A column name as a SQL identifier, whatever characters it holds."""
    return f"`{name.replace('`', '``')}`"


def folder_values(path: str) -> dict[str, str | None]:
    """The partition values that the folders of a relative path name, as Hive writes them."""
    named = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    return {_unescape(name): None if value == HIVE_NULL else _unescape(value) for name, _, value in named}


def _literal(path: str) -> str:
    """A file's path that Spark takes as it stands: a name with brackets would be read as a pattern of names.

    Source: Hadoop, `FileSystem.globStatus`.
    """
    return _GLOB.sub(r"\\\1", path)


def _unescape(text: str) -> str:
    """A folder's name as Spark reads it: each escape is one character, not a byte of UTF-8.

    Source: Spark, `ExternalCatalogUtils.unescapePathName`.
    """
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def read_pinned(spark: SparkSession, pinned: PinnedTable, *, native: bool = False) -> DataFrame:
    """The whole of a pinned table.

    Args:
        spark: The session.
        pinned: The table.
        native: Whether a Delta table whose files hold its rows as they are is read as these Parquet files, which Comet
            can read itself. A pinned version is a list of files; only its interval's files are listed, so only that
            interval may be asked for.

    Raises:
        InputError: Its Parquet files have columns that Spark cannot read.
    """
    from pyspark.sql.types import StructType  # noqa: PLC0415 - the driver alone needs it

    if pinned.format == "parquet":
        reader = spark.read.option("basePath", pinned.location)
        if pinned.schema:
            reader = reader.schema(StructType.fromJson(json.loads(pinned.schema)))
        try:
            return reader.parquet(*map(_literal, pinned.paths))
        except Exception as error:
            fault = _find_schema_fault(str(error))
            if fault is None:
                raise
            raise InputError(f"{pinned.table}: {fault}") from error
    frame = spark.read.format("delta").option("versionAsOf", str(pinned.version)).load(pinned.location)
    if native and pinned.whole and _names_its_partitions(pinned, frame):
        files = spark.read.schema(frame.schema).option("basePath", pinned.location)
        found = files.parquet(*[_literal(file.path) for file in pinned.whole])  # partition columns come last
        return found.select(*[quote(name) for name in frame.columns])
    return frame


def _names_its_partitions(pinned: PinnedTable, frame: DataFrame) -> bool:
    """Whether the folders of a Delta table say what its log says of partitions, in types that Spark reads from both."""
    types = dict(frame.dtypes)
    for file in pinned.whole:
        logged = {name: value or None for name, value in file.values.items()}
        if folder_values(file.path.removeprefix(f"{pinned.location}/")) != logged:
            return False
        if any(types[name] not in FOLDER_TYPES for name in logged):
            return False
    return True


# What Spark says of a schema, which holds names and types but no values; and what is to be said instead.
SCHEMA_FAULTS = (
    (
        r"\[PARQUET_TYPE\w*\] .*?[Tt]ype[^:]*: (.+?)\.?(?: SQLSTATE|$)",
        "expected Parquet columns of types that Spark has; found one of {}. Write it as another type upstream "
        "(timestamps in microseconds).",
    ),
    (
        r"\[(UNSUPPORTED_TIME)_TYPE\]",
        "expected Parquet columns of types that Spark reads; found a time of day. Write it as text or a number "
        "upstream.",
    ),
    (
        r"\[COLUMN_ALREADY_EXISTS\] The column (.+?) already exists",
        "expected columns that differ in more than case; found {} twice. Rename one upstream.",
    ),
)


def _find_schema_fault(text: str) -> str | None:
    found = ((re.search(pattern, text, re.MULTILINE), sentence) for pattern, sentence in SCHEMA_FAULTS)
    return next((sentence.format(match[1]) for match, sentence in found if match), None)


def read_interval(
    spark: SparkSession, pinned: PinnedTable, interval: Interval, column: str | None, *, native: bool = False
) -> DataFrame:
    """The rows of one interval of a pinned table, all columns; `native` as for `read_pinned`.

    Raises:
        InputError: The interval's column is missing or is no date or timestamp.
    """
    frame = read_pinned(spark, pinned, native=native)
    if interval.start is None:
        return frame
    return frame.where(interval_condition(frame, interval, column, "interval.column"))


def interval_condition(frame: DataFrame, interval: Interval, column: str | None, where: str) -> Column:
    """The half-open condition of an interval on its column, with typed literals.

    A date column holds local days; a timestamp is an instant; a timestamp without zone holds the local clock.

    Raises:
        InputError: The column is missing, is no date or timestamp, or is a date under an hourly grain.
    """
    from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

    assert column is not None and interval.start is not None and interval.end is not None
    assert interval.local_start is not None and interval.local_end is not None
    types = {field.name: field.dataType.typeName() for field in frame.schema.fields}
    if column not in types:
        raise InputError(missing_columns([column], list(types), "interval.column"))
    kind = types[column]
    if kind == "date" and interval.grain != "hour":
        first, last = f"date'{interval.local_start.date()}'", f"date'{interval.local_end.date()}'"
    elif kind == "timestamp":
        first, last = (f"timestamp'{t.strftime('%Y-%m-%d %H:%M:%S')}Z'" for t in (interval.start, interval.end))
    elif kind == "timestamp_ntz":
        first, last = (f"timestamp_ntz'{t.isoformat(sep=' ')}'" for t in (interval.local_start, interval.local_end))
    else:
        wanted = "a timestamp" if interval.grain == "hour" else "a date or a timestamp"
        raise InputError(
            f"interval.column: expected '{column}' to be {wanted}; found {kind}. Cast it upstream, or cut by another."
        )
    name = F.col(quote(column))
    return (name >= F.expr(first)) & (name < F.expr(last))


def scan_rows(frame: DataFrame, columns: Sequence[str], where: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Some columns of the rows of a small table whose values are among those given."""
    for name, values in where.items():
        frame = frame.where(frame[quote(name)].isin(list(values)))
    return [row.asDict() for row in frame.select(*[quote(name) for name in columns]).collect()]


def find_duplicates(frame: DataFrame, key: Sequence[str]) -> DataFrame:
    """The keys that more than one row of the frame has; one shuffle of the key columns alone."""
    from pyspark.sql import functions as F  # noqa: PLC0415

    names = [quote(name) for name in key]
    return frame.groupBy(*names).agg(F.count(F.lit(1)).alias("_rows")).where("_rows > 1")


def mark_duplicates(frame: DataFrame, key: Sequence[str]) -> DataFrame:
    """The frame with `_duplicate`, true for every row whose key another row has too."""
    from pyspark.sql import functions as F  # noqa: PLC0415

    doubled = find_duplicates(frame, key).alias("_doubled")
    same = [F.col(f"_rows_in.{quote(k)}").eqNullSafe(F.col(f"_doubled.{quote(k)}")) for k in key]
    condition = same[0]
    for part in same[1:]:
        condition = condition & part
    joined = frame.alias("_rows_in").join(doubled, condition, "left")
    return joined.select("_rows_in.*", F.col("_doubled._rows").isNotNull().alias("_duplicate"))


def missing_columns(missing: Sequence[str], known: Sequence[str], where: str) -> str:
    """A message about columns that a table lacks, with the nearest names."""
    from difflib import get_close_matches  # noqa: PLC0415

    parts = []
    for name in missing:
        near = get_close_matches(name, known, n=1) or [k for k in known if k.lower() == name.lower()][:1]
        parts.append(f"'{name}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    shown = ", ".join(known[:30]) + (", …" if len(known) > 30 else "")
    return f"{where}: expected column {', '.join(parts)}; found only: {shown}. Correct the name, or the table."
