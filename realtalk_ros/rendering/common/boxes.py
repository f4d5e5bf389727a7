# SPDX-License-Identifier: Apache-2.0
"""Rectangular parts of images."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

Box = tuple[slice, slice]  # rows and columns
# Pixels that are made at a time: more would not stay in the processor's cache, and each OpenCV call
# of two threads may cost a wait for Python's lock.
BAND_PIXELS = 90_000


def bounding_box(levels: np.ndarray) -> Box:
    """Of what is not 0 in (H, W) uint8; an empty box where all is."""
    x, y, width, height = cv2.boundingRect(levels)
    return slice(y, y + height), slice(x, x + width)


def is_empty(box: Box) -> bool:
    return any(side.start >= side.stop for side in box)


def grown(box: Box, margin: int, size: int) -> Box:
    """A box with a margin, within a picture of `size` x `size` pixels."""
    rows, columns = (
        slice(max(side.start - margin, 0), min(side.stop + margin, size)) for side in box
    )
    return rows, columns


def nested(outer: Box, box: Box) -> Box:
    """A box that is counted from the corner of another one, `outer`, as a box of the image."""
    rows, columns = (
        slice(whole.start + some.start, whole.start + some.stop)
        for whole, some in zip(outer, box, strict=True)
    )
    return rows, columns


def around(box: Box, shape: tuple[int, ...]) -> Iterator[Box]:
    """The parts of an image of `shape` beside a box: above, below, left and right of it."""
    (rows, columns), (height, width) = box, shape[:2]
    for part in (
        (slice(0, rows.start), slice(0, width)),
        (slice(rows.stop, height), slice(0, width)),
        (rows, slice(0, columns.start)),
        (rows, slice(columns.stop, width)),
    ):
        if not is_empty(part):
            yield part


def bands(box: Box, pixels: int = BAND_PIXELS) -> Iterator[Box]:
    """A box in parts of whole rows, of at most so many pixels or one row."""
    rows, columns = box
    step = max(pixels // max(columns.stop - columns.start, 1), 1)
    for row in range(rows.start, rows.stop, step):
        yield slice(row, min(row + step, rows.stop)), columns
