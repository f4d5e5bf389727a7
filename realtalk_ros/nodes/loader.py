"""Loads what takes long beside what runs: the newest wish is loaded, and handed over when ready."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Wish = TypeVar("Wish")
Loaded = TypeVar("Loaded")


class Loader(Generic[Wish, Loaded]):
    """`ask` from any thread; `take` what is ready where it can be put to use. A wish that comes
    while another one loads is loaded after it."""

    def __init__(
        self,
        load: Callable[[Wish], Loaded],
        failed: Callable[[Wish, Exception], None],
    ):
        """`load` runs in a thread of its own; what it raises goes to `failed`, in that thread."""
        self._load, self._failed = load, failed
        self._lock = threading.Lock()
        self._next: list[Wish] = []  # none or one
        self._ready: list[Loaded] = []
        self._thread: threading.Thread | None = None
        self.name = ""  # of what loads, for the diagnostics

    def ask(self, wish: Wish, name: str) -> None:
        with self._lock:
            self._next, self.name = [wish], name
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="loader", daemon=True)
                self._thread.start()

    def take(self) -> Loaded | None:
        """What is ready, once; else None."""
        if not self._ready:  # asked for every frame
            return None
        with self._lock:
            return self._ready.pop() if self._ready else None

    def forget(self) -> None:
        """What is loading is not wanted any more. Waits until that has ended."""
        with self._lock:
            self._next.clear()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        with self._lock:
            self._ready.clear()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._next:
                    self._thread, self.name = None, ""
                    return
                wish = self._next.pop()
            try:
                loaded = self._load(wish)
            except Exception as error:  # also of libraries: what runs goes on
                self._failed(wish, error)
                continue
            with self._lock:
                self._ready = [loaded]
