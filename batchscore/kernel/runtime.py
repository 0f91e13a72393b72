"""ONNX Runtime sessions: one per worker process and model, kept between tasks, built from proven bytes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime

from batchscore.errors import ModelError
from batchscore.kernel.devices import choose_providers, prove_providers

_ERROR_CHARACTERS = 300
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
    """One ONNX Runtime session and what it really runs on.

    Attributes:
        providers: Execution providers, best first, as the session reports them.
        build_s: Seconds that building it took.
    """

    _session: Any
    providers: tuple[str, ...]
    build_s: float

    def run(self, outputs: Sequence[str], feeds: Mapping[str, np.ndarray]) -> list[Any] | Refusal:
        """Score one batch.

        Args:
            outputs: Tensor names to compute.
            feeds: Input name to array, n rows each.

        Returns:
            One array for each name, or what ONNX Runtime says against the batch.
        """
        try:
            result: list[Any] = self._session.run(list(outputs), dict(feeds))
        except Exception as error:  # ONNX Runtime raises classes of its own C extension
            return Refusal(" ".join(str(error).split())[:_ERROR_CHARACTERS] or type(error).__name__)
        return result


_SESSIONS: dict[tuple[str, str], Session] = {}


def get_session(model_sha256: str, device: str, load_bytes: Callable[[], bytes]) -> tuple[Session, bool]:
    """This worker's session for a model, built on first use.

    Args:
        model_sha256: Digest that the bytes must have.
        device: `auto`, `cpu`, `cuda` or `tensorrt`.
        load_bytes: Gives the model's bytes; called only when a session must be built.

    Returns:
        The session, and whether this call built it.

    Raises:
        ModelError: The bytes changed since they were pinned, or will not load.
        ScoringError: The session does not run on the device asked for.
    """
    key = (model_sha256, device)
    if key in _SESSIONS:
        return _SESSIONS[key], False
    model_bytes = load_bytes()
    found = hashlib.sha256(model_bytes).hexdigest()
    if found != model_sha256:
        raise ModelError(
            f"model: expected bytes with sha256 {model_sha256[:16]}…; found {found[:16]}… on this worker. "
            "They changed between pin and scoring; nothing was scored. Run again, and check the storage if it recurs."
        )
    session = _build(model_bytes, device)
    _SESSIONS[key] = session
    return session, True


def runtime_version() -> str:
    """Version of ONNX Runtime in this process."""
    return str(onnxruntime.__version__)


def available_providers() -> list[str]:
    """What this build of ONNX Runtime can compute on, best first."""
    return [str(provider) for provider in onnxruntime.get_available_providers()]


def _build(model_bytes: bytes, device: str) -> Session:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # one task slot, one thread
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    providers = choose_providers(device, onnxruntime.get_available_providers())
    started = time.perf_counter()
    try:
        session = onnxruntime.InferenceSession(model_bytes, sess_options=options, providers=providers)
    except Exception as error:  # see run()
        reason = " ".join(str(error).split())[:_ERROR_CHARACTERS]
        raise ModelError(f"model: ONNX Runtime could not load it on a worker: {reason}") from error
    actual = tuple(session.get_providers())
    prove_providers(device, actual)
    return Session(session, actual, time.perf_counter() - started)
