# SPDX-License-Identifier: Apache-2.0
"""An avatar's templates, enlarged once, so that each image samples them bilinearly.

Bicubic sampling of the template for each image would keep its detail as well, and take twice as
long.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

from realtalk_ros.rendering.common.enlarging import enlarged

MOST = 64 * 2**20  # bytes of enlarged templates that are kept; a film has hundreds
STEP = 1 / 8  # sides of the face crop: steps in which the enlarged margin beside it grows


@dataclass(frozen=True)
class FineTemplate:
    """A part of a template."""

    image: np.ndarray  # (FACTOR h, FACTOR w, 4) uint8 BGR and 255, or the templates' alpha
    corner: tuple[int, int]  # x, y of its first pixel in the template


class FineTemplates:
    """Of `templates` (T, height, width, 3 or 4) uint8 with the face's `crop` (x, y, side): of each
    the crop and what is beside it; of a single one all."""

    def __init__(self, templates: np.ndarray, crop: tuple[int, int, int]):
        self._templates, self._crop = templates, crop
        self._margin = 0  # pixels beside the crop
        self._made: dict[int, FineTemplate] = {}
        # Of a single template, all; of many, parts are made when they are shown, which takes time.
        self.whole = (
            FineTemplate(_enlarged_bgra(templates[0]), (0, 0)) if len(templates) == 1 else None
        )

    def part(self, number: int, margin: int) -> FineTemplate:
        """Of the `number`-th template the crop and at least `margin` pixels beside it."""
        if self.whole is not None:
            return self.whole
        if margin > self._margin:
            step = ceil(STEP * self._crop[2])
            self._margin = step * ceil(margin / step)
            self._made.clear()
        if number not in self._made:
            left, top, side = self._crop
            left, top = max(left - self._margin, 0), max(top - self._margin, 0)
            end = side + self._margin
            part = self._templates[number, top : self._crop[1] + end, left : self._crop[0] + end]
            fine = _enlarged_bgra(part)
            while self._made and (len(self._made) + 1) * fine.nbytes > MOST:
                del self._made[next(iter(self._made))]  # the oldest
            self._made[number] = FineTemplate(fine, (left, top))
        return self._made[number]


def _enlarged_bgra(part: np.ndarray) -> np.ndarray:
    """A part of a template (H, W, 3 or 4), enlarged, with four channels."""
    fine = enlarged(part)
    return cv2.cvtColor(fine, cv2.COLOR_BGR2BGRA) if fine.shape[2] == 3 else fine
