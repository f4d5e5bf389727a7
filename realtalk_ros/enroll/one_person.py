# SPDX-License-Identifier: Apache-2.0
"""Whether a video shows one person all the time. Of one that cuts from somebody to somebody else
the face that is fitted would be a mean of both: the shape of a third person, and in an avatar a
mouth of either. Needs the extra `enroll`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from realtalk_ros.enroll import fit, same_person
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.face_embedding import FaceEmbedding
from realtalk_ros.enroll.face_reader import FaceReader
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.enroll.video_to_avatar import TrackedVideo
from realtalk_ros.errors import RealTalkError

FRAMES = 16  # that are looked at, spread over the video
FEW = 3  # frames of another face that do not matter yet: some may be misread
ROUNDS = 8  # of moving frames from one group to the other
# Without dlib's network: of the mean shapes of two groups of frames. Set on films made of moved
# stills of the London set. Of 19 people, each neutral in one half and smiling in the other: at
# most 0.61. Of two people (39 films): 37 are above 0.85, and 2, of one pair, at 0.80.
MAX_SHAPES_APART, SURE_SHAPES_APART = 0.85, 0.7


def check_track(path: Path, track: Track, landmarker: Path | None) -> list[str]:
    """`check_one_person` of a video and what was tracked in it."""
    with FaceDetector(landmarker) as detector:
        return check_one_person(TrackedVideo(path, track), detector)


def check_one_person(video: TrackedVideo, detector: FaceDetector) -> list[str]:
    """Notes for the user, where it is hardly known. Raises RealTalkError for two people."""
    if len(video.good) < 2 * FEW:
        return []
    reader, model = FaceReader(), fit.mesh_model()
    network, _ = FaceEmbedding.if_installed()
    shapes, faces = [], []
    for picture in video.pictures(calm_frames(video)).values():
        for face in detector.find(picture)[:1]:
            shapes.append(reader.read(picture, model.choose(face.points)).identity)
            if network is not None:
                faces.append(network.embed(picture, face.points))
    if len(shapes) < 2 * FEW:
        return []
    other = in_two_groups(np.array(faces or shapes))
    if min(other.sum(), (~other).sum()) < FEW:
        return []
    first, second = (np.mean(np.array(shapes)[group], 0) for group in (~other, other))
    apart = same_person.shapes_apart(first, second)
    if network is None:
        differ = apart > MAX_SHAPES_APART
    else:
        means = [np.mean(np.array(faces)[group], 0) for group in (~other, other)]
        differ = float(np.linalg.norm(means[0] - means[1])) > same_person.MAX_FACES_APART
    if differ:
        raise RealTalkError(
            f"{video.path} seems to show one person after another: cut it to one of them"
        )
    if network is None and apart > SURE_SHAPES_APART:
        return ["the video may show one person after another: if so, cut it to one of them"]
    return []


def calm_frames(video: TrackedVideo) -> list[int]:
    """Numbers of FRAMES frames, or fewer: of each part of the video the one in which the face does
    the least."""
    parts = np.array_split(video.good, min(FRAMES, len(video.good)))
    return [int(part[video.still[part].argmin()]) for part in parts]


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
