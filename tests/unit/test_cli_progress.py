"""Progress: plain lines when piped, a live line in a terminal, nothing when quiet; never on stdout."""

from __future__ import annotations

import io
import json
import re
import sys
import time
from types import SimpleNamespace

import pytest
from pyspark.logger.logger import SPARK_LOG_SCHEMA

from batchscore.attempts import Step
from batchscore.cli.progress import STEPS, LineTeller, Tasks, count_tasks, show_progress, tell_error


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_plain_lines_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as progress:
        progress("plan")
        progress("table flights: writing 12 rows")
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = [re.sub(r"^\[ *[0-9.]+ s\] ", "", line) for line in shown.err.splitlines()]
    assert lines == [STEPS["spark"], STEPS["plan"], "table flights: writing 12 rows"]


def test_steps_with_their_seconds_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with show_progress() as progress:
        progress("plan")
        progress("a [bold]text[/bold] as it is")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    done = re.findall(r"[0-9.]+ s  (.+?)\r?\n", plain)
    assert [text.strip() for text in done] == [STEPS["spark"], STEPS["plan"], "a [bold]text[/bold] as it is"]
    assert plain.startswith(f"{STEPS['spark']} …")
    assert capsys.readouterr().out == ""


def test_a_failure_ends_the_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(ValueError, match="broken"), show_progress() as progress:
        progress("plan")
        raise ValueError("broken")
    assert terminal.getvalue().rstrip().endswith("\x1b[2K")  # the live line is erased


class Tracker:
    """Spark's status tracker with two stages at work."""

    def getActiveStageIds(self) -> list[int]:
        return [3, 4, 5]

    def getStageInfo(self, stage: int) -> SimpleNamespace | None:
        done = {3: (10, 4, 1), 4: (2, 0, 0)}.get(stage)  # the third has just gone
        return done and SimpleNamespace(numTasks=done[0], numCompletedTasks=done[1], numFailedTasks=done[2])


@pytest.fixture
def tasks_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(statusTracker=Tracker)
    spark = SimpleNamespace(SparkContext=SimpleNamespace(_active_spark_context=context))
    monkeypatch.setitem(sys.modules, "pyspark", spark)


def test_tasks_of_all_stages_at_work_are_counted(tasks_at_work: None) -> None:
    assert count_tasks() == Tasks(12, 4, 1)


TOLD = [
    (Tasks(12, 4, 0), None, 9.0, "4 of 12 tasks"),
    (Tasks(12, 4, 2), None, 9.0, "4 of 12 tasks, 2 tried again"),
    (Tasks(10, 5, 0), 2_000_000, 5.0, "5 of 10 tasks, about 200,000 rows/s"),
    (Tasks(10, 5, 0), 2_000_000, 0.5, "5 of 10 tasks"),
    (Tasks(10, 0, 0), 2_000_000, 5.0, "0 of 10 tasks"),
]


@pytest.mark.parametrize(("tasks", "rows", "seconds", "told"), TOLD)
def test_tasks_in_words(tasks: Tasks, rows: int | None, seconds: float, told: str) -> None:
    assert tasks.tell(rows, seconds) == told


def test_a_long_step_tells_its_tasks_when_piped(tasks_at_work: None, capsys: pytest.CaptureFixture[str]) -> None:
    teller = LineTeller(every_s=0.05)
    teller("score")
    time.sleep(0.4)
    teller.stop()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(STEPS["score"])
    assert lines[1].endswith("s]   4 of 12 tasks, 1 tried again")


def test_a_live_bar_shows_the_tasks(tasks_at_work: None, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with show_progress() as progress:
        progress("score")
        time.sleep(1.2)
    assert "4 of 12 tasks, 1 tried again" in terminal.getvalue()


def test_json_lines_have_pysparks_fields(capsys: pytest.CaptureFixture[str]) -> None:
    record = SimpleNamespace(job="flights", interval_label="2013-10-01", run_id="20131002T040000-1a2b3c4d")
    with show_progress(log="json") as progress:
        progress(Step("score", record, 12))  # type: ignore[arg-type]
        progress("warning: signals.reports: no")
        tell_error("checks: failed", ValueError())
    with show_progress(quiet=True):
        tell_error("checks: failed", ValueError())
    shown = capsys.readouterr()
    *lines, last = shown.err.splitlines()
    entries = [json.loads(line) for line in lines]
    assert shown.out == "" and last == "error: checks: failed"
    assert [(entry["level"], entry["msg"]) for entry in entries] == [
        ("INFO", STEPS["spark"]),
        ("INFO", STEPS["score"]),
        ("WARN", "warning: signals.reports: no"),
        ("ERROR", "checks: failed"),
    ]
    assert entries[1]["context"] == {
        "job": "flights",
        "interval": "2013-10-01",
        "run_id": "20131002T040000-1a2b3c4d",
        "rows": "12",
        "step": "score",
    }
    assert entries[3]["exception"] == {"class": "ValueError", "msg": "checks: failed"}
    assert all(f"{name} " in SPARK_LOG_SCHEMA for entry in entries for name in entry)
    assert all(re.fullmatch(r"[\d-]{10}T[\d:.]{12}Z", entry["ts"]) for entry in entries)


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(quiet=True) as progress:
        progress("plan")
    assert capsys.readouterr() == ("", "")
