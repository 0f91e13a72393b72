"""Real processes for tests: what they print, how they end, and how to stop one in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 600
BATCHSCORE = (sys.executable, "-m", "batchscore")


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's environment without what Spark put into it, with this interpreter's programs first."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYSPARK_", "SPARK_"))}
    programs = str(Path(sys.executable).parent)
    return {**kept, "PATH": f"{programs}{os.pathsep}{kept.get('PATH', '')}", "TZ": "UTC", **changes}


def run_process(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        list(command),
        cwd=folder,
        env=dict(environment or clean_environment()),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def start_process(command: Sequence[str], *, folder: Path) -> subprocess.Popen[str]:
    """Start a command in a process group of its own; its stderr is to be read."""
    return subprocess.Popen(
        list(command),
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def stop_at(command: Sequence[str], step: str, number: signal.Signals, *, folder: Path) -> tuple[int, str]:
    """Start a command, send it a signal as soon as it announces a step, and give its exit code and stderr.

    SIGINT goes to the whole process group, Java and the workers too, as a terminal's Ctrl-C does; other signals go to
    the one process that a scheduler knows.
    """
    process = start_process(command, folder=folder)
    seen: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            seen.append(line)
            if step in line:
                time.sleep(0.5)  # into the step
                if number == signal.SIGINT:
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)
                break
        seen.append(process.communicate(timeout=TIMEOUT_S)[1])
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return process.returncode, "".join(seen)
