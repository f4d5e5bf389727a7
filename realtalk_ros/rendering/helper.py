# SPDX-License-Identifier: Apache-2.0
"""A second thread, for what may be computed beside the thread that renders a frame.

OpenCV and ONNX Runtime work outside of Python's lock, so two threads of them use two cores. Beside
many small calls of NumPy, which keep it, there is little to gain: each thread waits for the other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
# One thread for all faces of a process. What it runs must not wait for anything else it is to run.
HELPER = ThreadPoolExecutor(1, "render helper")


def share(work: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Calls `work` with each item, in this thread and in the helper's, in no certain order. What it
    raises is raised here."""
    left = deque(items)

    def work_on() -> None:
        while True:
            try:
                item = left.popleft()
            except IndexError:
                return
            work(item)

    helping = HELPER.submit(work_on)
    try:
        work_on()
    finally:
        if not helping.cancel():  # one that has not begun, as it is busy, is not waited for
            helping.result()


def beside(work: Callable[[], Result]) -> Callable[[], Result]:
    """Gives work to the helper's thread. What is returned waits for its result, or does the work
    itself where the helper has not begun it. What the work raises is raised there."""
    helping = HELPER.submit(work)
    return lambda: work() if helping.cancel() else helping.result()


class Deferred(Generic[Result]):
    """Work that no frame waits for yet. The helper's thread takes it up where it has the time
    (`take_up_deferred`), or else the thread that asks for its result does it."""

    def __init__(self, work: Callable[[], Result]):
        self._work = work
        self._begun: Future[Result] | None = None
        with _lock:
            _waiting.append(self)

    def result(self) -> Result:
        """What the work returns. What it raises is raised here. To be called once."""
        if self.drop():
            return self._work()
        assert self._begun is not None
        return self._begun.result()

    def drop(self) -> bool:
        """Whether the work had not begun: then the helper's thread never does it. Else this waits
        until it is done. After `result` nothing happens."""
        with _lock:
            if self._begun is None:
                if self in _waiting:
                    _waiting.remove(self)
                return True
        if self._begun.cancel():
            return True
        wait([self._begun])
        return False


_lock = threading.Lock()
_waiting: list[Deferred[Any]] = []


def take_up_deferred() -> None:
    """Gives the helper's thread what was deferred, after all that it has to do by now."""
    with _lock:
        for deferred in _waiting:
            deferred._begun = HELPER.submit(deferred._work)
        _waiting.clear()
