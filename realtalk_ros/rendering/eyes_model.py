# SPDX-License-Identifier: Apache-2.0
"""The lids and eyeballs of the face model, as they come with the package (NumPy)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks

FILE = Path(__file__).parents[1] / "data" / "eyes.npz"


class EyesModel:
    """The edges of the lids and the eyeballs of the mean face, and what moves them.

    lids (2, 2, N, 3) cm: right and left eye, upper and lower lid, points from the person's right to
    the left. lids_expressions (52, ...), lids_modes (100, ...): their movement by weights and
    identity. balls (2, 3) cm: the eyeballs' centres; balls_modes (100, 2, 3).
    training/synthetic/facekit_eyes.py makes them.
    """

    def __init__(self, arrays: dict[str, np.ndarray]):
        try:
            self.lids, self.expressions, self.modes, self.balls, self.ball_modes = (
                np.asarray(arrays[name], np.float32)
                for name in ("lids", "lids_expressions", "lids_modes", "balls", "balls_modes")
            )
        except KeyError as error:
            raise RealTalkError(f"the eyes' model lacks {error}: reinstall realtalk_ros") from error
        self.expressions = self.expressions.reshape(arkit.COUNT, -1)
        # How the landmarks' residuals are interpolated to the points, see `Eyes`.
        self.interpolation = landmarks.interpolation_weights(self.lids, landmarks.EYES)


@lru_cache(maxsize=1)
def load() -> EyesModel:
    """The model that comes with the package."""
    with np.load(FILE, allow_pickle=False) as data:
        return EyesModel({name: data[name] for name in data})
