"""ONNX Runtime as it looks where there are GPUs: the real one on the CPU, under the names of CUDA's provider.

Lies before the real package on the workers' path, and puts itself in its place. `FAKE_GPU_FALLS_BACK` has sessions
fall back to the CPU without an error, as ONNX Runtime does where a driver or a library is missing.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

_HERE = str(Path(__file__).resolve().parents[1])
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def _find_real() -> Any:
    del sys.modules["onnxruntime"]
    before = list(sys.path)
    sys.path[:] = [path for path in before if str(Path(path).resolve()) != _HERE]
    try:
        return importlib.import_module("onnxruntime")
    finally:
        sys.path[:] = before


_real = _find_real()


class _Session:
    def __init__(self, model: bytes, sess_options: Any, providers: list[tuple[str, dict[str, str]]]) -> None:
        options = dict(providers)
        falls_back = _CUDA not in options or "FAKE_GPU_FALLS_BACK" in os.environ
        self._providers = [_CPU] if falls_back else list(options)
        self._session = _Inference(model, sess_options=sess_options, providers=[_CPU])
        if not falls_back:
            _real.cuda_version = f"fake, device_id {options[_CUDA]['device_id']}"

    def get_providers(self) -> list[str]:
        return self._providers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


_Inference = _real.InferenceSession
_real.InferenceSession = _Session
_real.get_available_providers = lambda: [_CUDA, _CPU]
