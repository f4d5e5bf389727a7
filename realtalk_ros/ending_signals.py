# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command, as an exception that reaches its end.

What Python's handler of a signal raises comes up wherever Python code happens to run, and there are
places where that goes wrong:

- In what is called from C code, as a weak reference's callback or a __del__ is, the exception ends:
  it is reported ("Exception ignored in"), and the command goes on. So it is raised again until the
  command has ended, but not where its `finally` and `with` blocks already run because of it.
- While a thread is started, the exception leaves a thread that a pool does not know: nobody ends
  it, and the interpreter waits for it at its end. So it is raised a little later.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

SOON, AGAIN = 0.02, 0.3  # s after which it is raised, or raised again
LAST = 5.0  # s that the interpreter has to end after the command
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STARTS_THREAD = {threading.Thread.start.__code__, ThreadPoolExecutor.submit.__code__}


class Terminated(SystemExit):
    """What SIGTERM and SIGHUP raise."""


class Interrupted(KeyboardInterrupt):
    """What SIGINT raises."""


class _Signals:
    """What has come."""

    def __init__(self) -> None:
        self.last = 0  # the signal's number
        self._process = os.getpid()

    def end(self, number: int, frame: FrameType | None) -> None:
        """The handler of a signal that ends the command."""
        self.last = number
        later = starts_thread(frame)
        if os.getpid() != self._process:  # it was forked off, and has no timer
            later = False
        else:
            signal.setitimer(signal.ITIMER_REAL, SOON if later else AGAIN, AGAIN)
        if not later:
            self._raise()

    def again(self, _number: int, frame: FrameType | None) -> None:
        """The handler of the timer."""
        if not is_handled() and not starts_thread(frame):
            self._raise()

    def _raise(self) -> None:
        raise Interrupted if self.last == signal.SIGINT else Terminated(128 + self.last)


def is_handled() -> bool:
    """Whether what a signal raised is being handled: by an `except`, a `finally`, or a `with`."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, (Interrupted, Terminated)):
            return True
        error = error.__context__
    return False


def stop_timer() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)


def starts_thread(frame: FrameType | None) -> bool:
    """Whether what runs is called by the start of a thread."""
    while frame is not None:
        if frame.f_code in STARTS_THREAD:
            return True
        frame = frame.f_back
    return False


@contextmanager
def raised_as_exceptions() -> Iterator[None]:
    """In this block SIGTERM and SIGHUP raise SystemExit, with 128 and the signal's number, and
    SIGINT KeyboardInterrupt; not those that are ignored, as nohup and a shell's & have it. Handlers
    that the block sets itself stay. Outside of the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals, report = _Signals(), sys.unraisablehook

    def unless_own(lost: Any) -> None:
        if not issubclass(lost.exc_type, (Interrupted, Terminated)):
            report(lost)

    handlers = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGALRM)}
    for number in ENDING:
        if number == signal.SIGTERM or handlers[number] is not signal.SIG_IGN:
            signal.signal(number, signals.end)
    signal.signal(signal.SIGALRM, signals.again)
    sys.unraisablehook = unless_own
    try:
        yield
    finally:
        stop_timer()
        if signals.last:  # the interpreter waits for threads next, and then calls what atexit has
            atexit.register(stop_timer)
            signal.setitimer(signal.ITIMER_REAL, LAST)
        else:
            sys.unraisablehook = report
            for number, handler in handlers.items():
                if signal.getsignal(number) in (signals.end, signals.again):
                    signal.signal(number, handler)
