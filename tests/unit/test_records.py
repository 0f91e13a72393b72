"""Run records as people read them."""

from __future__ import annotations

from typing import Any

import pytest

from batchscore.records import RunRecord

RUNTIME = {"workers": {"h:1": {}}, "onnxruntime": ["1.32.0"], "providers": {"CPUExecutionProvider": 2}, "spark_jobs": 9}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"devices": {"cpu": 1.0}}, "cpu 100 %, ONNX Runtime 1.32.0, 1 worker, 9 Spark jobs"),
        ({"devices": {"cpu": 0.125, "cuda": 0.875}}, "cpu 12.5 %, cuda 87.5 %, ONNX Runtime 1.32.0, 1 worker, 9"),
        ({"devices": {}}, "no rows scored, ONNX Runtime"),
        ({"workers": ["h:1", "h:2"]}, "CPUExecutionProvider, ONNX Runtime 1.32.0, 2 workers"),  # an older record
    ],
)
def test_the_runtime_line_says_what_computed(changes: dict[str, Any], line: str) -> None:
    names = "kind status job interval interval_label run_id run_key config_sha256 started_at ended_at user host command"
    texts: dict[str, Any] = dict.fromkeys([*names.split(), "code_version"], "x")
    assert line in str(RunRecord(**texts, generation=1, runtime={**RUNTIME, **changes}))
