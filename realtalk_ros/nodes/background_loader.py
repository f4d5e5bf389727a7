"""Loads what takes long beside what runs: the newest wish is loaded, and handed over when ready."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes.diagnostics import Problems

Request = TypeVar("Wish")
Loaded = TypeVar("Loaded")


class BackgroundLoader(Generic[Request, Loaded]):
    """`ask` from any thread; `take` what is ready where it can be put to use. A wish that comes
    while another one loads is loaded after it."""

    def __init__(
        self,
        load: Callable[[Request], Loaded],
        problems: Problems,
    ):
        """`load` runs in a thread of its own; what it raises is told as a problem."""
        self._load, self._problems = load, problems
        self._failed = False
        self._lock = threading.Lock()
        self._next: list[Request] = []  # none or one
        self._ready: list[Loaded] = []
        self._thread: threading.Thread | None = None
        self.name = ""  # of what loads, for the diagnostics

    def ask(self, wish: Request, name: str) -> None:
        with self._lock:
            self._next, self.name = [wish], name
            if self._thread is None:
                self._start()

    def take(self) -> Loaded | None:
        """What is ready, once; else None."""
        if not self._ready:  # asked for every frame
            return None
        with self._lock:
            return self._ready.pop() if self._ready else None

    def take_failure(self) -> bool:
        """Whether something did not load, once, when nothing loads any more."""
        failed = self._failed and not self.name
        self._failed = self._failed and not failed
        return failed

    def forget(self) -> None:
        """What is loading is not wanted any more. Waits until that has ended."""
        with self._lock:
            self._next.clear()
            thread = self._thread
        if thread is not None:
            thread.join()
        with self._lock:
            self._ready.clear()

    def _run(self) -> None:
        with self._lock:
            wish = self._next.pop()
        try:
            loaded = self._load(wish)
        except RealTalkError as error:  # what runs goes on
            self._problems.add(f"going on as before: {error}")
            self._failed = True
        except Exception as error:  # of a library, say
            self._problems.exception(error)
            self._failed = True
        else:
            with self._lock:
                self._ready = [loaded]
        with self._lock:
            self._thread = None
            if self._next:
                self._start()
            else:
                self.name = ""

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
        self._thread.start()
