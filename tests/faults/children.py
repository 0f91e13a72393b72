"""Child drivers: started, held at named points, frozen, and killed with their Java and their Python workers."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fault_job import FaultJob

FAULTS = Path(__file__).resolve().parent
TESTS = FAULTS.parent
LIMIT_S = 180
POLL_S = 0.02
# A short life is cheaper without the second compiler and without threads that collect garbage.
JAVA_OPTIONS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xss4m"


class Child:
    """One child driver; see `driver` for what it does."""

    def __init__(self, control: Path, name: str, process: subprocess.Popen[str]) -> None:
        self.control = control
        self.name = name
        self.process = process
        self.number = 0

    def run(self, job: FaultJob, day: dt.date, *sets: str, pause: Sequence[str] = (), watch: int = 0) -> None:
        """Tell it to run a day; it goes on by itself up to the first point of `pause`.

        With `watch`, it stands at the point `tasks` as soon as that many tasks score.
        """
        self.number += 1
        command = {"folder": str(job.folder), "day": day.isoformat(), "sets": sets, "pause": [*pause], "watch": watch}
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(command)}\n")
        self.process.stdin.flush()

    def wait_ready(self) -> None:
        """Wait until its session stands."""
        self._wait(self.control / f"{self.name}.ready")

    def is_at(self, point: str) -> bool:
        """Whether it stands still at a point."""
        return self._place(point).exists()

    def wait_at(self, point: str) -> None:
        """Wait until it stands still at a point."""
        self._wait(self._place(point))

    def release(self, point: str) -> None:
        """Let it go on from a point."""
        self._place(f"{point}.go").touch()

    def result(self) -> dict[str, Any]:
        """How the command in hand ended."""
        self._wait(self._place("result"))
        return dict(json.loads(self._place("result").read_text()))

    def status(self) -> str | None:
        """How the command in hand ended; None where the driver, or its Java, was lost over it."""
        file = self._place("result")
        wait_until(lambda: file.exists() or self.process.poll() is not None, file.name)
        found = json.loads(file.read_text()) if file.exists() else {"status": "lost"}
        return None if found["status"] in ("lost", "BatchscoreError") else str(found["status"])

    def ended(self) -> list[dict[str, Any]]:
        """How every command ended that has ended, in order."""
        files = [self.control / f"{self.name}.{n}.result" for n in range(1, self.number + 1)]
        return [json.loads(file.read_text()) for file in files if file.exists()]

    def freeze(self) -> None:
        """Stop it and all its processes where they are."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            signal_process(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had been."""
        for pid in [*descendants(self.process.pid), self.process.pid]:
            signal_process(pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it and all its processes at once, as a power cut would."""
        if self.process.poll() is not None:
            return
        self.freeze()  # so that none sees another one die
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            signal_process(pid, signal.SIGKILL)
        self.process.wait(30)

    def log(self) -> str:
        """What it has said."""
        return (self.control / f"{self.name}.log").read_text()

    def _place(self, what: str) -> Path:
        return self.control / f"{self.name}.{self.number}.{what}"

    def _wait(self, file: Path) -> None:
        wait_until(lambda: file.exists() or self.process.poll() is not None, f"{file.name} of {self.control}")
        assert file.exists(), f"{self.name} ended with {self.process.returncode} before {file.name}: {self.log()}"


@contextmanager
def child_driver(
    control: Path,
    name: str = "child",
    *,
    master: str = "local[1,4]",
    wrapper: Sequence[str] = (),
    **conf: str,
) -> Iterator[Child]:
    """A child driver; whatever is left of it at the end is killed.

    Args:
        control: A folder for its markers and its log.
        name: Its name there.
        master: Its Spark master.
        wrapper: A command that starts it, such as `strace` with its options.
        conf: Spark settings, with `__` for `.`.
    """
    control.mkdir(parents=True, exist_ok=True)
    settings = [f"{key.replace('__', '.')}={value}" for key, value in conf.items()]
    command = [*wrapper, sys.executable, str(FAULTS / "driver.py"), str(control), name, master]
    with (control / f"{name}.log").open("a") as log:
        process = subprocess.Popen(
            [*command, *settings],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
            env=_environment(),
            cwd=control,
        )
    child = Child(control, name, process)
    try:
        yield child
    finally:
        child.kill()
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()


def wait_until(holds: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait until something holds, at most `limit_s` seconds."""
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, f"waited {limit_s} s for {what}"
        time.sleep(POLL_S)


def descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that these started; see proc(5), `children`."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # ended meanwhile
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


def command_of(pid: int) -> str:
    """A process's command line; empty where it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def signal_process(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYSPARK_", "SPARK_"))}
    paths = [str(FAULTS), str(TESTS / "unit"), str(TESTS.parent)]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "JDK_JAVA_OPTIONS": JAVA_OPTIONS, "TZ": "UTC"}
