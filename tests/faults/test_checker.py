"""The checker itself: it is content with whole tables, and finds every kind of damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from checker import Wanted, examine
from deltalake import DeltaTable, write_deltalake
from fault_job import OTHER_MODEL, FaultJob, days, make_fault_job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST, SECOND = days(0)[:2]


@pytest.fixture(scope="module")
def whole(session: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> FaultJob:
    """Two published days, one of them twice."""
    job = make_fault_job(tmp_path_factory.mktemp("whole") / "job")
    for day, sets in ((FIRST, ()), (SECOND, ()), (SECOND, OTHER_MODEL)):
        job.run(session, day, *sets)
    return job


def double_a_row(job: FaultJob) -> None:
    rows = DeltaTable(str(job.scores)).to_pyarrow_table()
    write_deltalake(str(job.scores), rows.slice(0, 1), mode="append")


def lose_a_row(job: FaultJob) -> None:
    table = DeltaTable(str(job.scores))
    table.delete(f"id = {min(table.to_pyarrow_table()['id'].to_pylist())}")


def bring_back_an_older_run(job: FaultJob) -> None:
    write_deltalake(str(job.scores), DeltaTable(str(job.scores), version=2).to_pyarrow_table(), mode="overwrite")


def forget_a_quarantined_row(job: FaultJob) -> None:
    change_commits(job.folder / "scores_quarantine", lambda action: None if "add" in action else action)


def tell_another_count(job: FaultJob) -> None:
    def change(action: dict) -> dict:
        if "commitInfo" in action and "userMetadata" in action["commitInfo"]:
            core = json.loads(action["commitInfo"]["userMetadata"])
            core["batchscore"]["counts"]["scored"] += 1
            action["commitInfo"]["userMetadata"] = json.dumps(core)
        return action

    change_commits(job.scores, change)


def edit_the_audit(job: FaultJob) -> None:
    audit = job.folder / "scores_audit"
    file = next(audit.glob("*.parquet"))
    rows = pq.read_table(file).to_pylist()
    rows[0]["record"] = rows[0]["record"].replace("published", "publishes")
    pq.write_table(pq.read_table(file).from_pylist(rows, pq.read_schema(file)), file)
    size = file.stat().st_size

    def change(action: dict) -> dict:
        if action.get("add", {}).get("path") == file.name:
            action["add"]["size"] = size
        return action

    change_commits(audit, change)


def cut_the_audit(job: FaultJob) -> None:
    log = job.folder / "scores_audit" / "_delta_log"
    newest = max(log.glob("*.json")).stem
    for file in log.glob(f"*{newest}*"):  # with its checksums, of which readers would complain
        file.unlink()


def lose_a_detail(job: FaultJob) -> None:
    next((job.folder / "scores_audit" / "_batchscore").glob("*.json")).unlink()


def change_commits(table: Path, change: Callable[[dict], dict | None]) -> None:
    """Change every action of a table's log."""
    for file in (table / "_delta_log").glob("*.json"):
        actions = [change(json.loads(line)) for line in file.read_text().splitlines()]
        file.write_text("\n".join(json.dumps(action) for action in actions if action is not None))


DAMAGES = [
    (double_a_row, "doubled 1"),
    (lose_a_row, "lost 1"),
    (bring_back_an_older_run, "foreign 2"),
    (forget_a_quarantined_row, "set aside"),
    (tell_another_count, "rows by its commit"),
    (edit_the_audit, "digest"),
    (cut_the_audit, "commits are folded"),
    (lose_a_detail, "detail file"),
]


def test_whole_tables_hold(whole: FaultJob) -> None:
    found = examine(whole.scores, wanted(whole))
    assert (found.broken, found.lost, found.doubled, found.foreign) == ([], 0, 0, 0)
    assert found.generations == {whole.name(FIRST): 1, whole.name(SECOND): 2}


@pytest.mark.parametrize(("damage", "told"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damage_is_found(whole: FaultJob, tmp_path: Path, damage: Callable[[FaultJob], None], told: str) -> None:
    shutil.copytree(whole.folder, tmp_path / "job")
    job = FaultJob(tmp_path / "job")
    damage(job)
    found = examine(job.scores, wanted(job))
    assert told in "\n".join([*found.broken, str(found)])


def test_rows_that_nobody_expects_are_found(whole: FaultJob) -> None:
    found = examine(whole.scores, {**wanted(whole), whole.name(SECOND): Wanted(scored=frozenset({-1}))})
    assert (found.lost, found.foreign) == (1, 2)


def wanted(job: FaultJob) -> dict[str, Wanted]:
    return {job.name(day): job.wanted(day) for day in (FIRST, SECOND)}
