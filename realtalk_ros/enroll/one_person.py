# SPDX-License-Identifier: Apache-2.0
"""Whether a video shows one person all the time. Of one that cuts from somebody to somebody else
the face that is fitted would be a mean of both: the shape of a third person, and in an avatar a
mouth of either. Needs the extra `enroll`.

    seen = SeenFaces()
    for image, face in ...:     # as the tracker finds them: the video is read once
        seen.add(image, face.points)
    notes = check_one_person(path, seen.apart())
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from realtalk_ros.enroll import fit
from realtalk_ros.enroll.face_embedding import MAX_FACES_APART, FaceEmbedding
from realtalk_ros.enroll.face_reader import FaceReader, shapes_apart
from realtalk_ros.enroll.mediapipe_points import (
    EYE_CORNERS,
    LIP_MIDDLES,
    distance,
    nose_off_middle,
)
from realtalk_ros.errors import RealTalkError

FRAMES = 16  # that are looked at, up to twice as many, spread over the video
FEW, SHARE = 3, 3 / 16  # frames of another face that do not matter yet: some may be misread
ROUNDS = 8  # of moving frames from one group to the other
TURNED = 4  # of what counts against a face, beside its open mouth
# Without dlib's network: of the mean shapes of two groups of frames. Set on films made of moved
# stills of the London set. Of 19 people, each neutral in one half and smiling in the other: at
# most 0.61. Of two people (39 films): 37 are above 0.85, and 2, of one pair, at 0.80.
MAX_SHAPES_APART, SURE_SHAPES_APART = 0.85, 0.7


class _Face(NamedTuple):
    moved: float  # by how much it is not at rest, or turned away
    shape: np.ndarray  # (100,) identity
    embedding: np.ndarray | None  # (128,) of dlib's network, where that is installed


class SeenFaces:
    """The faces of one video, of each part of it the one that does the least. The more frames come,
    the longer are the parts: memory does not grow."""

    def __init__(self) -> None:
        self._reader, self._model = FaceReader(), fit.mesh_model()
        self._network, _ = FaceEmbedding.if_installed()
        self._faces: list[_Face] = []
        self._part, self._count = 1, 0  # frames of a part, and of this one so far
        self._calmest: tuple[float, np.ndarray, np.ndarray] | None = None  # of this part

    def add(self, image: np.ndarray, points: np.ndarray) -> None:
        """The only face of a frame: MediaPipe's points (478, 2) in a uint8 BGR image."""
        moved = movement(points)
        if self._calmest is None or moved < self._calmest[0]:
            self._calmest = moved, image, points
        self._count += 1
        if self._count == self._part:
            self._faces.append(self._read(*self._calmest))
            self._count, self._calmest = 0, None
        if len(self._faces) == 2 * FRAMES:
            pairs = zip(self._faces[::2], self._faces[1::2], strict=True)
            self._faces = [min(pair, key=lambda face: face.moved) for pair in pairs]
            self._part *= 2

    def _read(self, moved: float, image: np.ndarray, points: np.ndarray) -> _Face:
        shape = self._reader.read(image, self._model.choose(points)).identity
        return _Face(moved, shape, self._network.embed(image, points) if self._network else None)

    def apart(self) -> np.ndarray:
        """(2,): how far the faces of two groups of frames are apart, by their shape, and by dlib's
        network (NaN without it); 0 where there are too few of one group."""
        shapes = np.array([face.shape for face in self._faces])
        embeddings = np.array([face.embedding for face in self._faces if self._network])
        unknown = 0.0 if self._network else np.nan
        if len(shapes) < 2 * FEW:
            return np.array([0.0, unknown])
        other = in_two_groups(embeddings if self._network else shapes)
        if min(other.sum(), (~other).sum()) < max(FEW, round(SHARE * len(other))):
            return np.array([0.0, unknown])
        first, second = (shapes[group].mean(0) for group in (~other, other))
        by_shape = shapes_apart(first, second)
        if not self._network:
            return np.array([by_shape, np.nan])
        means = [embeddings[group].mean(0) for group in (~other, other)]
        return np.array([by_shape, float(np.linalg.norm(means[0] - means[1]))])


def check_one_person(path: Path, apart: np.ndarray | None) -> list[str]:
    """Notes for the user on a video whose faces are so far `apart` (SeenFaces), where it is hardly
    known. Raises RealTalkError for two people. None: nobody looked, as in made-up videos."""
    if apart is None:
        return []
    by_shape, by_network = apart
    known = np.isfinite(by_network)
    if by_network > MAX_FACES_APART if known else by_shape > MAX_SHAPES_APART:
        raise RealTalkError(f"{path} seems to show one person after another: cut it to one of them")
    if not known and by_shape > SURE_SHAPES_APART:
        return ["the video may show one person after another: if so, cut it to one of them"]
    return []


def movement(points: np.ndarray) -> float:
    """How far a mouth is open and a head turned, by MediaPipe's points (478, 2): 0 is at rest and
    straight ahead."""
    eyes = max(float(distance(points, EYE_CORNERS)), 1e-3)
    return float(distance(points, LIP_MIDDLES)) / eyes + TURNED * nose_off_middle(points)


def in_two_groups(rows: np.ndarray) -> np.ndarray:
    """(N,) bool: which of the rows (N, D) are in the second of two groups that are as far apart as
    can be (2-means, from the two rows that are)."""
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)
    first, second = np.unravel_index(distances.argmax(), distances.shape)
    means = rows[[first, second]]
    other = np.zeros(len(rows), bool)
    for _ in range(ROUNDS):
        near = np.linalg.norm(rows[:, None] - means, axis=2)
        other = near[:, 1] < near[:, 0]
        if other.all() or not other.any():
            break
        means = np.stack([rows[~other].mean(0), rows[other].mean(0)])
    return other
