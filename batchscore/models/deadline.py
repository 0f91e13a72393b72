"""A budget of seconds for talking to a registry that may never answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

_EARNED_BYTES_PER_S = 1 << 20  # a download that keeps this rate is never cut off; a trickle is
_LOOK_S = 0.2


class Deadline:
    """Seconds left for all calls together.

    Attributes:
        over: Set once the budget is spent: whatever still runs must not start another attempt.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.over = threading.Event()
        self._left_s = seconds

    def call(self, action: Callable[[], T], received: Callable[[], int] | None = None) -> T:
        """What `action` returns, if it comes in time.

        The action runs in a daemon thread, because neither sockets nor database drivers can be relied on to give
        up: a server may send one byte a second for ever. A thread that is late is left behind.

        Args:
            action: The call.
            received: Bytes that have arrived so far; each MiB earns one more second.

        Raises:
            TimeoutError: The budget is spent.
        """
        outcome: Future[T] = Future()
        done = threading.Event()
        threading.Thread(target=_run, args=(action, outcome, done), name="registry-call", daemon=True).start()
        started = time.monotonic()
        earned_s = 0.0
        try:
            while True:
                left_s = self._left_s + earned_s - (time.monotonic() - started)
                if left_s <= 0:
                    self.over.set()
                    raise TimeoutError(f"no complete answer within {self.seconds:g} s")
                if done.wait(left_s if received is None else min(left_s, _LOOK_S)):
                    return outcome.result()
                if received is not None:
                    earned_s = received() / _EARNED_BYTES_PER_S
        finally:
            self._left_s += earned_s - (time.monotonic() - started)


def _run(action: Callable[[], T], outcome: Future[T], done: threading.Event) -> None:
    try:
        outcome.set_result(action())
    except BaseException as error:  # handed to the caller, whatever it is
        outcome.set_exception(error)
    finally:
        done.set()
