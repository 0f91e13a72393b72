"""The command line on the demo: one JSON document on stdout, exit codes, and tables left as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flights_oracle import DEMO_DAY

from batchscore import api
from batchscore.cli import run_cli
from batchscore.outputs import open_outputs

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def document(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> Any:
    """What a command prints with --json: all of stdout is one document."""
    capfd.readouterr()
    assert run_cli([*arguments, "--json"]) == 0
    shown = capfd.readouterr()
    assert shown.out.endswith("\n") and shown.out.count("\n") == 1
    return json.loads(shown.out)


def versions(spark: SparkSession, job: Path) -> tuple[int, int]:
    """Versions of the tables that readers see; a failed attempt leaves a record in the audit alone."""
    found = open_outputs(spark, api.load(job))
    return found.scores.version(), found.quarantine.version()


def test_each_verb_prints_one_document(spark: SparkSession, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    job = str(folder / "flights.yaml")
    validated = document(["validate", job], capfd)
    assert validated["config"]["job"] == "flights_delay"
    plan = document(["plan", job, "--interval", DEMO_DAY], capfd)
    assert (plan["action"], plan["config_sha256"]) == ("unchanged", validated["config_sha256"])
    preview = document(["preview", job, "--interval", DEMO_DAY, "--rows", "3"], capfd)
    assert len(preview["rows"]) == 3
    before = versions(spark, folder / "flights.yaml")
    record = document(["run", job, "--interval", DEMO_DAY], capfd)
    assert (record["status"], record["run_key"]) == ("unchanged", plan["run_key"])
    runs = document(["runs", job], capfd)
    assert [r["status"] for r in runs] == ["published"]
    shown = document(["show", job, "latest"], capfd)
    assert shown["run_id"] == runs[0]["run_id"]
    assert versions(spark, folder / "flights.yaml") == before


def test_doctor_finds_everything_right(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = document(["doctor", str(folder / "flights.yaml")], capfd)
    assert {check["name"]: check["status"] for check in found["checks"] if check["status"] != "OK"} == {}
    assert {"java", "delta jars", "packages", "onnxruntime", "spark", "workers", "registry", "input.table"} <= {
        check["name"] for check in found["checks"]
    }


def test_doctor_says_what_is_wrong_with_a_job(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sets = ["--set", "model.uri=models:/flights_delay@nobody", "--set", "input.table=tables/none"]
    assert run_cli(["doctor", str(folder / "flights.yaml"), *sets]) == 2
    shown = capfd.readouterr().out
    assert "FAIL  registry" in shown and "expected the alias 'nobody'" in shown
    assert "FAIL  input.table" in shown and "expected a table at tables/none; found nothing there" in shown
    assert "OK    lookups.weather.table" in shown


UNCHECKED = ("--set", "checks.input=null", "--set", "checks.output=null")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["--interval", DEMO_DAY, "--set", "input.table=tables/none"],
            3,
            "input.table: expected a table at tables/none",
        ),
        (["--interval", DEMO_DAY, "--set", "input.format=parquet"], 3, "Set `format: delta`"),
        (
            ["--interval", DEMO_DAY, "--set", "model.uri=models:/nobody@champion"],
            5,
            "expected a registered model 'nobody'",
        ),
        (["--interval", DEMO_DAY, "--set", "model.uri=models:/flights_delay/9"], 5, "expected version 9"),
        (["--interval", DEMO_DAY, "--set", "registry.uri=sqlite:///none.db"], 8, "expected a file at"),
        (["--interval", DEMO_DAY, "--set", "input.kye=[a]"], 2, "did you mean 'key'?"),
        (["--interval", "2013-02-30"], 2, "--interval 2013-02-30"),
        (["--interval", "2013-10-01/2013-10-01"], 2, "zero length"),
        (["--interval", "2014-06-01"], 4, "input[0] expect_table_row_count_to_be_between: found 0"),
        (["--interval", "2014-06-01", *UNCHECKED], 3, "expected rows, since the job is scheduled"),
        ([], 2, "--interval: missing"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else "",
)
def test_a_run_that_cannot_go_well_says_why_and_changes_no_table(
    spark: SparkSession, folder: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    before = versions(spark, folder / "flights.yaml")
    assert run_cli(["run", str(folder / "flights.yaml"), *arguments, "--json"]) == code
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.count("error:") == 1 and message in shown.err
    assert "Traceback" not in shown.err
    assert versions(spark, folder / "flights.yaml") == before
