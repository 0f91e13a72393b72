"""Progress: plain lines when piped, a live line in a terminal, nothing when quiet; never on stdout."""

from __future__ import annotations

import io
import re
import sys

import pytest

from batchscore.cli.progress import STEPS, show_progress


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


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(quiet=True) as progress:
        progress("plan")
    assert capsys.readouterr() == ("", "")
