"""ONNX Runtime sessions: one per worker process and model, kept between tasks, built from proven bytes."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime

from batchscore.errors import ModelError, ScoringError
from batchscore.kernel.call_settings import SIZES, CallProbe
from batchscore.kernel.devices import (
    CPU,
    choose_providers,
    describe_gpu,
    prove_providers,
    provider_options,
    visible_devices,
)
from batchscore.kernel.slots import take_slot
from batchscore.kernel.spec import SessionSpec

_ERROR_CHARACTERS = 300
_LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_DETAIL = "Status Message:"  # what ONNX Runtime writes before the text of a node, which may quote values


@dataclass(frozen=True, slots=True)
class Refusal:
    """What ONNX Runtime says against a call.

    Attributes:
        reason: Its text; may quote values of the rows.
    """

    reason: str

    @property
    def summary(self) -> str:
        """The text without what may quote values."""
        return self.reason.partition(_DETAIL)[0].strip().rstrip(".")


@dataclass(slots=True)
class Session:
    """One model in ONNX Runtime and what it really runs on.

    Attributes:
        threads: Counts of threads that a call may have, fewest first.
        providers: Execution providers, best first, as the session reports them.
        build_s: Seconds that building it took.
        gpu: The GPU that it runs on, and its libraries; empty on a CPU.
    """

    _sessions: dict[int, Any]  # by the threads of a call, which ONNX Runtime fixes with the session
    _build: Callable[[bytes, int], Any]
    threads: tuple[int, ...]
    providers: tuple[str, ...]
    build_s: float
    gpu: Mapping[str, str]
    _probes: dict[int, CallProbe] = field(default_factory=dict)

    def probe(self, rows: int) -> CallProbe:
        """What finds the setting of calls with so many rows; 0 where the job leaves these open as well."""
        if rows not in self._probes:
            self._probes[rows] = CallProbe(self.threads, (rows,) if rows else SIZES)
        return self._probes[rows]

    def prepare(self, threads: int, kept: int | None, load_bytes: Callable[[], bytes]) -> float | None:
        """Make ready for calls with so many threads.

        Args:
            threads: Threads of the calls to come.
            kept: Those of a session to keep beside; any other is let go. None to keep that one alone.
            load_bytes: Gives the model's bytes, which a session that is kept between tasks does not hold.

        Returns:
            Seconds that building a session took; None where there is one.
        """
        if threads in self._sessions:
            self._sessions = {count: one for count, one in self._sessions.items() if count in (threads, kept)}
            return None
        self._sessions = {count: one for count, one in self._sessions.items() if count == kept}
        started = time.perf_counter()
        self._sessions[threads] = self._build(load_bytes(), threads)
        return time.perf_counter() - started

    def run(self, outputs: Sequence[str], feeds: Mapping[str, np.ndarray], threads: int) -> list[Any] | Refusal:
        """Score one batch.

        Args:
            outputs: Tensor names to compute.
            feeds: Input name to array, n rows each.
            threads: Threads of the call, as prepared.

        Returns:
            One array for each name, or what ONNX Runtime says against the batch.
        """
        try:
            result: list[Any] = self._sessions[threads].run(list(outputs), dict(feeds))
        except Exception as error:  # ONNX Runtime raises classes of its own C extension
            return Refusal(" ".join(str(error).split())[:_ERROR_CHARACTERS] or type(error).__name__)
        return result


_SESSIONS: OrderedDict[tuple[str, SessionSpec, int | None], Session] = OrderedDict()


def get_session(
    model_sha256: str, spec: SessionSpec, address: int | None, load_bytes: Callable[[], bytes]
) -> tuple[Session, bool]:
    """This worker's session for a model, built on first use; beyond `spec.kept`, the one unused longest is let go.

    Args:
        model_sha256: Digest that the bytes must have.
        spec: How ONNX Runtime is set up.
        address: The GPU that Spark gave the task; None where it gives none.
        load_bytes: Gives the model's bytes; called only when a session must be built.

    Returns:
        The session, and whether this call built it.

    Raises:
        ModelError: The bytes changed since they were pinned, or will not load.
        ScoringError: The session does not run on the device asked for.
    """
    key = (model_sha256, spec, address)
    if key in _SESSIONS:
        _SESSIONS.move_to_end(key)
        return _SESSIONS[key], False
    model_bytes = _prove(load_bytes(), model_sha256)
    while len(_SESSIONS) >= spec.kept:
        _SESSIONS.popitem(last=False)
    _SESSIONS[key] = _open(model_bytes, model_sha256, spec, address)
    return _SESSIONS[key], True


def _prove(model_bytes: bytes, sha256: str) -> bytes:
    found = hashlib.sha256(model_bytes).hexdigest()
    if found != sha256:
        raise ModelError(
            f"model: expected bytes with sha256 {sha256[:16]}…; found {found[:16]}… on this worker. "
            "They changed between pin and scoring; nothing was scored. Run again, and check the storage if it recurs."
        )
    return model_bytes


def runtime_version() -> str:
    """Version of ONNX Runtime in this process."""
    return str(onnxruntime.__version__)


def available_providers() -> list[str]:
    """What this build of ONNX Runtime can compute on, best first."""
    return [str(provider) for provider in onnxruntime.get_available_providers()]


def _open(model_bytes: bytes, sha256: str, spec: SessionSpec, address: int | None) -> Session:
    providers = choose_providers(spec.device, onnxruntime.get_available_providers())
    gpu = _find_gpu(spec, address) if providers[0] != CPU else None
    if gpu is None and spec.device == "auto":
        providers = [CPU]
    asked = [(provider, provider_options(provider, spec, gpu or 0)) for provider in providers]
    threads = spec.threads or (1,)  # none outside of a task, such as where one row is looked at
    counts = threads if providers[0] == CPU else threads[:1]
    started = time.perf_counter()
    session = _build(model_bytes, spec, asked, counts[0])
    actual = tuple(session.get_providers())
    prove_providers(spec.device, actual)
    on_gpu = gpu is not None and actual[0] != CPU
    facts = {**describe_gpu(gpu or 0), **_libraries(), "address": str(gpu)} if on_gpu else {}
    return Session(
        _sessions={counts[0]: session},
        _build=lambda content, threads: _build(_prove(content, sha256), spec, asked, threads),
        threads=counts,
        providers=actual,
        build_s=time.perf_counter() - started,
        gpu=facts,
    )


def _build(model_bytes: bytes, spec: SessionSpec, providers: list[tuple[str, dict[str, str]]], threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = spec.arena
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[spec.optimization])
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(model_bytes, sess_options=options, providers=providers)
    except Exception as error:  # see run()
        reason = " ".join(str(error).split())[:_ERROR_CHARACTERS]
        raise ModelError(f"model: ONNX Runtime could not load it on a worker: {reason}") from error


def _find_gpu(spec: SessionSpec, address: int | None) -> int | None:
    """The GPU that this process may use: the one that Spark gave the task, or a free place on one that it sees."""
    if address is not None:
        return address
    count = visible_devices(os.environ)
    found = take_slot(count, spec.sessions_per_device) if count else None
    if count and found is None and spec.device != "auto":
        raise ScoringError(
            f"scoring.device: expected a free place on a GPU for every worker; found {count} of them with "
            f"{spec.sessions_per_device} taken on each. Give the job fewer cores (engine.master: "
            f"local[{count * spec.sessions_per_device}]), or raise scoring.gpu.sessions_per_device."
        )
    return found


def _libraries() -> dict[str, str]:
    """What the GPU build of ONNX Runtime was built for."""
    names = ("cuda_version", "cudnn_version")
    known = {name: str(getattr(onnxruntime, name, "")) for name in names}
    return {"build": str(onnxruntime.get_build_info()), **{name: text for name, text in known.items() if text}}
