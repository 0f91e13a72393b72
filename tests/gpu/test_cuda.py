"""Models on a real GPU: the CPU's scores within a stated tolerance, and the speed of the kernel beside a bare loop.

Run on a machine with an NVIDIA GPU and the `gpu` extra: `pytest -m gpu tests/gpu`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from kernel_specs import make_kernel_spec
from onnx_models import linear_graph, make_model

from batchscore.kernel.batch import run_kernel
from batchscore.kernel.devices import CUDA, visible_devices
from batchscore.kernel.spec import FeatureSpec, InputSpec, OutputSpec, SessionSpec
from batchscore.kernel.tally import Tally

TOLERANCE = 1e-5  # relative, with TF32 off
WIDTH, ROWS, BATCHES = 256, 16_384, 20


def why_not() -> str | None:
    if CUDA not in onnxruntime.get_available_providers():
        return f"this ONNX Runtime has no CUDA: it offers {', '.join(onnxruntime.get_available_providers())}"
    return None if visible_devices(os.environ) else "this machine shows no NVIDIA GPU"


REASON = why_not()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(REASON is not None, reason=REASON or "")]
FEATURES = pa.field("a", pa.list_(pa.float32()))


@pytest.fixture(scope="module")
def model() -> bytes:
    weights = np.random.default_rng(0).normal(size=(WIDTH, 8)).astype(np.float32)
    return make_model(linear_graph(weights)).SerializeToString()


def batches(count: int) -> Iterator[pa.RecordBatch]:
    values = np.random.default_rng(1).normal(size=(ROWS, WIDTH)).astype(np.float32)
    offsets = pa.array(np.arange(ROWS + 1, dtype=np.int32) * WIDTH)
    rows = pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))
    for place in range(count):
        ids = pa.array(np.arange(ROWS) + place * ROWS)
        yield pa.RecordBatch.from_arrays([ids, rows], names=["id", "a"])


def score(model: bytes, device: str, count: int) -> tuple[np.ndarray, Tally]:
    spec = make_kernel_spec(
        model,
        [pa.field("id", pa.int64()), pa.field("y", pa.list_(pa.float32()))],
        features=(FeatureSpec(name="a", on_null="quarantine"),),
        inputs=(InputSpec(tensor="x", dtype="tensor(float)", features=("a",), shape=(None, WIDTH), depth=1),),
        outputs=(OutputSpec(column="y", tensor="y", dtype="tensor(float)", picks=(None,)),),
        session=SessionSpec(device=device),
    )
    out = pa.Table.from_batches(run_kernel(batches(count), spec, lambda _: model, "w"))
    tally = Tally.from_json(out["_tally"][-1].as_py())
    scores = out["y"].combine_chunks().drop_null().flatten().to_numpy()
    return scores, tally


def test_cuda_gives_the_scores_of_the_cpu(model: bytes) -> None:
    on_cpu, _ = score(model, "cpu", 1)
    on_gpu, tally = score(model, "cuda", 1)
    assert tally.devices == {"cuda": ROWS}
    assert tally.workers["w"].gpu["name"]
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=TOLERANCE, atol=TOLERANCE)


def test_the_kernel_beside_a_bare_loop(model: bytes, record_property: Any) -> None:
    """A ratio for the record, and no verdict: machines differ."""
    session = onnxruntime.InferenceSession(model, providers=[CUDA])
    values = [np.stack(batch.column("a").to_numpy(zero_copy_only=False)) for batch in batches(1)]
    score(model, "cuda", 1)  # the session is built once
    ratios = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(BATCHES):
            session.run(None, {"x": values[0]})
        bare = time.perf_counter() - started
        started = time.perf_counter()
        score(model, "cuda", BATCHES)
        ratios.append(bare / (time.perf_counter() - started))
    record_property("rows_per_s_beside_a_bare_loop", median(ratios))
