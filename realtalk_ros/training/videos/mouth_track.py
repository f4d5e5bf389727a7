# SPDX-License-Identifier: Apache-2.0
"""The mouth of a real person in a video: how far it is open and how wide, frame by frame.

Both are lengths in the picture over the distance of the outer corners of the eyes, which needs no
face model: the gap between the inner lips, and the distance of the corners of the mouth, as
MediaPipe's mesh has them.

The detector looks for two faces: with one, MediaPipe's video mode smooths its landmarks, which
delays them by 16 ms and takes 2 to 5 % off the gap's range (measured on three clips of GRID).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from realtalk_ros.enroll.face_detector import DetectedFace, FaceDetector, large_faces
from realtalk_ros.enroll.mediapipe_points import (
    EYE_CORNERS,
    LIP_MIDDLES,
    MOUTH_CORNERS,
    distance,
    nose_off_middle,
)
from realtalk_ros.enroll.one_person import SeenFaces
from realtalk_ros.enroll.video_reader import Clip
from realtalk_ros.errors import RealTalkError, reason
from realtalk_ros.training.common.array_files import write_arrays
from realtalk_ros.training.videos.video_files import track_path

FULL_CONFIDENCE = 60.0  # pixels between the outer corners of the eyes, from which 1 is given
MAX_YAW = 0.25  # of the eyes' distance that the nose may be off their middle: some 30 degrees


@dataclass(frozen=True)
class MouthTrack:
    """N frames. Rows without a single face have a confidence of 0 and hold anything finite."""

    time: np.ndarray  # (N,) s from the first sample of the sound on
    aperture: np.ndarray  # (N,) of the distance of the outer eye corners
    width: np.ndarray  # (N,) of the same
    confidence: np.ndarray  # (N,) 0..1: one face, not turned away, large enough
    # (2,) how far the faces in it are apart (one_person.SeenFaces).
    apart: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def __len__(self) -> int:
        return len(self.time)

    def part(self, rows: np.ndarray) -> MouthTrack:
        """The frames `rows` (N,) bool."""
        columns = {f.name: getattr(self, f.name)[rows] for f in fields(self)[:-1]}
        return replace(self, **columns)

    def save(self, path: Path) -> None:
        write_arrays(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> MouthTrack:
        """Raises RealTalkError for what is no track."""
        try:
            with np.load(path, allow_pickle=False) as data:
                track = cls(**{f.name: data[f.name].astype(np.float64) for f in fields(cls)})
            columns = [getattr(track, f.name) for f in fields(cls)[:-1]]
            if {c.shape for c in columns} != {track.time.shape} or track.time.ndim != 1:
                raise ValueError("its columns are of different lengths")
            if not all(np.isfinite(c).all() for c in columns):
                raise ValueError("not all of it is finite")
            if track.apart.shape != (2,):
                raise ValueError("apart must hold 2 numbers")
        except Exception as error:  # it may be anything: no zip, no header, other arrays
            raise RealTalkError(
                f"{path} is no track of a mouth ({reason(error)}): remove it"
            ) from error
        return track


def measure(faces: list[DetectedFace]) -> tuple[float, float, float]:
    """Aperture, width and confidence of one frame."""
    large = large_faces(faces)
    if not large:
        return 0.0, 0.0, 0.0
    points = large[0].points
    eyes = float(distance(points, EYE_CORNERS))
    if eyes <= 0:
        return 0.0, 0.0, 0.0
    facing = len(large) == 1 and nose_off_middle(points) < MAX_YAW
    aperture, width = (
        float(distance(points, pair)) / eyes for pair in (LIP_MIDDLES, MOUTH_CORNERS)
    )
    return aperture, width, min(1.0, eyes / FULL_CONFIDENCE) if facing else 0.0


def track_mouth(frames: Iterable[tuple[float, np.ndarray]], detector: FaceDetector) -> MouthTrack:
    """frames: time in s and uint8 BGR (h, w, 3), of one video from its start."""
    rows, who_is_seen = [], SeenFaces()
    for at, image in frames:
        found = detector.find(image)
        rows.append((at, *measure(found)))
        if rows[-1][-1] > 0:
            who_is_seen.add(image, found[0].points)
    columns = np.array(rows, np.float64).reshape(-1, 4).T
    return MouthTrack(*columns, apart=who_is_seen.apart())


def known_track(path: Path, name: str, cache: Path, landmarker: Path | None) -> MouthTrack:
    """The track of a video, called `name` in the folder `cache`, where it is kept as long as the
    video stays as it is. Raises RealTalkError for what can't be read."""
    known = track_path(cache, name, path)
    if known.is_file():
        return MouthTrack.load(known)
    clip = Clip(path)
    with FaceDetector(landmarker, video=True) as detector:
        track = track_mouth(clip.frames(), detector)
    if not len(track):
        raise RealTalkError("no picture of it can be decoded")
    track.save(known)
    return track
