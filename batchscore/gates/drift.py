"""The drift gate: how far distributions of features and scores are from a reference's, and how far is too far."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from batchscore.config import DriftGateConfig
from batchscore.kernel.distributions import HASHES, OTHERS, Distribution, edges_of
from batchscore.measures import jensen_shannon, kolmogorov_smirnov, population_stability_index
from batchscore.records import GateVerdict

BINS = 10
FEWEST = 7  # intervals; fewer say nothing of how much days differ
SINGLE = 0.25  # the most where the reference is one distribution: a PSI above it is commonly called a major shift
NEW_NORMAL = 0.25  # share of a reference's intervals that had drifted, from which they count like the others
DRAWS = 500
NAMED = 5  # columns that a verdict names
_TINY = 1e-300  # the bucket of 0 holds the smallest numbers that there are, too
_FLOOR = 1e-6  # added before a logarithm is taken: two equal distributions are 0 apart
MEASURES: dict[str, Callable[[Any, Any], Any]] = {
    "psi": population_stability_index,
    "jensen_shannon": jensen_shannon,
    "kolmogorov_smirnov": kolmogorov_smirnov,
}

Distributions = Mapping[str, Mapping[str, Distribution]]  # place, column


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnDrift:
    """How far one column is from the reference.

    Attributes:
        place: `features` or `scores`.
        column: Its name.
        rows: Rows looked at.
        reference_rows: Rows of the reference.
        missing: Share of the rows that are null or NaN.
        psi: Population stability index.
        jensen_shannon: Jensen-Shannon divergence, base 2.
        kolmogorov_smirnov: Kolmogorov-Smirnov statistic of the values that are there; None for categories.
        threshold: The most that the gate's measure may reach; None where there is no gate, or nothing to tell by.
        over: Whether it does not.
        bins: What each bin holds, such as `<= 12.5`.
        counts: [k] rows in each.
        reference: [k] rows of the reference in each.
    """

    place: str
    column: str
    rows: int
    reference_rows: int
    missing: float
    psi: float
    jensen_shannon: float
    kolmogorov_smirnov: float | None
    threshold: float | None
    over: bool
    bins: tuple[str, ...]
    counts: tuple[int, ...]
    reference: tuple[int, ...]

    def of(self, measure: str) -> float | None:
        """One of its measures."""
        found: float | None = getattr(self, measure)
        return found


def measure_drift(
    config: DriftGateConfig | None,
    found: Distributions,
    references: Sequence[Distributions],
    drifted: Sequence[Collection[tuple[str, str]]] = (),
) -> list[ColumnDrift]:
    """How far each column is from the reference, the furthest first: by share of its threshold, or else by PSI.

    Args:
        config: The gate, if there is one.
        found: The run's distributions.
        references: One for each interval of the reference, or the only one.
        drifted: Of each, the columns (place and name) that had drifted beyond their threshold themselves. Such an
            interval is left out for that column, until a quarter of the reference is like it: how things are then.
    """
    marks = drifted or [()] * len(references)
    chosen = []
    for place, columns in found.items():
        for name, distribution in columns.items():
            held = [
                (known[place][name], (place, name) in mark)
                for known, mark in zip(references, marks, strict=True)
                if _has(known, place, name, distribution.kind)
            ]
            parts = [part for part, apart in held if not apart]
            if len(parts) < FEWEST or len(parts) <= (1 - NEW_NORMAL) * len(held):
                parts = [part for part, _ in held]
            if distribution.rows and parts:
                gate = config if _is_chosen(config, name) else None
                chosen.append(_measure(gate, place, name, distribution, parts))
    measure = config.measure if config is not None else "psi"
    return sorted(chosen, key=lambda one: (one.threshold is None, -_how_far(one, measure)))


def judge_drift(config: DriftGateConfig, columns: Sequence[ColumnDrift], reference: str, why_open: str) -> GateVerdict:
    """Whether no column has drifted beyond its threshold.

    Args:
        config: The gate.
        columns: As `measure_drift` gives them.
        reference: What they were compared with, in words.
        why_open: Why there can be no verdict; empty where there can.
    """
    judged = [one for one in columns if one.threshold is not None]
    if not why_open and not judged:
        why_open = f"no column to compare with {reference}"
    if why_open:
        return GateVerdict(gate="drift", verdict="open", on_fail=config.on_fail, found=why_open)
    over = [one for one in columns if one.over]
    word = {"psi": "PSI", "jensen_shannon": "JS divergence", "kolmogorov_smirnov": "KS statistic"}[config.measure]
    if not over:
        furthest = judged[0]
        found = f"{len(judged)} columns against {reference}; the furthest is {_tell(furthest, config.measure, word)}"
        return GateVerdict(gate="drift", verdict="pass", on_fail=config.on_fail, found=found)
    named = "; ".join(_tell(one, config.measure, word) for one in over[:NAMED])
    more = f"; and {len(over) - NAMED} more" if len(over) > NAMED else ""
    found = f"{len(over)} of {len(judged)} columns drifted from {reference}: {named}{more}"
    return GateVerdict(gate="drift", verdict="fail", on_fail=config.on_fail, found=found)


def resample_threshold(counts: np.ndarray, measure: str, deviations: float) -> float:
    """The most that a measure reaches while nothing has changed, as the intervals of the reference show it.

    Each draw takes one interval away and compares it with as many of the others, drawn with replacement. The measure's
    logarithm is taken for normal: the threshold is its mean and so many standard deviations, or the largest of the
    draws where that is more.

    Args:
        counts: [n, k] rows of each interval in each bin.
        measure: A key of `MEASURES`.
        deviations: How many standard deviations.
    """
    intervals = len(counts)
    chance = np.random.default_rng(intervals)  # the same intervals give the same threshold
    left_out = chance.integers(0, intervals, DRAWS)
    drawn = chance.integers(0, intervals - 1, (DRAWS, intervals - 1))
    drawn += drawn >= left_out[:, None]
    times = np.zeros((DRAWS, intervals))
    np.add.at(times, (np.arange(DRAWS)[:, None], drawn), 1)
    found = MEASURES[measure](times @ counts, counts[left_out])
    logs = np.log(found + _FLOOR)
    return float(max(np.exp(logs.mean() + deviations * logs.std()), found.max()))


def bin_together(parts: Sequence[Distribution], found: Distribution) -> tuple[np.ndarray, np.ndarray, list[str], bool]:
    """Counts of several distributions of a column in the same bins.

    Numbers: ten bins with about equal shares of the reference, made of whole buckets; a number beyond the reference's
    belongs to the outermost bin, one in a gap to the bin above. Categories: one bin each, and one for all that the
    reference does not name; where there are too many to name, a bin for each hash. Null and NaN have a bin of their
    own, the last, where there are any.

    Args:
        parts: The reference's distributions.
        found: The run's.

    Returns:
        [n, k] counts of the parts, [k] of the run's, what each bin holds, and whether the last is that of the missing.
    """
    everyone = [*parts, found]
    counts, bins = (_bin_numbers if found.kind == "numeric" else _bin_categories)(everyone)
    missing = np.array([one.nulls for one in everyone])
    if missing.any():
        counts = np.concatenate([counts, missing[:, None]], axis=1)
        bins = [*bins, "missing"]
    return counts[:-1], counts[-1], bins, bool(missing.any())


def _measure(
    config: DriftGateConfig | None,
    place: str,
    name: str,
    found: Distribution,
    parts: Sequence[Distribution],
) -> ColumnDrift:
    daily, counts, bins, has_missing = bin_together(parts, found)
    reference = daily.sum(axis=0)
    values = slice(None, -1) if has_missing else slice(None)
    numeric = found.kind == "numeric"
    measures = {
        "psi": population_stability_index(reference, counts),
        "jensen_shannon": jensen_shannon(reference, counts),
        "kolmogorov_smirnov": kolmogorov_smirnov(reference[values], counts[values]) if numeric else None,
    }
    threshold = None if config is None else config.threshold
    if config is not None and threshold is None and measures[config.measure] is not None:
        if config.reference != "runs":
            threshold = SINGLE
        elif len(parts) >= FEWEST:
            of = daily[:, values] if config.measure == "kolmogorov_smirnov" else daily
            threshold = resample_threshold(of, config.measure, config.deviations)
    measured = None if config is None else measures[config.measure]
    return ColumnDrift(
        place=place,
        column=name,
        rows=found.rows,
        reference_rows=int(reference.sum()),
        missing=found.nulls / found.rows,
        threshold=threshold,
        over=threshold is not None and measured is not None and measured > threshold,
        bins=tuple(bins),
        counts=tuple(int(n) for n in counts),
        reference=tuple(int(n) for n in reference),
        **measures,
    )


def _bin_numbers(everyone: Sequence[Distribution]) -> tuple[np.ndarray, list[str]]:
    shift = max(one.shift for one in everyone)
    coarse = [one.coarsen(shift) for one in everyone]
    keys = np.unique(np.concatenate([known for known, _ in coarse]))
    table = np.zeros((len(everyone), len(keys)), dtype=np.int64)
    for row, (known, counts) in zip(table, coarse, strict=True):
        row[np.searchsorted(keys, known)] = counts
    pool = table[:-1].sum(axis=0)
    if not pool.sum():  # nothing but missing values in the reference
        return table.sum(axis=1)[:, None], ["any number"]
    middle = (np.cumsum(pool) - pool / 2) / pool.sum()
    bins = np.minimum((middle * BINS).astype(int), BINS - 1)
    used = np.unique(bins)
    counted = np.stack([table[:, bins == place].sum(axis=1) for place in used], axis=1)
    _, high = edges_of(np.array([keys[bins == place][-1] for place in used]), shift)
    edges = np.where(np.abs(high) < _TINY, 0.0, high)
    return counted, [f"<= {edge:.6g}" for edge in edges[:-1]] + ["above"]


def _bin_categories(everyone: Sequence[Distribution]) -> tuple[np.ndarray, list[str]]:
    if any(one.values is None for one in everyone) and all(len(one.hashed) for one in everyone):
        return np.stack([one.hashed for one in everyone]), [f"hash {place}" for place in range(HASHES)]
    names = sorted({name for one in everyone[:-1] for name in one.values or {} if name != OTHERS})
    table = np.zeros((len(everyone), len(names) + 1), dtype=np.int64)
    for row, one in zip(table, everyone, strict=True):
        row[:-1] = [(one.values or {}).get(name, 0) for name in names]
        row[-1] = one.rows - one.nulls - row[:-1].sum()
    return table, [*names, OTHERS]


def _has(known: Distributions, place: str, name: str, kind: str) -> bool:
    one = known.get(place, {}).get(name)
    return one is not None and one.kind == kind and one.rows > 0


def _is_chosen(config: DriftGateConfig | None, name: str) -> bool:
    return config is None or ((not config.columns or name in config.columns) and name not in config.ignore)


def _how_far(one: ColumnDrift, measure: str) -> float:
    found = one.of(measure) or 0.0
    return found / one.threshold if one.threshold else found


def _tell(one: ColumnDrift, measure: str, word: str) -> str:
    found, threshold = one.of(measure), one.threshold
    limit = "" if threshold is None else f" (at most {threshold:.3g})"
    return f"{one.column} {word} {0.0 if found is None else found:.3g}{limit}"
