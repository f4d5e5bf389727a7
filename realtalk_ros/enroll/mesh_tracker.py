# SPDX-License-Identifier: Apache-2.0
"""Tracks faces in videos: MediaPipe, and the face model fitted to what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realtalk_ros.enroll import face_reader, fit
from realtalk_ros.enroll.face_detector import FaceDetector, large_faces
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.enroll.mediapipe_points import POINTS
from realtalk_ros.enroll.one_person import SeenFaces
from realtalk_ros.enroll.video_reader import open_video
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks

# So many frames, up to twice as many, spread over the video, give a person's shape.
IDENTITY_FRAMES = 24
# Rms of the fit, of the face crop's side: what fits worse is no face, or half of one.
MAX_ERROR = 0.04


@dataclass(frozen=True)
class _Found:
    """Of the frames of a video."""

    time: list[float]  # s
    faces: list[int]  # how many are seen
    points: list[np.ndarray]  # (478, 2) pixels, of the largest; 0 where there is none
    # Frame number, and what our reader sees in it: of some, spread over the video.
    readings: list[tuple[int, face_reader.Reading]]
    apart: np.ndarray  # (2,) as of Track


class MeshTracker:
    """Of one video after another. Raises RealTalkError where MediaPipe or its model is missing."""

    def __init__(self, landmarker: Path | None = None):
        self._landmarker, self._model = landmarker, fit.mesh_model()
        self._reader = face_reader.FaceReader()
        FaceDetector(landmarker, video=True).close()  # says what is missing before the work begins

    def track(self, frames: Iterable[tuple[float, np.ndarray]]) -> Track:
        """frames: time in s and uint8 BGR (h, w, 3). Returns a row for each."""
        return self._fit(self._find(frames))

    def _find(self, frames: Iterable[tuple[float, np.ndarray]]) -> _Found:
        """What the tracker sees in each frame, and our reader in some of them."""
        time, faces, points, who_is_seen = [], [], [], SeenFaces()
        # What our reader sees in every `stride`th face, and the frame's number.
        read: dict[int, tuple[int, face_reader.Reading]] = {}
        shows, stride = 0, 1
        with FaceDetector(self._landmarker, video=True) as tracker:
            for at, image in frames:
                found = tracker.find(image)
                time.append(at)
                faces.append(len(large_faces(found)))
                points.append(found[0].points if found else np.zeros((POINTS, 2), np.float32))
                if not found:
                    continue
                if faces[-1] == 1:
                    who_is_seen.add(image, points[-1])
                if shows % stride == 0:
                    reading = self._reader.read(image, self._model.choose(points[-1]))
                    read[shows] = len(points) - 1, reading
                shows += 1
                if len(read) == 2 * IDENTITY_FRAMES:
                    stride *= 2
                    read = {k: one for k, one in read.items() if k % stride == 0}
        return _Found(time, faces, points, list(read.values()), who_is_seen.apart())

    def _fit(self, found: _Found) -> Track:
        """The face model fitted to what was found."""
        frames, points = len(found.time), found.points
        count, seen = np.array(found.faces, np.int16), np.flatnonzero(found.faces)
        weights = np.zeros((frames, arkit.COUNT), np.float32)
        rotation = np.zeros((frames, 3), np.float32)
        marks, rest = np.zeros((2, frames, landmarks.COUNT, 2), np.float32)
        identity = np.zeros(landmarks.IDENTITY_SIZE, np.float32)
        refined = identity
        if found.readings:
            some, readings = zip(*found.readings, strict=True)
            who = fit.fit(self._model, self._model.choose(np.stack([points[k] for k in some])))
            identity, refined = who.identity, face_reader.refine_identity(who, readings)
        fitter, before = fit.Fitter(self._model, identity), -1
        still = landmarks.load().points(arkit.weights(), identity)
        for k in seen.tolist():
            if k != before + 1:  # not from where the face was before it was lost
                fitter = fit.Fitter(self._model, identity)
            before = k
            weights[k], pose, error = fitter.fit(self._model.choose(points[k]))
            if error > MAX_ERROR:
                count[k] = 0
            rotation[k] = pose.pitch, pose.yaw, pose.roll
            marks[k] = pose.project(landmarks.load().points(weights[k], identity))
            rest[k] = pose.project(still)
        weights[seen] = fit.settle(weights[seen])
        # The frames were fitted with the shape of the tracker's mesh, not with the refined one: its
        # errors are the same in all frames, and would else be taken for an expression.
        return Track(
            time=np.array(found.time, np.float64),
            faces=count,
            landmarks=marks,
            rest=rest,
            weights=weights,
            rotation=rotation,
            identity=refined,
            apart=found.apart,
        )


def follow(video: Path, landmarker: Path | None = None, seconds: float | None = None) -> Track:
    """Tracks a video, or its first `seconds`. Raises RealTalkError, also where no face is seen."""
    fit.require_scipy()
    clip = open_video(video)
    total = min(clip.duration or 0, seconds or float("inf")) or None
    tracker = MeshTracker(landmarker)
    bar = tqdm(desc="seconds of video", total=total and round(total, 1), disable=None)

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        first = None
        for at, image in clip.frames():
            first = at if first is None else first
            if seconds is not None and at - first > seconds:
                return
            bar.update(min(at - first, bar.total or np.inf) - bar.n)
            yield at, image

    with bar:
        try:
            track = tracker.track(frames())
        except RealTalkError as error:
            raise RealTalkError(f"{video}: {error}") from error
    if not len(track):
        raise RealTalkError(f"{video} has no pictures that can be decoded: is it damaged?")
    if not (track.faces == 1).any():
        if (track.faces > 1).any():
            raise RealTalkError(f"{video} shows more than one face: cut it to one person")
        raise RealTalkError(
            f"no face found in {video}: it must look at the camera, in light, and not be small"
        )
    return track
