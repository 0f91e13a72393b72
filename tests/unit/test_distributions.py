"""Distributions: any split of the rows adds up to the whole; measures agree with scipy's on the same counts."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, ks_2samp

from batchscore.kernel import distributions
from batchscore.kernel.distributions import OTHERS, Distribution, edges_of, is_watched, to_doubles
from batchscore.kernel.tally import Tally
from batchscore.kernel.watching import Watch
from batchscore.measures import jensen_shannon, kolmogorov_smirnov, population_stability_index

NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, -0.0, 1.0, 2.0])


def count(*parts: Any, kind: pa.DataType | None = None) -> Distribution:
    whole = Distribution()
    for part in parts:
        one = Distribution()
        one.add(pa.array(part, kind or pa.float64()))
        whole.merge(Distribution.from_plain(json.loads(json.dumps(one.to_plain()))))
    return whole


@settings(max_examples=150, deadline=None)
@given(st.lists(st.none() | NUMBERS, max_size=60), st.lists(st.integers(0, 60), max_size=4))
def test_any_split_of_numbers_adds_up_to_the_whole(values: list[float | None], cuts: list[int]) -> None:
    before, distributions.MOST_BUCKETS = distributions.MOST_BUCKETS, 8  # so that buckets join
    try:
        places = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
        parts = [values[a:b] for a, b in pairwise(places)]
        whole, split = count(values), count(*parts)
        assert split.to_plain() == whole.to_plain() or not values
        assert count(*reversed(parts)).to_plain() == whole.to_plain() or not values
        assert whole.rows == len(values)
        assert int(whole.counts.sum()) + whole.nulls == len(values)
        assert len(whole.keys) <= 8
    finally:
        distributions.MOST_BUCKETS = before


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=30), st.integers(1, 30))
def test_every_number_lies_between_its_buckets_edges(values: list[float], most: int) -> None:
    one = count(values).condensed(most)
    low, high = edges_of(one.keys, one.shift)
    ordered = np.sort(np.array(values) + 0.0)
    places = np.repeat(np.arange(len(one.keys)), one.counts)
    assert (low[places] <= ordered).all() and (ordered <= high[places]).all()
    assert (high[:-1] <= low[1:]).all()


def test_a_narrow_band_far_from_zero_keeps_its_shape() -> None:
    values = np.random.default_rng(0).normal(1_013.0, 5.0, 100_000)
    one = count(values)
    assert 256 < len(one.keys) <= distributions.MOST_BUCKETS
    seconds = np.random.default_rng(0).uniform(1.38e9, 1.38e9 + 86_400, 100_000)
    assert len(count(seconds).keys) > 256


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.text(max_size=2), max_size=40), st.integers(1, 40))
def test_any_split_of_texts_adds_up_to_the_whole(values: list[str | None], step: int) -> None:
    parts = [values[i : i + step] for i in range(0, len(values), step)]
    whole, split = count(values, kind=pa.string()), count(*parts, kind=pa.string())
    assert split.rows == whole.rows and split.nulls == whole.nulls
    assert (split.values or {}) == (whole.values or {})
    assert split.hashed.tolist() == whole.hashed.tolist() or not values
    assert whole.hashed.sum() == len(values) - whole.nulls


def test_too_many_categories_are_not_kept() -> None:
    many = [str(i) for i in range(distributions.MOST_VALUES + 1)]
    whole = count(many, ["a"], kind=pa.string())
    assert whole.values is None and whole.hashed.sum() == len(many) + 1
    assert count(["a"], many, kind=pa.string()).rows == len(many) + 1


def test_rare_categories_lose_their_names() -> None:
    one = count(["JFK"] * 30 + ["LGA"] * 25 + ["Ada Lovelace"] * 3 + [None], kind=pa.string())
    assert one.named(20, 50).values == {"JFK": 30, "LGA": 25, OTHERS: 3}
    assert one.named(20, 1).values == {"JFK": 30, OTHERS: 28}


def test_quantiles_are_read_off_the_buckets() -> None:
    found = count(np.arange(1, 101)).quantiles([0.0, 0.05, 0.5, 0.95, 1.0])
    assert found == pytest.approx([1, 5, 50, 95, 100], rel=1e-3)
    assert count([float("-inf"), 0.0, float("inf")]).quantiles([0.1, 0.5, 0.9]) == [-np.inf, pytest.approx(0), np.inf]
    assert count([None]).quantiles([0.5]) is None
    assert count(["a"], kind=pa.string()).quantiles([0.5]) is None


def test_a_row_may_count_for_several() -> None:
    one = Distribution()
    one.add(pa.array([1.0, None, float("nan")]), weight=4)
    one.add(pa.array([1.0]))
    assert (one.rows, one.nulls, one.counts.tolist()) == (13, 8, [5])
    words = Distribution()
    words.add(pa.array(["a", "a", "b"]), weight=2)
    assert words.values == {"a": 4, "b": 2}


KINDS = [
    (pa.int32(), True),
    (pa.float32(), True),
    (pa.decimal128(10, 2), True),
    (pa.bool_(), True),
    (pa.string(), True),
    (pa.timestamp("us"), False),
    (pa.list_(pa.float32()), False),
    (pa.binary(), False),
]


@pytest.mark.parametrize(("kind", "expected"), KINDS, ids=str)
def test_types_that_are_counted(kind: pa.DataType, expected: bool) -> None:
    assert is_watched(kind) is expected


def test_whole_numbers_and_decimals_are_counted_as_doubles() -> None:
    assert to_doubles(pa.array([1, 2**60 + 1], pa.int64())).tolist() == [1.0, 2.0**60]
    assert to_doubles(pa.array([None, "1.25"]).drop_null().cast(pa.decimal128(5, 2))).tolist() == [1.25]


COUNTS = st.integers(2, 12).flatmap(
    lambda k: st.tuples(*[st.lists(st.integers(0, 50), min_size=k, max_size=k).filter(any) for _ in range(2)])
)


@settings(max_examples=300, deadline=None)
@given(COUNTS)
def test_measures_equal_scipys(pair: tuple[list[int], list[int]]) -> None:
    one, other = (np.array(counts) for counts in pair)
    p, q = ((counts + 0.5) / (counts + 0.5).sum() for counts in (one, other))
    assert population_stability_index(one, other) == pytest.approx(entropy(p, q) + entropy(q, p), abs=1e-12)
    assert jensen_shannon(one, other) == pytest.approx(jensenshannon(one, other, base=2) ** 2, abs=1e-12)
    samples = [np.repeat(np.arange(len(counts)), counts) for counts in (one, other)]
    assert kolmogorov_smirnov(one, other) == pytest.approx(ks_2samp(*samples).statistic, abs=1e-12)


def test_measures_of_many_pairs_at_once_are_those_of_each() -> None:
    ours, theirs = np.random.default_rng(1).integers(0, 9, (2, 5, 4))
    for measure in (population_stability_index, jensen_shannon, kolmogorov_smirnov):
        each = [measure(one, other) for one, other in zip(ours, theirs, strict=True)]
        assert measure(ours, theirs) == pytest.approx(each)
    for measure in (jensen_shannon, kolmogorov_smirnov):
        assert measure([0, 0], [1, 2]) == measure([1, 2], [0, 0]) == 0.0


@pytest.mark.parametrize("batches", [(1,), (5000, 5000, 7), (9000,), (3, 3, 3)], ids=str)
def test_a_watch_counts_each_row_once_however_batches_come(batches: tuple[int, ...]) -> None:
    tally = Tally()
    watch = Watch(tally, "features", 1.0)
    values = np.random.default_rng(0).normal(size=sum(batches))
    start = 0
    for rows in batches:
        columns = {"x": pa.array(values[start : start + rows]), "t": pa.array([str(rows)] * rows)}
        watch.add(columns, np.arange(rows))
        start += rows
    watch.count()
    found = tally.distributions["features"]
    expected = count(values.tolist())
    assert (found["x"].keys.tolist(), found["x"].counts.tolist()) == (expected.keys.tolist(), expected.counts.tolist())
    assert found["t"].values == {str(rows): rows * batches.count(rows) for rows in batches}


def test_a_watch_takes_columns_whose_type_changes() -> None:
    tally = Tally()
    watch = Watch(tally, "scores", 1.0)
    for array in (pa.array([1, 2]), pa.array([1.0, float("nan")]), pa.array([1, 1], pa.int32())):
        watch.add({"x": array}, np.arange(2))
    watch.count()
    assert (tally.distributions["scores"]["x"].rows, tally.distributions["scores"]["x"].nulls) == (6, 1)
    assert sum(tally.distributions["scores"]["x"].counts) == 5


def test_a_watch_of_unknown_rows_weighs_what_it_leaves_out() -> None:
    tally = Tally()
    watch = Watch(tally, "features", 0)
    for _ in range(40):
        watch.add({"x": pa.array(np.ones(2000))}, np.arange(2000))
    watch.count()
    found = tally.distributions["features"]["x"]
    assert found.rows == int(found.counts.sum()) == pytest.approx(80_000, rel=0.1)
