# SPDX-License-Identifier: Apache-2.0
"""What is known of the face in every frame of a video: mesh_tracker.py finds it, by fit.py."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from realtalk_ros.errors import RealTalkError, reason
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import COUNT as LANDMARKS
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE, face_square
from realtalk_ros.face_model.rotations import swap_track_order
from realtalk_ros.whole_files import written_whole


@dataclass(frozen=True)
class Track:
    """N frames. Positions are pixels of the upright picture, x right, y down.

    Rows of frames without a face hold anything finite.
    """

    time: np.ndarray  # (N,) float64 s
    faces: np.ndarray  # (N,) int16, how many were seen; the rows below are of the only one
    landmarks: np.ndarray  # (N, 68, 2) float32, Multi-PIE
    rest: np.ndarray  # (N, 68, 2) float32, where they were in this pose with the face at rest
    weights: np.ndarray  # (N, 52) float32, ARKit order
    rotation: np.ndarray  # (N, 3) float32 rad, as face_model/rotations.py has it
    identity: np.ndarray  # (100,) float32
    # (2,) how far the faces in it are apart (one_person.SeenFaces); None: nobody looked.
    apart: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.time)

    def squares(self) -> np.ndarray:
        """(N, 3): middle x, y and side of the face's square in each frame."""
        return np.array([face_square(points) for points in self.rest]).reshape(-1, 3)

    def save(self, path: Path) -> None:
        """Writes a file with an array for each field; `rotation` as of `swap_track_order`."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.apart is None:
            del arrays["apart"]
        arrays["rotation"] = swap_track_order(self.rotation)
        with written_whole(path, make_folder=True) as part, open(part, "wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Track:
        """Raises RealTalkError for what is no track."""
        try:
            with np.load(path, allow_pickle=False) as data:
                track = cls(
                    **{f.name: data[f.name] for f in fields(cls)[:-1]}, apart=data.get("apart")
                )
            n = len(track.time)
            shapes = ((n,), (n,), (n, LANDMARKS, 2), (n, LANDMARKS, 2), (n, arkit.COUNT), (n, 3),
                      (IDENTITY_SIZE,))  # fmt: skip
            if track.apart is not None and track.apart.shape != (2,):
                raise ValueError("apart must hold 2 numbers")
            for part, shape in zip(fields(cls)[:-1], shapes, strict=True):
                array = getattr(track, part.name)
                if array.shape != shape or not np.isfinite(array).all():
                    raise ValueError(f"{part.name} must hold {shape} finite numbers")
        except Exception as error:  # it may be anything: no zip, no header, other arrays
            raise RealTalkError(
                f"{path} is no track of a video ({reason(error)}): remove it"
            ) from error
        return replace(track, rotation=swap_track_order(track.rotation))
