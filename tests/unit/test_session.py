"""What a session needs of the machine, and the sentences where it lacks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchscore.config import EngineConfig
from batchscore.errors import SetupError
from batchscore.jvm import check_java, find_comet, find_jars, jars_folder, submit_options
from batchscore.session import _collector, open_session


def fake_java(folder: Path, text: str) -> str:
    """A JAVA_HOME whose java prints a version."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
    program.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_402"', "Java: expected version 17 or 21; found 1 at"),
        ('openjdk version "25.0.1"', "found 25 at .* Install a JDK 17 or 21"),
        ("nonsense", "found an unknown one"),
    ],
)
def test_java_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: int | str) -> None:
    monkeypatch.setenv("JAVA_HOME", fake_java(tmp_path / "jdk", text))
    if isinstance(expected, int):
        assert check_java() == expected
    else:
        with pytest.raises(SetupError, match=expected):
            check_java()


def test_no_java_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"found none\. Install a JDK 17 or 21 .* and set JAVA_HOME"):
        check_java()


def test_spark_connect_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_REMOTE", "sc://localhost")
    with pytest.raises(SetupError, match="a Spark Connect session has no broadcast variables"):
        open_session(EngineConfig(), "UTC")


def test_jars_are_found_only_when_all_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHSCORE_JARS", str(tmp_path))
    assert find_jars() == [] and submit_options(delta=True, comet=False).startswith(
        "--packages io.delta:delta-spark_4.1_2.13:"
    )
    names = ["io.delta_delta-spark_4.1_2.13-4.4.0.jar", "io.delta_delta-storage-4.4.0.jar"]
    names += ["io.unitycatalog_unitycatalog-client-0.6.0.jar", "io.unitycatalog_unitycatalog-hadoop-0.6.0.jar"]
    for name in names[:-1]:
        (tmp_path / name).touch()
    assert find_jars() == []
    (tmp_path / names[-1]).touch()
    assert [jar.name for jar in find_jars()] == names
    assert submit_options(delta=True, comet=False) == f"--jars {','.join(str(tmp_path / name) for name in names)}"


def test_the_jars_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BATCHSCORE_JARS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert jars_folder() == tmp_path / "batchscore" / "jars" / "delta-4.4.0"


def test_spark_submit_is_told_of_comet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHSCORE_JARS", str(tmp_path))
    package = "--packages org.apache.datafusion:comet-spark-spark4.1_2.13:1.2.0"
    assert (find_comet(), submit_options(delta=False, comet=True)) == ([], package)
    jar = tmp_path / "org.apache.datafusion_comet-spark-spark4.1_2.13-1.2.0.jar"
    jar.touch()
    paths = f"--driver-class-path {jar} --conf spark.executor.extraClassPath={jar}"
    assert submit_options(delta=False, comet=True) == f"--jars {jar} {paths}"
    assert submit_options(delta=False, comet=False) == ""


@pytest.mark.parametrize(
    ("told", "expected"),
    [("", "-XX:+UseParallelGC "), ("-Xss4m", "-XX:+UseParallelGC "), ("-Xss4m -XX:+UseZGC", "")],
)
def test_java_is_told_of_one_collector_alone(told: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", told)
    assert _collector() == expected
