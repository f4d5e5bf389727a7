# SPDX-License-Identifier: Apache-2.0
"""Expressions as a CSV file in the format of Epic's Live Link Face."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.whole_files import errors_of_writing, written_whole

# Live Link Face has its own order: jaw and mouth name Right before Left, the rest as Apple.
_SWAPPED = {
    "jawLeft": "jawRight",
    "jawRight": "jawLeft",
    "mouthLeft": "mouthRight",
    "mouthRight": "mouthLeft",
}
ORDER: tuple[int, ...] = tuple(arkit.INDEX[_SWAPPED.get(n, n)] for n in arkit.NAMES)
_ROTATIONS = (
    "HeadYaw", "HeadPitch", "HeadRoll",
    "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll",
)  # fmt: skip
COLUMNS: tuple[str, ...] = (
    "Timecode",
    "BlendShapeCount",
    *(arkit.NAMES[i][0].upper() + arkit.NAMES[i][1:] for i in ORDER),
    *_ROTATIONS,
)  # 2 + 52 + 9
VALUES = arkit.COUNT + len(_ROTATIONS)  # 61 in a row


def timecode(time: float, fps: float) -> str:
    """`HH:MM:SS:FF.mmm` of `time` s >= 0: FF counts frames at `fps`, mmm thousandths of one."""
    base = max(1, round(fps))
    # Round once, to thousandths of a frame, so that 0.9999 never prints as frame "25.000".
    ticks = round(max(time, 0.0) * base * 1000)
    frames, milli = divmod(ticks, 1000)
    seconds, frame = divmod(frames, base)
    hours, minutes = seconds // 3600 % 24, seconds // 60 % 60
    return f"{hours:02d}:{minutes:02d}:{seconds % 60:02d}:{frame:02d}.{milli:03d}"


@contextmanager
def live_link_csv(path: Path, fps: float) -> Iterator[LiveLinkWriter]:
    """A Live Link Face CSV, whole or not at all; a device or a pipe is written to as it is. Raises
    RealTalkError where it cannot be written; an error in the block stays what it is."""
    with ExitStack() as opened:
        with errors_of_writing(path):
            part = opened.enter_context(written_whole(path, straight=True))
            # newline="": the app ends lines with \n on every system, and so do we.
            file = opened.enter_context(open(part, "w", newline="", encoding="ascii"))
        try:
            yield LiveLinkWriter(file, fps, path)
        except BaseException:
            with suppress(OSError):  # of what the buffer holds still: the first error counts
                file.close()
            raise
        with errors_of_writing(path):
            opened.close()


class LiveLinkWriter:
    """Writes frames as a Live Link Face CSV (61 values a row; rotations in radians).

    Eye rotations are not modelled apart from the eyeLook coefficients and are written as 0. `path`
    is what errors name. Raises RealTalkError where it cannot be written.
    """

    def __init__(self, file: TextIO, fps: float, path: Path):
        self._file, self._fps, self._path = file, fps, path
        self._write_line(",".join(COLUMNS))

    def write(
        self, time: float, weights: np.ndarray, rotation: Iterable[float] = (0.0, 0.0, 0.0)
    ) -> None:
        """One frame: time in s, weights (52,) in ARKit order, rotation as of rotations.py, rad."""
        weights = np.asarray(weights, np.float64)
        if weights.shape != (arkit.COUNT,):
            raise ValueError(f"expected {arkit.COUNT} weights, got shape {weights.shape}")
        pitch, yaw, roll = (float(r) for r in rotation)
        values = [*weights[list(ORDER)], yaw, pitch, roll, *([0.0] * 6)]
        row = ",".join(f"{v:.8f}" for v in values)
        self._write_line(f"{timecode(time, self._fps)},{VALUES},{row}")

    def _write_line(self, line: str) -> None:
        with errors_of_writing(self._path):
            self._file.write(line + "\n")
