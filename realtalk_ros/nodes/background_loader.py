# SPDX-License-Identifier: Apache-2.0
"""Loads in a thread what takes long: the newest request is loaded, and handed over when ready."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes.problems import Problems

Request = TypeVar("Request")
Loaded = TypeVar("Loaded")


class BackgroundLoader(Generic[Request, Loaded]):
    """`request` from any thread; `take` what is ready where it can be put to use. A request that
    comes while another one loads is loaded after it.

    One thread loads all. The C library gives a new thread any of its arenas (glibc: eight for each
    core), and each keeps for the next one what a thread has freed: so much memory as loading takes.
    """

    def __init__(self, load: Callable[[Request], Loaded], problems: Problems) -> None:
        """`load` runs in a thread of its own; what it raises is reported as a problem."""
        self._load, self._problems = load, problems
        self._failed = False
        self._lock = threading.Condition()
        self._next: list[Request] = []  # none or one
        self._ready: list[Loaded] = []
        self._thread: threading.Thread | None = None
        self.loading = ""  # name of what loads, for the diagnostics; empty: nothing

    def request(self, request: Request, name: str) -> None:
        """Loads `request` next, instead of what waits to be loaded."""
        with self._lock:
            self._next, self.loading = [request], name
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
                self._thread.start()
            self._lock.notify()

    def take(self) -> Loaded | None:
        """What is ready, once; else None."""
        if not self._ready:  # called for every frame
            return None
        with self._lock:
            return self._ready.pop() if self._ready else None

    @property
    def pending(self) -> bool:
        """Whether something loads, or was loaded and is not taken."""
        with self._lock:
            return bool(self.loading or self._ready)

    def take_failure(self) -> bool:
        """Whether what was requested last did not load. True once, and not before what had loaded
        by then is taken."""
        with self._lock:
            failed = self._failed and not self.loading and not self._ready
            self._failed = self._failed and not failed
            return failed

    def cancel(self) -> None:
        """Drops what is loading. Waits until that has ended."""
        with self._lock:
            self._next.clear()
            thread, self._thread = self._thread, None
            self._lock.notify()
        if thread is not None:
            thread.join()
        with self._lock:
            self._ready.clear()
            self._failed = False

    def _run(self) -> None:
        """Loads one request after another, until another thread does or none is to."""
        while True:
            with self._lock:
                while self._is_to_run() and not self._next:
                    self.loading = ""
                    self._lock.wait()
                if not self._is_to_run():
                    if self._thread is None:
                        self.loading = ""
                    return
                request = self._next.pop()
            ready = self._try(request)
            with self._lock:
                if self._is_to_run():
                    self._failed = not ready
                    self._ready = ready or self._ready
            del ready  # what was taken is not to be kept until the next one has loaded

    def _is_to_run(self) -> bool:
        return self._thread is threading.current_thread()

    def _try(self, request: Request) -> list[Loaded]:
        """What was loaded; empty where it does not load."""
        try:
            return [self._load(request)]
        except RealTalkError as error:
            self._problems.add(f"keeping what is in use: {error}")
        except Exception as error:  # of a library, say
            self._problems.exception(error)
        return []
