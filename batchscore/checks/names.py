"""Names: which column of a table an expectation means, whatever its letters' case."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from batchscore.checks.values import Unsupported
from batchscore.errors import InputError
from batchscore.expectations import Expectation

ONE = ("column",)
PAIR = ("column_A", "column_B")
MANY = "column_list"


def resolve_column(name: str, schema: pa.Schema) -> str | None:
    """The column of this name: the very same, else without backticks, else in another case where only one fits."""
    for wanted in (name, name[1:-1].replace("``", "`") if name[:1] == name[-1:] == "`" else name):
        if wanted in schema.names:
            return wanted
        alike = [known for known in schema.names if known.lower() == wanted.lower()]
        if len(alike) == 1:
            return str(alike[0])
    return None


def resolve_columns(expectation: Expectation, schema: pa.Schema) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The arguments with every column by its own name, and the columns in order.

    Raises:
        InputError: A column is missing or stands there twice.
        Unsupported: A column lies within a struct.
    """
    kwargs = dict(expectation.kwargs)
    if expectation.type == "expect_column_to_exist":
        name = kwargs.get("column")
        if isinstance(name, str) and kwargs.get("column_index") is None:
            kwargs["column"] = resolve_column(name, schema) or name
        return kwargs, (name,) if isinstance(name, str) else ()
    columns: list[str] = []
    for key in (*ONE, *PAIR):
        if isinstance(kwargs.get(key), str):
            kwargs[key] = _find(kwargs[key], expectation, schema)
            columns.append(kwargs[key])
    listed = kwargs.get(MANY)
    if isinstance(listed, list) and not expectation.type.startswith("expect_table_"):
        kwargs[MANY] = [_find(name, expectation, schema) if isinstance(name, str) else name for name in listed]
        columns += [name for name in kwargs[MANY] if isinstance(name, str)]
    return kwargs, tuple(columns)


def named_columns(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns that arguments name, as written."""
    listed = kwargs.get(MANY)
    names = [kwargs.get(key) for key in (*ONE, *PAIR)] + (listed if isinstance(listed, list) else [])
    return tuple(name for name in names if isinstance(name, str))


def _find(name: str, expectation: Expectation, schema: pa.Schema) -> str:
    found = resolve_column(name, schema)
    if found is not None:
        if len(schema.get_all_field_indices(found)) > 1:
            raise InputError(f"{expectation.where}: expected one column '{name}'; found several of that name.")
        return found
    outer = name.split(".", maxsplit=1)[0]
    if outer in schema.names and pa.types.is_struct(schema.field(outer).type):
        raise Unsupported(f"its column lies within the struct '{outer}'")
    close = difflib.get_close_matches(name, schema.names, n=3) or schema.names[:10]
    raise InputError(
        f"{expectation.where}: expected a column '{name}'; found none. "
        f"{'Close names' if close else 'There are no columns'}: {', '.join(close)}. Mend the suite or the table."
    )
