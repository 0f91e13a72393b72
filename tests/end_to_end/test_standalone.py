"""The flights job on a standalone cluster of processes, by the very line that `submit-cmd` prints."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from documents import REPOSITORY, find_blocks
from flights_oracle import DEMO_DAY
from processes import BATCHSCORE, clean_environment, run_process

SPARK_CLASS = str(Path(pyspark.__path__[0]) / "bin" / "spark-class")
MASTER, WORKER = "org.apache.spark.deploy.master.Master", "org.apache.spark.deploy.worker.Worker"
PATIENCE_S = 60


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_for(log: Path, text: str, times: int = 1) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(re.findall(text, log.read_text())) < times:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A master and two workers, each a process; its URL."""
    folder = tmp_path_factory.mktemp("cluster")
    port = free_port()
    url = f"spark://127.0.0.1:{port}"
    here = ["--host", "127.0.0.1", "--port"]
    commands = [[MASTER, *here, str(port), "--webui-port", str(free_port())]]
    for name in ("one", "two"):
        ports = [*here, str(free_port()), "--webui-port", str(free_port())]
        commands.append([WORKER, *ports, "--cores", "1", "--memory", "1500m", "--work-dir", str(folder / name), url])
    started = []
    try:
        for number, command in enumerate(commands):
            log = folder / f"{number}.log"
            with log.open("w") as opened:
                environment = clean_environment(SPARK_DAEMON_MEMORY="256m")
                process = subprocess.Popen(
                    [SPARK_CLASS, *command], cwd=folder, env=environment, stdout=opened, stderr=subprocess.STDOUT
                )
                started.append(process)
            if number == 0:
                wait_for(log, "I have been elected leader")
        wait_for(folder / "0.log", "Registering worker", 2)
        yield url
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def submit(demo_folder: Path, folder: Path, cluster: str, *options: str) -> dict[str, object]:
    """Print the line for one day into a table of its own, run it, and give the record that it prints."""
    job = folder / "demo"
    shutil.copytree(demo_folder, job)
    asked = ["submit-cmd", str(job / "flights.yaml"), "--target", "standalone", "--master", cluster, *options]
    asked += ["--interval", DEMO_DAY, "--set", "output.scores=tables/by_cluster"]
    printed = run_process([*BATCHSCORE, *asked], folder=REPOSITORY)
    assert printed.returncode == 0, printed.stderr
    done = run_process([*shlex.split(printed.stdout), "--json"], folder=REPOSITORY)
    assert done.returncode == 0, done.stdout + done.stderr
    record: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    assert record["status"] == "published"
    assert record["counts"] == {"read": 965, "scored": 964, "quarantined": 1}
    return record


@pytest.mark.slow  # four JVMs
def test_the_line_that_is_printed_runs_the_flights(demo_folder: Path, tmp_path: Path, cluster: str) -> None:
    record = submit(demo_folder, tmp_path, cluster)
    assert record["runtime"]["workers"]  # type: ignore[index]


@pytest.mark.slow  # four JVMs
def test_comet_computes_features_on_executors(demo_folder: Path, tmp_path: Path, cluster: str) -> None:
    less = {"spark.memory.offHeap.size": '"256m"', "spark.executor.memory": "700m"}  # beside each other on a worker
    wish = [
        "--set",
        "engine.accelerator=comet",
        *(x for k, v in less.items() for x in ("--set", f"engine.conf.{k}={v}")),
    ]
    record = submit(demo_folder, tmp_path, cluster, *wish)
    assert record["scan"]["by"] == "comet"  # type: ignore[index]
    assert any(name.startswith("CometProject") for name in record["scan"]["comet"]["operators"])  # type: ignore[index]
    assert record["runtime"]["workers"]  # type: ignore[index]


@pytest.mark.slow  # packs an environment
def test_executors_take_their_packages_from_a_pex(demo_folder: Path, tmp_path: Path, cluster: str) -> None:
    """By the commands that the document shows, in a copy of the repository."""
    (block,) = find_blocks("sh")
    sources = tmp_path / "sources"
    kept = ("batchscore", "setup.cfg", "pyproject.toml", "README.md", "constraints.txt")
    sources.mkdir()
    for name in kept:
        path = REPOSITORY / name
        copy = shutil.copytree if path.is_dir() else shutil.copy2
        copy(path, sources / name)
    tool = tmp_path / "tool"
    subprocess.run([sys.executable, "-m", "venv", str(tool)], check=True)
    environment = clean_environment()
    environment["PATH"] = f"{tool / 'bin'}:{environment['PATH']}"
    for line in block.text.replace("\\\n", "").splitlines():
        done = run_process(shlex.split(line), folder=sources, environment=environment)
        assert done.returncode == 0, done.stderr
    pex = sources / "executors.pex"
    record = submit(demo_folder, tmp_path, cluster, "--env", str(pex))
    assert record["runtime"]["workers"]  # type: ignore[index]
