"""Replays and row stories: runs compute to what they published, from their own versions; and what is gone is named."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from small_job import SmallJob, make_small_job, probability, row

from batchscore.auditing import check_whole, export_audit, list_models, verify_audit, write_lines
from batchscore.errors import BatchscoreError, ConfigError, InputError, ModelError, VerificationError
from batchscore.provenance import explain_row
from batchscore.replaying import check_certified, replay_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY, NEXT = "2013-10-01", "2013-10-02"
RETENTION_CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path) -> SmallJob:
    rows = [row(id=i, day=DAY, a=i / 10, text=None if i == 9 else "t") for i in range(10)]
    return make_small_job(spark, tmp_path, [*rows, row(id=100, day=NEXT, a=7.0)], created=True)


def change_everything(small: SmallJob) -> None:
    """Other rows, another lookup, another model behind the alias: what a run long ago knows nothing of."""
    small.spark.sql(f"update delta.`{small.folder}/rows` set a = 50, b = 100")
    small.spark.sql(f"update delta.`{small.folder}/cities` set size = 77")
    small.add_model(weights=(0.1, 0.9))


def test_a_run_computes_to_what_it_published_whatever_came_since(small: SmallJob) -> None:
    record = small.run(DAY)
    change_everything(small)
    newer = small.run(DAY)
    assert newer.status == "published" and newer.model != record.model
    for run in (record, newer):
        found = replay_run(small.spark, small.load(), run.run_id, None)
        assert found.certified and found.same_key
        assert (found.compared, found.equal, found.missing, found.extra) == (run.counts["scored"],) * 2 + (0, 0)
        check_certified(found)
    sampled = replay_run(small.spark, small.load(), record.run_id, 4)
    assert sampled.certified and sampled.compared == 4
    assert re.search(r"certified +yes", str(sampled))


def test_scores_that_were_changed_since_are_listed(small: SmallJob) -> None:
    record = small.run(DAY)
    folder = small.folder / "scores"
    small.spark.sql(f"alter table delta.`{folder}` unset tblproperties ('delta.appendOnly')")
    small.spark.sql(f"update delta.`{folder}` set p = 0.25 where id = 3")
    small.spark.sql(f"update delta.`{folder}` set id = 77 where id = 4")
    found = replay_run(small.spark, small.load(), record.run_id, None)
    assert (found.compared, found.equal, found.within, found.missing, found.extra) == (8, 7, 0, 1, 1)
    computed = probability(0.3, 2.0)
    differing = {one["id"]: (one["published"], one["computed"]) for one in found.differences}
    assert sorted(differing) == [3, 4, 77]
    assert differing[3][0] == "p 0.25" and float(differing[3][1].split()[1]) == pytest.approx(computed, abs=1e-6)
    assert differing[77][1] == differing[4][0] == "nothing"
    with pytest.raises(VerificationError, match="1 of 8 rows differ beyond the tolerance, 1 are not computed, 1 were"):
        check_certified(found)


def test_what_retention_has_removed_is_named(small: SmallJob) -> None:
    record = small.run(DAY)
    change_everything(small)
    before = small.spark.conf.get(RETENTION_CHECK, "true")
    small.spark.conf.set(RETENTION_CHECK, "false")
    try:
        small.spark.sql(f"vacuum delta.`{small.folder}/rows` retain 0 hours")
    finally:
        small.spark.conf.set(RETENTION_CHECK, str(before))
    with pytest.raises(InputError) as caught:
        replay_run(small.spark, small.load(), record.run_id, None)
    assert str(caught.value).startswith(
        "input.table ./rows, version 0: expected it as the run left it; 1 of its data files are gone, such as file:"
    )
    assert "VACUUM, an erasure or the table's retention" in str(caught.value) and "\n" not in str(caught.value)


REFUSED: list[tuple[str, type[BatchscoreError], str]] = [
    ("held", ConfigError, "expected a run that was published; it is held"),
    ("nowhere", ConfigError, "expected the id of one run of job small; it fits 0"),
    ("no key", ConfigError, "input.key: expected a key, by which rows are compared; found none"),
]


@pytest.mark.parametrize(("case", "kind", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused(small: SmallJob, case: str, kind: type[BatchscoreError], message: str) -> None:
    run = small.run(DAY, *(["gates.quarantine={max_pct: 0}"] if case == "held" else [])).run_id
    job = small.load("input.key=[]") if case == "no key" else small.load()
    with pytest.raises(kind) as caught:
        replay_run(small.spark, job, "nowhere" if case == "nowhere" else run, None)
    assert message in str(caught.value)


def test_a_models_version_that_is_gone_is_named(small: SmallJob) -> None:
    import mlflow  # noqa: PLC0415

    record = small.run(DAY)
    mlflow.MlflowClient(small.registry, small.registry).delete_model_version("small", "1")
    with pytest.raises(ModelError, match=f"run {record.run_id} cannot be computed again: .*expected version 1"):
        replay_run(small.spark, small.load(), record.run_id, None)


def test_a_changed_job_file_is_told(small: SmallJob) -> None:
    record = small.run(DAY)
    found = replay_run(small.spark, small.load("scoring.on_bad_score=keep"), record.run_id, None)
    assert found.certified and not found.same_key
    assert "the job file has changed since the run" in str(found)


def test_a_rows_story(small: SmallJob) -> None:
    record = small.run(DAY)
    change_everything(small)
    found = explain_row(small.spark, small.load(), {"id": "3"}, None)
    assert (found.outcome, found.run_id, found.key) == ("scored", record.run_id, {"id": 3})
    assert found.input["a"] == 0.3 and found.input["text"] == "t"
    assert found.features == {"a": 0.3, "ratio": 2.0}
    assert found.tables == {"input": "./rows@0", "lookup cities": "./cities@0"}
    assert found.commits["scores"] == record.commits["scores"]
    assert found.published == found.computed and found.published["p"] == pytest.approx(probability(0.3, 2.0), abs=1e-6)
    assert [(one["rule"], one["verdict"]) for one in found.checks] == [
        ("input[0]", "PASS"),
        ("input[1]", "PASS"),
        ("input[2]", "PASS"),
    ]
    aside = explain_row(small.spark, small.load(), {"id": "9"}, None)
    assert (aside.outcome, aside.published, aside.computed) == ("quarantined", {}, {"p": None})
    assert aside.checks[0]["verdict"] == "FAIL" and aside.reasons[0]["rule"] == "input[0]"
    assert "set aside" in str(aside) and "computed now" in str(found)


UNKNOWN: list[tuple[Mapping[str, str], str]] = [
    ({"id": "12345"}, "expected a row that a published run scored or set aside; found none"),
    ({"id": "no number"}, "found none"),
    ({"city": "x"}, "expected a value for each of id; found city"),
    ({}, "expected a value for each of id; found none"),
]


@pytest.mark.parametrize(("key", "message"), UNKNOWN)
def test_rows_that_cannot_be_told_of(small: SmallJob, key: Mapping[str, str], message: str) -> None:
    small.run(DAY)
    with pytest.raises((InputError, ConfigError)) as caught:
        explain_row(small.spark, small.load(), key, None)
    assert message in str(caught.value)


def test_the_audit_verifies_until_somebody_changes_it(small: SmallJob, tmp_path: Path) -> None:
    records = [small.run(day) for day in (DAY, NEXT)]
    with pytest.raises(BatchscoreError):
        small.run("2013-10-05")
    found = verify_audit(small.spark, small.load())
    assert found.whole and (found.rows, found.commits) == (3, 2)
    check_whole(found, "job.yaml")
    out = tmp_path / "kept" / "audit.jsonl"
    assert write_lines(export_audit(small.spark, small.load(), str(out)), str(out)) == 3
    exported = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["seq"] for row in exported] == [1, 2, 3] and exported[-1]["sha256"] == found.sha256
    assert json.loads(exported[0]["record"])["run_id"] == records[0].run_id
    with pytest.raises(ConfigError, match="expected a place where nothing is yet"):
        write_lines(iter(()), str(out))
    folder = small.folder / "scores_audit"
    small.spark.sql(f"alter table delta.`{folder}` unset tblproperties ('delta.appendOnly')")
    small.spark.sql(f"update delta.`{folder}` set status = 'failed' where seq = 2")
    broken: Any = verify_audit(small.spark, small.load())
    assert [fault.seq for fault in broken.faults] == [2]
    with pytest.raises(VerificationError, match="found 1 faults, the first at row 2: its digest is not that of"):
        check_whole(broken, "job.yaml")
    small.spark.sql(f"delete from delta.`{folder}` where seq = 2")
    assert not verify_audit(small.spark, small.load()).whole


def test_which_model_scored_what(small: SmallJob) -> None:
    first = small.run(DAY)
    second = small.add_model(weights=(0.1, 0.9))
    newer, other = small.run(DAY), small.run(NEXT)
    found = list_models(small.spark, small.load(), DAY)
    assert [(one["run"], one["model"], one["visible"]) for one in found.runs] == [
        (first.run_id, "small/1", False),
        (newer.run_id, f"small/{second}", True),
    ]
    assert found.first_seen[f"small/{second}"]["run"] == newer.run_id
    assert [one["run"] for one in list_models(small.spark, small.load(), NEXT).runs] == [other.run_id]
    assert len(list_models(small.spark, small.load(), None).runs) == 3
    with pytest.raises(ConfigError, match="--on yesterday: expected a day, as 2013-10-05"):
        list_models(small.spark, small.load(), "yesterday")
