# SPDX-License-Identifier: Apache-2.0
"""A smooth step between two values."""

from __future__ import annotations

import numpy as np


def smoothstep(x: np.ndarray | float, start: float = 0.0, end: float = 1.0) -> np.ndarray:
    """0 up to `start`, 1 from `end` on, 3 t² - 2 t³ in between (`end` may be the lesser)."""
    t = np.clip((x - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)
