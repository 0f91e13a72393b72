"""Point-in-time lookups against a brute-force search, on random streams with ties, nulls and a DST change."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from batchscore.config import LookupConfig
from batchscore.features.lookups import add_lookups

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HOURS = 3
START = datetime(2013, 11, 3, 3, tzinfo=UTC)  # New York's clock goes back at 06:00 UTC
LOOKUP = LookupConfig(table="r", on=("k",), at="at", known_at="known", max_age=f"{HOURS}h", columns=("v", "w"))
STREAMS = 500


def random_stream(stream: int) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Left rows (stream, id, key, at) and right rows (stream, key, known, v, w); few instants, so that many tie."""
    rng = random.Random(stream)

    def instant() -> datetime | None:
        if rng.random() < 0.05:
            return None
        return START + timedelta(minutes=rng.choice([1, 30, 45]) * rng.randrange(16))

    def key() -> str | None:
        return rng.choice(["a", "b", "c", None])

    left = [(stream, i, key(), instant()) for i in range(rng.randrange(1, 12))]
    right = [
        (stream, key(), instant(), rng.randrange(5), rng.choice([None, 1.5, 2.5])) for _ in range(rng.randrange(15))
    ]
    return left, right


def search(left: tuple[Any, ...], right: list[tuple[Any, ...]]) -> tuple[Any, Any] | None:
    """The latest right row strictly before `at` and not too old; of rows of one instant the greatest, nulls least."""
    _, _, key, at = left
    fitting = [
        (known, v, w)
        for _, right_key, known, v, w in right
        if None not in (key, at, right_key, known) and right_key == key and known < at <= known + timedelta(hours=HOURS)
    ]
    if not fitting:
        return None
    _, v, w = max(fitting, key=lambda r: (r[0], r[1], r[2] is not None, r[2] or 0))
    return v, w


@pytest.mark.parametrize("broadcast", ["10485760", "-1"], ids=["broadcast", "sort-merge"])
def test_point_in_time_lookups_equal_a_brute_force_search(spark: SparkSession, broadcast: str) -> None:
    left, right, expected = [], [], {}
    for stream in range(STREAMS):
        rows, found = random_stream(stream)
        left += rows
        right += found
        expected |= {(stream, row[1]): search(row, found) for row in rows}
    session = spark.newSession()
    session.conf.set("spark.sql.autoBroadcastJoinThreshold", broadcast)
    session.conf.set("spark.sql.session.timeZone", "America/New_York")
    rows = session.createDataFrame(left, "s int, id int, k string, at timestamp")
    table = session.createDataFrame(right, "s int, k string, known timestamp, v int, w double")
    lookup = LookupConfig(**{**{f: getattr(LOOKUP, f) for f in LOOKUP.__slots__}, "on": ("s", "k")})
    joined = add_lookups(rows, {"look": lookup}, {"look": table}).collect()
    found = {(r["s"], r["id"]): (r["look"]["v"], r["look"]["w"]) if r["look"] else None for r in joined}
    assert len(joined) == len(left)  # no row lost, none doubled
    assert found == expected
    assert sum(value is not None for value in expected.values()) > STREAMS
