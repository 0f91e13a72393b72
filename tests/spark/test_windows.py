# ruff: noqa: E501 - a table of messages, one case a line
"""Window aggregates against a brute-force search, on random streams with ties, nulls, doubles and a DST change."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from small_job import make_small_job, probability, row

from batchscore.config import LookupConfig, WindowConfig
from batchscore.errors import BatchscoreError
from batchscore.features.lookups import add_lookups
from batchscore.freshness import current_keys
from batchscore.pinning import pin_job_models
from batchscore.pipeline import plan_interval

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
    "inverse_3h": WindowConfig(do="max", of="1 / (v - 2)", over="3h"),  # cannot be computed where v is 2
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
        values = [(r[2], _value_of(window, r)) for r in rows]
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


def _value_of(window: WindowConfig, event: tuple[Any, ...]) -> Any:
    _, _, _, v, w = event
    if window.of in ("v", "w"):
        return v if window.of == "v" else w
    return 1 / (v - 2) if v not in (None, 2) else None


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
        (WindowConfig(do="sum", of="x", over="1h"), r"windows\.a: expected a column of the table r, or an expression over its columns; found 'x', and only: s, k, known, v, w"),
        (WindowConfig(do="mean", of="k", over="1h"), r"windows\.a: mean expects numbers; 'k' is string"),
        (WindowConfig(do="max", of="v + ", over="1h"), r"windows\.a\.of: expected a Spark SQL expression"),
        (WindowConfig(do="max", of="v + rand()", over="1h"), r"windows\.a\.of: function 'rand' is not allowed"),
    ],
)  # fmt: skip
def test_windows_of_columns_that_do_not_fit(spark: SparkSession, window: WindowConfig, message: str) -> None:
    lookup = LookupConfig(table="r", on=("k",), at="at", known_at="known", windows={"a": window})
    left, right = spark.createDataFrame([], LEFT), spark.createDataFrame([], RIGHT)
    with pytest.raises(BatchscoreError, match=message):
        add_lookups(left, {"w": lookup}, {"w": right})


@pytest.mark.slow
def test_what_becomes_known_after_an_interval_leaves_its_key(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Only the files that a day's rows may know of are read and keyed; others come and go."""
    days = ("2013-10-01", "2013-10-02")
    rows = [row(id=i, day=day, at=f"{day} 12:00:00") for i, day in enumerate(days, 1)]
    small = make_small_job(spark, tmp_path_factory.mktemp("lookback"), rows)

    def append(known: str, value: float) -> None:
        frame = spark.sql(f"select 'x' as city, timestamp'{known}Z' as known, {value}D as v")
        frame.write.format("delta").mode("append").save(str(small.folder / "events"))

    append("2013-10-01 11:00:00", 2.0)
    lookup = "{table: ./events, on: [city], at: at, known_at: known, windows: {mean_2d: {do: mean, of: v, over: 2d}}}"
    sets = (f"lookups={{events: {lookup}}}", "features.columns.1={name: ratio, from: events.mean_2d}")

    def plans() -> list[Any]:
        return [plan_interval(spark, small.load(*sets), small.interval(day)) for day in days]

    before = plans()
    assert [plan.lookups["events"].files for plan in before] == [1, 1]
    append("2013-10-05 00:00:00", 100.0)
    append("2013-09-20 00:00:00", 100.0)
    assert [plan.run_key for plan in plans()] == [plan.run_key for plan in before]
    assert small.run(days[1], *sets).status == "published"
    assert [r["p"] for r in small.scores()] == pytest.approx([probability(2.0, 2.0)])
    append("2013-10-02 01:00:00", 4.0)
    after = plans()
    assert [a.run_key == b.run_key for a, b in zip(after, before, strict=True)] == [True, False]
    assert after[1].lookups["events"].files == 2
    names = [small.interval(day).name for day in days]
    models = dict.fromkeys(names, pin_job_models(small.load(*sets))[0])
    keys = current_keys(spark, small.load(*sets), [small.interval(day) for day in days], models)
    assert [keys[name] for name in names] == [plan.run_key for plan in after]
    assert small.run(days[1], *sets).generation == 2
    assert [r["p"] for r in small.scores()] == pytest.approx([probability(2.0, 3.0)])
