# SPDX-License-Identifier: Apache-2.0
"""Problems of a running node, counted for /diagnostics and logged once."""

from __future__ import annotations

import math
import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realtalk_ros.errors import NO_MEMORY, lacks_memory

FRESH = 10.0  # s for which a problem keeps the diagnostics at WARN
MAX_CAUSES = 64  # that are counted separately, so that hostile input cannot fill the memory
MAX_LENGTH = 1000  # characters of a line in the log, which may quote what a message holds


class Problems:
    """Counts problems by cause. Every cause is logged once, not once a message."""

    def __init__(self, log: Callable[[str], Any]) -> None:
        self.log = log
        self.counts: dict[str, int] = {}
        self._latest = -math.inf

    def add(self, message: str) -> None:
        cause = re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "#", message)[:120]
        self._latest = time.monotonic()
        if cause not in self.counts:
            if len(self.counts) >= MAX_CAUSES:
                cause = "others"
            if cause not in self.counts:
                whole = len(message) <= MAX_LENGTH
                self.log(message if whole else f"{message[:MAX_LENGTH]}...")
        self.counts[cause] = self.counts.get(cause, 0) + 1

    def exception(self, error: Exception) -> None:
        """Counts an unexpected exception; where it is new, its traceback is logged."""
        if lacks_memory(error):
            self.add(f"something is left out: {NO_MEMORY}")
            return
        where = traceback.extract_tb(error.__traceback__)[-1:]
        place = "".join(f" in {Path(frame.filename).name}:{frame.lineno}" for frame in where)
        cause = f"{type(error).__name__}{place}"
        if cause not in self.counts and len(self.counts) < MAX_CAUSES:
            self.log(
                "continuing after an error in this package, please report it:\n"
                + "".join(traceback.format_exception(error)).rstrip()
            )
        else:
            cause = cause if cause in self.counts else "others"
        self._latest = time.monotonic()
        self.counts[cause] = self.counts.get(cause, 0) + 1

    @property
    def fresh(self) -> bool:
        """Whether the latest problem is less than 10 s old."""
        return time.monotonic() - self._latest < FRESH
