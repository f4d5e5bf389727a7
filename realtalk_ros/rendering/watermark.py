"""A visible mark in a corner of the picture: that this face is not a recording."""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.errors import RealTalkError

DEFAULT = "AI-generated"
MAX_LENGTH = 40  # characters
HEIGHT = 0.028  # of the capital letters, share of the picture's height
MIN_HEIGHT = 8  # pixels of them, where the picture is wide enough
OPACITY = 0.6  # white letters on black stay legible on any picture at this
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Watermark:
    """`text` in the lower right corner. Raises RealTalkError for what cannot be written there."""

    def __init__(self, text: str):
        if not 0 < len(text.strip()) <= MAX_LENGTH or not (text.isascii() and text.isprintable()):
            raise RealTalkError(
                f"mark {text[:60]!r}: give 1 to {MAX_LENGTH} characters of ASCII, the only ones "
                "that OpenCV draws"
            )
        self.text = text.strip()
        self._shape: tuple[int, ...] = ()

    def draw(self, image: np.ndarray) -> None:
        """Into `image` (height, width, 3) uint8, in place."""
        if image.shape != self._shape:
            self._fit(image.shape)
        region = image[self._roi]
        cv2.addWeighted(region, 1 - OPACITY, self._plate, OPACITY, 0, dst=self._mixed)
        region[:] = self._mixed

    def _fit(self, shape: tuple[int, ...]) -> None:
        """The plate with the text, for pictures of this shape."""
        height, width = shape[:2]
        scale = max(MIN_HEIGHT, HEIGHT * height) / 21  # Hershey's capitals are 21 units tall
        (long, _), _ = cv2.getTextSize(self.text, FONT, scale, 1)
        scale *= min(1.0, 0.9 * width / long)
        thick = max(1, round(1.6 * scale))
        (long, tall), below = cv2.getTextSize(self.text, FONT, scale, thick)
        pad = max(2, tall // 2)
        rows, columns = min(height, tall + below + 2 * pad), min(width, long + 2 * pad)
        self._plate = np.zeros((rows, columns, 3), np.uint8)
        cv2.putText(self._plate, self.text, (pad, pad + tall), FONT, scale, (255, 255, 255), thick,
                    cv2.LINE_AA)  # fmt: skip
        self._mixed = np.empty_like(self._plate)
        self._roi = (slice(height - rows, height), slice(width - columns, width))
        self._shape = shape
