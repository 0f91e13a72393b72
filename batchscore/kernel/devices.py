"""Devices: which ONNX Runtime providers a session asks for, with which options, and proof of what it got."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from batchscore.errors import ScoringError
from batchscore.kernel.spec import SessionSpec

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

_WANTED = {"cpu": (CPU,), "cuda": (CUDA, CPU), "tensorrt": (TENSORRT, CUDA, CPU)}
_FIRST = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}
_FACTS = ("name", "uuid", "driver_version", "memory.total")
_TIMEOUT_S = 10


def device_of(providers: Sequence[str]) -> str:
    """The device that a session with these providers, best first, runs on; the provider's own name for others."""
    first = providers[0] if providers else "none"
    return next((device for device, provider in _FIRST.items() if provider == first), first)


def choose_providers(device: str, available: Sequence[str]) -> list[str]:
    """The providers to ask for, best first.

    Args:
        device: `auto`, `cpu`, `cuda` or `tensorrt`; `auto` takes CUDA where this build of ONNX Runtime has it.
        available: What this build of ONNX Runtime offers.

    Raises:
        ScoringError: The named device is not offered by this build.
    """
    if device == "auto":
        return [p for p in (CUDA, CPU) if p in available]
    first = _FIRST[device]
    if first not in available:
        raise ScoringError(_message(device, f"this ONNX Runtime offers only {', '.join(available)}"))
    return [p for p in _WANTED[device] if p in available]


def provider_options(provider: str, spec: SessionSpec, address: int) -> dict[str, str]:
    """What a provider is told; source: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html.

    Args:
        provider: ONNX Runtime's name of it.
        spec: How ONNX Runtime is set up.
        address: Index of the GPU among those that this process sees.
    """
    if provider == CUDA:
        options = {"device_id": str(address), "use_tf32": str(int(spec.tf32))}
        if spec.gpu_memory_bytes:  # the arena would else grow in doubles, past what was asked for
            options |= {"gpu_mem_limit": str(spec.gpu_memory_bytes), "arena_extend_strategy": "kSameAsRequested"}
        return options
    if provider == TENSORRT:
        options = {"device_id": str(address), "trt_fp16_enable": str(int(spec.fp16))}
        if spec.engine_cache:
            make_private(Path(spec.engine_cache), "scoring.gpu.engine_cache")
            options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": spec.engine_cache}
        return options
    return {}


def make_private(folder: Path, where: str) -> None:
    """Make a folder for this user alone, and refuse one that others may write to.

    Args:
        folder: The folder.
        where: How messages name it.

    Raises:
        ScoringError: It belongs to somebody else, or others may write to it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ScoringError(
            f"{where}: expected a folder that only the workers' user may write to; found one that belongs to or is "
            "open to others. What lies in it is trusted: make it private (chmod 700), or name another."
        )


def prove_providers(device: str, actual: Sequence[str]) -> None:
    """Check that the session runs where it was asked to; a CUDA session falls back to the CPU without an error.

    Raises:
        ScoringError: The session's first provider is not the named device.
    """
    if device != "auto" and (not actual or actual[0] != _FIRST[device]):
        raise ScoringError(_message(device, f"the session runs on {', '.join(actual) or 'nothing'}"))


def visible_devices(environment: Mapping[str, str], listed: Path = Path("/proc/driver/nvidia/gpus")) -> int:
    """How many GPUs this process sees, where Spark does not say.

    Args:
        environment: The process's environment: `CUDA_VISIBLE_DEVICES` counts, if it is set.
        listed: Where the driver lists the machine's GPUs.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        return next((i for i, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
    return len(list(listed.iterdir())) if listed.is_dir() else 0


def describe_gpu(address: int) -> dict[str, str]:
    """Name, id, driver and memory of a GPU, as `nvidia-smi` gives them; empty where it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    query = [program, f"--id={address}", f"--query-gpu={','.join(_FACTS)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return {}
    values = [value.strip() for value in done.stdout.strip().split(",")]
    return dict(zip(_FACTS, values, strict=True)) if done.returncode == 0 and len(values) == len(_FACTS) else {}


def _message(device: str, found: str) -> str:
    return (
        f"scoring.device: expected {device}; found: {found}. Install the 'gpu' extra on a machine with a matching "
        "driver, or set `device: auto` or `device: cpu`."
    )
