# SPDX-License-Identifier: Apache-2.0
"""Which frames of a tracked video are worth learning from.

`FrameStatistics` looks at the frames as they pass by on their way to the tracker. `spans` cuts the
video into stretches in which one face is seen well, and counts the rest by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Protocol

import cv2
import numpy as np

from realtalk_ros.enroll.face_tracks import Track

MIN_SIDE = 110  # pixels of the face's square, of which the network makes 256
MAX_YAW, MAX_PITCH = np.radians(30), np.radians(25)  # of the synthetic people
MAX_JUMP = 0.08  # of the square's side, from one frame to the next: another face, or a lost track
MAX_OUTSIDE = 0.12  # of the square's side may stick out of the picture
CUT = 0.35  # histogram distance of two frames that belong to two shots
MIN_SPAN = 2.0  # s
MAX_GAP = 0.25  # s from one frame to the next; a longer hole in the video ends a span
# Of `FrameStatistics.sharpness`; measured on synthetic faces: see docs/data.md.
MIN_SHARPNESS = 0.3
SCALES = (128, 256, 512)  # heights of a frame at which its sharpness is looked at
CELLS = 16  # of a frame, along each side


class VideoTracker(Protocol):
    """Sees the frames of one video in their order, and only once."""

    def track(self, frames: Iterable[tuple[float, np.ndarray]]) -> Track:
        """frames: time in s and uint8 BGR (h, w, 3). Returns a row for each."""


class FrameStatistics:
    """Passes frames on and keeps, of each, what tells shots and blur apart (some 3 kB)."""

    def __init__(self) -> None:
        self.size = (0, 0)  # width, height
        self._last: np.ndarray | None = None
        self._changes: list[float] = []
        self._detail: list[np.ndarray] = []  # (SCALES, CELLS, CELLS)

    def collect(self, frames: Iterable[tuple[float, np.ndarray]]) -> Iterator:
        for time, image in frames:
            height, width = image.shape[:2]
            self.size = width, height
            now = histogram(image)
            self._changes.append(0.0 if self._last is None else distance(self._last, now))
            self._last = now
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
            self._detail.append(np.stack([detail(grey, scale) for scale in SCALES]))
            yield time, image

    def cuts(self) -> np.ndarray:
        """(N,) bool: a new shot begins here."""
        return np.array(self._changes) > CUT

    def sharpness(self, squares: np.ndarray) -> np.ndarray:
        """(N,) how much fine detail the face's square (N, 3) has, from its own picture's edges:
        the mean of `detail` inside of it, at the scale at which it is some 128 pixels large."""
        width, height = self.size
        found = np.zeros(len(squares))
        for k, (x, y, side) in enumerate(squares):
            scale = int(np.argmin([abs(np.log(max(side, 1) * s / height / 128)) for s in SCALES]))
            rows, columns = (
                slice(*np.clip([(m - side / 3) / e * CELLS, (m + side / 3) / e * CELLS + 1],
                               0, CELLS).astype(int))
                for m, e in ((y, height), (x, width))
            )  # fmt: skip
            part = self._detail[k][scale, rows, columns]
            found[k] = np.median(part) if part.size else 0.0
        return found


def histogram(image: np.ndarray) -> np.ndarray:
    """Of the colours in each of 2 x 2 parts, which a head that moves changes little."""
    tiny = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)
    halves, parts = (slice(None, 32), slice(32, None)), []
    for rows in halves:
        for columns in halves:
            part = np.ascontiguousarray(tiny[rows, columns])
            parts.append(cv2.calcHist([part], [0, 1, 2], None, [4, 4, 4], [0, 256] * 3).ravel())
    return np.concatenate(parts) / (64 * 64)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Of two histograms, 0 (the same) to 1 (nothing in common)."""
    return float(1 - np.minimum(a, b).sum())


def detail(grey: np.ndarray, height: int) -> np.ndarray:
    """(CELLS, CELLS) float16: second against first differences of a picture of that height: some
    1 for fine detail, towards 0 for what was blurred or enlarged. Contrast does not matter."""
    width = max(CELLS, round(grey.shape[1] * height / grey.shape[0]))
    scaled = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    slope = np.abs(cv2.Sobel(scaled, -1, 1, 0, ksize=1)) + np.abs(
        cv2.Sobel(scaled, -1, 0, 1, ksize=1)
    )
    fine = np.abs(cv2.Laplacian(scaled, -1, ksize=1))
    slope, fine = (cv2.resize(x, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
                   for x in (slope, fine))  # fmt: skip
    return (fine / (slope + 1.0)).astype(np.float16)


def spans(track: Track, statistics: FrameStatistics) -> tuple[list[range], Counter[str]]:
    """Stretches of good frames, and how many frames each reason left out."""
    squares = track.squares()
    (x, y, side), (width, height) = squares.T, statistics.size
    out = np.max([side / 2 - x, x + side / 2 - width, side / 2 - y, y + side / 2 - height], 0)
    steps = np.abs(np.diff(squares, axis=0, prepend=squares[:1])).max(1) / np.maximum(side, 1)
    one = track.faces == 1
    steps[1:][~one[:-1]] = 0
    cuts, gaps = statistics.cuts(), np.diff(track.time, prepend=track.time[:1]) > MAX_GAP
    steps[cuts | gaps] = 0
    reasons = (
        ("no face", track.faces == 0),
        ("several faces", track.faces > 1),
        ("face too small", side < MIN_SIDE),
        ("turned away", (np.abs(track.rotation[:, :2]) > (MAX_PITCH, MAX_YAW)).any(1)),
        ("face leaves the picture", out > MAX_OUTSIDE * side),
        ("track jumps", steps > MAX_JUMP),
        ("blurred", statistics.sharpness(squares) < MIN_SHARPNESS),
    )
    why = np.full(len(track), "", object)
    for name, bad in reasons:
        why[bad & (why == "")] = name
    left_out = Counter(str(name) for name in why if name)
    found, begin = [], 0
    for k in range(len(track) + 1):
        ends = k == len(track) or bool(why[k]) or cuts[k] or gaps[k]
        if not ends:
            continue
        if k > begin:
            if track.time[k - 1] - track.time[begin] >= MIN_SPAN:
                found.append(range(begin, k))
            else:
                left_out["stretch too short"] += k - begin
        begin = k + 1 if k < len(track) and why[k] else k
    return found, left_out
