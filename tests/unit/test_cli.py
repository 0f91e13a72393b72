"""The command line without Spark: help, usage errors, exit codes, and what is refused before anything starts."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest

from batchscore import cli, errors
from batchscore.cli import demo, run_cli
from batchscore.cli.init import move_registry, move_table
from batchscore.errors import EXIT_CODES, BatchscoreError

REPOSITORY = Path(__file__).resolve().parents[2]
JOB = str(REPOSITORY / "configs" / "flights.yaml")
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BatchscoreError)]


def test_help_lists_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in cli._COMMANDS)
    assert all(f"\n  {code} " in shown and meaning in shown for code, meaning in EXIT_CODES)
    assert {kind.exit_code for kind in KINDS} <= {code for code, _ in EXIT_CODES}


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["--version"]) == 0
    assert capsys.readouterr().out.startswith("batchscore, version ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scoer"], "No such command 'scoer'"),
        (["run"], "Missing argument 'CONFIG'"),
        (["run", JOB, "--rows", "3"], "No such option"),
        (["preview", JOB, "--rows", "0"], "0 is not in the range"),
        (["init", "--table", "t"], "Missing option '--model'"),
    ],
)
def test_usage_errors_are_2_and_go_to_stderr(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        *[(kind("where: what."), kind.exit_code, "error: where: what.") for kind in KINDS],
        (KeyboardInterrupt(), 130, "cancelled"),
        (click.Abort(), 130, "cancelled"),
        (SystemExit(143), 143, ""),
        (SystemExit("text"), 1, ""),
        (ZeroDivisionError("division by zero"), 1, "error: ZeroDivisionError: division by zero"),
        (BatchscoreError("registry http://ann:hunter2@host/: no answer."), 1, "error: registry http://"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_becomes_its_exit_code(
    raised: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command("validate")
    def command() -> NoReturn:
        raise raised

    monkeypatch.setattr("batchscore.cli.validate.command", command)
    before = signal.getsignal(signal.SIGTERM)
    assert run_cli(["validate"]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.lstrip().startswith(message)  # click ends the line that ^C stands in
    assert "hunter2" not in shown.err
    assert signal.getsignal(signal.SIGTERM) is before


def test_verbose_shows_the_trace_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["validate", str(tmp_path / "none.yaml")]
    assert run_cli(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["batchscore", *arguments, "--verbose"])
    assert run_cli([*arguments, "--verbose"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_validate_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["validate", JOB, "--set", "scoring.device=cpu", "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    found: dict[str, Any] = json.loads(shown.out)
    assert found["config"]["scoring"]["device"] == "cpu"
    assert found["expectations"] > 10


def test_validate_tells_all_faults_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        "job: a\ninterval: {grain: snapshot}\ninput: {tabel: ./t}\nmodel: {uri: models:/m@c}\noutput: {scores: 3}\n"
    )
    assert run_cli(["validate", str(job), "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "job.yaml:3:" in shown.err and "did you mean 'table'?" in shown.err
    assert "job.yaml:5:" in shown.err


def test_demo_without_its_extra_names_the_line_to_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    missing = ("sklearn", "skl2onnx")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in missing else found(name, *rest)
    )
    assert run_cli(["demo", "--dir", str(tmp_path / "d")]) == 2
    told = capsys.readouterr().err
    assert "scikit-learn, skl2onnx" in told and "pip install 'batchscore[cpu,demo]'" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("called", "found", "wanted"),
    [
        ("/v/bin/batchscore", "/v/bin/batchscore", "batchscore"),
        ("/v/bin/batchscore", None, "/v/bin/batchscore"),
        ("/v/bin/batchscore", "/other/bin/batchscore", "/v/bin/batchscore"),
        ("/v/lib/batchscore/__main__.py", None, f"{sys.executable} -m batchscore"),
        ("/v/lib/batchscore/__main__.py", "/other/bin/python", f"{sys.executable} -m batchscore"),
        ("/v/lib/batchscore/__main__.py", str(Path(sys.executable).with_name("python")), "python -m batchscore"),
    ],
)
def test_the_commands_that_demo_suggests_start_this_very_program(
    called: str, found: str | None, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.setattr("shutil.which", lambda name: found)
    assert demo.program() == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "models:/late"], "--model models:/late: expected models:/NAME@ALIAS or models:/NAME/VERSION"),
        (["--model", "models:/late@c"], "late.yaml: expected no file; there is one."),
        (["--model", "models:/other@c", "--out", "late.yaml"], "replace it with --force"),
    ],
)
def test_init_refuses_before_it_reads_anything(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("late.yaml").write_text("mine")
    assert run_cli(["init", "--table", "./t", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert Path("late.yaml").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["late.yaml"]


@pytest.mark.parametrize(
    ("table", "folder", "wanted"),
    [
        ("lake/flights", "jobs", "../lake/flights"),
        ("lake/flights", "lake", "./flights"),
        ("lake", ".", "./lake"),
        ("./lake/flights", ".", "lake/flights"),
        ("sales.flights", "jobs", "sales.flights"),
        ("/data/flights", "jobs", "/data/flights"),
        ("s3a://bucket/flights", "jobs", "s3a://bucket/flights"),
        ("${env:LAKE}/flights", "jobs", "${env:LAKE}/flights"),
    ],
)
def test_tables_are_named_from_the_new_files_folder(
    table: str, folder: str, wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake").mkdir()
    assert move_table(table, Path(folder)) == wanted


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        ("sqlite:///mlflow.db", "sqlite:///../mlflow.db"),
        ("sqlite:////data/mlflow.db", "sqlite:////data/mlflow.db"),
        ("sqlite:///${env:PLACE}/mlflow.db", "sqlite:///${env:PLACE}/mlflow.db"),
        ("http://mlflow:5000", "http://mlflow:5000"),
    ],
)
def test_registries_are_named_from_the_new_files_folder(uri: str, wanted: str) -> None:
    assert move_registry(uri, Path("jobs")) == wanted
