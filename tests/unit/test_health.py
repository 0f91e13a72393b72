"""What doctor checks, on machines made up for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from batchscore.errors import RegistryError
from batchscore.health.checks import Check, Health, attempt
from batchscore.health.clocks import compare_clocks, python_offset
from batchscore.health.gpu import judge_gpu
from batchscore.health.machine import check_comet, check_jars, check_machine, check_onnxruntime, check_packages
from batchscore.health.workers import compare_workers
from batchscore.jvm import JARS_VARIABLE

OWN = {
    "executable": "/d/python",
    "host": "here",
    "python": "3.11",
    "pyarrow": "25",
    "onnxruntime": "1.32",
    "batchscore": "1",
}
WORKER = {**OWN, "executable": "/w/python", "host": "there"}
REQUIREMENTS = ["pyspark<4.2,>=4.1", "click>=8.1", "tzdata", "onnxruntime>=1.20; extra == 'cpu'"]
RIGHT = {"pyspark": "4.1.4", "click": "8.2", "tzdata": "2025.1"}


@pytest.mark.parametrize(
    ("installed", "wanted"),
    [
        (RIGHT, [("packages", "OK", "3 of 3 as required: pyspark 4.1.4")]),
        (
            {**RIGHT, "pyspark": "4.2.0"},
            [
                ("package", "FAIL", "expected pyspark<4.2,>=4.1; found 4.2.0. Run: pip install 'pyspark<4.2,>=4.1'"),
                ("packages", "OK", "2 of 3 as required: "),
            ],
        ),
        (
            {"pyspark": "4.1.4", "tzdata": "1"},
            [
                ("package", "FAIL", "expected click>=8.1; it is not installed. Run: pip install 'click>=8.1'"),
                ("packages", "OK", "2 of 3 as required: pyspark 4.1.4"),
            ],
        ),
    ],
)
def test_packages(installed: Mapping[str, str], wanted: list[tuple[str, str, str]]) -> None:
    assert list(check_packages(REQUIREMENTS, installed.get)) == [Check(*line) for line in wanted]


@pytest.mark.parametrize(
    ("installed", "statuses", "text"),
    [
        ({}, ["FAIL"], "pip install 'batchscore[cpu]'"),
        ({"onnxruntime": "1.32"}, ["OK"], "CPUExecutionProvider"),
        ({"onnxruntime": "1.32", "onnxruntime-gpu": "1.32"}, ["WARN", "OK"], "overwrite each other's files"),
    ],
)
def test_onnxruntime(installed: Mapping[str, str], statuses: list[str], text: str) -> None:
    found = list(check_onnxruntime(installed.get))
    assert [check.status for check in found] == statuses
    assert text in found[0].found


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({}, "OK", "/w/python on there: python 3.11, pyarrow 25, onnxruntime 1.32, batchscore 1"),
        ({"python": "3.12"}, "FAIL", "python 3.12 (driver: 3.11). Install batchscore[cpu] there"),
        ({"onnxruntime": None}, "FAIL", "onnxruntime not installed (driver: 1.32)"),
        ({"batchscore": None, "pyarrow": None}, "FAIL", "pyarrow not installed (driver: 25), batchscore not installed"),
        ({"onnxruntime": "1.30"}, "WARN", "onnxruntime 1.30 (driver: 1.32). Install the same versions there."),
    ],
)
def test_workers(changes: dict[str, str | None], status: str, text: str) -> None:
    (check,) = compare_workers(OWN, [{**WORKER, **changes}])
    assert (check.name, check.status) == ("workers", status)
    assert text in check.found


def test_jars_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JARS_VARIABLE, str(tmp_path))
    check = check_jars(fetch=False)
    assert check.status == "WARN"
    assert f"expected them in {tmp_path}; found none" in check.found and "doctor --fetch" in check.found


def test_comet_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JARS_VARIABLE, str(tmp_path))
    assert check_comet().found == "none; `engine.accelerator: comet` alone needs it, and fetches it"
    jar = tmp_path / "org.apache.datafusion_comet-spark-spark4.1_2.13-1.2.0.jar"
    jar.touch()
    assert check_comet() == Check("comet jar", "OK", f"{jar.name}, in {tmp_path}")


def test_a_machine_without_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    java = next(check for check in check_machine() if check.name == "java")
    assert java.status == "FAIL"
    assert "expected version 17 or 21; found none. Install a JDK 17 or 21" in java.found


def test_an_attempt_retells_what_fails() -> None:
    def fail() -> str:
        raise RegistryError("registry x: expected an answer; found none. Check it.")

    assert attempt("registry", fail) == Check(
        "registry", "FAIL", "registry x: expected an answer; found none. Check it."
    )
    assert attempt("registry", lambda: "fine") == Check("registry", "OK", "fine")


def test_a_sheet_has_a_line_for_each_check() -> None:
    health = Health(
        (Check("java", "OK", "version 17"), Check("delta jars", "WARN", "none"), Check("registry", "FAIL", "no"))
    )
    assert str(health).splitlines() == [
        "doctor · 1 OK, 1 WARN, 1 FAIL",
        "  OK    java        version 17",
        "  WARN  delta jars  none",
        "  FAIL  registry    no",
    ]
    assert health.failed
    assert not Health((Check("java", "WARN", "old"),)).failed


L4 = "GPU 0: NVIDIA L4 (UUID: GPU-1)\nGPU 1: NVIDIA L4 (UUID: GPU-2)\n"
DRIVER = "| NVIDIA-SMI 550.54   Driver Version: 550.54   CUDA Version: 12.4 |"
GPUS = [  # device, what nvidia-smi says, CUDA of ONNX Runtime's build, whether workers are here; verdict and words
    ("auto", None, None, True, "OK", "none"),
    ("cuda", None, "12.8", True, "FAIL", "expected cuda; this machine shows no NVIDIA GPU"),
    ("cuda", None, None, False, "OK", "none here; executors have their own"),
    ("cpu", DRIVER, None, True, "OK", "2: NVIDIA L4; this ONNX Runtime computes on CPUs alone"),
    ("auto", DRIVER, None, True, "WARN", r"Run: pip uninstall onnxruntime; pip install 'batchscore\[gpu\]'"),
    ("tensorrt", DRIVER, None, True, "FAIL", "this ONNX Runtime computes on CPUs alone"),
    ("cuda", DRIVER, "12.8", True, "OK", "its driver takes CUDA up to 12.4, ONNX Runtime was built for 12.8"),
    ("cuda", DRIVER, "13.0", True, "FAIL", "expected a driver for CUDA 13.0, .* found one for 12.4. Update the driver"),
    ("auto", DRIVER, "13.0", True, "WARN", "found one for 12.4"),
    ("cuda", "no table", "12.8", True, "WARN", "expected nvidia-smi to name the driver's CUDA"),
]


@pytest.mark.parametrize(("device", "table", "cuda", "local", "status", "words"), GPUS)
def test_gpu(device: str, table: str | None, cuda: str | None, local: bool, status: str, words: str) -> None:
    found = judge_gpu(device, L4 if table else None, table, cuda, local=local)
    assert found.status == status
    assert re.search(words, found.found)


def test_clocks_that_agree_and_clocks_that_do_not() -> None:
    zone = "America/New_York"
    right = python_offset(zone)
    assert compare_clocks(zone, right, right, 2030).status == "OK"

    def old(instant: datetime) -> int:  # before 2007 the country went to daylight time in April
        return right(instant) - 3600 if instant.year >= 2027 and instant.month == 3 else right(instant)

    def always_standard(instant: datetime) -> int:
        return -5 * 3600 if instant.year >= 2024 else right(instant)

    assert compare_clocks(zone, right, old, 2027).status == "OK"
    found = compare_clocks(zone, right, always_standard, 2030)
    assert found.status == "FAIL"
    assert "they differ in 47 months, first in 2024-04" in found.found
