"""Devices: provider options, places on GPUs, and a whole fake runtime on machines with and without them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from batchscore.errors import ScoringError
from batchscore.kernel import runtime, slots
from batchscore.kernel.devices import describe_gpu, provider_options, visible_devices
from batchscore.kernel.runtime import get_session
from batchscore.kernel.spec import SessionSpec
from batchscore.scoring.resources import in_task, parse_size, task_profile, thread_counts

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
MODEL = b"model"
SHA256 = hashlib.sha256(MODEL).hexdigest()

OPTIONS: list[tuple[str, SessionSpec, dict[str, str]]] = [
    (CPU, SessionSpec(), {}),
    (CUDA, SessionSpec(), {"device_id": "3", "use_tf32": "0"}),
    (CUDA, SessionSpec(tf32=True, gpu_memory_bytes=1 << 30),
     {"device_id": "3", "use_tf32": "1", "gpu_mem_limit": "1073741824", "arena_extend_strategy": "kSameAsRequested"}),
    (TENSORRT, SessionSpec(fp16=True), {"device_id": "3", "trt_fp16_enable": "1"}),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "spec", "expected"), OPTIONS)
def test_provider_options(provider: str, spec: SessionSpec, expected: dict[str, str]) -> None:
    assert provider_options(provider, spec, 3) == expected


def test_engine_cache_is_private(tmp_path: Path) -> None:
    cache = tmp_path / "engines"
    options = provider_options(TENSORRT, SessionSpec(engine_cache=str(cache)), 0)
    assert (options["trt_engine_cache_enable"], options["trt_engine_cache_path"]) == ("1", str(cache))
    assert cache.stat().st_mode & 0o777 == 0o700
    cache.chmod(0o770)
    with pytest.raises(ScoringError, match=r"engine_cache: expected a folder that only .*chmod 700"):
        provider_options(TENSORRT, SessionSpec(engine_cache=str(cache)), 0)


@pytest.mark.parametrize(
    ("visible", "listed", "expected"),
    [("0,1", 4, 2), ("2", 4, 1), ("", 4, 0), ("-1", 4, 0), ("0,-1,1", 4, 1), (None, 2, 2), (None, 0, 0)],
)
def test_visible_devices(visible: str | None, listed: int, expected: int, tmp_path: Path) -> None:
    for place in range(listed):
        (tmp_path / str(place)).mkdir()
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert visible_devices(environment, tmp_path) == expected
    assert visible_devices({}, tmp_path / "none") == 0


SMI = """#!/bin/sh
[ "$1" = --id=1 ] && echo "NVIDIA H100, GPU-1, 575.1, 81559 MiB" && exit 0
exit 6
"""


def test_a_gpu_is_described_by_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_gpu(1) == {}
    (tmp_path / "nvidia-smi").write_text(SMI, encoding="utf-8")
    (tmp_path / "nvidia-smi").chmod(0o755)
    known = {"name": "NVIDIA H100", "uuid": "GPU-1", "driver_version": "575.1", "memory.total": "81559 MiB"}
    assert (describe_gpu(1), describe_gpu(2)) == (known, {})


HOLD = """
import sys
from pathlib import Path
from batchscore.kernel.slots import take_slot
print(take_slot(2, 1, Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def test_processes_share_the_places_and_give_them_back_as_they_end(tmp_path: Path) -> None:
    def hold() -> tuple[subprocess.Popen[str], str]:
        pipe = subprocess.PIPE
        child = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdin=pipe, stdout=pipe, text=True)
        assert child.stdout is not None
        return child, child.stdout.readline().strip()

    held = [hold() for _ in range(3)]
    assert [told for _, told in held] == ["0", "1", "None"]
    held[0][0].kill()
    held[0][0].wait()
    last, told = hold()
    assert told == "0"
    for child in [last, *(child for child, _ in held)]:
        child.communicate()


class FakeRuntime:
    """ONNX Runtime on a machine with GPUs, or with a build that says so and falls back to the CPU."""

    GraphOptimizationLevel = SimpleNamespace(ORT_ENABLE_ALL="all", ORT_DISABLE_ALL="none")
    cuda_version = "12.8"

    def __init__(self, *, falls_back: bool = False) -> None:
        self.falls_back = falls_back
        self.asked: list[Any] = []

    SessionOptions = SimpleNamespace

    def get_available_providers(self) -> list[str]:
        return [TENSORRT, CUDA, CPU]

    def get_build_info(self) -> str:
        return "fake"

    def InferenceSession(self, content: bytes, *, sess_options: Any, providers: list[Any]) -> Any:
        self.asked.append((sess_options, providers))
        names = [name for name, _ in providers]
        return SimpleNamespace(get_providers=lambda: [CPU] if self.falls_back else names)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeRuntime]:
    """A machine with two GPUs, on which nothing is taken."""
    fake = FakeRuntime()
    monkeypatch.setattr(runtime, "onnxruntime", fake)
    monkeypatch.setattr(runtime, "_SESSIONS", type(runtime._SESSIONS)())
    monkeypatch.setattr(slots, "_TAKEN", {})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(slots.tempfile, "gettempdir", lambda: str(tmp_path))
    yield fake
    for _, file in slots._TAKEN.values():
        file.close()


