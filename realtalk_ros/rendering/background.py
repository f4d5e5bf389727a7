# SPDX-License-Identifier: Apache-2.0
"""What is shown behind a person who was cut out (cutout.py): nothing, a colour or a picture."""

from __future__ import annotations

import re

import cv2
import numpy as np

from realtalk_ros.avatar import image_decoding
from realtalk_ros.errors import RealTalkError, reason
from realtalk_ros.paths import exists, is_file

TRANSPARENT = "transparent"
WANTED = "a colour such as #20242a, or a PNG or JPEG"
MAX_BYTES, MAX_PIXELS = 32 * 2**20, 4096 * 4096  # of a picture


class Background:
    """`text` is a colour #rrggbb, the path of a picture, PNG or JPEG, whose middle fills the image,
    or, in images and not in a video, TRANSPARENT. Raises RealTalkError for what is none of them."""

    def __init__(self, text: str, *, video: bool = False):
        if text == TRANSPARENT and video:
            raise RealTalkError(f"background {text}: a video has no transparency; give {WANTED}")
        self.text, self.transparent = text, text == TRANSPARENT
        self._picture: np.ndarray = np.zeros((1, 1, 3), np.uint8)
        self._fitted = self._picture  # to the size of the last image
        if re.fullmatch("#[0-9a-fA-F]{6}", text):
            red, green, blue = bytes.fromhex(text[1:])
            self._picture[:] = blue, green, red
        elif not self.transparent:
            choices = "" if video else f"{TRANSPARENT}, "
            self._picture = _read(text, f"give {choices}{WANTED}")

    def behind(self, person: np.ndarray) -> np.ndarray:
        """A new image of a person (height, width, 4) uint8, BGR of premultiplied alpha, before this
        background: (height, width, 3), or with straight alpha (height, width, 4)."""
        alpha = cv2.extractChannel(person, 3)
        edge = np.flatnonzero((alpha != 0) & (alpha != 255))
        share = alpha.reshape(-1)[edge, None].astype(np.float32)
        colours = person.reshape(-1, 4)[edge, :3].astype(np.float32)
        if self.transparent:
            image = person.copy()
            own = np.minimum(colours * (255 / np.maximum(share, 1)) + 0.5, 255)
            image.reshape(-1, 4)[edge, :3] = own
            return image
        height, width = alpha.shape
        image = self._fit((width, height)).copy()
        cv2.copyTo(cv2.cvtColor(person, cv2.COLOR_BGRA2BGR), cv2.inRange(alpha, 255, 255), image)
        pixels = image.reshape(-1, 3)
        seen = colours + (1 - share / 255) * pixels[edge]
        pixels[edge] = np.minimum(seen + 0.5, 255)
        return image

    def _fit(self, size: tuple[int, int]) -> np.ndarray:
        """The picture's middle in an image of `size`, width and height."""
        if self._fitted.shape[1::-1] != size:
            height, width = self._picture.shape[:2]
            scale = max(size[0] / width, size[1] / height)
            # Cut out first: a thin picture, enlarged whole, would take gigabytes.
            wide, high = (max(round(s / scale), 1) for s in size)
            x, y = (width - wide) // 2, (height - high) // 2
            middle = self._picture[y : y + high, x : x + wide]
            method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            self._fitted = cv2.resize(middle, size, interpolation=method)
        return self._fitted


def opaque(image: np.ndarray) -> np.ndarray:
    """An image with straight alpha (height, width, 4) uint8 before black, (height, width, 3)."""
    share = cv2.cvtColor(cv2.extractChannel(image, 3), cv2.COLOR_GRAY2BGR)
    return cv2.multiply(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), share, scale=1 / 255)


def _read(path: str, wanted: str) -> np.ndarray:
    """A picture (height, width, 3) uint8 BGR. Raises RealTalkError; `wanted` says what to give."""
    if path.startswith("#"):
        raise RealTalkError(f"background {path[:200]!r} is no colour of six digits: {wanted}")
    try:
        # Others may block: a pipe, until somebody writes to it.
        if exists(path) and not is_file(path):
            raise RealTalkError(f"background {path[:200]!r} is no file: {wanted}")
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RealTalkError(f"background {path[:200]!r}: {reason(error)}; {wanted}") from error
    picture = None if len(data) > MAX_BYTES else image_decoding.decode(data, MAX_PIXELS)
    if picture is None:
        raise RealTalkError(f"background {path[:200]!r} is no picture of up to 16 megapixels: "
                            f"{wanted}")  # fmt: skip
    return picture
