"""Fit encoders' constants on training rows, those first that others are made of."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchscore.config import EncodeConfig, FeatureConfig
from batchscore.errors import ConfigError, InputError
from batchscore.features.build import Sources
from batchscore.features.encoders import Constants, check_kind
from batchscore.features.words import find_words, quote

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

RowsOf = Callable[[Sequence[int], Constants, Sequence[str]], "DataFrame"]
DEFAULT_SIZES = {"one_hot": 100, "ordinal": 100, "hash": 1024, "bucketize": 10}


def fit_encoders(features: Sequence[FeatureConfig], sources: Sources, rows_of: RowsOf) -> dict[str, dict[str, Any]]:
    """The constants of every encoder, by feature.

    Args:
        features: The job's features.
        sources: Python features, and where features stand, for messages.
        rows_of: Rows with some of the features, given their positions and constants, and with further columns.

    Raises:
        InputError: A column has no values to fit.
        ConfigError: As `build_features`; or encoders read each other in a circle.
    """
    fitted: dict[str, dict[str, Any]] = {}
    where = {feature.name: f"{sources.where_of(i)} ({feature.name})" for i, feature in enumerate(features)}
    open_ones = {feature.name: feature.encode for feature in features if feature.encode is not None}
    while open_ones:
        waiting = _find_waiting(features, sources, set(open_ones))
        ready = {name: encode for name, encode in open_ones.items() if encode.of.lower() not in waiting}
        if not ready:
            first = next(iter(open_ones))
            raise ConfigError(f"{where[first]}: expected encoders that do not read each other in a circle. Break it.")
        usable = [place for place, feature in enumerate(features) if feature.name.lower() not in waiting]
        rows = rows_of(usable, fitted, sorted({encode.of for encode in ready.values()}))
        for name, encode in ready.items():
            fitted[name] = {"do": encode.do, **_fit(rows, encode, where[name])}
            del open_ones[name]
    return {feature.name: fitted[feature.name] for feature in features if feature.name in fitted}


def _find_waiting(features: Sequence[FeatureConfig], sources: Sources, unfitted: set[str]) -> set[str]:
    """Folded names of features and functions that are, or lead to, encoders without constants."""
    reads = {name.lower(): list(function.mark.inputs) for name, function in sources.functions.items()}
    for feature in features:
        if feature.sql is not None:
            reads[feature.name.lower()] = find_words(feature.sql)
        elif feature.encode is not None:
            reads[feature.name.lower()] = [feature.encode.of]
    waiting = {name.lower() for name in unfitted}
    while True:
        more = {name for name, read in reads.items() if name not in waiting and waiting & {r.lower() for r in read}}
        if not more:
            return waiting
        waiting |= more


def write_constants(path: Path, constants: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the constants' file, whole or not at all."""
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(constants, file, indent=2, ensure_ascii=False)
        file.write("\n")
    Path(partial).chmod(0o644)
    Path(partial).replace(path)


def _fit(rows: DataFrame, encode: EncodeConfig, where: str) -> dict[str, Any]:
    from pyspark.sql import functions as F  # noqa: PLC0415 - the driver alone needs it

    size = encode.size or DEFAULT_SIZES.get(encode.do, 0)
    kinds = {name.lower(): (name, kind) for name, kind in rows.dtypes}
    if encode.of.lower() not in kinds:
        raise ConfigError(
            f"{where}: expected a column of the input table, or a feature; found '{encode.of}', which is none. Name "
            "one; a lookup's column becomes a feature by `from`."
        )
    name, kind = kinds[encode.of.lower()]
    check_kind(encode.do, kind, where)
    if encode.do == "hash":
        return {"size": size}
    column = F.col(quote(name))
    known = rows.where(column.isNotNull())
    if encode.do in ("one_hot", "ordinal"):
        counted = known.groupBy(column.alias("v")).agg(F.count(F.lit(1)).alias("n")).orderBy(F.desc("n"), "v")
        values = sorted(row["v"] for row in counted.limit(size).collect())
        return {"categories": _some(values, where)}
    number = column.cast("double")
    if encode.do == "scale":
        finite = known.where(~F.isnan(number) & (F.abs(number) != float("inf")))
        found = finite.agg(F.avg(number).alias("mean"), F.stddev_pop(number).alias("std")).head()
        if found is None or not found["std"]:
            raise InputError(f"{where}: expected at least two different values to scale; found none or one.")
        return {"mean": found["mean"], "std": found["std"]}
    if encode.do == "bucketize":
        shares = F.array(*[F.lit(place / size) for place in range(1, size)])
        found = known.where(~F.isnan(number)).agg(F.percentile(number, shares).alias("edges")).head()
        return {"edges": _some(sorted(set((found and found["edges"]) or [])), where)}
    if kind in ("string", "boolean"):
        found = known.agg(F.mode(column, True).alias("v")).head()
    else:
        found = known.where(~F.isnan(number)).agg(F.percentile(number, F.lit(0.5)).alias("v")).head()
    value = _some([found["v"]] if found and found["v"] is not None else [], where)[0]
    whole = kind.startswith(("tinyint", "smallint", "int", "bigint"))
    return {"value": round(value) if whole else value}


def _some(values: list[Any], where: str) -> list[Any]:
    if not values:
        raise InputError(f"{where}: expected values to fit; found none in the range. Choose another range.")
    return values
