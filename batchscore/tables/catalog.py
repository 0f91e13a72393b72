"""Catalog names: where the table of a name lies, where it would lie, and how it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from batchscore.errors import ConfigError
from batchscore.tables.read import quote

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.types import StructField, StructType

_ABSENT = ("TABLE_OR_VIEW_NOT_FOUND", "SCHEMA_NOT_FOUND")
_DETAILS = "# Detailed Table Information"


def quote_name(name: str) -> str:
    """A catalog name as SQL takes it: each part quoted."""
    return ".".join(quote(part) for part in name.split("."))


def find_table(spark: SparkSession, name: str) -> str | None:
    """Where the Delta table of a name lies; None where there is no table of that name.

    Args:
        spark: The session.
        name: `SCHEMA.TABLE` or `CATALOG.SCHEMA.TABLE`.

    Raises:
        ConfigError: The name is a view's, or another format's, or the catalog cannot be asked.
    """
    try:
        rows = spark.sql(f"DESCRIBE TABLE EXTENDED {quote_name(name)}").collect()
    except Exception as error:
        if _condition(error) in _ABSENT:
            return None
        raise ConfigError(
            f"table {name}: expected a catalog that can be asked for it; it answers "
            f"{_condition(error) or type(error).__name__}. "
            "Give SCHEMA.TABLE or CATALOG.SCHEMA.TABLE, or a path with a '/'."
        ) from error
    labels = [row["col_name"] for row in rows]
    details = rows[labels.index(_DETAILS) + 1 :] if _DETAILS in labels else []
    known = {row["col_name"]: row["data_type"] for row in details}
    if known.get("Type") not in ("MANAGED", "EXTERNAL") or (known.get("Provider") or "").lower() != "delta":
        found = "a view" if "VIEW" in known.get("Type", "VIEW") else f"a table of {known.get('Provider')}"
        raise ConfigError(
            f"table {name}: expected a Delta table, or a name that is free; found {found}. Choose another name."
        )
    return str(known["Location"])


def expect_location(spark: SparkSession, name: str) -> str:
    """Where a new table of a name would lie: in its schema's own folder.

    Raises:
        ConfigError: There is no such schema.
    """
    schema, _, table = name.rpartition(".")
    try:
        rows = spark.sql(f"DESCRIBE SCHEMA {quote_name(schema)}").collect()
    except Exception as error:
        raise ConfigError(
            f"table {name}: expected the catalog to have a schema '{schema}'; it has none "
            f"({_condition(error) or type(error).__name__}). Create it (CREATE SCHEMA {schema}), connect to the "
            "catalog that has it, or give a path with a '/'."
        ) from error
    found = {row["info_name"]: row["info_value"] for row in rows}
    root = found.get("Location") or f"{spark.conf.get('spark.sql.warehouse.dir')}/{schema.replace('.', '/')}"
    return f"{unquote(root).rstrip('/')}/{table}"  # a schema's is escaped, a table's is not


def create_table(
    spark: SparkSession,
    name: str,
    schema: StructType,
    partition_by: Sequence[str],
    properties: Mapping[str, str],
) -> None:
    """Create a Delta table of a name unless there is one."""
    parts = [f"CREATE TABLE IF NOT EXISTS {quote_name(name)} ({schema.toDDL()}) USING delta"]
    parts += [f"PARTITIONED BY ({', '.join(quote(column) for column in partition_by)})"] if partition_by else []
    parts += [f"TBLPROPERTIES ({_pairs(properties)})"] if properties else []
    spark.sql(" ".join(parts))


def columns_clause(fields: Sequence[StructField]) -> str:
    """The clause of an ALTER that adds columns behind those that a table has; its older rows have nulls there."""
    from pyspark.sql.types import StructField, StructType  # noqa: PLC0415 - executors import this package too

    added = StructType([StructField(column.name, column.dataType, nullable=True) for column in fields])
    return f"ADD COLUMNS ({added.toDDL()})"


def properties_clause(properties: Mapping[str, str]) -> str:
    """The clause of an ALTER that sets properties."""
    return f"SET TBLPROPERTIES ({_pairs(properties)})"


def _pairs(properties: Mapping[str, str]) -> str:
    return ", ".join(f"{_text(key)} = {_text(value)}" for key, value in properties.items())


def _text(value: str) -> str:
    """A string literal of Spark SQL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _condition(error: Exception) -> str | None:
    """The name of what Spark refused, if it has one."""
    named = getattr(error, "getCondition", None)
    return named() if callable(named) else None
