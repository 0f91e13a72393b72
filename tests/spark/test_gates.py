"""Gates on real runs: what holds, what is kept of the distributions, and what they are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from onnx_models import make_classifier
from small_job import SmallJob, expectation, make_small_job, row

from batchscore.errors import ChecksFailed, ConfigError, ModelError
from batchscore.gating import unpack_distributions
from batchscore.republish import override_held
from batchscore.training import log_model
from batchscore.watching import staged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession

    from batchscore.records import RunRecord

DAY, NEXT = "2013-10-01", "2013-10-02"


@pytest.fixture(scope="module")
def small(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """Two days: forty rows with `a` from 0 to 3.9, one of them bad; and forty with `a` from 4."""
    rows = [row(id=i, a=i / 10, day=DAY, text=None if i == 39 else "t") for i in range(40)]
    later = [row(id=100 + i, a=4 + i / 10, day=NEXT) for i in range(40)]
    return make_small_job(spark, tmp_path_factory.mktemp("gates"), [*rows, *later])


def gates_of(record: RunRecord) -> Mapping[str, tuple[str, str]]:
    return {gate["gate"]: (gate["verdict"], gate["found"]) for gate in record.gates}


LIMITS: list[tuple[str, str, str, str, str]] = [
    ("gates.quarantine={max_pct: 2}", "held", "quarantine", "fail", "1 of 40 rows set aside, 2.5 %; expected at most"),
    ("gates.quarantine={max_pct: 2, on_fail: warn}", "published", "quarantine", "fail", "1 of 40 rows set aside"),
    ("gates.scores={p: {between: [0, 0.5]}}", "held", "scores.p", "fail", "scores from 0.377541 to 0.802184"),
    ("gates.scores={p: {mean_between: [0.5, 0.7]}}", "published", "scores.p", "pass", "0.377541 to 0.802184"),
]


@pytest.mark.parametrize(("gate", "status", "name", "verdict", "found"), LIMITS)
def test_limits(small: SmallJob, gate: str, status: str, name: str, verdict: str, found: str) -> None:
    record = small.run(DAY, gate, force=True)
    assert record.status == status
    gates = gates_of(record)
    assert gates["rows"] == ("pass", "40 read = 39 scored + 1 quarantined, as many as the pinned files hold (40)")
    assert gates[name][0] == verdict
    assert gates[name][1].startswith(found)


def test_a_gate_on_a_column_that_is_no_number_is_refused(small: SmallJob) -> None:
    sets = ("model.outputs={p: 'probabilities[:, 1]', both: probabilities}", "gates.scores={both: {between: [0, 1]}}")
    with pytest.raises(ConfigError, match=r"gates\.scores\.both: expected an output column .*; those are: p\."):
        small.run(DAY, *sets)


def test_expectations_of_the_scores_hold_in_place_of_failing(small: SmallJob) -> None:
    small.write_suite(
        [expectation("expect_column_mean_to_be_between", column="p", min_value=0.9, max_value=1.0)], "output.json"
    )
    checks = "checks={input: input.json, output: output.json}"
    with pytest.raises(ChecksFailed, match="output"):
        small.run(DAY, checks, force=True)
    record = small.run(DAY, checks, "gates.output={on_fail: hold}", force=True)
    verdict, found = gates_of(record)["output"]
    assert (record.status, verdict) == ("held", "fail")
    assert found.startswith("output[0] expect_column_mean_to_be_between (p): found 0.6")


def test_distributions_are_kept_and_later_runs_compared_with_them(small: SmallJob) -> None:
    first = small.run(DAY, force=True)
    assert first.distributions["columns"] == [] and first.distributions["sample_share"] == 1.0
    kept = small.outputs().read_distributions({"distributions": first.distributions})
    assert kept is not None
    counted = unpack_distributions(kept["distributions"])
    assert {p: sorted(known) for p, known in counted.items()} == {"features": ["a", "ratio"], "scores": ["p"]}
    assert (counted["features"]["a"].rows, int(counted["features"]["a"].counts.sum())) == (39, 39)
    gate = f"gates.drift={{reference: {first.run_id}}}"
    same = small.run(DAY, gate, force=True)
    assert same.status == "published"
    assert gates_of(same)["drift"][0] == "pass"
    held = small.run(NEXT, gate)
    assert held.status == "held"
    columns = held.distributions["columns"]
    assert [(one["column"], one["over"]) for one in columns] == [("a", True), ("p", True), ("ratio", False)]
    assert columns[0]["kolmogorov_smirnov"] > 0.8  # the outermost bin takes what lies beyond it
    assert gates_of(held)["drift"][1].startswith(f"2 of 3 columns drifted from run {first.run_id}: a PSI ")
    assert staged(small.file, held.run_id).count() == 40 and staged(small.file, held.run_id, "quarantined").count() == 0
    record = override_held(small.spark, small.load(), held.run_id, "a new season")
    assert record.distributions == held.distributions


def test_too_few_intervals_say_nothing_of_drift(small: SmallJob) -> None:
    record = small.run(NEXT, "gates.drift={reference: runs}", force=True)
    verdict, found = gates_of(record)["drift"]
    assert verdict == "open"
    assert found == "1 published before it, where 7 intervals are needed to see how much they differ"
    assert {one["column"] for one in record.distributions["columns"]} == {"a", "ratio", "p"}


def test_a_sample_is_counted_where_it_is_asked_for(small: SmallJob) -> None:
    record = small.run(DAY, "gates.sample_rows=20", force=True)
    kept = small.outputs().read_distributions({"distributions": record.distributions})
    assert record.distributions["sample_share"] == 0.5 and kept is not None
    assert 5 < kept["distributions"]["features"]["a"]["rows"] < 35
    assert small.run(DAY, "gates.sample_rows=0", force=True).distributions == {}


def test_a_model_brings_its_reference(small: SmallJob, spark: SparkSession) -> None:
    rows = pa.table({"a": [i / 10 for i in range(40)], "ratio": [2.0] * 40})
    for reference in (rows, rows.to_pandas(), spark.createDataFrame(rows.to_pandas())):
        version = log_model(small.file, make_classifier((0.5, -0.25)), name="referenced", reference=reference)
    sets = (f"model.uri=models:/referenced/{version}", "gates.drift={reference: model}")
    assert gates_of(small.run(DAY, *sets, force=True))["drift"][0] == "pass"
    held = small.run(NEXT, *sets, force=True)
    verdict, found = gates_of(held)["drift"]
    assert (held.status, verdict) == ("held", "fail")
    assert found.startswith(f"1 of 2 columns drifted from the reference of referenced/{version}: a PSI ")
    with pytest.raises(ModelError, match=r"gates\.drift\.reference: no model of the job has a reference; log it with"):
        small.run(DAY, "gates.drift={reference: model}", force=True)


def test_a_reference_that_is_none_is_refused_before_anything_is_scored(small: SmallJob) -> None:
    with pytest.raises(ConfigError, match="expected a run that job small has published; found none of the id 2099"):
        small.run(DAY, "gates.drift={reference: 20990101T000000-deadbeef}", force=True)


def test_a_reference_without_the_jobs_features_is_refused(small: SmallJob) -> None:
    with pytest.raises(ConfigError, match=r"reference: expected rows with the job's features \(a, ratio, …\)"):
        log_model(small.file, make_classifier((0.5, -0.25)), name="other", reference=pa.table({"x": [1.0]}))
