# SPDX-License-Identifier: Apache-2.0
"""Films of which a part is missing: FFmpeg leaves out what it cannot read, and says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from realtalk_ros.enroll.video_reader import open_video

PAUSE = 0.5  # s between two pictures, which no camera leaves
USUAL = 5  # times the usual time between two: films of fewer pictures a second have no gap
CUT = 1.0  # s by which pictures may end before the film: its sound may be longer


def notes(path: Path, times: np.ndarray, seconds: float = np.inf) -> list[str]:
    """What is missing of the pictures of a film, of which those at `times` (N,) s were read, up to
    `seconds` after the first one; one line each, mostly none. Raises RealTalkError."""
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 0.0
    found = []
    gaps = np.flatnonzero(steps > max(PAUSE, USUAL * usual))
    if len(gaps):
        lost, first = float(steps[gaps].sum()), float(times[gaps[0]] - times[0])
        found.append(
            f"{path} has no pictures for {lost:.1f} s, from {first:.1f} s on: if it is damaged, "
            "get it again"
        )
    stated, read = open_video(path).stated, float(times[-1] - times[0]) + usual
    if stated is not None and min(stated, seconds) - read > CUT:
        found.append(
            f"the pictures of {path} end at {read:.1f} of its {stated:.1f} s: if it is damaged or "
            "cut short, get it again"
        )
    return found
