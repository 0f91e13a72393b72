"""Kullback-Leibler divergence of a column from a stated distribution, from counts alone.

Source: great_expectations 1.24, expectations/core/expect_column_kl_divergence_to_be_less_than.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from batchscore.checks.answers import Answer
from batchscore.checks.values import Unsupported, is_plain_number

CLOSE = 1e-5  # weights sum to one within this


def check_partition(kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The stated distribution.

    Returns:
        `partition_object`: `weights` with `bins` (one edge more, rising), or with `values`.

    Raises:
        Unsupported: It is derived from the data, or something about it is wrong: GX then says what.
    """
    partition = kwargs.get("partition_object")
    if not isinstance(partition, dict):
        raise Unsupported("its distribution is taken from the data itself")
    weights, tails = partition.get("weights"), partition.get("tail_weights", [])
    edges = partition.get("bins", partition.get("values"))
    holdouts = [kwargs.get(name, 0) for name in ("tail_weight_holdout", "internal_weight_holdout")]
    numbers = [*(weights or []), *tails, *holdouts, kwargs.get("threshold", 0)]
    if not isinstance(weights, list) or not isinstance(edges, list) or not all(map(is_plain_number, numbers)):
        raise Unsupported("its partition_object has another form")
    continuous = "bins" in partition
    wrong = len(edges) != len(weights) + continuous or abs(sum(weights) + sum(tails) - 1) > CLOSE
    wrong |= not all(0 <= share <= 1 for share in holdouts) or bool(holdouts[0] and tails)
    if continuous:
        wrong |= not all(map(is_plain_number, edges)) or any(a >= b for a, b in pairwise(edges))
        wrong |= kwargs.get("bucketize_data", True) is not True or len(tails) not in (0, 2)
    else:
        wrong |= bool(holdouts[1]) or len(set(map(repr, edges))) < len(edges) or not edges or bool(tails)
    if wrong:
        raise Unsupported("its partition_object is not consistent")
    return partition


def diverge_bins(counts: Sequence[int], below: int, above: int, values: int, kwargs: Mapping[str, Any]) -> Answer:
    """The answer for a distribution over bins.

    Args:
        counts: Values in each bin; the last one holds its upper edge too.
        below: Values below the first edge.
        above: Values above the last one.
        values: Values that are not null.
        kwargs: Arguments that `check_partition` let pass.
    """
    partition = kwargs["partition_object"]
    tail, internal = kwargs.get("tail_weight_holdout", 0), kwargs.get("internal_weight_holdout", 0)
    weights = [weight * (1 - tail - internal) for weight in partition["weights"]]
    empty = weights.count(0)
    if internal > 0 and empty:
        weights = [weight or internal / empty for weight in weights]
    low, high = partition.get("tail_weights", [tail / 2, tail / 2])
    observed = [below, *counts, above]
    return _answer([n / values if values else math.nan for n in observed], [low, *weights, high], kwargs)


def diverge_values(counts: Sequence[int], others: Mapping[str, Any], values: int, kwargs: Mapping[str, Any]) -> Answer:
    """The answer for a distribution over single values.

    Args:
        counts: Rows with each stated value.
        others: Of the values that are not stated: `kinds` (how many), `rows`, and `entropy` (the sum of n ln n).
        values: Values that are not null.
        kwargs: Arguments that `check_partition` let pass.
    """
    tail = kwargs.get("tail_weight_holdout", 0)
    kinds, rows = others["kinds"] or 0, others["rows"] or 0
    weights = [weight * (1 - tail if kinds else 1) for weight in kwargs["partition_object"]["weights"]]
    if not values:
        return _answer([math.nan], [1.0], kwargs)
    if kinds and not tail:
        return _answer([1.0], [0.0], kwargs)
    whole = sum(weights) + (tail if kinds else 0)
    divergence = _divergence([n / values for n in counts], [weight / whole for weight in weights])
    if kinds:  # sum of p ln(p / q) over the others, where each p is n / values and q is the same for all
        divergence += ((others["entropy"] or 0.0) - rows * math.log(values * tail / kinds / whole)) / values
    return _verdict(divergence, kwargs)


def _answer(observed: Sequence[float], expected: Sequence[float], kwargs: Mapping[str, Any]) -> Answer:
    seen, stated = sum(observed), sum(expected)
    if not seen > 0 or not stated > 0:
        return _verdict(math.inf if seen > 0 else math.nan, kwargs)
    return _verdict(_divergence([p / seen for p in observed], [q / stated for q in expected]), kwargs)


def _divergence(observed: Sequence[float], expected: Sequence[float]) -> float:
    terms = [0.0 if not p else p * math.log(p / q) if q else math.inf for p, q in zip(observed, expected, strict=True)]
    return math.fsum(terms)


def _verdict(divergence: float, kwargs: Mapping[str, Any]) -> Answer:
    threshold = kwargs.get("threshold")
    observed = divergence if math.isfinite(divergence) else None
    return Answer(success=threshold is None or divergence <= threshold, observed=observed)
