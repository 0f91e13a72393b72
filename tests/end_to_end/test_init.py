"""`batchscore init` on the demo's tables and models: what it writes is valid, and runs where everything matches."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchscore.cli import run_cli
from batchscore.loading import load_job


def init(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The choices that it leaves open."""
    assert run_cli(["init", *arguments, "--json"]) == 0, capsys.readouterr().err
    choices: list[str] = json.loads(capsys.readouterr().out)["choices"]
    return choices


def test_where_everything_matches_the_file_runs_as_it_is(
    demo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "lake" / "jets" / "day=2013-10-01"
    table.mkdir(parents=True)
    rows = {"tail": ["N1", "N2"], "year": [2001, 2010], "engines": [2, 4], "jet": [1, 2], "maker_code": [3, 0]}
    pq.write_table(pa.table(rows), table / "rows.parquet")
    registry = f"sqlite:///{os.path.relpath(demo_folder / 'mlflow.db')}"
    given = ["--table", "lake/jets", "--model", "models:/planes_seats@champion", "--registry", registry]
    assert init([*given, "--key", "tail", "--out", "jobs/jets.yaml"], capsys) == []
    job = load_job("jobs/jets.yaml").config
    assert (job.input.table, job.input.format, job.interval.column) == ("../lake/jets", "parquet", "day")
    assert Path("jobs/job.schema.json").is_file()
    assert run_cli(["validate", "jobs/jets.yaml"]) == 0
    assert run_cli(["plan", "jobs/jets.yaml", "--interval", "2013-10-01"]) == 0
    assert "score and publish, generation 1" in capsys.readouterr().out
    assert run_cli(["run", "jobs/jets.yaml", "--interval", "2013-10-01", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {"read": 2, "scored": 2, "quarantined": 0}


def test_where_something_is_missing_the_file_is_valid_and_says_what(
    demo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "flights.yaml"
    given = ["--table", str(demo_folder / "tables" / "flights"), "--model", "models:/flights_delay@champion"]
    given += ["--registry", f"sqlite:///{demo_folder / 'mlflow.db'}", "--out", str(out)]
    choices = init(given, capsys)
    assert [choice.partition(":")[0] for choice in choices] == ["input.key", "features.columns"]
    assert (load_job(out).config.interval.column, load_job(out).config.input.format) == ("day", "delta")
    assert run_cli(["validate", str(out)]) == 0
    assert run_cli(["plan", str(out), "--interval", "2013-10-01"]) == 5
    told = capsys.readouterr().err
    assert "the job lacks dep_hour, minute_of_day" in told

    assert run_cli(["init", *given]) == 2
    assert "replace it with --force" in capsys.readouterr().err
    assert init([*given, "--force", "--key", "flight_id", "--column", "sched_dep"], capsys) == choices[1:]
    assert load_job(out).config.interval.column == "sched_dep"


def test_a_table_that_is_not_there(demo_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--table", str(tmp_path / "none"), "--model", "models:/flights_delay@champion"]
    given += ["--registry", f"sqlite:///{demo_folder / 'mlflow.db'}", "--out", str(tmp_path / "new.yaml")]
    assert run_cli(["init", *given]) == 3
    assert "--table: expected a table at" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
