"""Challengers: how their scores differ from those that are published, and the tables that are kept of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from batchscore.config import JobConfig
from batchscore.measures import population_stability_index, rank_correlation
from batchscore.outputs import Outputs
from batchscore.publish.protocol import append_rows
from batchscore.records import RunRecord, show_model
from batchscore.tables.read import quote
from batchscore.tables.stage import Stage, read_stage

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

PAIRS = 100_000  # rows from which the rank correlation is taken; all rows where there are no more
QUANTILES = (0.5, 0.9, 0.95, 0.99)
BINS = 10
_ACCURACY = 10_000  # of approximate quantiles: within 1 / 10,000 of the rank


def compare_scores(spark: SparkSession, stage: Stage) -> dict[str, Any]:
    """How the challenger's scores differ, column by column, on the rows that both models have scored.

    For floating-point columns: `mean` and `challenger_mean`; `mean_difference`, `mean_abs_difference` and
    `max_abs_difference` of challenger minus champion; quantiles of the absolute difference, to within one
    ten-thousandth of the rank; `psi` over ten bins that hold equal shares of the champion's scores; and
    `rank_correlation` (Spearman), from a random `pairs` rows where there are more than 100,000. NaN and infinite scores
    are left out and counted as `not_finite`. For all other columns: `flips`, rows with another value.

    Args:
        spark: The session.
        stage: The run's stage.

    Returns:
        Column to its measures; empty where the stage has no challenger's scores.
    """
    rows = read_stage(spark, stage, "scored")
    if "_challenger" not in rows.columns or not stage.counts.get("scored"):
        return {}
    names = rows.schema["_challenger"].dataType.fieldNames()  # type: ignore[attr-defined]
    both = rows.where("_challenger is not null")
    numbers = [name for name in names if rows.schema[name].dataType.typeName() in ("float", "double")]
    flips = _count_flips(both, [name for name in names if name not in numbers])
    compared = _compare_numbers(both, numbers) if numbers else {}
    return {name: compared[name] if name in compared else flips[name] for name in names}


def write_challenge(target: Outputs, spark: SparkSession, stage: Stage, record: RunRecord) -> None:
    """Keep what a job with a challenger asks for, before its scores are published.

    Args:
        target: The job's outputs.
        spark: The session.
        stage: The run's stage.
        record: The run that publishes it.

    Raises:
        WriteError: A table does not take the rows; nothing is published.
    """
    config = target.job.config
    if config.model.challenger is None:
        return
    rows = read_stage(spark, stage, "scored")
    if "_challenger" not in rows.columns:  # staged before the job had one
        return
    both = rows.where("_challenger is not null")
    label = show_model(record.challenger.get("model"))
    if target.challenger is not None:
        append_rows(target.challenger, record.run_id, _with_run(_challenger_rows(both, config), record, label))
    worst = _worst_rows(both, config)
    if target.differences is not None and worst is not None:
        append_rows(target.differences, record.run_id, _with_run(worst, record, label))


def _pairs(rows: DataFrame, name: str) -> tuple[Column, Column]:
    champion = rows[quote(name)].cast("double")
    return champion, rows["_challenger"].getField(name).cast("double")


def _finite(column: Column) -> Column:
    from pyspark.sql import functions as F  # noqa: PLC0415 - keeps `validate` free of Spark

    return ~(F.isnan(column) | (F.abs(column) == math.inf)) & column.isNotNull()


def _compare_numbers(both: DataFrame, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    from pyspark.sql import functions as F  # noqa: PLC0415

    edges = [i / BINS for i in range(1, BINS)]
    sums = []
    for place, name in enumerate(names):
        champion, challenger = _pairs(both, name)
        fits = _finite(champion) & _finite(challenger)

        def over(column: Column, fits: Column = fits) -> Column:
            return F.when(fits, column)

        difference = over(challenger - champion)
        sums += [
            F.count(difference).alias(f"rows_{place}"),
            F.count(F.lit(1)).alias(f"all_{place}"),
            F.avg(over(champion)).alias(f"mean_{place}"),
            F.avg(over(challenger)).alias(f"challenger_mean_{place}"),
            F.avg(difference).alias(f"mean_difference_{place}"),
            F.avg(F.abs(difference)).alias(f"mean_abs_difference_{place}"),
            F.max(F.abs(difference)).alias(f"max_abs_difference_{place}"),
            F.percentile_approx(F.abs(difference), list(QUANTILES), _ACCURACY).alias(f"quantiles_{place}"),
            F.percentile_approx(over(champion), edges, _ACCURACY).alias(f"edges_{place}"),
        ]
    found = both.agg(*sums).first()
    assert found is not None
    bounds = {name: sorted(set(found[f"edges_{place}"] or ())) for place, name in enumerate(names)}
    stability = _count_bins(both, bounds)
    ranks = _rank_pairs(both, names, max(found[f"all_{place}"] for place in range(len(names))))
    compared = {}
    for place, name in enumerate(names):
        rows = found[f"rows_{place}"]
        measures = ("mean", "challenger_mean", "mean_difference", "mean_abs_difference", "max_abs_difference")
        quantiles = found[f"quantiles_{place}"] or [None] * len(QUANTILES)
        compared[name] = {
            "rows": rows,
            "not_finite": found[f"all_{place}"] - rows,
            **{measure: found[f"{measure}_{place}"] for measure in measures},
            "abs_difference_quantiles": {f"p{100 * q:g}": v for q, v in zip(QUANTILES, quantiles, strict=True)},
            "psi": population_stability_index(*stability[name]) if rows else None,
            **ranks[name],
        }
    return compared


def _count_bins(both: DataFrame, bounds: Mapping[str, Sequence[float]]) -> dict[str, tuple[list[int], list[int]]]:
    """Rows of champion and challenger in the bins between bounds, the upper bound belonging to the bin."""
    from pyspark.sql import functions as F  # noqa: PLC0415

    sums = []
    for place, (name, edges) in enumerate(bounds.items()):
        champion, challenger = _pairs(both, name)
        fits = _finite(champion) & _finite(challenger)
        for side, column in enumerate((champion, challenger)):
            for i, edge in enumerate([*edges, math.inf]):
                sums.append(F.count_if(fits & (column <= edge)).alias(f"c_{place}_{side}_{i}"))
    found = both.agg(*sums).first()
    assert found is not None
    counted = {}
    for place, (name, edges) in enumerate(bounds.items()):
        sides = []
        for side in (0, 1):
            below = [found[f"c_{place}_{side}_{i}"] for i in range(len(edges) + 1)]
            sides.append([b - a for a, b in zip([0, *below], below, strict=False)])
        counted[name] = (sides[0], sides[1])
    return counted


def _rank_pairs(both: DataFrame, names: Sequence[str], rows: int) -> dict[str, dict[str, Any]]:
    from pyspark.sql import functions as F  # noqa: PLC0415

    sides = [side.alias(f"{i}_{s}") for i, n in enumerate(names) for s, side in enumerate(_pairs(both, n))]
    sample = both if rows <= PAIRS else both.where(F.rand(0) < PAIRS / rows)
    table = sample.select(*sides).toArrow()
    told = {}
    for place, name in enumerate(names):
        one, other = (table.column(f"{place}_{side}").to_numpy() for side in (0, 1))
        fits = np.isfinite(one) & np.isfinite(other)
        told[name] = {"rank_correlation": rank_correlation(one[fits], other[fits]), "pairs": int(fits.sum())}
    return told


def _count_flips(both: DataFrame, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    from pyspark.sql import functions as F  # noqa: PLC0415

    if not names:
        return {}

    def plain(column: Column, name: str) -> Column:
        return F.to_json(column) if both.schema[name].dataType.typeName() in ("map", "array") else column

    sums = [F.count(F.lit(1)).alias("rows")]
    for place, name in enumerate(names):
        one, other = plain(both[quote(name)], name), plain(both["_challenger"].getField(name), name)
        sums.append(F.count_if(~one.eqNullSafe(other)).alias(f"flips_{place}"))
    found = both.agg(*sums).first()
    assert found is not None
    return {name: {"rows": found["rows"], "flips": found[f"flips_{place}"]} for place, name in enumerate(names)}


def _challenger_rows(both: DataFrame, config: JobConfig) -> DataFrame:
    return both.select(*[both[quote(key)] for key in config.input.key], "_challenger.*")


def _worst_rows(both: DataFrame, config: JobConfig) -> DataFrame | None:
    """The rows with the largest differences of each floating-point column, by their keys; None where none are kept."""
    from pyspark.sql import functions as F  # noqa: PLC0415

    count = config.model.challenger.worst if config.model.challenger is not None else 0
    names = both.schema["_challenger"].dataType.fieldNames()  # type: ignore[attr-defined]
    numbers = [name for name in names if both.schema[name].dataType.typeName() in ("float", "double")]
    if not count or not numbers or not config.input.key:
        return None
    parts = []
    for name in numbers:
        champion, challenger = _pairs(both, name)
        rows = both.where(_finite(champion) & _finite(challenger) & (champion != challenger)).select(
            *[both[quote(key)] for key in config.input.key],
            F.lit(name).alias("_column"),
            champion.alias("_score"),
            challenger.alias("_challenger_score"),
            (challenger - champion).alias("_difference"),
        )
        ties = [F.col(quote(key)) for key in config.input.key]
        parts.append(rows.orderBy(F.abs("_difference").desc(), *ties).limit(count))
    return reduce(lambda one, other: one.unionAll(other), parts)


def _with_run(rows: DataFrame, record: RunRecord, label: str | None) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: PLC0415

    return rows.select(
        "*",
        F.lit(label).alias("_model"),
        F.lit(record.interval).alias("_interval"),
        F.lit(record.run_id).alias("_run_id"),
        F.lit(record.generation).cast("bigint").alias("_generation"),
    )
