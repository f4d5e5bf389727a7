"""Who it is, told more surely than by the tracker's mesh alone.

MediaPipe's mesh is drawn towards the face that it expects. Our own reader, trained on people of the
studio whose shape is known (synthetic faces, as Wood et al., arXiv 2109.15102 and 2204.02776), says
where the 68 landmarks lie in a picture that the tracker has found a face in; identity is fitted to
those. Needs SciPy (extra `enroll`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from realtalk_ros import landmarks, models
from realtalk_ros.enroll import fit, portrait
from realtalk_ros.enroll import points as table

FILE = "face_reader.onnx"  # see renderer/shape_reader.py
# How far the reader's landmarks lie from where they are, cm: jaw, brows (of photos it puts them too
# high), nose, eyes, lips.
SIGMA = np.repeat((0.06, 0.2, 0.03, 0.025, 0.04), (17, 10, 9, 12, 20))
MAX_APART = 0.03  # of the crop's side, median: so far from the mesh it has seen something else

log = logging.getLogger(__name__)


class ShapeReader:
    """68 landmarks of a face that the tracker has found. Raises ModelError for a broken file."""

    def __init__(self) -> None:
        self._session = models.session(models.MODEL_DIR / FILE, threads=2)

    def read(self, picture: np.ndarray, mesh: np.ndarray) -> np.ndarray:
        """(68, 2) pixels of a picture (H, W, 3) uint8 BGR, whose face lies at fit.mesh_model's
        points (154, 2)."""
        layout = upright(mesh)
        (found,) = self._session.run(None, {"picture": layout.apply(picture)})
        turn, shift = layout.matrix[:, :2], layout.matrix[:, 2]
        # Half a pixel: OpenCV counts from the middle of the first one, landmarks from its corner.
        return (found - 0.5 - shift) @ np.linalg.inv(turn).T + 0.5


def upright(mesh: np.ndarray) -> portrait.Layout:
    """The face's square (landmarks.level_square) by the mesh's points."""
    middle, side, across = landmarks.level_square(mesh[table.EYES], mesh[table.LIPS])
    turn = portrait.CROP / max(side, 1e-3) * np.array([across, (-across[1], across[0])])
    shift = portrait.CROP / 2 - turn @ middle
    shift = shift + turn @ (0.5, 0.5) - 0.5
    return portrait.Layout(
        np.column_stack([turn, shift]), (portrait.CROP, portrait.CROP), (0, 0, portrait.CROP)
    )


def finer(who: fit.Fit, read: Sequence[np.ndarray]) -> np.ndarray:
    """Identity (100,) by the reader's landmarks (n, 68, 2) of n pictures in which `who` was found
    by the tracker. Pictures in which the two do not see the same face count for nothing; where that
    is most of them, it is the tracker's. Nothing tells how large a head is: it is of mean size."""
    model, near = landmarks.load(), []
    for weights, pose, found in zip(who.weights, who.poses, read, strict=True):
        points = model.points(weights, who.identity).astype(np.float64)
        apart = np.linalg.norm(pose.project(points) - found, axis=1)
        near.append(np.median(apart) < MAX_APART * table.SIDE * pose.scale)
    if 2 * sum(near) < len(near) or not near:
        log.warning("the face's shape is the tracker's: the reader sees another one")
        return who.identity
    seen = fit.marks_model(range(landmarks.COUNT), SIGMA)  # as the reader sees them
    return fit.fit(seen, np.stack(read)[np.array(near)], distance=None).identity
