"""Races: two drivers in lock-step for one interval or for two, and hands that reach into a run from outside."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from checker import check
from fault_job import OTHER_MODEL, FaultJob, days
from pair import Pair

from batchscore import hooks
from batchscore.maintenance import maintain_tables
from batchscore.models.registry import ModelRegistryClient

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROUNDS = 25
# Where both can stand at once: not inside the lock of a table, which only one of them holds.
BARRIERS = ("scores.begun", "plan.read", "stage.claimed", "quarantine.begun", "run.begun")


def rounds(first: int = 1) -> list[Any]:
    """Numbers of rounds, of which all but the first few are slow."""
    return [pytest.param(n, marks=[] if n < first else [pytest.mark.slow]) for n in range(ROUNDS)]


def race(pair: Pair, runs: Sequence[dict[str, Any]], barrier: str, job: FaultJob | None = None) -> list[dict[str, Any]]:
    """Both drivers run up to a barrier, wait there for each other, and go on at once; how each ended."""
    drivers = pair.drivers()
    for driver, run in zip(drivers, runs, strict=True):
        driver.run(job or pair.job, run["day"], *run.get("sets", ()), pause=[barrier])
    for driver in drivers:
        driver.wait_at(barrier)
    for driver in drivers:
        driver.release(barrier)
    return [driver.result() for driver in drivers]


def end_race(pair: Pair, kind: str, *published: dt.date) -> None:
    """Count a race that ended as it should, once the checker has looked."""
    pair.figures.strike(kind)
    pair.landed(*published)
    pair.look(kind)


@pytest.mark.parametrize("number", rounds())
def test_same_key(pair: Pair, number: int) -> None:
    day = next(pair.days)
    results = race(pair, [{"day": day}, {"day": day}], BARRIERS[number % len(BARRIERS)])
    assert sorted(result["status"] for result in results) == ["published", "unchanged"], results
    end_race(pair, "races: same key", day)


@pytest.mark.parametrize("number", rounds())
def test_other_key(pair: Pair, number: int) -> None:
    day = next(pair.days)
    barrier = BARRIERS[number % len(BARRIERS)]
    results = race(pair, [{"day": day}, {"day": day, "sets": OTHER_MODEL}], barrier)
    statuses = sorted(result["status"] for result in results)
    if barrier == "run.begun" and statuses == ["published", "published"]:  # one planned behind the other's commit
        assert sorted(result["generation"] for result in results) == [1, 2]
    else:
        assert statuses == ["RunSuperseded", "published"], results
        assert {result.get("exit_code", 11) for result in results} == {11}
    end_race(pair, "races: other key", day)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_disjoint_intervals(pair: Pair, number: int) -> None:
    both = [next(pair.days), next(pair.days)]
    results = race(pair, [{"day": day} for day in both], BARRIERS[number % len(BARRIERS)])
    assert [result["status"] for result in results] == ["published", "published"], results
    end_race(pair, "races: disjoint intervals", *both)


@pytest.mark.parametrize("number", rounds())
def test_both_create_the_tables(pair: Pair, job: FaultJob, number: int) -> None:
    kind, both = "races: both create the tables", days(0)[:2]
    results = race(pair, [{"day": day} for day in both], ("plan.pinned", "run.begun")[number % 2], job)
    assert [result["status"] for result in results] == ["published", "published"], results
    pair.figures.strike(kind)
    pair.figures.survive(kind, check(job.scores, {job.name(day): job.wanted(day) for day in both}))


@pytest.mark.parametrize("number", rounds())
def test_zombie_wakes_after_another_has_published(pair: Pair, number: int) -> None:
    kind, day = "races: zombie", next(pair.days)
    other = OTHER_MODEL if number % 2 == 0 else ()
    zombie, living = pair.drivers()
    zombie.run(pair.job, day, pause=["scores.begun"])
    zombie.wait_at("scores.begun")
    zombie.freeze()
    try:
        zombie.release("scores.begun")
        living.run(pair.job, day, *other)
        assert living.result()["status"] == "published"
        published = pair.job.name(day)
        pair.landed(day)
        before = pair.look(kind, faults=0).generations[published]
    finally:
        zombie.thaw()
    result = zombie.result()
    assert result["status"] == ("RunSuperseded" if other else "unchanged"), result
    pair.figures.strike(kind)
    assert pair.look(kind).generations[published] == before == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_optimize_and_vacuum_beside_a_run(pair: Pair, session: SparkSession, number: int) -> None:
    kind, day = "races: OPTIMIZE and VACUUM", next(pair.days)
    driver, _ = pair.drivers()
    driver.run(pair.job, day)  # a generation whose files are then replaced
    assert driver.result()["status"] == "published"
    points = [point for point in hooks.POINTS if point not in ("audit.found", "stage.removed", "run.ended")]
    point = points[number % len(points)]
    driver.run(pair.job, day, *OTHER_MODEL, pause=[point])
    driver.wait_at(point)
    table = f"delta.`{pair.job.scores}`"
    session.sql(f"OPTIMIZE {table} ZORDER BY (id)")
    session.sql(f"ALTER TABLE {table} SET TBLPROPERTIES ('note' = '{number}')")
    session.sql(f"VACUUM {table}")
    for suffix in ("quarantine", "audit"):
        session.sql(f"OPTIMIZE delta.`{pair.job.scores}_{suffix}`")
    driver.release(point)
    result = driver.result()
    assert (result["status"], result["generation"]) == ("published", 2), result
    end_race(pair, kind, day)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_maintenance_beside_a_run(pair: Pair, session: SparkSession, number: int) -> None:
    day = next(pair.days)
    driver, _ = pair.drivers()
    driver.run(pair.job, day)
    assert driver.result()["status"] == "published"
    barrier = BARRIERS[number % len(BARRIERS)]
    driver.run(pair.job, day, *OTHER_MODEL, pause=[barrier])
    driver.wait_at(barrier)
    maintain_tables(session, pair.job.load())
    driver.release(barrier)
    result = driver.result()
    assert (result["status"], result["generation"]) == ("published", 2), result
    end_race(pair, "races: maintain", day)


@pytest.mark.slow
@pytest.mark.parametrize("point", hooks.POINTS)
def test_alias_moves_in_a_run(pair: Pair, point: str) -> None:
    kind, day = "races: alias moved", next(pair.days)
    registry = f"sqlite:///{pair.job.folder / 'registry' / 'mlflow.db'}"
    client = ModelRegistryClient(registry, registry)
    client.set_registered_model_alias("net", "champion", "1")
    driver, _ = pair.drivers()
    driver.run(pair.job, day, "model.uri=models:/net@champion", pause=[point])
    driver.wait_at(point)
    client.set_registered_model_alias("net", "champion", "2")
    driver.release(point)
    assert driver.result()["status"] == "published"
    end_race(pair, kind, day)  # the checker sees to it that rows and commit name one model
