# SPDX-License-Identifier: Apache-2.0
"""Who it is, told more surely than by the tracker's mesh alone.

MediaPipe's mesh is drawn towards the face that it expects. Our own reader, trained on people of the
studio whose shape is known (synthetic faces, as Wood et al., arXiv 2109.15102 and 2204.02776), says
where the 68 landmarks lie in a picture that the tracker has found a face in, and what it takes the
identity for; what is fitted to the landmarks and what it tells are wrong in ways of their own, so
that their mean is better than either. Needs SciPy (extra `enroll`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realtalk_ros import onnx_session
from realtalk_ros.enroll import fit, photo_to_avatar
from realtalk_ros.enroll import mediapipe_points as table
from realtalk_ros.face_model import landmarks

FILE = "face_reader.onnx"  # see training/face_reader/train.py
# How far the reader's landmarks lie from where they are, cm: jaw, brows (of photos it puts them too
# high), nose, eyes, lips.
SIGMA = np.repeat((0.06, 0.2, 0.03, 0.025, 0.04), (17, 10, 9, 12, 20))
TOLD = 0.5  # share of what the reader tells of the identity; the rest is what is fitted
MAX_APART = 0.03  # of the crop's side, median: so far from the mesh it has seen something else

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reading:
    """Of one picture."""

    points: np.ndarray  # (68, 2) pixels
    identity: np.ndarray  # (100,)


class ShapeReader:
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


def upright(mesh: np.ndarray) -> photo_to_avatar.Layout:
    """The face's square (landmarks.level_square) by the mesh's points."""
    middle, side, across = landmarks.level_square(mesh[table.EYES], mesh[table.LIPS])
    turn = (
        photo_to_avatar.CROP / max(float(side), 1e-3) * np.array([across, (-across[1], across[0])])
    )
    shift = photo_to_avatar.CROP / 2 - turn @ middle
    shift = shift + turn @ (0.5, 0.5) - 0.5
    return photo_to_avatar.Layout(
        np.column_stack([turn, shift]),
        (photo_to_avatar.CROP, photo_to_avatar.CROP),
        (0, 0, photo_to_avatar.CROP),
    )


def finer(who: fit.Fit, read: Sequence[Reading]) -> np.ndarray:
    """Identity (100,) by what the reader sees in n pictures in which `who` was found by the
    tracker. Pictures in which the two do not see the same face count for nothing; where that is
    most of them, it is the tracker's. Nothing tells how large a head is: it is of mean size."""
    model, near = landmarks.load(), []
    for weights, pose, found in zip(who.weights, who.poses, read, strict=True):
        points = model.points(weights, who.identity).astype(np.float64)
        apart = np.linalg.norm(pose.project(points) - found.points, axis=1)
        if np.median(apart) < MAX_APART * table.SIDE * pose.scale:
            near.append(found)
    if 2 * len(near) < len(read) or not near:
        log.warning("the face's shape is the tracker's: the reader sees another one")
        return who.identity
    seen = fit.marks_model(range(landmarks.COUNT), SIGMA)  # as the reader sees them
    fitted = fit.fit(seen, np.stack([one.points for one in near]), distance=None).identity
    told = np.mean([one.identity for one in near], 0)
    return TOLD * told + (1 - TOLD) * fitted