def test_the_gpu_that_spark_gave_is_used(machine: FakeRuntime) -> None:
    session, built = get_session(SHA256, SessionSpec(device="cuda"), 1, lambda: MODEL)
    assert (built, session.providers) == (True, (CUDA, CPU))
    assert machine.asked[0][1] == [(CUDA, {"device_id": "1", "use_tf32": "0"}), (CPU, {})]
    assert session.gpu == {"build": "fake", "cuda_version": "12.8", "address": "1"}


def test_auto_computes_on_the_cpu_where_all_places_are_taken(machine: FakeRuntime) -> None:
    spec = SessionSpec(device="auto", sessions_per_device=0)
    session, _ = get_session(SHA256, spec, None, lambda: MODEL)
    assert (session.providers, session.gpu) == ((CPU,), {})
    with pytest.raises(ScoringError, match=r"expected a free place on a GPU .*; found 2 of them with 0 taken on each"):
        get_session(SHA256, SessionSpec(device="cuda", sessions_per_device=0), None, lambda: MODEL)


def test_a_free_place_is_taken(machine: FakeRuntime) -> None:
    session, _ = get_session(SHA256, SessionSpec(device="auto"), None, lambda: MODEL)
    assert (session.providers, session.gpu["address"]) == ((CUDA, CPU), "0")


def test_a_fall_back_to_the_cpu_is_found_out(machine: FakeRuntime) -> None:
    machine.falls_back = True
    with pytest.raises(ScoringError, match="expected cuda; found: the session runs on CPUExecutionProvider"):
        get_session(SHA256, SessionSpec(device="cuda"), 0, lambda: MODEL)
    session, _ = get_session(SHA256, SessionSpec(device="auto"), 0, lambda: MODEL)
    assert (session.providers, session.gpu) == ((CPU,), {})


def test_a_worker_keeps_so_many_sessions(machine: FakeRuntime) -> None:
    models = [bytes([k]) for k in range(3)]
    spec = SessionSpec(device="cpu", kept=2)

    def is_built(k: int) -> bool:
        return get_session(hashlib.sha256(models[k]).hexdigest(), spec, None, lambda: models[k])[1]

    assert [is_built(k) for k in (0, 1, 0, 2, 0, 1)] == [True, True, False, True, False, True]


def test_one_thread_where_no_task_says_another(machine: FakeRuntime) -> None:
    session, _ = get_session(SHA256, SessionSpec(device="cpu", threads=()), None, lambda: MODEL)
    assert (session.threads, machine.asked[0][0].intra_op_num_threads) == ((1,), 1)


def test_session_options_reach_onnx_runtime(machine: FakeRuntime) -> None:
    get_session(SHA256, SessionSpec(device="cpu", threads=(3,), arena=False, optimization="none"), None, lambda: MODEL)
    options, _ = machine.asked[0]
    assert (options.intra_op_num_threads, options.enable_cpu_mem_arena) == (3, False)
    assert options.graph_optimization_level == "none"


PROFILES: list[tuple[str, str, str, float | None]] = [
    ("local[4]", "1", "cuda", None),
    ("spark://host:7077", "0", "cuda", None),
    ("spark://host:7077", "1", "cpu", None),
    ("spark://host:7077", "1", "auto", 0.25),
    ("local-cluster[2,1,1024]", "2", "tensorrt", 0.25),
]


@pytest.mark.parametrize(("master", "gpus", "device", "expected"), PROFILES)
def test_tasks_ask_for_gpus_where_executors_have_some(
    master: str, gpus: str, device: str, expected: float | None
) -> None:
    conf = {"spark.executor.resource.gpu.amount": gpus}
    context = SimpleNamespace(master=master, getConf=lambda: conf)
    session: Any = SimpleNamespace(sparkContext=context)
    profile = task_profile(session, SessionSpec(device=device, gpus_per_task=0.25))
    assert (profile and profile.taskResources["gpu"].amount) == expected
    assert profile is None or not profile.executorResources


@pytest.mark.parametrize(("text", "size"), [(None, 0), ("512m", 512 << 20), ("8G", 8 << 30), ("1tb", 1 << 40)])
def test_sizes(text: str | None, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (4, (1, 2, 4)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))]
)
def test_threads_worth_a_try(cores: int, counts: tuple[int, ...]) -> None:
    assert thread_counts(cores) == counts


def test_a_task_says_the_threads_where_the_job_does_not() -> None:
    assert in_task(SessionSpec(threads=())).threads == (1,)  # outside of Spark
    assert in_task(SessionSpec(threads=(3,))).threads == (3,)
