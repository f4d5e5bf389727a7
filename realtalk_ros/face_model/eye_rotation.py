# SPDX-License-Identifier: Apache-2.0
"""How far ARKit's eyeLook weights turn the eyeballs."""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model import arkit

# Rotation of an eyeball at eyeLook* = 1 (the face model's own eyeLook shapes move the lids only).
# The people that the networks learned from, data/fit.npz and the shown face all turn by these.
EYE_YAW = np.radians(30.0)
EYE_PITCH = np.radians(24.0)
# Weights that turn both eyes, in the subject's own directions.
RIGHTWARD = arkit.indices("eyeLookInLeft", "eyeLookOutRight")
LEFTWARD = arkit.indices("eyeLookOutLeft", "eyeLookInRight")
UPWARD, DOWNWARD = arkit.indices("eyeLookUp"), arkit.indices("eyeLookDown")


def gaze_weights(left: float, up: float) -> np.ndarray:
    """(52,) ARKit weights of both eyes that look `left` (the subject's) and `up`, each -1 to 1."""
    weights = arkit.weights()
    weights[LEFTWARD if left > 0 else RIGHTWARD] = abs(left)
    weights[UPWARD if up > 0 else DOWNWARD] = abs(up)
    return weights


def gaze_angles(weights: np.ndarray, side: str) -> tuple[float, float]:
    """(pitch, yaw) rad of one eyeball ("Left" or "Right") from its eyeLook* weights, as
    rotations.py defines them."""
    look = {
        d: float(weights[arkit.INDEX[f"eyeLook{d}{side}"]]) for d in ("Up", "Down", "In", "Out")
    }
    outwards = look["Out"] - look["In"]
    yaw = EYE_YAW * (outwards if side == "Left" else -outwards)
    return EYE_PITCH * (look["Down"] - look["Up"]), yaw
