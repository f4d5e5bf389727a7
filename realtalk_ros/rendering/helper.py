# SPDX-License-Identifier: Apache-2.0
"""A second thread, for what may be computed beside the thread that renders a frame.

OpenCV and ONNX Runtime work outside of Python's lock, so two threads of them use two cores. Beside
many small calls of NumPy, which keep it, there is little to gain: each thread waits for the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
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
