"""The kernel on Arrow batches, without Spark: rules, null policies, tensors, outcomes, tally."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from kernel_specs import make_kernel_spec
from onnx import TensorProto, helper
from onnx_kinds import build
from onnx_models import make_classifier, make_linear, make_lookup

from batchscore.errors import ModelError, ScoringError
from batchscore.kernel.batch import run_kernel, stage_schema
from batchscore.kernel.bisect import Feeds, score_pieces
from batchscore.kernel.call_settings import SIZES
from batchscore.kernel.devices import choose_providers, device_of, prove_providers
from batchscore.kernel.runtime import Refusal
from batchscore.kernel.spec import FeatureSpec, InputSpec, KernelSpec, OutputSpec, RuleSpec, SessionSpec
from batchscore.kernel.tally import Tally
from batchscore.kernel.tensors import find_overflows, to_tensor

MODEL = make_linear([1.0, 10.0]).SerializeToString()
FIELDS = [pa.field("id", pa.int64()), pa.field("tag", pa.string()), pa.field("y", pa.float32())]


def make_rule(kind: str, column: str, place: str = "input", on_row_fail: str = "quarantine", **args: Any) -> RuleSpec:
    return RuleSpec(
        rule=f"{place}[0]",
        fingerprint="f",
        expectation=f"expect_{kind}",
        place=place,
        kind=kind,
        columns=(column,),
        severity="critical",
        on_row_fail=on_row_fail,
        args=args,
    )


def make_spec(model: bytes = MODEL, **changes: Any) -> KernelSpec:
    values: dict[str, Any] = {
        "passthrough": ("tag",),
        "features": (FeatureSpec(name="a", on_null="quarantine"), FeatureSpec(name="b", on_null="quarantine")),
        "inputs": (InputSpec(tensor="x", dtype="tensor(float)", features=("a", "b"), shape=(None, 2), stacked=True),),
        "outputs": (OutputSpec(column="y", tensor="y", dtype="tensor(float)"),),
    }
    return make_kernel_spec(model, FIELDS, **{**values, **changes})


def make_batch(a: list[Any], b: list[Any] | None = None, **more: pa.Array) -> pa.RecordBatch:
    n = len(a)
    columns = {
        "id": pa.array(range(n), pa.int64()),
        "tag": pa.array([f"t{i}" for i in range(n)], pa.string()),
        "a": pa.array(a, pa.float64()),
        "b": pa.array(b if b is not None else [0.0] * n, pa.float64()),
        **more,
    }
    return pa.RecordBatch.from_pydict(columns)


def run(spec: KernelSpec, *batches: pa.RecordBatch, model: bytes = MODEL) -> tuple[list[dict[str, Any]], Tally]:
    rows = [row for out in run_kernel(iter(batches), spec, lambda _: model, "host:1") for row in out.to_pylist()]
    tallies = [Tally.from_json(row["_tally"]) for row in rows if row["_outcome"] == "tally"]
    assert len(tallies) == 1
    return [row for row in rows if row["_outcome"] != "tally"], tallies[0]


def kinds(row: dict[str, Any]) -> list[str]:
    return [f"{reason['kind']} {reason['column']}" for reason in row["_reasons"] or []]


def test_rows_come_back_once_with_scores_keys_and_passthrough() -> None:
    rows, tally = run(make_spec(), make_batch([1.0, 2.0], [0.5, 0.25]), make_batch([3.0]))
    assert [(r["id"], r["tag"], r["y"], r["_outcome"]) for r in rows] == [
        (0, "t0", 6.0, "scored"),
        (1, "t1", 4.5, "scored"),
        (0, "t0", 3.0, "scored"),
    ]
    assert (tally.read, tally.scored, tally.quarantined) == (3, 3, 0)
    assert tally.latency.count == 2
    work = tally.workers["host:1"]
    assert (work.tasks, work.rows, work.model_s) == (1, 3, tally.latency.total_s)
    assert work.bytes_in >= 3 * 3 * 8 and work.bytes_out >= 3 * (8 + 4)


@pytest.mark.parametrize("batches", [(), (make_batch([]),)])
def test_an_empty_task_gives_only_its_tally(batches: tuple[pa.RecordBatch, ...]) -> None:
    rows, tally = run(make_spec(), *batches)
    assert rows == [] and (tally.read, tally.sessions_built) == (0, 0)


@pytest.mark.parametrize(("batch_rows", "calls"), [(0, 1), (1, 5), (2, 3), (5, 1), (100, 1)])
def test_batch_rows_cut_the_calls_and_change_no_score(batch_rows: int, calls: int) -> None:
    rows, tally = run(make_spec(batch_rows=batch_rows), make_batch([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert [r["y"] for r in rows] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert tally.latency.count == calls


@pytest.mark.parametrize("batch_rows", [0, 64])
def test_threads_are_found_from_calls_and_change_no_score(batch_rows: int) -> None:
    # Four calls of the largest size in a batch, and a spec of its own: a worker's sessions stay.
    session = SessionSpec(device="cpu", threads=(1, 2), kept=20 + batch_rows)
    values = [float(k) for k in range(4 * SIZES[-1])]
    spec = make_spec(batch_rows=batch_rows, session=session)
    *scored, last = run_kernel(iter([make_batch(values)] * 7), spec, lambda _: MODEL, "host:1")
    assert [y for batch in scored for y in batch["y"].to_pylist()] == values * 7
    tally = Tally.from_json(last["_tally"][0].as_py())
    found = tally.runtime()
    assert found["threads"]["m/1"] in (1, 2)
    assert found["batch_rows"]["m/1"] in ((64,) if batch_rows else (1024, 4096, 16_384))
    assert 2 <= found["sessions_built"] <= 3  # one is built again if the search comes back to it


NULLS = [
    ("quarantine", None, [1.0], ["null a"]),
    ("impute", 7.0, [1.0, 7.0], []),
    ("nan", None, [1.0], ["bad_score y"]),  # the linear model carries NaN through
]


@pytest.mark.parametrize(("on_null", "impute", "scored", "reasons"), NULLS)
def test_null_policies(on_null: str, impute: Any, scored: list[float], reasons: list[str]) -> None:
    features = (FeatureSpec(name="a", on_null=on_null, impute=impute), FeatureSpec(name="b", on_null="quarantine"))
    rows, _ = run(make_spec(features=features), make_batch([1.0, None]))
    assert [r["y"] for r in rows if r["_outcome"] == "scored"] == scored
    assert [kind for r in rows if r["_outcome"] == "quarantined" for kind in kinds(r)] == reasons


def test_on_null_fail_raises_only_for_rows_that_nothing_else_set_aside() -> None:
    features = (FeatureSpec(name="a", on_null="fail"), FeatureSpec(name="b", on_null="quarantine"))
    spec = make_spec(features=features, rules=(make_rule("not_null", "tag"),))
    aside = pa.array(["t", None], pa.string())
    rows, _ = run(spec, make_batch([1.0, None], tag=aside))
    assert [r["_outcome"] for r in rows] == ["scored", "quarantined"]
    with pytest.raises(ScoringError, match=r"feature 'a': expected no nulls .* found 1 in one batch of 2 rows"):
        run(spec, make_batch([1.0, None]))


def test_a_row_that_fails_in_several_ways_has_every_reason_and_the_first_place() -> None:
    rules = (make_rule("between", "a", min=0), replace(make_rule("not_null", "tag"), rule="input[1]"))
    rows, tally = run(make_spec(rules=rules), make_batch([-1.0, 1.0], [None, 1.0], tag=pa.array([None, "t"])))
    aside = next(r for r in rows if r["_outcome"] == "quarantined")
    assert kinds(aside) == ["expect_between a", "expect_not_null tag", "null b"]
    assert aside["_stage"] == "input"
    assert tally.rules == {"input[0]": (2, 1), "input[1]": (2, 1)}
    assert tally.reasons == {"input[0] expect_between a": 1, "input[1] expect_not_null tag": 1, "null b": 1}


def test_a_rule_that_keeps_its_rows_only_counts() -> None:
    rows, tally = run(make_spec(rules=(make_rule("between", "a", on_row_fail="keep", min=2),)), make_batch([1.0]))
    assert [r["_outcome"] for r in rows] == ["scored"] and tally.rules["input[0]"] == (1, 1)


def test_output_rules_see_only_scored_rows() -> None:
    spec = make_spec(rules=(make_rule("not_null", "tag"), make_rule("between", "y", "output", max=2)))
    rows, tally = run(spec, make_batch([1.0, 3.0, 9.0], tag=pa.array(["t", "t", None])))
    assert [(r["id"], r["_outcome"], r["_stage"]) for r in rows] == [
        (0, "scored", None),
        (1, "quarantined", "output"),
        (2, "quarantined", "input"),
    ]
    assert tally.rules["output[0]"] == (2, 1)


@pytest.mark.parametrize(("policy", "outcomes"), [("keep", ["scored"]), ("quarantine", ["quarantined"])])
def test_bad_scores(policy: str, outcomes: list[str]) -> None:
    rows, _ = run(make_spec(on_bad_score=policy), make_batch([float("inf")]))
    assert [r["_outcome"] for r in rows] == outcomes


LOOKUP = make_lookup([0.5, 1.5, 2.5]).SerializeToString()


LOOKED_UP = [0.5, 1.5, 2.5]


def make_lookup_sum() -> bytes:
    """`y[n]`: the sum of `LOOKED_UP[x[n, t]]` over t, for x of any width."""
    nodes = [
        helper.make_node("Gather", ["values", "x"], ["z"], axis=0),
        helper.make_node("ReduceSum", ["z", "axes"], ["y"], keepdims=0),
    ]
    shapes = {"x": (TensorProto.INT64, ["N", "T"])}, {"y": (TensorProto.FLOAT, ["N"])}
    return build(nodes, *shapes, {"values": np.float32(LOOKED_UP), "axes": np.int64([1])}).SerializeToString()


LOOKUP_SUM = make_lookup_sum()


def make_lookup_sum_spec(**changes: Any) -> KernelSpec:
    return make_spec(
        LOOKUP_SUM,
        features=(FeatureSpec(name="a", on_null="quarantine"),),
        inputs=(InputSpec(tensor="x", dtype="tensor(int64)", features=("a",), shape=(None, None), depth=1),),
        **changes,
    )


def make_ids(values: list[int]) -> pa.RecordBatch:
    return make_batch([0.0] * len(values)).set_column(2, "a", pa.array(values, pa.int64()))


def make_lookup_spec(**changes: Any) -> KernelSpec:
    return make_spec(
        LOOKUP,
        features=(FeatureSpec(name="a", on_null="quarantine"),),
        inputs=(InputSpec(tensor="x", dtype="tensor(int64)", features=("a",), shape=(None,)),),
        **changes,
    )


@pytest.mark.parametrize("batch_rows", [0, 1, 1000, 4096])
@pytest.mark.parametrize("poison", [[], [0], [99_999], [50_000], [7, 8], "37 anywhere", "37 together"])
def test_rows_that_onnx_runtime_refuses_cost_themselves_alone(poison: list[int] | str, batch_rows: int) -> None:
    n = 100_000 if batch_rows != 1 else 1000
    places = {"37 anywhere": np.random.default_rng(5).choice(n, 37, replace=False), "37 together": np.arange(n - 37, n)}
    wrong = np.minimum(places[poison] if isinstance(poison, str) else np.array(poison, int), n - 1)
    x = np.arange(n) % 3
    x[wrong] = 99
    more = {"id": pa.array(np.arange(n)), "tag": pa.repeat("t", n), "a": pa.array(x), "b": pa.nulls(n, pa.float64())}

    batch = pa.RecordBatch.from_pydict(more)
    out = pa.Table.from_batches(
        run_kernel(iter([batch]), make_lookup_spec(batch_rows=batch_rows), lambda _: LOOKUP, "w")
    )
    tally = Tally.from_json(out.column("_tally")[-1].as_py())

    scored = out.filter(pc.equal(out["_outcome"], "scored"))
    aside = out.filter(pc.equal(out["_outcome"], "quarantined")).to_pylist()
    right = np.delete(np.arange(n), wrong)
    assert np.array_equal(scored["id"].to_numpy(), right)
    assert np.array_equal(scored["y"].to_numpy(), (right % 3) + np.float32(0.5))
    assert sorted(row["id"] for row in aside) == sorted(wrong.tolist())
    assert {(row["_stage"], *kinds(row)) for row in aside} <= {("output", "unscorable y")}
    assert all("idx=99 must be within" in row["_reasons"][0]["error"] for row in aside)
    assert (tally.read, tally.scored, tally.to_model, tally.failed_rows) == (n, len(right), len(right), len(wrong))
    assert tally.split_batches <= 2 * len(wrong) * 17


def test_rows_that_are_refused_meet_other_reasons_and_rules() -> None:
    rules = (make_rule("between", "a", max=1), make_rule("between", "y", "output", max=1))
    rows, tally = run(make_lookup_spec(rules=rules), make_ids([2, 1, 0, -9]), model=LOOKUP)
    assert {row["id"]: kinds(row) for row in rows} == {
        0: ["expect_between a"],
        1: ["expect_between y"],
        2: [],
        3: ["unscorable y"],
    }
    assert tally.rules["output[0]"] == (2, 1)


def test_a_batch_of_refused_rows_alone() -> None:
    rows, tally = run(make_lookup_spec(), make_ids([9]), model=LOOKUP)
    assert ([kinds(row) for row in rows], tally.scored, tally.runtime()["failed_rows"]) == ([["unscorable y"]], 0, 1)


@pytest.mark.parametrize(("limit", "batches"), [(0, [1]), (2, [3]), (2, [2, 1])])
def test_too_many_refused_rows_end_the_task_without_their_values(limit: int, batches: list[int]) -> None:
    parts = [make_ids([9] * n) for n in batches]
    with pytest.raises(ScoringError, match=f"max_failed_rows.*found more than {limit} in one task.*Gather") as caught:
        run(make_lookup_spec(max_failed_rows=limit), *parts, model=LOOKUP)
    assert "idx" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "scored"), [([[0, 1], [9], [2], [9, 9]], [0, 2]), ([[9], [9, 9]], []), ([[1, 9], [2]], [1])]
)
def test_rows_of_open_sizes_are_refused_on_their_own(values: list[list[int]], scored: list[int]) -> None:
    spec = make_lookup_sum_spec()
    batch = make_batch([0.0] * len(values)).set_column(2, "a", pa.array(values, pa.list_(pa.int64())))
    rows, tally = run(spec, batch, model=LOOKUP_SUM)
    expected = {row: sum(LOOKED_UP[k] for k in values[row]) for row in scored}
    assert {row["id"]: row["y"] for row in rows if row["_outcome"] == "scored"} == expected
    assert tally.failed_rows == len(values) - len(scored)
    with pytest.raises(ScoringError, match="max_failed_rows"):
        run(make_lookup_sum_spec(max_failed_rows=len(values) - len(scored) - 1), batch, model=LOOKUP_SUM)


def test_memory_that_fits_half_a_batch_scores_both_halves() -> None:
    def call(feeds: Feeds, rows: int) -> list[Any] | Refusal:
        return [feeds["x"] * 2] if rows <= 3 else Refusal("Failed to allocate memory for requested buffer")

    done = score_pieces(call, {"x": np.arange(10)}, 10, 10, 0)
    assert (np.concatenate([part[0] for part in done.outputs]).tolist(), done.failed) == ([*range(0, 20, 2)], {})
    assert done.splits == 3


def test_keys_that_are_null_or_doubled_are_set_aside() -> None:
    flags = {"id": pa.array([1, None, 3], pa.int64()), "_duplicate": pa.array([True, False, None])}
    rows, _ = run(make_spec(duplicates=True), make_batch([1.0, 1.0, 1.0], **flags))
    assert [kinds(r) for r in rows if r["_outcome"] == "quarantined"] == [["duplicate_key id"], ["null_key id"]]


def test_features_that_spark_could_not_compute_are_set_aside_once() -> None:
    features = (
        FeatureSpec(name="a", on_null="quarantine", failed_bit=1),
        FeatureSpec(name="b", on_null="impute", impute=1.0, failed_bit=64),
    )
    flags = {"_failed_0": pa.array([2, 0], pa.int64()), "_failed_1": pa.array([0, 4], pa.int64())}
    rows, _ = run(make_spec(features=features, failed=True), make_batch([None, 1.0], [1.0, None], **flags))
    assert [kinds(r) for r in rows] == [["not_computable a"], ["not_computable b"]]


def test_a_value_that_float32_cannot_hold_is_set_aside() -> None:
    rows, _ = run(make_spec(), make_batch([1e39, 1.0]))
    assert {r["id"]: kinds(r) for r in rows} == {1: [], 0: ["overflow a"]}


def test_raw_rows_travel_with_the_rows_that_are_set_aside() -> None:
    raw = pa.array([{"z": 1}, {"z": 2}], pa.struct([("z", pa.int64())]))
    schema = stage_schema(FIELDS, raw.type).serialize().to_pybytes()
    rows, _ = run(make_spec(raw=True, schema=schema), make_batch([1.0, None], _raw=raw))
    assert [r["_raw"] for r in rows] == [None, {"z": 2}]


def test_bytes_that_changed_are_refused_before_a_session_is_built() -> None:
    flipped = bytes([*MODEL[:-1], MODEL[-1] ^ 1])
    with pytest.raises(ModelError, match=r"expected bytes with sha256 .* changed between pin and scoring"):
        run(make_spec(b"another"), make_batch([1.0]), model=flipped)


def test_a_session_is_built_once_a_worker() -> None:
    model = make_classifier([3.0, 4.0]).SerializeToString()
    output = OutputSpec(column="y", tensor="probabilities", picks=(1,), dtype="tensor(float)")
    spec = make_spec(model, outputs=(output,))
    built = [run(spec, make_batch([1.0]), model=model)[1].sessions_built for _ in range(3)]
    assert built == [1, 0, 0]


def test_one_float32_column_is_not_copied() -> None:
    column = pa.array([1.0, 2.0], pa.float32())
    tensor = to_tensor(
        InputSpec(tensor="x", dtype="tensor(float)", features=("a",), shape=(None, 1), stacked=True), {"a": column}
    )
    assert tensor.shape == (2, 1)
    assert tensor.__array_interface__["data"][0] == column.buffers()[1].address


OVERFLOWS = [
    (pa.array([1e39, None, float("inf")], pa.float64()), "tensor(float)", [True, False, False]),
    (pa.array([70000.0], pa.float32()), "tensor(float16)", [True]),
    (pa.array([2**40, 1], pa.int64()), "tensor(int32)", [True, False]),
    (pa.array([-1], pa.int8()), "tensor(uint8)", [True]),
    (pa.array([1.5], pa.float64()), "tensor(double)", None),
    (pa.array([2**62], pa.int64()), "tensor(float)", None),
    (pa.array(["a"]), "tensor(string)", None),
]


@pytest.mark.parametrize(("column", "dtype", "expected"), OVERFLOWS)
def test_overflows_are_found(column: pa.Array, dtype: str, expected: list[bool] | None) -> None:
    found = find_overflows(column, dtype)
    assert (None if found is None else found.tolist()) == expected


CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("device", "available", "expected"),
    [
        ("auto", [CPU], [CPU]),
        ("auto", [CUDA, CPU], [CUDA, CPU]),
        ("cpu", [CUDA, CPU], [CPU]),
        ("cuda", [CUDA, CPU], [CUDA, CPU]),
        ("cuda", [CPU], "expected cuda; found: this ONNX Runtime offers only CPUExecutionProvider"),
        ("tensorrt", [CPU], "expected tensorrt"),
    ],
)
def test_providers_are_chosen(device: str, available: list[str], expected: list[str] | str) -> None:
    if isinstance(expected, str):
        with pytest.raises(ScoringError, match=expected):
            choose_providers(device, available)
    else:
        assert choose_providers(device, available) == expected


@pytest.mark.parametrize(("providers", "device"), [([CUDA, CPU], "cuda"), ([CPU], "cpu"), (["X"], "X"), ([], "none")])
def test_a_session_runs_on_the_device_of_its_first_provider(providers: list[str], device: str) -> None:
    assert device_of(providers) == device


def test_a_session_that_fell_back_to_the_cpu_is_refused_under_cuda() -> None:
    prove_providers("auto", [CPU])
    with pytest.raises(ScoringError, match="the session runs on CPUExecutionProvider"):
        prove_providers("cuda", [CPU])


SHARES = [(1.0, 20_000, 0), (0.5, 10_000, 300), (0.0, 20_000, 1_500)]


@pytest.mark.parametrize(("share", "rows", "within"), SHARES)
def test_distributions_are_counted_from_a_share_of_the_rows(share: float, rows: int, within: int) -> None:
    spec = make_spec(watched=("a", "b"), watched_scores=("y",), watched_share=share)
    batches = [make_batch([float(i % 7) for i in range(1000)], [None] * 100 + [1.0] * 900) for _ in range(22)]
    _, tally = run(spec, *batches)
    counted = {name: one for known in tally.distributions.values() for name, one in known.items()}
    assert sorted(counted) == ["a", "b", "y"]
    scale = 22 * 900 / 20_000  # rows that are set aside are not the model's
    for one in counted.values():
        assert abs(one.rows - scale * rows) <= within
        assert one.rows == one.nulls + int(one.counts.sum())
    assert counted["a"].nulls == counted["b"].nulls == 0
    assert np.allclose(counted["a"].counts / counted["a"].rows, 1 / 7, atol=0.02)


def test_ranges_are_counted_over_the_rows_that_come_out() -> None:
    spec = make_spec(ranges=("y",), on_bad_score="keep")
    _, tally = run(spec, make_batch([1.0, 5.0, float("nan"), None]), make_batch([3.0]))
    found = tally.columns["scores"]["y"]
    assert (found.rows, found.nulls, found.low, found.high, found.sum) == (4, 1, 1.0, 5.0, 9.0)
