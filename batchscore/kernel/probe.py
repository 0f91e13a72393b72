"""First load of a model, in a process of its own with limits on time and memory.

The driver runs this file's text with `python -I -c`: it imports nothing of the package. ONNX bytes come over stdin;
one JSON document goes to stdout: `inputs` and `outputs`, or `error`, or `missing` where ONNX Runtime is not installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
from typing import Any


def main(sha256: str, cpu_s: int, memory_bytes: int, paths: list[str]) -> None:
    """Load the model on stdin and write its inputs and outputs, or what went wrong, to stdout.

    Args:
        sha256: Digest that the bytes must have.
        cpu_s: Seconds of processor time before the process is killed.
        memory_bytes: Address space it may use.
        paths: Where to import ONNX Runtime from: the driver's `sys.path`.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # loading a model has no reason to write a file
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    sys.path[:] = paths
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the native library's own chatter must not mix with the answer
    try:
        outcome = load(sys.stdin.buffer.read(), sha256)
    except MemoryError:
        outcome = {"error": "it needs more memory than the limit"}
    with answer:
        json.dump(outcome, answer)


def load(content: bytes, sha256: str) -> dict[str, Any]:
    """What the model takes and gives, by ONNX Runtime's own account."""
    if hashlib.sha256(content).hexdigest() != sha256:
        return {"error": "the bytes changed on their way into the process that loads them"}
    try:
        import onnxruntime  # noqa: PLC0415 - only after the limits are set
    except ImportError as error:
        return {"missing": str(error)}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:  # ONNX Runtime raises classes of its own C extension
        return {"error": str(error)}
    return {"inputs": _describe(session.get_inputs()), "outputs": _describe(session.get_outputs())}


def _describe(tensors: Any) -> list[dict[str, Any]]:
    return [
        {
            "name": tensor.name,
            "dtype": tensor.type,
            "shape": [size if isinstance(size, int) and size >= 0 else None for size in tensor.shape or []],
        }
        for tensor in tensors
    ]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
