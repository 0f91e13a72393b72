"""Expectations that a table's schema alone decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from batchscore.checks.row_rules import Kwargs
from batchscore.checks.table_rules import count_args, is_between
from batchscore.checks.values import Unsupported

Decision = tuple[bool, Any]  # success, and the observed value

INTEGRAL = ("IntegralType", "NumericType", "AtomicType", "DataType")
FRACTIONAL = ("FractionalType", "NumericType", "AtomicType", "DataType")

# What each Arrow type is called in Spark, with the classes above it.
SPARK_TYPES: tuple[tuple[Callable[[pa.DataType], bool], tuple[str, ...]], ...] = (
    (pa.types.is_int8, ("ByteType", *INTEGRAL)),
    (pa.types.is_int16, ("ShortType", *INTEGRAL)),
    (pa.types.is_int32, ("IntegerType", *INTEGRAL)),
    (pa.types.is_int64, ("LongType", *INTEGRAL)),
    (pa.types.is_float32, ("FloatType", *FRACTIONAL)),
    (pa.types.is_float64, ("DoubleType", *FRACTIONAL)),
    (pa.types.is_decimal, ("DecimalType", *FRACTIONAL)),
    (pa.types.is_boolean, ("BooleanType", "AtomicType", "DataType")),
    (pa.types.is_string, ("StringType", "AtomicType", "DataType")),
    (pa.types.is_large_string, ("StringType", "AtomicType", "DataType")),
    (pa.types.is_binary, ("BinaryType", "AtomicType", "DataType")),
    (pa.types.is_date, ("DateType", "DatetimeType", "AtomicType", "DataType")),
    (lambda kind: pa.types.is_timestamp(kind) and kind.tz, ("TimestampType", "DatetimeType", "AtomicType", "DataType")),
    (pa.types.is_timestamp, ("TimestampNTZType", "DatetimeType", "AtomicType", "DataType")),
    (pa.types.is_map, ("MapType", "DataType")),
    (pa.types.is_struct, ("StructType", "DataType")),
    (pa.types.is_list, ("ArrayType", "DataType")),
)
KNOWN_TYPES = frozenset(name for _, names in SPARK_TYPES for name in names)


def _exists(kwargs: Kwargs, schema: pa.Schema) -> Decision:
    name, position = kwargs.get("column"), kwargs.get("column_index")
    if position is not None and (isinstance(position, bool) or not isinstance(position, int)):
        raise Unsupported("column_index is not a whole number")
    if not position:  # GX takes index 0 for none given
        return name in schema.names, None
    inside = -len(schema.names) <= position < len(schema.names)
    return inside and schema.names[position] == name, None


def _count(kwargs: Kwargs, schema: pa.Schema) -> Decision:
    return is_between(len(schema.names), count_args(kwargs)), len(schema.names)


def _ordered(kwargs: Kwargs, schema: pa.Schema) -> Decision:
    return list(_names(kwargs, "column_list")) == schema.names, list(schema.names)


def _matches_set(kwargs: Kwargs, schema: pa.Schema) -> Decision:
    wanted, found = set(_names(kwargs, "column_set")), set(schema.names)
    exact = kwargs.get("exact_match", True)
    if not isinstance(exact, bool):
        raise Unsupported("exact_match is not true or false")
    return wanted == found if exact else wanted <= found, sorted(found)


def _names(kwargs: Kwargs, key: str) -> list[str]:
    names = kwargs.get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Unsupported(f"{key} is not a list of names")
    return names


def _is_type(kwargs: Kwargs, schema: pa.Schema) -> Decision:
    return _is_one_of([kwargs.get("type_")], kwargs, schema)


def _is_type_in(kwargs: Kwargs, schema: pa.Schema) -> Decision:
    return _is_one_of(_names(kwargs, "type_list"), kwargs, schema)


def _is_one_of(names: list[Any], kwargs: Kwargs, schema: pa.Schema) -> Decision:
    if not isinstance(kwargs.get("column"), str):
        raise Unsupported("an argument that names its column is missing")
    kind = schema.field(kwargs["column"]).type
    actual = next((spark for check, spark in SPARK_TYPES if check(kind)), None)
    if actual is None or not names or not KNOWN_TYPES.issuperset(names):
        raise Unsupported("it names a type that only Spark knows")
    return bool(set(names) & set(actual)), actual[0]


# GX type: its arguments, and what decides it.
SCHEMA_RULES: dict[str, tuple[frozenset[str], Callable[[Kwargs, pa.Schema], Decision]]] = {
    "expect_column_to_exist": (frozenset({"column", "column_index"}), _exists),
    "expect_table_column_count_to_be_between": (frozenset({"min_value", "max_value"}), _count),
    "expect_table_column_count_to_equal": (frozenset({"value"}), _count),
    "expect_table_columns_to_match_ordered_list": (frozenset({"column_list"}), _ordered),
    "expect_table_columns_to_match_set": (frozenset({"column_set", "exact_match"}), _matches_set),
    "expect_column_values_to_be_of_type": (frozenset({"column", "type_", "mostly"}), _is_type),
    "expect_column_type_to_be": (frozenset({"column", "type_"}), _is_type),
    "expect_column_values_to_be_in_type_list": (frozenset({"column", "type_list", "mostly"}), _is_type_in),
}
