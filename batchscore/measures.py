"""Measures of two distributions, from counts and pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def population_stability_index(expected: Sequence[int], found: Sequence[int]) -> float:
    """The population stability index (PSI) of counts in the same bins; 0 where the shares are equal.

    `sum((q - p) * ln(q / p))` over bins with shares p and q. So that an empty bin has a logarithm, every count is
    raised by one half: a share is `(n + 1/2) / (N + k/2)` for k bins.

    Args:
        expected: [k] rows in each bin, of the distribution that is compared with.
        found: [k] rows of the other.
    """
    shares = []
    for counts in (expected, found):
        raised = np.asarray(counts, dtype=np.float64) + 0.5
        shares.append(raised / raised.sum())
    p, q = shares
    return float(np.sum((q - p) * np.log(q / p)))


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rank correlation of [n] pairs, equal values sharing their mean rank; None where one is constant."""
    ranks = [_rank(np.asarray(values, dtype=np.float64)) for values in (one, other)]
    if any(len(rank) < 2 or rank.min() == rank.max() for rank in ranks):
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _rank(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: np.ndarray = (ends - (counts - 1) / 2)[place]
    return ranks
