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
    comes while another one loads is loaded after it."""

    def __init__(self, load: Callable[[Request], Loaded], problems: Problems) -> None:
        """`load` runs in a thread of its own; what it raises is reported as a problem."""
        self._load, self._problems = load, problems
        self._failed = False
        self._lock = threading.Lock()
        self._next: list[Request] = []  # none or one
        self._ready: list[Loaded] = []
        self._thread: threading.Thread | None = None
        self.loading = ""  # name of what loads, for the diagnostics; empty: nothing

    def request(self, request: Request, name: str) -> None:
        """Loads `request` next, instead of what waits to be loaded."""
        with self._lock:
            self._next, self.loading = [request], name
            if self._thread is None:
                self._start()

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
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._lock:
            self._ready.clear()
            self._failed = False

    def _run(self) -> None:
        with self._lock:
            if not self._next:  # cancelled before this thread ran
                self._thread, self.loading = None, ""
                return
            request = self._next.pop()
        try:
            loaded = self._load(request)
        except RealTalkError as error:
            self._problems.add(f"keeping what is in use: {error}")
            ready = None
        except Exception as error:  # of a library, say
            self._problems.exception(error)
            ready = None
        else:
            ready = [loaded]
        with self._lock:
            self._failed = ready is None
            if ready is not None:
                self._ready = ready
            self._thread = None
            if self._next:
                self._start()
            else:
                self.loading = ""

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
        self._thread.start()
