"""Loads a model for the first time in a child process, so that a hostile one takes down nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from batchscore.errors import ModelError, SetupError
from batchscore.records import TensorSpec

CPU_S = 30
WALL_S = 90.0
MEMORY_BYTES = 4 << 30

_MEMORY_PER_MODEL_BYTE = 6  # the bytes, the parsed graph, the optimised graph, and room to turn around
_REASON_CHARACTERS = 300
_KEPT_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LANG", "SYSTEMROOT")  # no credentials


def probe_model(
    content: bytes,
    sha256: str,
    where: str,
    *,
    cpu_s: int = CPU_S,
    wall_s: float = WALL_S,
    memory_bytes: int = MEMORY_BYTES,
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The model's inputs and outputs, as ONNX Runtime reports them after loading it.

    Args:
        content: Self-contained ONNX bytes.
        sha256: Their digest; the child checks it.
        where: How messages name the model.
        cpu_s: Seconds of processor time that loading may take.
        wall_s: Seconds that it may take in all.
        memory_bytes: Address space for the runtime itself; the model gets some times its own length on top.

    Raises:
        ModelError: ONNX Runtime refuses the model, crashes on it, or needs more time or memory than the limits.
        SetupError: ONNX Runtime is not installed.
    """
    memory_bytes += _MEMORY_PER_MODEL_BYTE * len(content)
    paths = [path for path in sys.path if Path(path).is_absolute()]
    script = resources.files("batchscore.kernel").joinpath("probe.py").read_text(encoding="utf-8")
    command = [sys.executable, "-I", "-c", script, sha256, str(cpu_s), str(memory_bytes), json.dumps(paths)]
    environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each thread would reserve address space
    with tempfile.TemporaryDirectory(prefix="batchscore-probe-") as empty:
        try:
            child = subprocess.run(  # noqa: S603 - our own interpreter and script, no shell
                command, input=content, capture_output=True, timeout=wall_s, cwd=empty, env=environment, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{where}: expected it to load within {wall_s:g} s; it was still loading.") from error
    answer = _answer(child, where, cpu_s, memory_bytes)
    return read_tensors(answer["inputs"]), read_tensors(answer["outputs"])


def _answer(child: subprocess.CompletedProcess[bytes], where: str, cpu_s: int, memory_bytes: int) -> dict[str, Any]:
    if -child.returncode in (signal.SIGXCPU, signal.SIGKILL):
        raise ModelError(
            f"{where}: expected it to load within {cpu_s} s of processor time and {memory_bytes >> 30} GiB; it was "
            "stopped. Simplify the graph (nested If and Loop cost most), or export it again."
        )
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise ModelError(f"{where}: ONNX Runtime crashed while it loaded the model ({name}). Export it again.")
    try:
        answer: dict[str, Any] = json.loads(child.stdout)
    except ValueError as error:
        reason = _short(child.stderr.decode("utf-8", "replace"))
        raise ModelError(f"{where}: the process that loads the model ended without an answer: {reason}") from error
    if "missing" in answer:
        raise SetupError(
            f"{where}: expected ONNX Runtime; it cannot be imported ({_short(answer['missing'])}). "
            "Install batchscore[cpu] or batchscore[gpu]."
        )
    if "error" in answer:
        raise ModelError(
            f"{where}: it cannot be loaded: {_short(answer['error'])}. "
            "Export the model again, for the operator sets that this ONNX Runtime knows."
        )
    return answer


def _short(reason: str) -> str:
    # The last part of a traceback says most; of ONNX Runtime's own messages, the first.
    text = " ".join(reason.split()).rstrip(".")
    if len(text) <= _REASON_CHARACTERS:
        return text
    return f"…{text[-_REASON_CHARACTERS:]}" if text.startswith("Traceback") else f"{text[:_REASON_CHARACTERS]}…"


def read_tensors(described: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    """Inputs or outputs as the child process describes them."""
    return tuple(TensorSpec(name=t["name"], dtype=t["dtype"], shape=tuple(t["shape"])) for t in described)
