# ruff: noqa: E501 - a table of messages, one case a line
"""Window aggregates against a brute-force search, on random streams with ties, nulls, doubles and a DST change."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from batchscore.config import LookupConfig, WindowConfig
from batchscore.errors import InputError
from batchscore.features.lookups import add_lookups

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

START = datetime(2013, 11, 3, 3, tzinfo=UTC)  # New York's clock goes back at 06:00 UTC
STREAMS = 500
WINDOWS = {
    "rows_3h": WindowConfig(do="count", over="3h"),
    "count_1h": WindowConfig(do="count", of="v", over="1h"),
    "sum_3h": WindowConfig(do="sum", of="v", over="3h"),
    "mean_30m": WindowConfig(do="mean", of="w", over="30m"),
    "min_3h": WindowConfig(do="min", of="w", over="3h"),
    "max_90s": WindowConfig(do="max", of="w", over="90s"),
    "distinct_3h": WindowConfig(do="distinct", of="v", over="3h"),
    "last_3h": WindowConfig(do="last", of="w", over="3h"),
}
LOOKUP = LookupConfig(table="r", on=("s", "k"), at="at", known_at="known", windows=WINDOWS)
LEFT = "s int, id int, k string, at timestamp"
RIGHT = "s int, k string, known timestamp, v int, w double"


def random_stream(stream: int) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Left rows (stream, id, key, at) and right rows (stream, key, known, v, w); few instants, so that many tie."""
    rng = random.Random(stream)

    def instant() -> datetime | None:
        if rng.random() < 0.05:
            return None
        return START + timedelta(minutes=rng.choice([1, 30, 45]) * rng.randrange(16), seconds=rng.choice([0, 0, 90]))

    def key() -> str | None:
        return rng.choice(["a", "b", "c", None])

    left = [(stream, i, key(), instant()) for i in range(rng.randrange(1, 8))]
    right = [
        (stream, key(), instant(), rng.choice([None, 1, 2, 3]), rng.choice([None, 1.5, 2.5, -1.0]))
        for _ in range(rng.randrange(15))
    ]
    return left, right


def search(left: tuple[Any, ...], right: list[tuple[Any, ...]]) -> dict[str, Any] | None:
    """Every aggregate of one row, by its definition."""
    _, _, key, at = left
    if None in (key, at):
        return None
    found: dict[str, Any] = {}
    for name, window in WINDOWS.items():
        back = timedelta(seconds=window.over_s)
        rows = [r for r in right if r[1] == key and r[2] is not None and at - back <= r[2] < at]
        values = [(r[2], r[3] if window.of == "v" else r[4]) for r in rows]
        values = [(t, v) for t, v in values if v is not None]
        plain = [v for _, v in values]
        match window.do:
            case "count":
                found[name] = len(plain) if window.of else len(rows)
            case "sum":
                found[name] = sum(plain) if plain else None
            case "mean":
                found[name] = pytest.approx(sum(plain) / len(plain)) if plain else None
            case "min":
                found[name] = min(plain, default=None)
            case "max":
                found[name] = max(plain, default=None)
            case "distinct":
                found[name] = len(set(plain))
            case _:
                found[name] = max(values)[1] if values else None
    return found


def test_windows_equal_a_brute_force_search(spark: SparkSession) -> None:
    left, right, expected = [], [], {}
    for stream in range(STREAMS):
        rows, events = random_stream(stream)
        left += rows
        right += events
        expected |= {row[:2]: search(row, events) for row in rows}
    made = add_lookups(spark.createDataFrame(left, LEFT), {"w": LOOKUP}, {"w": spark.createDataFrame(right, RIGHT)})
    assert made.columns == ["s", "id", "k", "at", "w"]
    found = {(r["s"], r["id"]): r["w"].asDict() if r["w"] is not None else None for r in made.collect()}
    assert len(found) == len(left)
    wrong = {key: (found[key], expected[key]) for key in expected if found[key] != expected[key]}
    assert not wrong
    assert sum(one is not None and one["rows_3h"] > 1 for one in expected.values()) > 100
    assert sum(one is None for one in expected.values()) > 200


def test_what_becomes_known_later_changes_nothing(spark: SparkSession) -> None:
    rows, events = random_stream(3)
    latest = max(row[3] for row in rows if row[3] is not None)
    later = [(3, key, latest + timedelta(microseconds=k), 99, 99.0) for key in "abc" for k in (0, 1, 10**9)]
    frame = spark.createDataFrame(rows, LEFT)
    found = [
        add_lookups(frame, {"w": LOOKUP}, {"w": spark.createDataFrame(table, RIGHT)}).orderBy("id").collect()
        for table in (events, events + later)
    ]
    assert found[0] == found[1]


def test_all_windows_of_a_lookup_share_one_shuffle(spark: SparkSession) -> None:
    rows, events = random_stream(3)
    made = add_lookups(spark.createDataFrame(rows, LEFT), {"w": LOOKUP}, {"w": spark.createDataFrame(events, RIGHT)})
    plan = made._jdf.queryExecution().optimizedPlan().toString()
    assert plan.count("\nWindow") + plan.count("- Window") == 1
    assert "Cartesian" not in made._jdf.queryExecution().executedPlan().toString()


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (WindowConfig(do="sum", of="x", over="1h"), r"windows\.a: expected column 'x' in the table r; found only: s, k, known, v, w"),
        (WindowConfig(do="mean", of="k", over="1h"), r"windows\.a: mean expects numbers; 'k' is string"),
    ],
)  # fmt: skip
def test_windows_of_columns_that_do_not_fit(spark: SparkSession, window: WindowConfig, message: str) -> None:
    lookup = LookupConfig(table="r", on=("k",), at="at", known_at="known", windows={"a": window})
    left, right = spark.createDataFrame([], LEFT), spark.createDataFrame([], RIGHT)
    with pytest.raises(InputError, match=message):
        add_lookups(left, {"w": lookup}, {"w": right})
