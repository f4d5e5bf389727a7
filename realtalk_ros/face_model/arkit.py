# SPDX-License-Identifier: Apache-2.0
"""Apple ARKit's 52 expression coefficients: names, order, face model's names, Live Link's CSV.

A coefficient is 0 (neutral) to 1 (full). `Left` and `Right` are the subject's own. `jawOpen` moves
the lips with the jaw; `mouthClose` closes the lips independently of the jaw, so lips are shut with
the jaw open at mouthClose == jawOpen (Apple, ARFaceAnchor.BlendShapeLocation.mouthClose).
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

import numpy as np

from realtalk_ros.whole_files import errors_of_writing, written_whole

# Order of Apple's documentation of ARFaceAnchor.BlendShapeLocation; FaceExpression.msg uses it.
NAMES: tuple[str, ...] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft",
    "eyeSquintLeft", "eyeWideLeft",
    "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight",
    "jawForward", "jawLeft", "jawRight", "jawOpen",
    "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthUpperUpLeft", "mouthUpperUpRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight",
    "tongueOut",
)  # fmt: skip
COUNT = len(NAMES)  # 52
INDEX: dict[str, int] = {name: i for i, name in enumerate(NAMES)}
MOUTH: tuple[int, ...] = tuple(
    i for i, n in enumerate(NAMES) if n.startswith(("jaw", "mouth", "cheekPuff", "tongue"))
)

# Live Link Face has its own order: jaw and mouth name Right before Left, the rest as Apple.
_LIVE_LINK_SWAPPED = {
    "jawLeft": "jawRight",
    "jawRight": "jawLeft",
    "mouthLeft": "mouthRight",
    "mouthRight": "mouthLeft",
}
LIVE_LINK_ORDER: tuple[int, ...] = tuple(INDEX[_LIVE_LINK_SWAPPED.get(n, n)] for n in NAMES)
_LIVE_LINK_ROTATIONS = (
    "HeadYaw", "HeadPitch", "HeadRoll",
    "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch", "RightEyeRoll",
)  # fmt: skip
LIVE_LINK_COLUMNS: tuple[str, ...] = (
    "Timecode",
    "BlendShapeCount",
    *(NAMES[i][0].upper() + NAMES[i][1:] for i in LIVE_LINK_ORDER),
    *_LIVE_LINK_ROTATIONS,
)  # 2 + 52 + 9
LIVE_LINK_COUNT = COUNT + len(_LIVE_LINK_ROTATIONS)  # 61


def indices(*names: str) -> list[int]:
    """Where these coefficients are; a name without its side stands for both, Left first. Raises
    KeyError for an unknown one."""
    sides = ((n,) if n in INDEX else (f"{n}Left", f"{n}Right") for n in names)
    return [INDEX[name] for full in sides for name in full]


def weights(**named: float) -> np.ndarray:
    """(52,) float32, 0 but for those named, as of `indices`. Raises KeyError."""
    out = np.zeros(COUNT, np.float32)
    for name, value in named.items():
        out[indices(name)] = value
    return out


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
def live_link_csv(path: Path, fps: float) -> Iterator["LiveLinkWriter"]:
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
            with suppress(OSError):  # of what the buffer holds still: the first error is told
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
        self._write_line(",".join(LIVE_LINK_COLUMNS))

    def write(
        self, time: float, weights: np.ndarray, rotation: Iterable[float] = (0.0, 0.0, 0.0)
    ) -> None:
        """One frame: time in s, weights (52,) in ARKit order, rotation as of rotations.py, rad."""
        weights = np.asarray(weights, np.float64)
        if weights.shape != (COUNT,):
            raise ValueError(f"expected {COUNT} weights, got shape {weights.shape}")
        pitch, yaw, roll = (float(r) for r in rotation)
        values = [*weights[list(LIVE_LINK_ORDER)], yaw, pitch, roll, *([0.0] * 6)]
        row = ",".join(f"{v:.8f}" for v in values)
        self._write_line(f"{timecode(time, self._fps)},{LIVE_LINK_COUNT},{row}")

    def _write_line(self, line: str) -> None:
        with errors_of_writing(self._path):
            self._file.write(line + "\n")
