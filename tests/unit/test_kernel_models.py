"""Several models in one pass: the mean of an ensemble, a model for each segment, a challenger that decides nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from kernel_specs import make_kernel_spec
from onnx_models import make_linear, make_lookup

from batchscore.errors import ScoringError
from batchscore.kernel.batch import run_kernel, stage_schema
from batchscore.kernel.models import common_types
from batchscore.kernel.spec import FeatureSpec, InputSpec, KernelSpec, ModelSpec, OutputSpec, ScoresSpec, StepSpec
from batchscore.kernel.tally import Tally

NAN = float("nan")
TIMES = {factor: make_linear([factor]).SerializeToString() for factor in (1.0, 2.0, 3.0, NAN)}
TABLES = {length: make_lookup([float(i) for i in range(length)]).SerializeToString() for length in (2, 3, 5)}
BYTES = {hashlib.sha256(model).hexdigest(): model for model in (*TIMES.values(), *TABLES.values())}
DIGESTS = {model: sha256 for sha256, model in BYTES.items()}
Y = OutputSpec(column="y", tensor="y", dtype="tensor(float)")


def times(factor: float, **changes: Any) -> ModelSpec:
    """`y = factor * a`."""
    inputs = (InputSpec(tensor="x", dtype="tensor(float)", features=("a",), shape=(None, 1), stacked=True),)
    values = {"sha256": DIGESTS[TIMES[factor]], "label": f"times/{factor:g}", "inputs": inputs, "outputs": (Y,)}
    return ModelSpec(**{**values, **changes})


def table(length: int) -> ModelSpec:
    """`y = a` for whole `a` below `length`; ONNX Runtime refuses others."""
    inputs = (InputSpec(tensor="x", dtype="tensor(int64)", features=("a",), shape=(None,)),)
    return ModelSpec(sha256=DIGESTS[TABLES[length]], label=f"table/{length}", inputs=inputs, outputs=(Y,))


def make_spec(*models: ModelSpec, **changes: Any) -> KernelSpec:
    names = [name for name in changes if name in ScoresSpec.__dataclass_fields__]
    scores = ScoresSpec(models=models, **{name: changes.pop(name) for name in names})
    fields = [pa.field("id", pa.int64()), *(pa.field(n, changes.pop(n, pa.float32())) for n in scores.columns)]
    own = [pa.field(name, pa.float32()) for name in scores.columns] if scores.challenger else []
    schema = stage_schema(fields, None, labels=bool(scores.by), challenger=own)
    base = make_kernel_spec(b"", fields, inputs=(), outputs=(), features=(FeatureSpec(name="a", on_null="quarantine"),))
    return replace(base, scores=scores, schema=schema.serialize().to_pybytes(), **changes)


def run(spec: KernelSpec, a: Sequence[Any], by: Sequence[Any] | None = None) -> tuple[dict[int, Any], Tally]:
    """Rows by id: a score with what else there is of it, or the kinds of reasons."""
    columns = {"id": pa.array(range(len(a)), pa.int64()), "a": pa.array(a)}
    if by is not None:
        columns["by"] = pa.array(by)
    out = pa.Table.from_batches(
        run_kernel(iter([pa.RecordBatch.from_pydict(columns)]), spec, BYTES.__getitem__, "host:1")
    )
    rows = out.to_pylist()
    tally = Tally.from_json(rows.pop()["_tally"])
    found: dict[int, Any] = {}
    for row in rows:
        if row["_outcome"] == "scored":
            own = tuple(row[name] for name in (*spec.scores.columns, "_model", "_challenger") if name in row)
            found[row["id"]] = own[0] if len(own) == 1 else own
        else:
            found[row["id"]] = [reason["kind"] for reason in row["_reasons"]]
    return dict(sorted(found.items())), tally


def test_an_ensemble_is_the_weighted_mean() -> None:
    spec = make_spec(times(1.0), times(2.0), times(3.0), weights=(0.5, 0.25, 0.25))
    found, tally = run(spec, [1.0, -2.0, None])
    assert found == {0: 1.75, 1: -3.5, 2: ["null"]}
    assert (tally.read, tally.scored, tally.to_model, tally.to_checks) == (3, 2, 6, 2)
    assert {model: rows for model, (rows, _) in tally.models.items()} == {"times/1": 2, "times/2": 2, "times/3": 2}


def test_a_row_that_one_member_refuses_is_set_aside_alone() -> None:
    spec = make_spec(table(5), table(2), table(3), weights=(0.5, 0.25, 0.25))
    found, tally = run(spec, [0, 1, 2, 4, 9])
    assert found == {0: 0.0, 1: 1.0, 2: ["unscorable"], 3: ["unscorable"], 4: ["unscorable"]}
    assert (tally.scored, tally.quarantined, tally.to_checks) == (2, 3, 2)


def test_a_bad_score_of_a_member_is_a_bad_mean() -> None:
    found, _ = run(make_spec(times(1.0), times(NAN), weights=(0.5, 0.5)), [1.0])
    assert found == {0: ["bad_score"]}


SEGMENTS: list[tuple[str, Any, int | None, list[Any]]] = [
    ("text", ["EU", "US", "XX", None, "EU"], None, [1.0, 2.0, ["no_model"], ["no_model"], 1.0]),
    ("text with a default", ["EU", "US", "XX", None, "eu"], 2, [1.0, 2.0, 3.0, 3.0, 3.0]),
    ("one segment alone", ["US"] * 5, None, [2.0] * 5),
    ("no segment at all", ["XX"] * 5, None, [["no_model"]] * 5),
]


@pytest.mark.parametrize(("by", "default", "expected"), [c[1:] for c in SEGMENTS], ids=[c[0] for c in SEGMENTS])
def test_each_segment_has_its_model(by: list[Any], default: int | None, expected: list[Any]) -> None:
    models = [times(1.0), times(2.0), times(3.0)]
    spec = make_spec(*models, by="by", routes={"EU": 0, "US": 1, "DE": 0}, default=default)
    found, tally = run(spec, [1.0] * 5, pa.array(by, pa.string()))
    wanted = {i: one if isinstance(one, list) else (one, f"times/{one:g}") for i, one in enumerate(expected)}
    assert found == wanted
    assert tally.to_model == tally.scored == sum(not isinstance(one, list) for one in expected)


@pytest.mark.parametrize(
    ("by", "routes"),
    [
        ([1, 2, 1], {"1": 0, "2": 1}),
        ([True, False, True], {"true": 0, "false": 1}),
        (["1", "2", "1"], {"1": 0, "2": 1}),
    ],
)
def test_segments_by_values_of_any_kind(by: list[Any], routes: dict[str, int]) -> None:
    found, _ = run(make_spec(times(1.0), times(2.0), by="by", routes=routes), [1.0] * 3, by)
    assert found == {0: (1.0, "times/1"), 1: (2.0, "times/2"), 2: (1.0, "times/1")}


def test_a_row_meets_the_limits_of_its_own_model_alone() -> None:
    spec = make_spec(times(1.0), table(3), by="by", routes={"float": 0, "table": 1})
    wide = 2**24 + 1  # no float32 holds it
    found, _ = run(spec, [wide, wide, 2, 2], ["float", "table", "float", "table"])
    assert found == {0: ["lossy"], 1: ["unscorable"], 2: (2.0, "times/1"), 3: (2.0, "table/3")}


def test_a_challenger_scores_beside_and_decides_nothing() -> None:
    found, tally = run(make_spec(times(1.0), challenger=times(2.0)), [1.0, None, 3.0])
    assert found == {0: (1.0, {"y": 2.0}), 1: ["null"], 2: (3.0, {"y": 6.0})}
    assert (tally.to_model, tally.challenger and tally.challenger.scored) == (2, 2)


def test_rows_that_a_challenger_cannot_score_keep_their_scores() -> None:
    found, tally = run(make_spec(table(5), challenger=table(3)), [0, 4, 2])
    assert found == {0: (0.0, {"y": 0.0}), 1: (4.0, None), 2: (2.0, {"y": 2.0})}
    assert tally.challenger is not None
    assert (tally.challenger.read, tally.challenger.scored, tally.failed_rows) == (3, 2, 0)
    assert tally.challenger.reasons == {"unscorable": 1}
    assert "must be within" in tally.runtime()["challenger"]["error"]


def test_a_challenger_that_fails_on_everything_is_given_up() -> None:
    found, tally = run(make_spec(table(5), challenger=table(2), max_failed_rows=3), [4] * 5)
    assert found == dict.fromkeys(range(5), (4.0, None))
    assert tally.challenger is not None
    assert tally.challenger.reasons == {"given up": 5}
    assert "more than 3 in one task" in tally.runtime()["challenger"]["error"]


def test_a_challenger_is_left_out_where_a_value_does_not_fit_it() -> None:
    found, _ = run(make_spec(table(5), challenger=times(1.0), max_failed_rows=9), [2**24 + 1, 3])
    assert found == {0: ["unscorable"], 1: (3.0, {"y": 3.0})}
    found, _ = run(make_spec(times(1.0), challenger=table(5)), [1, 2])
    assert found == {0: (1.0, {"y": 1.0}), 1: (2.0, {"y": 2.0})}


def test_steps_and_dropped_columns_hold_for_the_challenger_too() -> None:
    steps = (StepSpec(name="p", of="y", do="sigmoid"),)
    found, _ = run(make_spec(times(1.0), challenger=times(2.0), steps=steps, dropped=("y",)), [0.0])
    assert found == {0: (0.5, {"p": 0.5})}


def test_a_dropped_column_may_still_be_bad() -> None:
    steps = (StepSpec(name="band", of="y", do="categories", categories=(("low", (("<", 1.0),)),), otherwise="high"),)
    spec = make_spec(times(1.0), steps=steps, dropped=("y",), band=pa.string())
    assert run(spec, [0.0, float("inf"), 5.0])[0] == {0: "low", 1: ["bad_score"], 2: "high"}


def test_the_mean_of_arrays() -> None:
    whole = replace(Y, picks=(None,))
    one = replace(times(1.0), outputs=(whole,))
    spec = make_spec(one, one, weights=(0.75, 0.25), y=pa.list_(pa.float32()))
    assert run(spec, [2.0])[0] == {0: [2.0]}


TYPES = [
    (["tensor(float)", "tensor(float)"], pa.float32()),
    (["tensor(float)", "tensor(double)"], pa.float64()),
    (["tensor(int64)", "tensor(int64)"], pa.int64()),
    (["tensor(int64)", "tensor(float)"], None),
    (["tensor(string)", "tensor(int64)"], None),
]


@pytest.mark.parametrize(("dtypes", "expected"), TYPES)
def test_types_that_models_have_in_common(dtypes: list[str], expected: pa.DataType | None) -> None:
    for picks, wrap in (((0,), lambda kind: kind), ((None,), pa.list_)):
        models = [times(1.0, outputs=(replace(Y, dtype=dtype, picks=picks),)) for dtype in dtypes]
        assert common_types(models).get("y") == (None if expected is None else wrap(expected))


def test_a_job_that_fails_says_which_model() -> None:
    with pytest.raises(ScoringError, match=r"model times/1, times/nan: expected finite scores"):
        run(make_spec(times(1.0), times(NAN), weights=(0.5, 0.5), on_bad_score="fail"), [1.0])
