"""The GPU: whether there is one, and whether its driver takes the CUDA that ONNX Runtime was built for."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess

from batchscore.health.checks import Check, Status

_TIMEOUT_S = 20
_CUDA = re.compile(r"CUDA Version: (\d+)\.(\d+)")
_NAME = re.compile(r"^GPU \d+: (.+?) \(UUID", re.MULTILINE)
_GET = "pip uninstall onnxruntime; pip install 'batchscore[gpu]'"


def check_gpu(device: str, *, local: bool = True) -> Check:
    """Look at this machine's GPU.

    Args:
        device: The job's `scoring.device`; `auto` without a job.
        local: Whether the workers are on this machine.
    """
    return judge_gpu(device, read_nvidia("-L"), read_nvidia(), built_for(), local=local)


def judge_gpu(device: str, names: str | None, table: str | None, cuda: str | None, *, local: bool = True) -> Check:
    """A verdict on a GPU and on ONNX Runtime's build.

    A driver takes programs of its own CUDA's major version, whatever the minor, and of older ones.
    Source: https://docs.nvidia.com/deploy/cuda-compatibility/.

    Args:
        device: The job's `scoring.device`.
        names: What `nvidia-smi -L` prints; None where there is no such program, or it fails.
        table: What `nvidia-smi` prints.
        cuda: The CUDA version that ONNX Runtime was built for; None for a CPU build.
        local: Whether the workers are on this machine.
    """
    wanted = device in ("cuda", "tensorrt")
    found = _NAME.findall(names or "")
    if not found:
        if wanted and local:
            return Check("gpu", "FAIL", f"scoring.device: expected {device}; this machine shows no NVIDIA GPU.")
        return Check("gpu", "OK", "none here; executors have their own" if wanted else "none")
    shown = f"{len(found)}: {', '.join(sorted(set(found)))}"
    if cuda is None:
        status: Status = "FAIL" if wanted else "OK" if device == "cpu" else "WARN"
        text = f"{shown}; this ONNX Runtime computes on CPUs alone"
        return Check("gpu", status, text if device == "cpu" else f"{text}. Run: {_GET}")
    driver = _CUDA.search(table or "")
    if driver is None:
        return Check("gpu", "WARN", f"{shown}; expected nvidia-smi to name the driver's CUDA; it does not.")
    takes = f"{driver[1]}.{driver[2]}"
    if int(driver[1]) < int(cuda.split(".")[0]):
        status = "FAIL" if wanted else "WARN"
        text = f"expected a driver for CUDA {cuda}, which ONNX Runtime was built for; found one for {takes}"
        return Check("gpu", status, f"{shown}; {text}. Update the driver, or install another onnxruntime-gpu.")
    return Check("gpu", "OK", f"{shown}; its driver takes CUDA up to {takes}, ONNX Runtime was built for {cuda}")


def read_nvidia(*arguments: str) -> str | None:
    """What `nvidia-smi` prints; None where there is no such program, or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program and fixed words
            [program, *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def built_for() -> str | None:
    """The CUDA version that the installed ONNX Runtime was built for; None for a CPU build, or none at all."""
    try:
        module = importlib.import_module("onnxruntime.capi.build_and_package_info")
    except ImportError:
        return None
    version = getattr(module, "cuda_version", None)
    return str(version) if version else None
