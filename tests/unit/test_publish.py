"""The publish protocol and the audit fold on a store in memory: what the log says decides, not the store's answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fake_table import FakeTable

from batchscore.audit.chain import GENESIS, canonical, digest, seal
from batchscore.audit.fold import fold, read_head
from batchscore.errors import RunSuperseded, WriteError
from batchscore.publish.protocol import (
    METADATA_KEY,
    Attempt,
    Published,
    application_id,
    next_generation,
    publish,
    read_metadata,
)

DAY = "2013-10-01T04:00:00Z"


def make_attempt(scores: FakeTable, run_id: str, run_key: str, interval: str = DAY) -> Attempt:
    generation = next_generation(scores, "job", interval)
    core = {"kind": "run", "run_id": run_id, "run_key": run_key, "interval": interval, "generation": generation}
    core |= {"detail_sha256": "none", "job": "job", "status": "published"}
    return Attempt(
        job="job",
        interval=interval,
        run_id=run_id,
        run_key=run_key,
        generation=generation,
        planned_version=scores.version(),
        metadata=canonical({METADATA_KEY: core}),
    )


def attempt_publish(
    scores: FakeTable, quarantine: FakeTable, attempt: Attempt, step: Callable[[str], None] = lambda name: None
) -> Published:
    scored = [{"_interval": attempt.interval, "_run_id": attempt.run_id}]
    return publish(scores, quarantine, attempt, scored, [{"_run_id": attempt.run_id}], step)


@pytest.fixture
def tables() -> tuple[FakeTable, FakeTable, FakeTable]:
    found = FakeTable("scores"), FakeTable("quarantine"), FakeTable("audit")
    for table in found:
        table.create(None, [], {})
    return found


def once(answer: str, kind: str) -> Callable[[str], str | None]:
    """A fault that strikes the first write of a kind."""
    left = [answer]
    return lambda write: left.pop() if write == kind and left else None


@pytest.mark.parametrize("fault", ["lost", "failed"])
@pytest.mark.parametrize(("table", "kind"), [(0, "replace"), (1, "append")])
def test_a_lost_answer_or_one_failed_write_still_ends_published_once(
    tables: tuple[FakeTable, FakeTable, FakeTable], fault: str, table: int, kind: str
) -> None:
    scores, quarantine, _ = tables
    tables[table].fault = once(fault, kind)
    found = attempt_publish(scores, quarantine, make_attempt(scores, "r1", "a"))
    assert (found.outcome, found.run_id) == ("published", "r1")
    assert [row["_run_id"] for row in scores.rows] == ["r1"]
    assert [row["_run_id"] for row in quarantine.rows] == ["r1"]


@pytest.mark.parametrize(
    ("table", "kind", "message"),
    [
        (
            0,
            "replace",
            r"scores scores: expected the commit of run r1 .* 5 tries .*OSError: no space.* old scores stay",
        ),
        (1, "append", r"table quarantine: expected the rows of run r1 .*Nothing was published"),
    ],
)
def test_a_write_that_never_lands_is_an_error_and_publishes_nothing(
    tables: tuple[FakeTable, FakeTable, FakeTable], table: int, kind: str, message: str
) -> None:
    scores, quarantine, _ = tables
    tables[table].fault = lambda write: "failed" if write == kind else None
    with pytest.raises(WriteError, match=message):
        attempt_publish(scores, quarantine, make_attempt(scores, "r1", "a"))
    assert scores.rows == []


def test_a_store_that_says_yes_and_keeps_nothing_publishes_nothing(
    tables: tuple[FakeTable, FakeTable, FakeTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, quarantine, _ = tables
    monkeypatch.setattr(scores, "replace", lambda *args, **kwargs: None)
    with pytest.raises(
        WriteError, match=r"expected the commit of run r1 in the log; found none after 5 tries\. "
    ) as told:
        attempt_publish(scores, quarantine, make_attempt(scores, "r1", "a"))
    assert "the store said" not in str(told.value)


def test_rows_are_found_below_commits_of_others(tables: tuple[FakeTable, FakeTable, FakeTable]) -> None:
    """The answer is lost, and others commit before this driver looks."""
    scores, quarantine, _ = tables
    append = quarantine.append

    def append_and_more(*args: Any, **kwargs: Any) -> None:
        append(*args, **kwargs)
        quarantine.foreign("OPTIMIZE")

    quarantine.append = append_and_more  # type: ignore[method-assign]
    found = attempt_publish(scores, quarantine, make_attempt(scores, "r1", "a"))
    assert (found.outcome, found.quarantine_version) == ("published", 1)


def test_metadata_that_a_log_should_not_carry_is_refused(tables: tuple[FakeTable, FakeTable, FakeTable]) -> None:
    scores, quarantine, _ = tables
    attempt = replace(make_attempt(scores, "r1", "a"), metadata="x" * 20_000)
    with pytest.raises(WriteError, match="larger than 16 KB"):
        attempt_publish(scores, quarantine, attempt)
    assert (scores.rows, quarantine.rows) == ([], [])


@pytest.mark.parametrize(
    ("other_key", "expected"),
    [("a", "unchanged"), ("b", RunSuperseded)],
)
def test_of_two_drivers_one_publishes(
    tables: tuple[FakeTable, FakeTable, FakeTable], other_key: str, expected: Any
) -> None:
    scores, quarantine, _ = tables
    slow = make_attempt(scores, "slow", "a")
    attempt_publish(scores, quarantine, make_attempt(scores, "fast", other_key))
    attempt_publish(scores, quarantine, make_attempt(scores, "next day", "c", "2013-10-02T04:00:00Z"))
    if isinstance(expected, str):
        found = attempt_publish(scores, quarantine, slow)
        assert (found.outcome, found.run_id) == (expected, "fast")
    else:
        with pytest.raises(expected, match="run fast was published meanwhile"):
            attempt_publish(scores, quarantine, slow)
    assert [row["_run_id"] for row in scores.rows] == ["fast", "next day"]


def test_an_older_interval_after_a_newer_one_is_written(tables: tuple[FakeTable, FakeTable, FakeTable]) -> None:
    scores, quarantine, _ = tables
    attempt_publish(scores, quarantine, make_attempt(scores, "r1", "a", "2013-10-02T04:00:00Z"))
    assert attempt_publish(scores, quarantine, make_attempt(scores, "r2", "b", DAY)).outcome == "published"
    assert {row["_run_id"] for row in scores.rows} == {"r1", "r2"}


def test_the_fold_projects_each_commit_once_in_order(tables: tuple[FakeTable, FakeTable, FakeTable]) -> None:
    scores, quarantine, audit = tables
    for run, key in (("r1", "a"), ("r2", "b")):
        attempt_publish(scores, quarantine, make_attempt(scores, run, key))
    scores.foreign("RESTORE")
    scores.foreign("OPTIMIZE")
    fold(
        scores,
        audit,
        None,
        events=[{"kind": "failed", "run_id": "r0"}],
        additions={"r2": {"timings_s": {"publish": 1}}},
    )
    fold(scores, audit, None)
    assert [(row["seq"], row["kind"], row["run_id"]) for row in audit.rows] == [
        (1, "run", "r1"),
        (2, "run", "r2"),
        (3, "foreign", None),
        (4, "failed", "r0"),
    ]
    previous = GENESIS
    for row in audit.rows:
        assert (row["prev_sha256"], row["sha256"]) == (previous, digest(row))
        previous = row["sha256"]
    assert read_head(audit).sha256 == previous
    assert json.loads(audit.rows[1]["record"])["timings_s"] == {"publish": 1}


@pytest.mark.parametrize("fault", ["lost", "failed"])
def test_a_fold_whose_append_goes_wrong_once_writes_each_record_once(
    tables: tuple[FakeTable, FakeTable, FakeTable], fault: str
) -> None:
    scores, quarantine, audit = tables
    attempt_publish(scores, quarantine, make_attempt(scores, "r1", "a"))
    audit.fault = once(fault, "append")
    fold(scores, audit, None)
    assert [row["run_id"] for row in audit.rows] == ["r1"]


def test_two_folds_from_one_state_write_each_record_once(tables: tuple[FakeTable, FakeTable, FakeTable]) -> None:
    scores, quarantine, audit = tables
    attempt_publish(scores, quarantine, make_attempt(scores, "r1", "a"))
    append = audit.append

    def overtaken(rows: Any, **options: Any) -> None:
        audit.append = append  # type: ignore[method-assign]
        fold(scores, audit, None)  # another driver is faster
        append(rows, **options)

    audit.append = overtaken  # type: ignore[method-assign]
    fold(scores, audit, None)
    assert [row["run_id"] for row in audit.rows] == ["r1"]


def test_a_detail_file_that_changed_is_not_believed(tables: tuple[FakeTable, FakeTable, FakeTable]) -> None:
    scores, quarantine, audit = tables
    audit.side_files["none.json"] = b'{"kind": "forged"}'
    attempt_publish(scores, quarantine, make_attempt(scores, "r1", "a"))
    fold(scores, audit, None)
    record = json.loads(audit.rows[0]["record"])
    assert (record["kind"], record["detail"]) == ("run", "changed")


@pytest.mark.parametrize("field", ["kind", "job", "interval", "run_id", "generation", "run_key", "status", "record"])
def test_any_changed_field_changes_the_digest(field: str) -> None:
    row = seal({"kind": "run", "job": "j", "interval": DAY, "run_id": "r", "generation": 1, "run_key": "k"}, 1, GENESIS)
    assert digest({**row, field: "changed"}) != row["sha256"]


def test_metadata_of_others_is_left_alone(tables: tuple[FakeTable, FakeTable, FakeTable]) -> None:
    scores = tables[0]
    for text in ("not json", "[1]", '{"batchscore": 3}', None):
        scores.append([], app_id=str(text), txn_version=1, metadata=text)
    assert [read_metadata(commit) for commit in scores.commits(0)] == [None] * 4
    assert application_id("job", DAY) == f"job/scores/{DAY}"
