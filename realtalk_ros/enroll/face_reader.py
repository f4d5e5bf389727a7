# SPDX-License-Identifier: Apache-2.0
"""The face reader (face_reader.onnx): a person's shape, better than from the tracker's mesh alone.

MediaPipe's mesh is biased towards an average face. The reader was trained on synthetic people whose
shape is known (as in Wood et al., arXiv 2109.15102 and 2204.02776; training/face_reader/). In a
picture where the tracker has found a face it predicts the 68 landmarks and the identity. The
identity fitted to the landmarks and the predicted one have different errors. Their mean is better
than either. Needs SciPy (extra `enroll`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realtalk_ros import onnx_session
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.enroll import fit
from realtalk_ros.enroll import mediapipe_points as table
from realtalk_ros.enroll.picture_layout import Layout
from realtalk_ros.face_model import landmarks

FILE = "face_reader.onnx"  # see training/face_reader/train.py
# Standard deviation of the predicted landmarks, cm: jaw, brows (too high in photographs), nose,
# eyes, lips.
SIGMA = np.repeat((0.06, 0.2, 0.03, 0.025, 0.04), (17, 10, 9, 12, 20))
PREDICTED_SHARE = 0.5  # of the predicted identity; the rest is the fitted one
# Median, share of the crop's side: beyond it the reader has found something else than the mesh.
MAX_APART = 0.03

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """Of one picture."""

    points: np.ndarray  # (68, 2) pixels
    identity: np.ndarray  # (100,)


class FaceReader:
    """Reads a face that the tracker has found. Raises ModelError for a broken file."""

    def __init__(self) -> None:
        self._session = onnx_session.session(onnx_session.MODEL_DIR / FILE, threads=2)

    def read(self, picture: np.ndarray, mesh: np.ndarray) -> Reading:
        """Of a picture (H, W, 3) uint8 BGR, whose face lies at fit.mesh_model's points (154, 2)."""
        layout = upright(mesh)
        (image,) = self._session.get_inputs()  # older files call it otherwise
        found, identity = self._session.run(None, {image.name: layout.apply(picture)})
        turn, shift = layout.matrix[:, :2], layout.matrix[:, 2]
        # Half a pixel: OpenCV counts from the middle of the first one, landmarks from its corner.
        return Reading((found - 0.5 - shift) @ np.linalg.inv(turn).T + 0.5, identity)


def upright(mesh: np.ndarray) -> Layout:
    """The face's square (landmarks.level_square) by the mesh's points."""
    middle, side, across = landmarks.level_square(mesh[table.EYES], mesh[table.LIPS])
    turn = CROP_SIZE / max(float(side), 1e-3) * np.array([across, (-across[1], across[0])])
    shift = CROP_SIZE / 2 - turn @ middle
    shift = shift + turn @ (0.5, 0.5) - 0.5
    return Layout(
        np.column_stack([turn, shift]),
        (CROP_SIZE, CROP_SIZE),
        (0, 0, CROP_SIZE),
    )


def reading_distance(who: fit.Fit, number: int, read: Reading) -> float:
    """Median distance of what was read in a picture from the fit to it, of the crop's side."""
    pose, weights = who.poses[number], who.weights[number]
    points = landmarks.load().points(weights, who.identity).astype(np.float64)
    apart = np.linalg.norm(pose.project(points) - read.points, axis=1)
    return float(np.median(apart) / (table.SIDE * pose.scale))


def refine_identity(who: fit.Fit, read: Sequence[Reading]) -> np.ndarray:
    """Identity (100,) by the readings of n pictures in which the tracker has found `who`. Pictures
    where the two do not agree on the face do not count. If most do not, the tracker's identity is
    returned. A picture does not show how large a head is: it is taken to be of mean size."""
    near = [one for k, one in enumerate(read) if reading_distance(who, k, one) < MAX_APART]
    if 2 * len(near) < len(read) or not near:
        log.warning("the face's shape is the tracker's: the reader sees another one")
        return who.identity
    seen = fit.marks_model(range(landmarks.COUNT), SIGMA)  # as the reader sees them
    fitted = fit.fit(seen, np.stack([one.points for one in near]), distance=None).identity
    predicted = np.mean([one.identity for one in near], 0)
    return PREDICTED_SHARE * predicted + (1 - PREDICTED_SHARE) * fitted


def shapes_apart(first: np.ndarray, second: np.ndarray) -> float:
    """How far two identities (100,) that were read are apart, in shares of their lengths (geometric
    mean)."""
    lengths = [float(np.linalg.norm(shape)) for shape in (first, second)]
    return float(np.linalg.norm(first - second)) / max(np.sqrt(np.prod(lengths)), 1e-6)
