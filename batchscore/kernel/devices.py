"""Devices: which ONNX Runtime providers a session asks for, and proof of what it got."""

from __future__ import annotations

from collections.abc import Sequence

from batchscore.errors import ScoringError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

_WANTED = {"cpu": (CPU,), "cuda": (CUDA, CPU), "tensorrt": (TENSORRT, CUDA, CPU)}
_FIRST = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}


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


def prove_providers(device: str, actual: Sequence[str]) -> None:
    """Check that the session runs where it was asked to; a CUDA session falls back to the CPU without an error.

    Raises:
        ScoringError: The session's first provider is not the named device.
    """
    if device != "auto" and (not actual or actual[0] != _FIRST[device]):
        raise ScoringError(_message(device, f"the session runs on {', '.join(actual) or 'nothing'}"))


def _message(device: str, found: str) -> str:
    return (
        f"scoring.device: expected {device}; found: {found}. Install the 'gpu' extra on a machine with a matching "
        "driver, or set `device: auto` or `device: cpu`."
    )
