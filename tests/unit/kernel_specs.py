"""A kernel's spec that asks for nothing but scores, for tests to add to."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa

from batchscore.kernel.batch import stage_schema
from batchscore.kernel.spec import KernelSpec, ModelSpec, ScoresSpec, SessionSpec


def make_kernel_spec(model: bytes, fields: list[pa.Field], **changes: Any) -> KernelSpec:
    """Keys `id`; no rules and tallies; `features`, and `inputs` and `outputs` of the model, are among `changes`."""
    sha256 = hashlib.sha256(model).hexdigest()
    parts = {name: changes.pop(name) for name in ("inputs", "outputs", "batch") if name in changes}
    values: dict[str, Any] = {
        "keys": ("id",),
        "passthrough": (),
        "rules": (),
        "tallies": (),
        "on_bad_score": "quarantine",
        "batch_rows": 0,
        "max_failed_rows": 100,
        "session": SessionSpec(device="cpu"),
        "scores": ScoresSpec(models=(ModelSpec(sha256=sha256, label="m/1", **parts),)),
        "raw": False,
        "duplicates": False,
        "failed": False,
        "doubled": False,
        "schema": stage_schema(fields, None).serialize().to_pybytes(),
    }
    return KernelSpec(**{**values, **changes})


def by_digest(*models: bytes) -> dict[str, bytes]:
    """Models by their digests, as `score_rows` takes them."""
    return {hashlib.sha256(model).hexdigest(): model for model in models}
