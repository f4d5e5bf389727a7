"""Batches made while the last one is learned from (training side)."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def made_ahead(make: Callable[[], T]) -> Generator[T, None, None]:
    """What `make` gives, again and again, each made in a thread while the one before is used. Close
    it to be rid of the thread. Raises what `make` raises."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(make)
        while True:
            made, coming = coming.result(), thread.submit(make)
            yield made
