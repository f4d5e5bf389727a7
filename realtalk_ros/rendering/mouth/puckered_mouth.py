# SPDX-License-Identifier: Apache-2.0
"""How far a mouth that is puckered goes down.

The face model's mouthPucker lifts the corners of the mouth by 0.2 cm. In rounded sounds eleven
people of GRID have their mouths and chins lower, and their noses not: by 0.8 cm (0.2 to 1.5) more
than they were drawn, for each mouthPucker of 1 that the network gave for the sound. It is not given
wherever they round their lips, so landmarks are met best with less (docs/experiments.md). Drawings
and machines may show in their own pictures how their mouths pucker: those follow the face model.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model import arkit, landmarks

PUCKER = arkit.INDEX["mouthPucker"]
DOWN = 0.5  # cm for mouthPucker 1
# The share of it by which landmarks go down: mouth and chin, less of the jaw's sides.
SHARE = np.zeros(landmarks.COUNT, np.float32)
SHARE[landmarks.LIPS] = 1
SHARE[3:14] = (0.1, 0.3, 0.6, 0.9, 1, 1, 1, 0.9, 0.6, 0.3, 0.1)


def lowered(weights: np.ndarray) -> float:
    """Cm by which weights (52,) take mouth and chin farther down than the face model does."""
    return DOWN * float(weights[PUCKER])
