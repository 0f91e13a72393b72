"""Real kills of a driver with its Java and its workers, at named points and at random times; the next run repairs."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from checker import published_intervals
from children import wait_until
from pair import Pair

from batchscore import hooks

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAMED, RANDOM = "kills at named points", "kills at random times"
BEHIND = hooks.POINTS[hooks.POINTS.index("scores.written") :]
FIRST = ("stage.written", "scores.written")
OFTEN = (("stage.noted", "audit.begun"), ("quarantine.written", "scores.begun"))
COLD_S = 25.0  # about what a new driver needs for its first run
QUEUE = 6


def named_pairs() -> list[Any]:
    """Pairs of points: one by default, two more, and three times all of them, each time in another order."""
    pairs: list[Any] = [FIRST, *(pytest.param(*two, marks=pytest.mark.slow) for two in OFTEN)]
    for seed in range(3):
        points = [*hooks.POINTS, "scores.written"]
        random.Random(seed).shuffle(points)
        pairs += [pytest.param(*two, marks=pytest.mark.slow) for two in zip(points[::2], points[1::2], strict=True)]
    return pairs


@pytest.mark.parametrize(("first", "second"), named_pairs())
def test_killed_at_named_points(pair: Pair, session: SparkSession, first: str, second: str) -> None:
    left = [(driver, point, next(pair.days)) for driver, point in zip(pair.drivers(), (first, second), strict=True)]
    for driver, point, day in left:
        driver.run(pair.job, day, pause=[point])
    killed = []
    while left:  # one may hold a lock that the other waits for
        wait_until(lambda: any(driver.is_at(point) for driver, point, _ in left), f"{first} or {second}")
        one = next(item for item in left if item[0].is_at(item[1]))
        left.remove(one)
        driver, point, day = one
        driver.kill()
        pair.figures.strike(NAMED)
        killed.append((day, point in BEHIND))
    pair.kill()
    pair.landed(*[day for day, landed in killed if landed])
    pair.look(NAMED, faults=0, audited=False)
    for day, landed in killed:
        assert pair.job.run(session, day).status == ("unchanged" if landed else "published")
    pair.landed(*[day for day, _ in killed])
    pair.look(NAMED, faults=len(killed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_killed_at_random_times(pair: Pair, session: SparkSession, seed: int) -> None:
    rng = random.Random(seed)
    begun = time.monotonic()
    drivers = pair.drivers()
    queues = {driver: [next(pair.days) for _ in range(QUEUE)] for driver in drivers}
    for driver, queue in queues.items():
        for day in queue:
            driver.run(pair.job, day)
    for driver in drivers:
        time.sleep(rng.uniform(0.0, COLD_S))
        driver.kill()
        pair.figures.strike(RANDOM)
    pair.kill()
    told = {day: end["status"] for driver, queue in queues.items() for day, end in zip(queue, driver.ended())}  # noqa: B905
    assert set(told.values()) <= {"published"}, told
    visible = published_intervals(pair.job.scores)
    landed = [day for queue in queues.values() for day in queue if pair.job.name(day) in visible]
    assert set(told) <= set(landed), "a driver was told that its run is published, and it is not"
    pair.landed(*landed)
    pair.look(RANDOM, faults=0, audited=False)
    for queue in queues.values():
        in_hand = [day for day in queue if day not in told][:1]  # none where the kill came behind the last
        if not in_hand:
            continue
        day = in_hand[0]
        assert pair.job.run(session, day).status == ("unchanged" if day in landed else "published")
        pair.landed(day)
    pair.look(RANDOM, faults=len(drivers))
    assert time.monotonic() - begun < 300
