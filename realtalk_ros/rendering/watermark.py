# SPDX-License-Identifier: Apache-2.0
"""A visible text in a corner of the picture, which says that this face is not a recording."""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.errors import RealTalkError

DEFAULT = "AI-generated"
MAX_LENGTH = 40  # characters
HEIGHT = 0.028  # of the capital letters, as a share of the picture's height
MIN_HEIGHT = 8  # pixels, of the capital letters, where the picture is wide enough
OPACITY = 0.6  # at which white letters on black are legible on any picture
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Watermark:
    """`text` in the lower right corner. Raises RealTalkError for text that cannot be drawn."""

    def __init__(self, text: str):
        if not 0 < len(text.strip()) <= MAX_LENGTH or not (text.isascii() and text.isprintable()):
            raise RealTalkError(
                f"mark {text[:60]!r}: give 1 to {MAX_LENGTH} characters of ASCII, the only ones "
                "that OpenCV draws"
            )
        self.text = text.strip()
        self._shape: tuple[int, ...] = ()

    def draw(self, image: np.ndarray) -> None:
        """Draws the text into `image` (height, width, 3 or 4) uint8, in place."""
        if image.shape != self._shape:
            self._fit(image.shape)
        region = image[self._region]
        cv2.addWeighted(region, 1 - OPACITY, self._label, OPACITY, 0, dst=self._blended)
        region[:] = self._blended

    def _fit(self, shape: tuple[int, ...]) -> None:
        """Prepares the label for images of this shape."""
        height, width, channels = shape
        scale = max(MIN_HEIGHT, HEIGHT * height) / 21  # Hershey's capitals are 21 units tall
        (text_width, _), _ = cv2.getTextSize(self.text, FONT, scale, 1)
        scale *= min(1.0, 0.9 * width / text_width)
        thickness = max(1, round(1.6 * scale))
        (text_width, text_height), below = cv2.getTextSize(self.text, FONT, scale, thickness)
        pad = max(2, text_height // 2)
        rows = min(height, text_height + below + 2 * pad)
        columns = min(width, text_width + 2 * pad)
        self._label = np.zeros((rows, columns, channels), np.uint8)
        self._label[..., 3:] = 255
        cv2.putText(
            self._label,
            self.text,
            org=(pad, pad + text_height),
            fontFace=FONT,
            fontScale=scale,
            color=(255,) * channels,
            thickness=thickness,
            lineType=cv2.LINE_AA,
        )
        self._blended = np.empty_like(self._label)
        self._region = (slice(height - rows, height), slice(width - columns, width))
        self._shape = shape
