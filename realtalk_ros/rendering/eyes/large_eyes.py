# SPDX-License-Identifier: Apache-2.0
"""Blinks of eyes that are larger than the face model's, such as a drawing's (NumPy).

The face model's blink moves the lids by a length, whatever the eye: it would leave a large one
open.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.eyes.lid_curves import SHUT

BLINKS = "eyeBlinkRight", "eyeBlinkLeft"
LONGEST = 2.5  # times as far as the face model's, at most


def shutting(expressions: np.ndarray, lids: np.ndarray) -> np.ndarray:
    """`expressions` (52, M) of the lids (2, 2, N, 3) of one person at rest, cm: right and left eye,
    upper and lower lid. Blinks are so long that at most the share SHUT of the opening is left."""
    quarter = lids.shape[2] // 4
    middle = slice(quarter, -quarter)
    longer = expressions
    for eye, name in enumerate(BLINKS):
        row = arkit.INDEX[name]
        upper, lower = expressions[row].reshape(lids.shape)[eye, :, middle, 1]
        opening = float((lids[eye, 0, middle, 1] - lids[eye, 1, middle, 1]).mean())
        travel = float((lower - upper).mean())
        if (1 - SHUT) * opening > travel:
            if longer is expressions:
                longer = expressions.copy()
            longer[row].reshape(lids.shape)[eye] *= min((1 - SHUT) * opening / travel, LONGEST)
    return longer
