# SPDX-License-Identifier: Apache-2.0
"""Makes the next batch in a thread while the last one is in use."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(make: Callable[[], T]) -> Generator[T, None, None]:
    """Yields `make()` for ever. Each result is computed while the one before is in use.

    Close the generator to end its thread. Raises what `make` raises.
    """
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(make)
        while True:
            result, future = future.result(), executor.submit(make)
            yield result
