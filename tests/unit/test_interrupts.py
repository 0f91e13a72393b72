"""Interrupts: what a signal does to work in its thread, at each place where it may find it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from batchscore.interrupts import call_interruptibly, check_stop, shielded, stop_requested

WAIT_S = 5.0


@pytest.fixture(autouse=True)
def terminable() -> Iterator[None]:
    """SIGTERM raises SystemExit, as the command line makes it do; SIGINT raises KeyboardInterrupt."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, terminate), signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before[0])
    signal.signal(signal.SIGINT, before[1])


class Work:
    """Work that waits for something which a cancellation ends, as an action waits for its Spark job."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.began = threading.Event()
        self.steps: list[str] = []

    def wait(self) -> None:
        self.began.set()
        if self.cancelled.wait(WAIT_S):
            raise RuntimeError("job cancelled")

    def send(self, number: signal.Signals) -> None:
        """Signal this process once the work has begun."""

        def later() -> None:
            self.began.wait(WAIT_S)
            os.kill(os.getpid(), number)

        threading.Thread(target=later, daemon=True).start()


def test_results_and_errors_come_back() -> None:
    assert call_interruptibly(lambda: threading.current_thread().name, lambda: None) == "batchscore"
    with pytest.raises(ZeroDivisionError):
        call_interruptibly(lambda: 1 // 0, lambda: None)
    with pytest.raises(SystemExit) as stop:
        call_interruptibly(lambda: exec("raise SystemExit(3)"), lambda: None)
    assert stop.value.code == 3


def test_outside_the_main_thread_the_work_is_done_where_it_is() -> None:
    found: list[str] = []
    work: Callable[[], None] = lambda: found.append(threading.current_thread().name)  # noqa: E731
    thread = threading.Thread(target=lambda: call_interruptibly(work, lambda: None), name="other")
    thread.start()
    thread.join()
    assert found == ["other"]


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_cancels_what_the_work_waits_for(number: signal.Signals, kind: type[BaseException]) -> None:
    work = Work()
    seen: list[BaseException | None] = []

    def run() -> None:
        try:
            work.wait()
        finally:
            seen.append(stop_requested())

    work.send(number)
    with pytest.raises(kind):
        call_interruptibly(run, work.cancelled.set)
    assert [type(stop) for stop in seen] == [kind]  # the work knows why it failed
    assert stop_requested() is None
    check_stop()


def test_work_that_waits_for_nothing_stops_at_its_next_step() -> None:
    work = Work()

    def run() -> None:
        for step in ("first", "second"):
            check_stop()
            work.steps.append(step)
            work.began.set()
            work.cancelled.wait(WAIT_S)

    work.send(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        call_interruptibly(run, work.cancelled.set)
    assert work.steps == ["first"]


def test_shielded_work_is_not_cancelled_and_its_result_counts() -> None:
    work = Work()

    def run() -> str:
        with shielded():
            work.began.set()
            while stop_requested() is None:
                time.sleep(0.01)
            check_stop()
            return "published"

    work.send(signal.SIGTERM)
    assert call_interruptibly(run, work.cancelled.set) == "published"
    assert not work.cancelled.is_set()


def test_a_stop_before_the_shield_takes_effect_at_it() -> None:
    work = Work()

    def run() -> None:
        work.began.set()
        work.cancelled.wait(WAIT_S)
        with shielded():
            work.steps.append("published")

    work.send(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        call_interruptibly(run, work.cancelled.set)
    assert work.steps == []


def test_a_second_signal_ends_the_waiting() -> None:
    work = Work()
    never = threading.Event()

    def cancel() -> None:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    def run() -> None:
        work.began.set()
        never.wait(WAIT_S)

    work.send(signal.SIGINT)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        call_interruptibly(run, cancel)
    assert time.monotonic() - started < WAIT_S - 1
    never.set()


def test_a_cancellation_that_fails_does_not_hide_the_stop() -> None:
    work = Work()

    def run() -> None:
        work.began.set()
        while stop_requested() is None:
            time.sleep(0.01)
        check_stop()

    def cancel() -> None:
        raise ConnectionError("the JVM is gone")

    work.send(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        call_interruptibly(run, cancel)
