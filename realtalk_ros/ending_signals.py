# SPDX-License-Identifier: Apache-2.0
"""Signals that end a command, as an exception that reaches its end.

What Python's handler of a signal raises comes up wherever Python code happens to run, and there are
places where that goes wrong. There it is raised a little later, by a timer:

- What is called from C code, as a weak reference's callback or a __del__ is, passes nothing on: the
  exception is reported ("Exception ignored in") to sys.unraisablehook, and the command goes on.
- While a thread is started, the exception leaves a thread that a pool does not know: nobody ends
  it, and the interpreter waits for it at its end.

Some C code clears what its callback raised without a word. So SystemExit, which nothing catches, is
raised again and again, but not in what it leaves to do (`finally`): there it is being handled.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

LATER = 0.02  # s after which it is raised
AGAIN = 0.2  # s after which SystemExit is raised again
LAST = 5.0  # s that the interpreter has to end after the command
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STARTS_THREAD = {threading.Thread.start.__code__, ThreadPoolExecutor.submit.__code__}


class _Signals:
    """What has come."""

    def __init__(self) -> None:
        self.last = 0  # the signal's number
        self.over = False  # whether they have done their work
        self.timer: tuple[float, float] | None = None  # of SIGALRM that ran before: s, interval
        self._report = sys.unraisablehook

    def end(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals, and of the timer."""
        if self.over:
            return None
        if number != signal.SIGALRM:
            self.last = number
        elif is_ending(sys.exc_info()[1]):
            return self._raise_later(AGAIN)
        if starts_thread(frame):
            return self._raise_later(LATER)
        if self.last == signal.SIGINT:
            raise KeyboardInterrupt
        self._raise_later(AGAIN)
        raise SystemExit(128 + self.last)

    def lost(self, what: Any) -> None:
        """As sys.unraisablehook."""
        if self.last and what.exc_type in (KeyboardInterrupt, SystemExit):
            self._raise_later(LATER)
        else:
            self._report(what)

    def _raise_later(self, seconds: float) -> None:
        signal.signal(signal.SIGALRM, self.end)
        timer = signal.setitimer(signal.ITIMER_REAL, seconds)
        self.timer = self.timer or timer


def is_ending(handled: BaseException | None) -> bool:
    """Whether what is being handled, or what that came of, ends a command."""
    while handled is not None:
        if isinstance(handled, (KeyboardInterrupt, SystemExit)):
            return True
        handled = handled.__context__
    return False


def starts_thread(frame: FrameType | None) -> bool:
    """Whether what runs is called by the start of a thread."""
    while frame is not None:
        if frame.f_code in STARTS_THREAD:
            return True
        frame = frame.f_back
    return False


def end_interpreter(code: int) -> None:
    """Ends the process if the interpreter is at its end, and waits for a thread for too long."""
    time.sleep(LAST)
    if not threading.main_thread().is_alive():
        os._exit(code)


@contextmanager
def raised_as_exceptions(to_the_end: bool = False) -> Iterator[_Signals]:
    """In this block SIGTERM and SIGHUP raise SystemExit, with 128 and the signal's number, and
    SIGINT KeyboardInterrupt; not those that are ignored, as nohup and a shell's & have it. Handlers
    that the block sets itself stay. Outside of the main thread nothing changes.

    `to_the_end`: whether the process ends with the block. Who presses Ctrl-C again, as it takes a
    while, would have a traceback of that end. Gives what has come: `last`, 0 if nothing."""
    signals, report = _Signals(), sys.unraisablehook
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    handlers = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGALRM)}
    for number in ENDING:
        if number == signal.SIGTERM or handlers[number] is not signal.SIG_IGN:
            signal.signal(number, signals.end)
    sys.unraisablehook = signals.lost
    try:
        yield signals
    finally:
        signals.over = signals.last > 0
        if signals.over and to_the_end:
            handlers[signal.SIGINT] = signal.SIG_IGN
        if signal.getsignal(signal.SIGALRM) == signals.end:
            signal.setitimer(signal.ITIMER_REAL, *(signals.timer or (0, 0)))
        for number, handler in handlers.items():
            if signal.getsignal(number) == signals.end:
                signal.signal(number, handler)
        sys.unraisablehook = report
        if signals.last:
            code = 128 + signals.last
            threading.Thread(target=end_interpreter, args=(code,), daemon=True).start()
