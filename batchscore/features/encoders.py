"""Encoders: Spark columns made of fitted constants, and the file that holds these."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscore.config import EncodeConfig
from batchscore.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import Column

MAX_CONSTANTS_BYTES = 16 * 1_048_576
REFIT = "Run `batchscore fit-encoders` again"
Constants = Mapping[str, Mapping[str, Any]]
_FORMS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "scale": {"mean": (int, float), "std": (int, float)},
    "one_hot": {"categories": list},
    "ordinal": {"categories": list},
    "hash": {"size": int},
    "bucketize": {"edges": list},
    "impute": {"value": (int, float, str, bool)},
}
_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")
_WHOLE = ("tinyint", "smallint", "int", "bigint")


def read_constants(named: str, path: str) -> Constants:
    """The encoders' constants, by feature.

    Args:
        named: The file as the config names it.
        path: Where it lies.

    Raises:
        ConfigError: It is missing or no such file.
    """
    where = f"features.constants: {named}"
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{where}: expected constants; found: {error.strerror}. Write them by `batchscore fit-encoders`."
        ) from error
    if len(content) > MAX_CONSTANTS_BYTES:
        raise ConfigError(f"{where}: expected at most {MAX_CONSTANTS_BYTES} bytes; it is larger.")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{where}: expected JSON; it does not parse. Write it anew with `batchscore fit-encoders`."
        ) from error
    if not isinstance(values, dict) or not all(isinstance(one, dict) for one in values.values()):
        raise ConfigError(
            f"{where}: expected a mapping of features to constants. Write it anew with `batchscore fit-encoders`."
        )
    return values


def constants_of(feature: str, encode: EncodeConfig, constants: Constants, named: str) -> dict[str, Any]:
    """The constants of one encoder, in their own form.

    Raises:
        ConfigError: They are missing, or of another form.
    """
    where = f"features.constants: {named}: {feature}"
    if feature not in constants:
        raise ConfigError(f"{where}: expected its constants; found {', '.join(constants) or 'none'}. {REFIT}.")
    found = constants[feature]
    form = _FORMS[encode.do]
    if found.get("do") != encode.do:
        raise ConfigError(f"{where}: expected constants of `{encode.do}`; found those of `{found.get('do')}`. {REFIT}.")
    for key, kind in form.items():
        value = found.get(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not _FORMS["impute"]["value"]):
            raise ConfigError(
                f"{where}: expected `{key}`; found none of its kind. Run `batchscore fit-encoders` again."
            )
    values = {key: found[key] for key in form}
    fault = _find_fault(encode.do, values)
    if fault:
        raise ConfigError(f"{where}: {fault}. {REFIT}.")
    return values


def _find_fault(do: str, values: Mapping[str, Any]) -> str | None:
    if do == "scale" and not (values["std"] > 0 and all(map(math.isfinite, values.values()))):
        return "expected a finite mean, and a standard deviation above 0"
    if do in ("one_hot", "ordinal"):
        known = values["categories"]
        kinds = {type(one) for one in known}
        if not known or kinds not in ({str}, {int}, {bool}) or len(set(known)) != len(known):
            return "expected different categories of one type"
    if do == "hash" and values["size"] < 2:
        return "expected 2 or more buckets"
    if do == "bucketize":
        edges = values["edges"]
        sound = all(isinstance(e, (int, float)) and not isinstance(e, bool) and math.isfinite(e) for e in edges)
        if not edges or not sound or any(a >= b for a, b in pairwise(edges)):
            return "expected edges, each above the one before"
    if do == "impute" and isinstance(values["value"], float) and not math.isfinite(values["value"]):
        return "expected a finite value"
    return None


def check_kind(do: str, kind: str, where: str) -> None:
    """Compare an encoder with the type of its column.

    Raises:
        ConfigError: The encoder has no meaning for it.
    """
    if do in ("scale", "bucketize"):
        wanted, fits = "numbers", kind.startswith(_NUMBERS)
    elif do in ("one_hot", "ordinal"):
        wanted, fits = "text, whole numbers or booleans", kind in ("string", "boolean", *_WHOLE)
    elif do == "impute":
        wanted, fits = "numbers, text or booleans", kind in ("string", "boolean") or kind.startswith(_NUMBERS)
    else:
        wanted, fits = "one value", not kind.startswith(("array", "map", "struct", "variant"))
    if not fits:
        raise ConfigError(f"{where}: `{do}` expects {wanted}; the column is {kind}. Encode another, or cast it first.")


def encode_column(do: str, column: Column, kind: str, constants: Mapping[str, Any], where: str) -> Column:
    """The encoded column: null where the column is, but for `impute`.

    Args:
        do: The encoder.
        column: The column.
        kind: Spark's name of its type.
        constants: The encoder's constants.
        where: The feature, for messages.

    Raises:
        ConfigError: The encoder or its constants have no meaning for such a column.
    """
    from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

    check_kind(do, kind, where)
    if do == "scale":
        return (column.cast("double") - F.lit(float(constants["mean"]))) / F.lit(float(constants["std"]))
    if do in ("one_hot", "ordinal"):
        known = constants["categories"]
        _check_values(known, kind, where)
        if do == "ordinal":
            return F.array_position(F.array(*[F.lit(one).cast(kind) for one in known]), column)
        ones = F.array(*[(column == F.lit(one).cast(kind)).cast("float") for one in known])
        return F.when(column.isNotNull(), ones)
    if do == "hash":
        return F.when(column.isNotNull(), F.pmod(F.xxhash64(column), F.lit(int(constants["size"]))))
    if do == "bucketize":
        number = column.cast("double")
        places = F.lit(0)
        for edge in constants["edges"]:
            places = places + (number >= F.lit(float(edge))).cast("int")
        return F.when(~F.isnan(number), places)
    _check_values([constants["value"]], kind, where)
    return F.coalesce(column, F.lit(constants["value"]).cast(kind))


def _check_values(values: list[Any], kind: str, where: str) -> None:
    """Constants that stand for values of a column are of its type."""
    for value in values:
        if isinstance(value, bool):
            fits = kind == "boolean"
        elif isinstance(value, int):
            fits = kind.startswith(_NUMBERS)
        elif isinstance(value, float):
            fits = kind.startswith(("float", "double", "decimal")) or value.is_integer()
        else:
            fits = kind == "string"
        if not fits:
            raise ConfigError(
                f"{where}: expected constants for a column of {kind}; found a {type(value).__name__}, so the "
                f"column's type has changed since. {REFIT}."
            )
