"""Secrets planted wherever a job takes one, and everything searched that batchscore writes or prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from servers import Server, serve
from small_job import SmallJob, expectation, make_small_job, row

from batchscore.cli import run_cli

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = "2013-10-01"
SECRETS = {
    "PLANTED_S3": "s3Xq7PlantedAlpha91",
    "PLANTED_AZURE": "azK4PlantedBravo/82+w==",
    "PLANTED_HOOK": "hookPlantedCharlie73",
    "PLANTED_LINEAGE": "linPlantedDelta64",
    "PLANTED_URI": "http://user:uriPlantedHotel28@127.0.0.1:1",
    "PLANTED_NAME": "namePlantedEcho55",  # of a setting whose key says nothing
}
IN_FILE = "filePlantedFoxtrot46"
TYPED = "typedPlantedGolf37"  # on a command line
ALL = {**SECRETS, "PLANTED_URI": "uriPlantedHotel28", "file": IN_FILE, "typed": TYPED}
CONF = {
    "spark.hadoop.fs.s3a.secret.key": "${env:PLANTED_S3}",
    "spark.hadoop.fs.azure.account.key.ours.example": "${env:PLANTED_AZURE}",
    "spark.hadoop.fs.s3a.session.token": "${file:token.txt}",
    "spark.hadoop.ours.plain.name": "${env:PLANTED_NAME}",
}


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as served:
        yield served


@pytest.fixture
def small(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> SmallJob:
    """A job with a secret in every section that takes one, and somebody to tell."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    small = make_small_job(spark, tmp_path, [row(id=i, text=None if i == 3 else "t") for i in range(6)])
    (tmp_path / "token.txt").write_text(IN_FILE)
    signals = {
        "reports": str(tmp_path / "reports"),
        "mlflow": {"experiment": "nightly"},
        "openlineage": {"url": server.address, "token": "${env:PLANTED_LINEAGE}"},
        "prometheus": {"file": str(tmp_path / "figures.prom")},
        "webhooks": [{"url": server.address + "/hook?key=${env:PLANTED_HOOK}", "on": ["failed", "held", "published"]}],
    }
    events = {"enabled": "true", "compress": "false", "dir": f"file://{tmp_path}/events"}
    engine = {"conf": {**CONF, **{f"spark.eventLog.{name}": value for name, value in events.items()}}}
    with Path(small.file).open("a") as job:
        job.write(f"signals: {json.dumps(signals)}\nengine: {json.dumps(engine)}\n")
    (tmp_path / "events").mkdir()
    return small


def found_in(text: str) -> set[str]:
    return {name for name, value in ALL.items() if value in text}


def files_with_secrets(folder: Path) -> dict[str, set[str]]:
    """Files under a folder in which a secret stands; Parquet is read, since it is compressed."""
    found = {}
    for file in folder.rglob("*"):
        if not file.is_file() or file.name == "token.txt" or file.suffix == ".crc":
            continue
        if file.suffix == ".parquet" and "_delta_log" not in file.parts:
            text = pq.read_table(file, partitioning=None).to_pandas().to_csv()
        else:
            text = file.read_bytes().decode(errors="replace")
        if found_in(text):
            found[str(file.relative_to(folder))] = found_in(text)
    return found


def calls(file: str) -> Iterator[tuple[list[str], int]]:
    """Commands that print as much as there is to print, with the exit codes that they should have."""
    typed = ["--set", f"registry.uri=postgresql://user:{TYPED}@127.0.0.1:1/db"]
    yield ["validate", file, "--show", "--json"], 0
    yield ["plan", file, "--interval", DAY], 0
    yield ["run", file, "--interval", DAY, "--json", "--log", "json"], 0
    yield ["run", file, "--interval", DAY, "--log", "json", "--verbose", *typed], 2
    unreachable = ["--set", "registry.uri=${env:PLANTED_URI}"]
    yield ["run", file, "--interval", DAY, "--force", "--log", "json", "--verbose", *unreachable], 8
    yield ["run", file, "--interval", "2013-10-02", "--verbose"], 3  # no rows
    yield ["show", file, "latest", "--json"], 0
    yield ["runs", file, "--json"], 0
    yield ["status", file, "--json"], 13
    yield ["report", file, "latest", "--out", f"{Path(file).parent}/page.html"], 0
    yield ["report", "--index", file, "--out", f"{Path(file).parent}/index.html"], 0
    yield ["audit", "export", file], 0
    yield ["explain-row", file, "--key", "id=1", "--json"], 0
    yield ["doctor", file, "--json"], 0
    for target in ("local", "yarn", "k8s", "airflow", "databricks"):
        yield ["submit-cmd", file, "--target", target, "--json"], 0
    yield ["validate", file, "--set", f"engine.conf={{fs.s3a.secret.key: {TYPED}}}", "--verbose"], 2


def test_no_secret_is_in_anything_that_is_printed_sent_or_written(
    small: SmallJob,
    server: Server,
    capfd: pytest.CaptureFixture[str],
) -> None:
    capfd.readouterr()
    printed = ""
    for words, code in calls(small.file):
        assert run_cli(words) == code, (words, capfd.readouterr())
        shown = capfd.readouterr()
        printed += shown.out + shown.err
        assert found_in(shown.out + shown.err) == set(), words
    assert "***" in printed and "${env:PLANTED_S3}" in printed
    assert files_with_secrets(small.folder) == {}
    hooks = [path for _, path, _, _ in server.received if path.startswith("/hook")]
    assert len(hooks) == 3 and all(SECRETS["PLANTED_HOOK"] in path for path in hooks)  # they were used
    assert any(
        headers.get("Authorization") == f"Bearer {SECRETS['PLANTED_LINEAGE']}" for _, _, headers, _ in server.received
    )
    assert found_in(" ".join(body.decode() for *_, body in server.received)) == set()


def test_held_rows_and_their_notes_have_none(small: SmallJob) -> None:
    small.write_suite([expectation("expect_column_mean_to_be_between", column="p", min_value=2.0)], "output.json")
    sets = ("checks={input: input.json, output: output.json}", "gates.output={on_fail: hold}")
    assert small.run(DAY, *sets).status == "held"
    assert files_with_secrets(small.folder) == {}


@pytest.mark.slow
def test_sparks_own_event_log_has_none(small: SmallJob) -> None:
    command = [sys.executable, "-m", "batchscore", "run", small.file, "--interval", DAY, "--json"]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYSPARK_", "SPARK_"))}
    done = subprocess.run(command, env=kept, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    events = [file for file in (small.folder / "events").rglob("*") if file.is_file() and file.suffix != ".crc"]
    text = "".join(file.read_text() for file in events)
    settings: Mapping[str, Any] = dict(re.findall(r'"(spark\.hadoop\.[^"]+)":"([^"]*)"', text))
    assert {settings[name] for name in CONF} == {"*********(redacted)"}
    assert found_in(text + done.stdout + done.stderr) == set()
    assert files_with_secrets(small.folder) == {}
