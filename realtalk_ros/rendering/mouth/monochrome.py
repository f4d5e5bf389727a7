# SPDX-License-Identifier: Apache-2.0
"""Black-and-white and toned photographs: what the networks draw takes their tone."""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar

BIN = 16  # grey levels that share a tone
TONED = 4.0  # grey levels by which 19 of 20 pixels of a toned photograph are off its tone, at most


def tone_of(avatar: Avatar) -> np.ndarray | None:
    """`tone` of an avatar's face."""
    x, y, side = avatar.crop
    return tone(avatar.templates[0][y : y + side, x : x + side])


def tone(image: np.ndarray) -> np.ndarray | None:
    """The colour of each grey level of a monochrome image (H, W, 3) uint8 BGR: (1, 256, 3) uint8.
    None where colours differ at one grey level."""
    pixels = image.reshape(-1, 3).astype(np.float32)
    light = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).reshape(-1)
    colour = pixels - light[:, None]
    bins = (light // BIN).astype(np.intp)
    count = np.bincount(bins, minlength=256 // BIN)
    used = np.flatnonzero(count)
    means = np.stack(
        [np.bincount(bins, channel, 256 // BIN)[used] / count[used] for channel in colour.T]
    )
    levels = np.arange(256)
    middle = BIN * used + (BIN - 1) / 2
    tones = np.stack([np.interp(levels, middle, channel) for channel in means], -1)
    off = np.abs(colour - tones[light]).max(-1)
    if np.quantile(off, 0.95) > TONED:
        return None
    return np.clip(np.rint(levels[:, None] + tones), 0, 255).astype(np.uint8)[None]


def toned(image: np.ndarray, tones: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8 BGR in the tones (1, 256, 3) of `tone`."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.LUT(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), tones)
