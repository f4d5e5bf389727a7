# SPDX-License-Identifier: Apache-2.0
"""A thread that a node starts and stops again."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker:
    """Runs a function in a thread until it is to stop. Each start has an event of its own: a thread
    that outlives its halt still ends, however soon another one is started."""

    def __init__(
        self, name: str, run: Callable[[threading.Event], object], warn: Callable[[str], object]
    ) -> None:
        """`run` returns soon after the event that it is given is set. `warn` is called where it
        did not."""
        self._name, self._run, self._warn = name, run, warn
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread; `stop` must have been called for the one before."""
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._stop,), name=self._name, daemon=True
        )
        self._thread.start()

    def request_stop(self) -> None:
        """Asks the thread to end, and does not wait."""
        self._stop.set()

    def stop(self, timeout: float) -> None:
        """Ends the thread. Waits for that, `timeout` s at most."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        thread.join(timeout)
        if thread.is_alive():
            self._warn(f"the {self._name} thread did not end within {timeout:g} s: it is left")
