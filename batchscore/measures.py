"""Measures of two distributions, from counts and pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Counts = Sequence[int] | np.ndarray


def population_stability_index(expected: Counts, found: Counts) -> Any:
    """The population stability index (PSI) of counts in the same bins; 0 where the shares are equal.

    `sum((q - p) * ln(q / p))` over bins with shares p and q. So that an empty bin has a logarithm, every count is
    raised by one half: a share is `(n + 1/2) / (N + k/2)` for k bins.

    Args:
        expected: [..., k] rows in each bin, of the distribution that is compared with.
        found: [..., k] rows of the other.

    Returns:
        [...] one number for each pair of distributions.
    """
    p, q = _raised(expected), _raised(found)
    return _plain(np.sum((q - p) * np.log(q / p), axis=-1))


def jensen_shannon(expected: Counts, found: Counts) -> Any:
    """The Jensen-Shannon divergence of counts in the same bins, base 2: from 0 (equal shares) to 1 (no bin in common).

    The mean of both distributions' Kullback-Leibler divergences from their mean. An empty bin adds nothing. Where one
    side has no rows at all, it is 0.

    Args:
        expected: [..., k] rows in each bin, of the distribution that is compared with.
        found: [..., k] rows of the other.
    """
    p, q = _shares(expected), _shares(found)
    middle = (p + q) / 2
    either = (p.sum(axis=-1) > 0) & (q.sum(axis=-1) > 0)
    return _plain(np.where(either, (_divergence(p, middle) + _divergence(q, middle)) / 2, 0.0))


def kolmogorov_smirnov(expected: Counts, found: Counts) -> Any:
    """The two-sample Kolmogorov-Smirnov statistic of counts in the same rising bins, from 0 to 1.

    The largest distance between the two cumulated shares, at the upper ends of the bins. Where one side has no rows at
    all, it is 0.

    Args:
        expected: [..., k] rows in each bin, of the distribution that is compared with.
        found: [..., k] rows of the other.
    """
    p, q = _shares(expected), _shares(found)
    apart = np.abs(np.cumsum(p, axis=-1) - np.cumsum(q, axis=-1))
    either = (p.sum(axis=-1) > 0) & (q.sum(axis=-1) > 0)
    return _plain(np.where(either, apart.max(axis=-1, initial=0.0), 0.0))


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


def _raised(counts: Counts) -> np.ndarray:
    raised = np.asarray(counts, dtype=np.float64) + 0.5
    shares: np.ndarray = raised / raised.sum(axis=-1, keepdims=True)
    return shares


def _shares(counts: Counts) -> np.ndarray:
    counted = np.asarray(counts, dtype=np.float64)
    total = counted.sum(axis=-1, keepdims=True)
    shares: np.ndarray = counted / np.where(total > 0, total, 1.0)
    return shares


def _divergence(shares: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence in bits; 0 log 0 is 0."""
    ratio = np.where(shares > 0, shares, 1.0) / np.where(shares > 0, middle, 1.0)
    found: np.ndarray = np.sum(shares * np.log2(ratio), axis=-1)
    return found


def _plain(found: np.ndarray) -> Any:
    return float(found) if np.ndim(found) == 0 else found
