"""Accuracy: figures of scores against labels by group, computed in Spark after scikit-learn's definitions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

BINS = 10
NULL = "(null)"
_EDGES = tuple(float(edge) for edge in np.linspace(0, 1, BINS + 1)[1:-1])
_LEAST = float(np.finfo(np.float64).eps)  # probabilities are kept this far from 0 and 1, as scikit-learn does

Figures = dict[tuple[str, ...], dict[str, Any]]


def measure_scores(rows: DataFrame, kind: str, by: Sequence[str], thresholds: Sequence[float]) -> Figures:
    """Figures of each group of rows.

    Args:
        rows: Columns `_score` and `_label`, both finite doubles, and those of `by`.
        kind: `binary`, where labels are 0 and 1 and scores probabilities, or `regression`.
        by: Columns whose values make the groups.
        thresholds: Where precision and recall are taken.

    Returns:
        Values of `by` to figures; one that cannot be taken, such as the AUC of one class, is None.
    """
    return _measure_binary(rows, by, thresholds) if kind == "binary" else _measure_regression(rows, by)


def _measure_binary(
    rows: DataFrame, by: Sequence[str], thresholds: Sequence[float]
) -> dict[tuple[str, ...], dict[str, Any]]:
    from pyspark.sql import functions as F  # noqa: PLC0415

    score, label = F.col("_score"), F.col("_label")
    clipped = F.greatest(F.lit(_LEAST), F.least(F.lit(1 - _LEAST), score))
    loss = -(label * F.log(clipped) + (1 - label) * F.log1p(-clipped))
    place = sum((F.when(score > edge, 1).otherwise(0) for edge in _EDGES), F.lit(0))
    sums: list[Column] = [
        F.count(F.lit(1)).alias("rows"),
        F.count_if(label == 1).alias("positives"),
        F.avg(loss).alias("log_loss"),
        F.avg((score - label) * (score - label)).alias("brier"),
    ]
    for i, threshold in enumerate(thresholds):
        sums.append(F.count_if(score >= threshold).alias(f"above_{i}"))
        sums.append(F.count_if((score >= threshold) & (label == 1)).alias(f"hits_{i}"))
    for i in range(BINS):
        inside = F.col("_bin") == i
        sums.append(F.count_if(inside).alias(f"bin_rows_{i}"))
        sums.append(F.avg(F.when(inside, score)).alias(f"bin_score_{i}"))
        sums.append(F.avg(F.when(inside, label)).alias(f"bin_share_{i}"))
    found = rows.withColumn("_bin", place).groupBy(*by).agg(*sums).collect()
    areas = _areas(rows, by)
    return {_group(row, by): _binary_figures(row, areas, by, thresholds) for row in found}


def _areas(rows: DataFrame, by: Sequence[str]) -> dict[tuple[str, ...], float]:
    """Area under the ROC curve: the share of pairs of a positive and a negative in which the positive scores higher.

    Equal scores count half. Source: Mann and Whitney's U.
    """
    from pyspark.sql import Window  # noqa: PLC0415
    from pyspark.sql import functions as F  # noqa: PLC0415

    steps = rows.groupBy(*by, "_score").agg(
        F.count_if(F.col("_label") == 1).alias("_up"), F.count_if(F.col("_label") == 0).alias("_down")
    )
    below = F.sum("_down").over(Window.partitionBy(*by).orderBy("_score").rowsBetween(Window.unboundedPreceding, -1))
    pairs = F.col("_up") * (F.coalesce(below, F.lit(0)) + F.col("_down") / 2)
    summed = (
        steps.select(*by, "_up", "_down", pairs.alias("_pairs"))
        .groupBy(*by)
        .agg(F.sum("_pairs").alias("pairs"), F.sum("_up").alias("up"), F.sum("_down").alias("down"))
    )
    return {
        _group(row, by): row["pairs"] / (row["up"] * row["down"])
        for row in summed.collect()
        if row["up"] and row["down"]
    }


def _binary_figures(
    row: Any, areas: Mapping[tuple[str, ...], float], by: Sequence[str], thresholds: Sequence[float]
) -> dict[str, Any]:
    cuts = []
    for i, threshold in enumerate(thresholds):
        above, hits = row[f"above_{i}"], row[f"hits_{i}"]
        precision = hits / above if above else None
        recall = hits / row["positives"] if row["positives"] else None
        both = (precision or 0.0) + (recall or 0.0)
        f1 = 2 * (precision or 0.0) * (recall or 0.0) / both if both else None
        cuts.append({"threshold": threshold, "rows": above, "precision": precision, "recall": recall, "f1": f1})
    bins = [
        {
            "from": i / BINS,
            "to": (i + 1) / BINS,
            "rows": row[f"bin_rows_{i}"],
            "mean_score": row[f"bin_score_{i}"],
            "positive_share": row[f"bin_share_{i}"],
        }
        for i in range(BINS)
        if row[f"bin_rows_{i}"]
    ]
    return {
        "rows": row["rows"],
        "positives": row["positives"],
        "auc": areas.get(_group(row, by)),
        "log_loss": row["log_loss"],
        "brier": row["brier"],
        "thresholds": cuts,
        "calibration": bins,
    }


def _measure_regression(rows: DataFrame, by: Sequence[str]) -> dict[tuple[str, ...], dict[str, Any]]:
    from pyspark.sql import functions as F  # noqa: PLC0415

    error = F.col("_score") - F.col("_label")
    found = rows.groupBy(*by).agg(
        F.count(F.lit(1)).alias("rows"),
        F.avg(error).alias("mean_error"),
        F.avg(F.abs(error)).alias("mean_absolute_error"),
        F.avg(error * error).alias("squared"),
        F.var_pop("_label").alias("variance"),
    )
    return {
        _group(row, by): {
            "rows": row["rows"],
            "mean_error": row["mean_error"],
            "mean_absolute_error": row["mean_absolute_error"],
            "root_mean_squared_error": math.sqrt(row["squared"]),
            "r2": 1 - row["squared"] / row["variance"] if row["variance"] else None,
        }
        for row in found.collect()
    }


def _group(row: Any, by: Sequence[str]) -> tuple[str, ...]:
    """The values that make a row's group; null is no text."""
    return tuple(NULL if row[name] is None else str(row[name]) for name in by)
