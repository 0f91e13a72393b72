"""Tallies: any split of the rows adds up to the tally of the whole, also through JSON."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchscore.kernel.columns import ColumnTally
from batchscore.kernel.spec import TallySpec
from batchscore.kernel.tally import Histogram, Tally

EVERY = frozenset({"count", "range", "sum", "values"})
NAN, INF = float("nan"), float("inf")
D = Decimal
UTC = dt.UTC

TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], frozenset[str]]] = {
    "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1), EVERY),
    # Whole floats sum without rounding, so that a batch's own sum does not depend on the split.
    "float": (pa.float64(), st.sampled_from([0.0, -0.0, 1.0, -3.0, 2.0**40, NAN, INF, -INF]), EVERY),
    "decimal": (pa.decimal128(38, 2), st.decimals(-(10**30), 10**30, places=2), EVERY),
    "text": (pa.string(), st.text(max_size=3), EVERY - {"sum"}),
    "bool": (pa.bool_(), st.booleans(), EVERY - {"sum", "range"}),
    "date": (pa.date32(), st.dates(), EVERY - {"sum"}),
    "time": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(UTC)), EVERY - {"sum"}),
    "naive": (pa.timestamp("us"), st.datetimes(), EVERY - {"sum"}),
}
SPECS = [TallySpec(place="input", column=name, stats=kind[2], max_values=4) for name, kind in TYPES.items()]


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, pa.Array], list[int]]:
    """Columns of all types with one length, and the places where the rows are cut."""
    rows = draw(st.integers(0, 12))
    columns = {
        name: pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)
        for name, (kind, values, _) in TYPES.items()
    }
    cuts = draw(st.lists(st.integers(0, rows), max_size=4))
    return columns, sorted([0, *cuts, rows])


@settings(max_examples=150, deadline=None)
@given(tables())
def test_any_split_adds_up_to_the_whole(table: tuple[dict[str, pa.Array], list[int]]) -> None:
    columns, cuts = table
    whole = Tally()
    whole.add_columns("input", columns, SPECS)
    parts = []
    for start, end in pairwise(cuts):
        part = Tally()
        part.add_columns("input", {n: c.slice(start, end - start) for n, c in columns.items()}, SPECS)
        parts.append(Tally.from_json(part.to_json()))
    assert Tally.merge(parts).to_json() == whole.to_json()
    assert Tally.merge(reversed(parts)).to_json() == whole.to_json()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=30), st.integers(1, 7))
def test_the_deviation_of_any_split_is_that_of_the_whole(values: list[float], step: int) -> None:
    spec = TallySpec(place="input", column="x", stats=frozenset({"spread"}))
    parts = []
    for start in range(0, len(values), step):
        part = Tally()
        part.add_columns("input", {"x": pa.array(values[start : start + step], pa.float64())}, [spec])
        parts.append(Tally.from_json(part.to_json()))
    found = Tally.merge(parts).columns.get("input", {}).get("x", ColumnTally()).deviation
    if len(values) < 2:
        assert found is None
    else:
        assert found == pytest.approx(float(np.std(values, ddof=1)), rel=1e-9, abs=1e-6)


def test_a_condition_has_a_tally_of_its_own() -> None:
    specs = [TallySpec(place="input", column="x", stats=frozenset({"count"}), condition=c) for c in ("", "_where")]
    tally = Tally()
    tally.add_columns("input", {"x": pa.array([1, None, 3]), "_where": pa.array([True, True, False])}, specs)
    found = {key: (held.rows, held.nulls) for key, held in tally.columns["input"].items()}
    assert found == {"x": (3, 1), "x where _where": (2, 1)}


def column(values: list[Any], kind: pa.DataType, **spec: Any) -> ColumnTally:
    tally = ColumnTally()
    tally.add(pa.array(values, kind), TallySpec(place="input", column="x", stats=EVERY, **spec))
    return tally


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([], pa.int64(), (0, 0, None, None, None)),
        ([None], pa.float64(), (1, 1, None, None, None)),
        ([2**62, 2**62, 2**62], pa.int64(), (3, 0, 2**62, 2**62, 3 * 2**62)),
        ([-1, None, 5], pa.int8(), (3, 1, -1, 5, 4)),
        ([1.5, -0.0, None], pa.float32(), (3, 1, 0.0, 1.5, 1.5)),
        ([1e308, 1e308], pa.float64(), (2, 0, 1e308, 1e308, INF)),
        ([INF, 1.0], pa.float64(), (2, 0, 1.0, INF, INF)),
        ([D("0.10"), D("0.20")], pa.decimal128(4, 2), (2, 0, D("0.10"), D("0.20"), D("0.30"))),
    ],
)
def test_counts_extremes_and_sums(values: list[Any], kind: pa.DataType, expected: tuple[Any, ...]) -> None:
    found = column(values, kind)
    assert (found.rows, found.nulls, found.low, found.high, found.sum) == expected


@pytest.mark.parametrize(
    ("values", "low", "high", "total"),
    [([NAN, 1.0], 1.0, NAN, NAN), ([NAN], NAN, NAN, NAN), ([INF, -INF], -INF, INF, NAN)],
)
def test_nan_is_above_any_number(values: list[float], low: float, high: float, total: float) -> None:
    found = column(values, pa.float64())
    assert str((found.low, found.high, found.sum)) == str((low, high, total))


def test_float_sums_do_not_depend_on_the_order_of_merging() -> None:
    parts = [column([value], pa.float64()) for value in (1e16, 1.0, -1e16, 1.0, 1e-3)]
    forward, backward = ColumnTally(), ColumnTally()
    for part, other in zip(parts, reversed(parts), strict=True):
        forward.merge(part)
        backward.merge(other)
    assert forward.sum == backward.sum == math.fsum([1e16, 1.0, -1e16, 1.0, 1e-3])


def test_a_sum_of_batch_sums_beyond_doubles_is_infinite() -> None:
    tally = column([1.7e308], pa.float64())
    tally.merge(column([1.7e308], pa.float64()))
    assert tally.sum == INF


def test_too_many_distinct_values_are_given_up() -> None:
    tally = column([1, 2], pa.int64(), max_values=3)
    assert tally.values == {1, 2}
    tally.merge(column([3, 4], pa.int64(), max_values=3))
    assert tally.values is None
    tally.merge(column([1], pa.int64(), max_values=3))
    assert tally.values is None


def test_wanted_values_are_found_in_any_number_of_others() -> None:
    spec = TallySpec(place="input", column="x", stats=frozenset({"found"}), wanted=("a", "z", "q"))
    tally = ColumnTally()
    tally.add(pa.array([*map(str, range(5000)), "a", None, "z"]), spec)
    assert tally.found == {"a", "z"}


def test_json_is_plain_and_keeps_every_type() -> None:
    tally = Tally(read=3, scored=2, quarantined=1)
    values: dict[str, list[Any]] = {
        "$float": [NAN, INF],
        "list": [D("1.50")],
        "day": [dt.date(2013, 10, 1)],
        "moment": [dt.datetime(2013, 10, 1, 5, tzinfo=UTC)],
        "clock": [dt.datetime(2013, 10, 1, 5, 0, 0, 1)],
        "bytes": [b"\xff"],
    }
    columns = {name: pa.array(held) for name, held in values.items()}
    specs = [
        TallySpec(place="input", column=name, stats=frozenset({"values"} if name == "bytes" else {"values", "range"}))
        for name in values
    ]
    tally.add_columns("input", columns, specs)
    tally.add_batch(0.01, 2, "cpu", "m/1")
    tally.add_session(["CPUExecutionProvider"], "1.32.0", 0.5, {})
    tally.add_worker("host:1")
    text = tally.to_json()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    back = Tally.from_json(text)
    assert back.to_json() == text
    assert back.columns["input"]["moment"].low == dt.datetime(2013, 10, 1, 5, tzinfo=UTC)
    assert back.columns["input"]["list"].values == {D("1.50")}
    assert back.columns["input"]["$float"].high != back.columns["input"]["$float"].high
    assert back.columns["input"]["bytes"].values == {b"\xff"}


def test_merging_adds_what_tasks_counted() -> None:
    a, b = Tally(read=3, scored=2, quarantined=1, bytes_in=30, bytes_out=20), Tally(read=1, scored=1, bytes_in=10)
    c = Tally(read=5, bytes_in=50)
    a.count_rule("input[0]", 3, 1)
    b.count_rule("input[0]", 1, 0)
    a.count_reason("null_key", 1)
    a.add_session(["CPU"], "1", None, {})
    b.add_session(["CPU"], "1", 0.25, {"name": "H100"})
    a.add_batch(0.1, 2, "cuda", "m/1")
    b.add_batch(0.3, 1, "cpu", "m/1")
    a.to_checks, b.to_checks = 2, 1
    b.challenger = Tally(read=1, scored=1, reasons={"unfit": 2})
    c.challenger = Tally(read=4, scored=3, reasons={"unfit": 1})
    for tally, name in ((a, "h:1"), (b, "h:2"), (c, "h:1")):
        tally.add_worker(name)
    whole = Tally.merge(Tally.from_json(tally.to_json()) for tally in (a, b, c))
    assert whole.challenger == Tally(read=5, scored=4, reasons={"unfit": 3})
    assert whole.models == {"m/1": (3, 0.4)}
    assert (whole.read, whole.scored, whole.quarantined, whole.to_model) == (9, 3, 1, 3)
    assert whole.rules == {"input[0]": (4, 1)}
    assert whole.reasons == {"null_key": 1}
    assert (whole.rows_at("input"), whole.rows_at("features"), whole.rows_at("output")) == (9, 9, 3)
    runtime = whole.runtime()
    known = ("tasks", "rows", "bytes_in", "bytes_out", "model_s")
    assert {name: tuple(work[key] for key in known) for name, work in runtime["workers"].items()} == {
        "h:1": (2, 8, 80, 20, 0.1),
        "h:2": (1, 1, 10, 0, 0.3),
    }
    assert (runtime["bytes_in"], runtime["bytes_out"]) == (90, 20)
    assert runtime["rows_per_s"] == pytest.approx(3 / 0.4)
    assert runtime["devices"] == {"cpu": 1 / 3, "cuda": 2 / 3}
    assert runtime["providers"] == {"CPU": 2}
    assert (runtime["sessions_built"], runtime["session_build_s"], runtime["batches"]) == (1, 0.25, 2)
    assert runtime["peak_rss_bytes"] > 10_000_000
    assert a.read == 3  # merging leaves the parts as they were
    assert Tally.merge([]).to_json() == Tally().to_json()


def test_quantiles_come_from_merged_counts_within_six_percent() -> None:
    seconds = np.random.default_rng(1).lognormal(-5, 1, 3000)
    parts = [Histogram() for _ in range(3)]
    for i, value in enumerate(seconds):
        parts[i % 3].add(float(value))
    whole = Histogram()
    for part in parts:
        whole.merge(part)
    for q in (0.5, 0.95, 0.99, 1.0):
        exact = float(np.quantile(seconds, q, method="inverted_cdf"))
        found = whole.quantile(q)
        assert found is not None
        assert exact <= found <= exact * 1.06
    assert (whole.count, whole.max_s) == (3000, float(seconds.max()))
    assert Histogram().quantile(0.5) is None


def test_a_call_of_no_time_has_a_bucket() -> None:
    histogram = Histogram()
    histogram.add(0.0)
    assert histogram.quantile(0.5) == 0.0
