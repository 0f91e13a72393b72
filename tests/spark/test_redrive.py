"""Redrives: exactly the rows that pass today's rules move, a second one moves none, a killed one repairs."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from crashes import Crash
from small_job import SUITE, SmallJob, expectation, make_small_job, probability, row

from batchscore.closing import expire_rows
from batchscore.decisions import block_intervals
from batchscore.errors import ConfigError, IntervalBlocked
from batchscore.mending import expire, redrive, waive
from batchscore.replaying import replay_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY, NEXT = "2013-10-01", "2013-10-02"
WIDE = expectation("expect_column_values_to_be_between", column="a", min_value=0, max_value=1000)
LOOSER = (SUITE[0], WIDE, SUITE[2])


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path) -> SmallJob:
    """Two days; of ten rows of the first, two have `a` above 100, one has no text, and one both."""
    rows = [row(id=i, day=DAY, a=float(i)) for i in range(6)]
    rows += [row(id=6, a=200.0), row(id=7, a=300.0), row(id=8, text=None), row(id=9, a=400.0, text=None)]
    small = make_small_job(
        spark, tmp_path, [*rows, row(id=100, day=NEXT, a=500.0), row(id=101, day=NEXT)], created=True
    )
    small.run(DAY)
    small.run(NEXT)
    return small


def published(small: SmallJob) -> dict[int, tuple[str, float]]:
    return {r["id"]: (r["_run_id"], r["p"]) for r in small.scores()}


def aside(small: SmallJob) -> dict[int, list[str]]:
    return {r["id"]: sorted(one["rule"] for one in r["_reasons"]) for r in small.quarantined()}


def test_exactly_the_rows_that_pass_now_move(small: SmallJob) -> None:
    before = published(small)
    assert set(aside(small)) == {6, 7, 8, 9, 100}
    small.write_suite(LOOSER)
    small.add_model(weights=(9.0, 9.0))  # behind the alias; the interval's own model scores
    found = redrive(small.file)
    first, second = found.intervals
    assert {name: first[name] for name in ("open", "pass_now", "failed_again")} == {
        "open": 4,
        "pass_now": 2,
        "failed_again": 2,
    }
    assert (second["open"], second["pass_now"]) == (1, 1)
    after = published(small)
    assert set(after) == {0, 1, 2, 3, 4, 5, 6, 7, 100, 101}
    assert {i: p for i, (_, p) in after.items() if i in before} == {i: p for i, (_, p) in before.items()}
    assert after[6][1] == pytest.approx(probability(200.0, 2.0), abs=1e-6)
    assert aside(small) == {8: ["input[0]"], 9: ["input[0]"]}
    assert {after[i][0] for i in range(8)} == {first["run"]}
    record = small.audit()[-2]
    assert (record["kind"], record["generation"], record["model"]["version"]) == ("redrive", 2, 1)
    assert record["counts"] == {"read": 10, "scored": 8, "quarantined": 2}
    assert record["reason"] == "2 of 4 quarantined rows pass now"


@pytest.mark.slow
def test_a_second_redrive_moves_none_and_writes_nothing(small: SmallJob) -> None:
    small.write_suite(LOOSER)
    redrive(small.file)
    before = small.versions(), published(small)
    again = redrive(small.file)
    assert [(one["open"], one["pass_now"], one["run"]) for one in again.intervals] == [(2, 0, None), (0, 0, None)]
    assert (small.versions(), published(small)) == before
    assert small.outputs().stages.run_ids() == []
    assert "pass_now 0" in str(again)


POINTS = [
    "scores.written",
    *(
        pytest.param(point, marks=pytest.mark.slow)
        for point in ("stage.claimed", "publish.detailed", "quarantine.written", "scores.begun")
    ),
]


@pytest.mark.parametrize("point", POINTS)
def test_one_that_is_killed_repairs(small: SmallJob, crash_at: Callable[[str], None], point: str) -> None:
    small.write_suite(LOOSER)
    crash_at(point)
    with pytest.raises(Crash):
        redrive(small.file, DAY)
    landed = point == "scores.written"
    small.outputs().ledger.repair()
    assert set(published(small)) == ({0, 1, 2, 3, 4, 5, 6, 7, 101} if landed else {0, 1, 2, 3, 4, 5, 101})
    again = redrive(small.file, DAY).intervals[0]
    assert again["pass_now"] == (0 if landed else 2)
    assert set(published(small)) == {0, 1, 2, 3, 4, 5, 6, 7, 101}
    assert set(aside(small)) == {8, 9, 100}
    assert small.outputs().stages.run_ids() == []


@pytest.mark.slow
def test_one_rules_rows_and_intervals_since(small: SmallJob) -> None:
    small.write_suite(LOOSER)
    found = redrive(small.file, since=NEXT)
    assert [(one["interval"], one["pass_now"]) for one in found.intervals] == [(NEXT, 1)]
    by_text = redrive(small.file, DAY, reason="input[0]").intervals[0]
    assert (by_text["open"], by_text["pass_now"]) == (2, 0)
    by_value = redrive(small.file, DAY, reason="input[1]").intervals[0]
    assert (by_value["open"], by_value["pass_now"], by_value["failed_again"]) == (3, 2, 1)


@pytest.mark.slow
def test_waived_rows_stay_and_are_not_asked_again(small: SmallJob) -> None:
    events = waive(small.file, DAY, rule="input[1]", reason="sensors were recalled")
    assert [(e["kind"], e["rows"], e["reason"]) for e in events.events] == [("waive", 2, "sensors were recalled")]
    assert re.search(r"reason +\n|rows +reason", str(events))
    with pytest.raises(ConfigError, match=r"set aside by input\[1\] alone; found none"):
        waive(small.file, DAY, rule="input[1]", reason="again")
    with pytest.raises(ConfigError, match="--waive: expected a reason"):
        waive(small.file, DAY, reason=" ")
    small.write_suite(LOOSER)
    found = redrive(small.file, DAY).intervals[0]
    assert (found["open"], found["pass_now"]) == (2, 0)  # rows that failed by other rules, too, stay open
    waive(small.file, DAY, reason="all of them")
    assert redrive(small.file, DAY).intervals[0]["open"] == 0
    assert set(aside(small)) == {6, 7, 8, 9, 100}


@pytest.mark.slow
def test_rows_expire_by_age(small: SmallJob) -> None:
    assert expire(small.file, days=1).events == ()
    with pytest.raises(ConfigError, match=r"--expire 0: expected 1 to 36,500 days"):
        expire(small.file, days=0)
    later = datetime.now(UTC) + timedelta(days=30, seconds=1)
    asked = [small.interval(day) for day in (DAY, "2013-12-01")]
    (event,) = expire_rows(small.spark, small.load(), asked, 30, later)
    assert (event["kind"], event["rows"], event["reason"]) == ("expire", 4, "open for 30 days or more")
    assert expire_rows(small.spark, small.load(), asked, 30, later) == []
    small.write_suite(LOOSER)
    assert [one["open"] for one in redrive(small.file).intervals] == [0, 1]
    small.run(DAY, force=True)  # its rows are set aside anew, by today's rules
    assert redrive(small.file, DAY).intervals[0]["open"] == 2


@pytest.mark.slow
def test_the_model_of_today_where_it_is_asked_for(small: SmallJob) -> None:
    small.write_suite(LOOSER)
    small.add_model(weights=(0.0, 0.0))
    redrive(small.file, DAY, model="current")
    after = published(small)
    assert after[6][1] == 0.5 and after[5][1] != 0.5


def test_refused(small: SmallJob) -> None:
    with pytest.raises(ConfigError, match=r"input\.key: expected a key, by which rows are read again"):
        redrive(small.load("input.key=[]"), DAY)
    with pytest.raises(ConfigError, match="expected published intervals; found none in that range"):
        redrive(small.file, since="2013-12-01")
    block_intervals(small.outputs(), [small.interval(DAY)], "a strike")
    with pytest.raises(IntervalBlocked, match="a strike"):
        redrive(small.file, DAY)


@pytest.mark.slow
def test_keys_that_several_rows_have_are_left_alone(spark: SparkSession, tmp_path: Path) -> None:
    rows = [row(id=1, a=1.0), row(id=1, a=200.0), row(id=2, a=300.0), row(id=3, a=3.0), row(id=3, a=4.0)]
    small = make_small_job(spark, tmp_path, rows, created=True)
    sets = ("input.on_duplicate_key=keep",)
    run = small.run(DAY, *sets, "checks.max_quarantine_pct=100")
    replayed = replay_run(spark, small.load(*sets, "checks.max_quarantine_pct=100"), run.run_id, None)
    assert replayed.certified and replayed.compared == 3
    small.write_suite(LOOSER)
    found = redrive(small.load(*sets), DAY).intervals[0]
    assert (found["open"], found["pass_now"]) == (1, 1)
    assert sorted(r["id"] for r in small.scores()) == [1, 2, 3, 3]


@pytest.mark.slow
def test_rows_without_a_key_and_twice_there_stay(spark: SparkSession, tmp_path: Path) -> None:
    rows: list[Any] = [row(id=1), row(id=None), row(id=None), row(id=2, a=200.0), row(id=3), row(id=3)]
    small = make_small_job(spark, tmp_path, rows, created=True)
    sets = ("input.on_duplicate_key=quarantine",)
    small.run(DAY, *sets)
    small.write_suite(LOOSER)
    found = redrive(small.load(*sets), DAY).intervals[0]
    assert (found["open"], found["pass_now"], found["failed_again"]) == (3, 1, 2)
    assert sorted(published(small)) == [1, 2]
    assert sorted(str(r["id"]) for r in small.quarantined()) == ["3", "3", "None", "None"]
