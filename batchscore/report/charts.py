"""Charts as small SVG paths: bars of two distributions, histograms, lines over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from batchscore.kernel.distributions import Distribution, edges_of

BINS = 25  # odd, so that a single value stands in the middle of one
_TAIL = 0.002  # share of the rows at each end that only stretches the axis
WIDTH, HEIGHT = 160, 36


def share_path(counts: Sequence[float], highest: float, *, width: int = WIDTH, height: int = HEIGHT) -> str:
    """Bars side by side, as the `d` of one SVG path; the tallest possible is `highest`."""
    if not counts or highest <= 0:
        return ""
    step = width / len(counts)
    gap = min(2.0, step / 5)
    parts = []
    for place, count in enumerate(counts):
        tall = height * count / highest
        if tall > 0:
            parts.append(f"M{place * step + gap / 2:.1f} {height}v-{max(tall, 0.5):.1f}h{step - gap:.1f}V{height}z")
    return "".join(parts)


def outline_path(counts: Sequence[float], highest: float, *, width: int = WIDTH, height: int = HEIGHT) -> str:
    """The tops of bars as one line."""
    if not counts or highest <= 0:
        return ""
    step = width / len(counts)
    tops = [height - height * count / highest for count in counts]
    return f"M0 {tops[0]:.1f}" + "".join(f"V{top:.1f}h{step:.1f}" for top in tops)


def line_path(values: Sequence[float | None], *, width: int, height: int) -> str:
    """Values in order as a line, with gaps where there is none; the highest touches the top, zero the bottom."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(0.0, *known), max(*known, 0.0)
    span = (high - low) or 1.0
    step = width / max(1, len(values) - 1)
    parts, drawing = [], False
    for place, value in enumerate(values):
        if value is None:
            drawing = False
            continue
        down = height - 1 - (height - 2) * (value - low) / span
        parts.append(f"{'L' if drawing else 'M'}{place * step:.1f} {down:.1f}")
        if not drawing and (place + 1 == len(values) or values[place + 1] is None):
            parts.append("h0.1")  # a point alone
        drawing = True
    return "".join(parts)


def histograms(found: Distribution, reference: Distribution | None) -> tuple[list[float], list[float], list[float]]:
    """Shares of two distributions of numbers in the same bins of equal width.

    Args:
        found: The run's.
        reference: What it is compared with, if there is anything.

    Returns:
        [BINS + 1] edges, [BINS] shares of the run, [BINS] of the reference; all empty where there are no numbers.
    """
    both = [_finite(one) for one in (found, reference) if one is not None]
    ends = [end for one in both for end in one.quantiles((_TAIL, 1 - _TAIL)) or []]
    if not len(found.keys) or not ends:
        return [], [], []
    low, high = min(ends), max(ends)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BINS + 1)
    sides = [None if one is None else _finite(one) for one in (found, reference)]
    shares = [_spread(one, edges) if one is not None and len(one.keys) else [] for one in sides]
    return edges.tolist(), shares[0], shares[1]


def _finite(one: Distribution) -> Distribution:
    """A distribution without the buckets that hold infinities, for which a chart has no place."""
    low, high = edges_of(one.keys, one.shift)
    kept = np.isfinite(low) & np.isfinite(high)
    return Distribution(one.rows, one.nulls, one.kind, one.shift, one.keys[kept], one.counts[kept], one.values)


def _spread(one: Distribution, edges: np.ndarray) -> list[float]:
    """Shares of the values in bins, each bucket spread evenly over what it covers; what is beyond goes to the ends."""
    low, high = (np.clip(side, edges[0], edges[-1]) for side in edges_of(one.keys, one.shift))
    least = 1e-9 * (edges[-1] - edges[0])  # a bucket has some width, so that a single value falls into one bin
    low = np.where(high - low < least, np.minimum(low, edges[-1] - least), low)
    high = np.maximum(high, low + least)
    inside = np.minimum(high[:, None], edges[None, 1:]) - np.maximum(low[:, None], edges[None, :-1])
    shares = np.sum(one.counts[:, None] * np.clip(inside, 0, None) / (high - low)[:, None], axis=0)
    shares /= shares.sum()
    return [float(share) for share in shares]
