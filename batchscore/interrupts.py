"""Interrupts: Ctrl-C and SIGTERM end work between two steps, never inside a call into the JVM.

A signal handler that raises while Python waits for the JVM leaves py4j's connection with an unread answer, and every
later call on it gets the wrong one. So the work has a thread of its own, and the main thread only waits for it. Work
that runs in several threads is stopped in each of them at its next step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.2


class _Stop:
    """What the main thread asks of the working thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.request: BaseException | None = None
        self.shielded: set[int] = set()  # idents of threads that are not to be stopped half way


_STOP = _Stop()


def call_interruptibly(work: Callable[[], T], cancel: Callable[[], None]) -> T:
    """Do the work in a thread of its own, so that a signal reaches the main thread and not the work.

    The first signal cancels, once, what the work waits for, and makes its next `check_stop` raise; a second one ends
    the waiting at once. Work that ends well in spite of the signal has its result returned: it was too far on.

    Args:
        work: What is to be done; called directly where this is not the main thread.
        cancel: Ends what the work may be waiting for. Called in the main thread, not while any of it is shielded: then
            the work ends at its next step.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the work.
        SystemExit: A signal handler raised it, and that ended the work.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    _STOP.request = None
    outcome: Future[T] = Future()
    thread = threading.Thread(target=_fulfil, args=(outcome, work), name="batchscore", daemon=True)
    try:
        thread.start()
        return _await(outcome)
    except (KeyboardInterrupt, SystemExit) as stop:
        if outcome.done():  # the work's own, or a signal that came too late
            return outcome.result()
        if outcome.cancel():  # it has not begun
            raise
        _request(stop, cancel)
        try:
            return _await(outcome)
        except Exception:
            raise stop from None
    finally:
        _STOP.request = None


def stop_requested() -> BaseException | None:
    """What the main thread was told to stop with, if it was."""
    return _STOP.request


def check_stop() -> None:
    """Stop here, if that was asked for and the work is not shielded.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed.
        SystemExit: A signal handler raised it.
    """
    if _STOP.request is not None and threading.get_ident() not in _STOP.shielded:
        raise _STOP.request


@contextmanager
def shielded() -> Iterator[None]:
    """Work that is not to be stopped half way; a stop that was asked for before it takes effect at its start."""
    with _STOP.lock:
        check_stop()
        _STOP.shielded.add(threading.get_ident())
    try:
        yield
    finally:
        _STOP.shielded.discard(threading.get_ident())


def _await(outcome: Future[T]) -> T:
    # A signal that arrives just before a wait begins does not end it, so no wait is long.
    while not outcome.done():
        wait([outcome], POLL_S)
    return outcome.result()


def _request(stop: BaseException, cancel: Callable[[], None]) -> None:
    with _STOP.lock:
        _STOP.request = stop
        if not _STOP.shielded:
            with suppress(Exception):  # without it the work ends a step later
                cancel()


def _fulfil(outcome: Future[T], work: Callable[[], T]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        outcome.set_result(work())
    except BaseException as error:
        outcome.set_exception(error)
