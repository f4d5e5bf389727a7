# SPDX-License-Identifier: Apache-2.0
"""The lids and eyeballs of the face model, as they come with the package (NumPy)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from realtalk_ros.face_model import arkit, bundled_arrays, landmarks


class EyesModel:
    """The edges of the lids and the eyeballs of the mean face, and what moves them.

    lids (2, 2, N, 3) cm: right and left eye, upper and lower lid, points from the person's right to
    the left. expressions (52, 12 N), modes (100, 2, 2, N, 3): their movement by weights and
    identity. balls (2, 3) cm: the eyeballs' centres; ball_modes (100, 2, 3). interpolation (2, 2,
    N, 12), by which the residuals of the eyes' landmarks are taken to the points, see `Eyes`.
    training/synthetic/facekit_eyes.py makes the file that they are read from.
    """

    def __init__(self) -> None:
        names = "lids", "lids_expressions", "lids_modes", "balls", "balls_modes"
        self.lids, expressions, self.modes, self.balls, self.ball_modes = (
            np.asarray(array, np.float32) for array in bundled_arrays.read("eyes", names)
        )
        self.expressions = expressions.reshape(arkit.COUNT, -1)
        self.interpolation = landmarks.interpolation_weights(self.lids, landmarks.EYES)


@lru_cache(maxsize=1)
def load() -> EyesModel:
    """The model that comes with the package. Raises RealTalkError for a damaged file."""
    return EyesModel()
