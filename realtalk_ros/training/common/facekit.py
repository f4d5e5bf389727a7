# SPDX-License-Identifier: Apache-2.0
"""The 3D face model: ICT-FaceKit's morphable head as plain arrays (normals need SciPy).

The model (MIT, USC ICT Vision and Graphics Lab, github.com/ICT-VGL/ICT-FaceKit) is not part of this
package: `FaceKit.load` reads it from a path, from $REALTALK_FACEKIT, or from
`shared/facekit/ict_facekit.npz` beside or above the checkout. Lengths are centimetres; +x is the
subject's left, +y up, +z out of the face.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from realtalk_ros.errors import RealTalkError, reason
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.eye_rotation import gaze_angles
from realtalk_ros.face_model.rotations import rotation_matrix

ENVIRONMENT = "REALTALK_FACEKIT"
SAME = 1e-3  # cm, vertices of face and head that are nearer than this are one


def find_facekit(path: str | os.PathLike | None = None) -> Path:
    """The face model's file: `path`, else $REALTALK_FACEKIT, else a `shared/facekit` nearby."""
    given = path or os.environ.get(ENVIRONMENT)
    if given:
        file = Path(given)
        file = file / "ict_facekit.npz" if file.is_dir() else file
        if not file.is_file():
            raise RealTalkError(f"no face model at {file}: give the path of an ict_facekit.npz")
        return file
    for base in (Path.cwd(), *Path(__file__).resolve().parents):
        for folder in (base, base.parent):
            file = folder / "shared" / "facekit" / "ict_facekit.npz"
            if file.is_file():
                return file
    raise RealTalkError(
        "no face model found: make one of a clone of ICT-FaceKit (realtalk data facekit CLONE) "
        f"and set {ENVIRONMENT} to it"
    )


def arkit_matrix(expression_names: list[str]) -> np.ndarray:
    """(52, E) float32 matrix A so that `weights52 @ A` are ICT-FaceKit expression weights.

    ICT marks sides by _L and _R and splits browInnerUp and cheekPuff, which ARKit does not; the
    shapes ARKit lacks (cheekRaiser, PupilDilate) stay 0, and tongueOut moves nothing.
    """
    matrix = np.zeros((len(arkit.NAMES), len(expression_names)), np.float32)
    for column, name in enumerate(expression_names):
        stem, side = (name[:-2], name[-2:]) if name[-2:] in ("_L", "_R") else (name, "")
        for candidate in (stem + {"_L": "Left", "_R": "Right", "": ""}[side], stem):
            if candidate in arkit.INDEX:
                matrix[arkit.INDEX[candidate], column] = 1
                break
    return matrix


@dataclass
class FaceKit:
    """Arrays of the model; V vertices, T triangles. Expressions are already in ARKit order."""

    mean: np.ndarray  # (V, 3) float32, cm
    identity_modes: np.ndarray  # (100, V * 3) float16, unit variance each
    expressions: np.ndarray  # (52, V * 3) float32, deltas at weight 1
    triangles: np.ndarray  # (T, 3) int32
    triangle_uvs: np.ndarray  # (T, 3) int32 into uvs
    triangle_materials: np.ndarray  # (T,) int8 into materials
    uvs: np.ndarray  # (U, 2) float32
    materials: list[str]
    landmarks: np.ndarray  # (68,) vertex indices, Multi-PIE
    parts: dict[str, slice]  # name -> vertex range

    @classmethod
    def load(cls, path: str | os.PathLike | None = None) -> FaceKit:
        """Read the model. Raises RealTalkError when it is absent or is not such a file."""
        file = find_facekit(path)
        try:
            with np.load(file, allow_pickle=False) as data:
                count = len(data["mean"])
                matrix = arkit_matrix([str(n) for n in data["expr_names"]])
                expr = data["expr"].reshape(-1, count * 3).astype(np.float32)
                return cls(
                    mean=data["mean"].astype(np.float32),
                    identity_modes=data["ident"].reshape(-1, count * 3),
                    expressions=matrix @ expr,
                    triangles=data["tri"],
                    triangle_uvs=data["tri_uv"],
                    triangle_materials=data["tri_mat"],
                    uvs=data["uv"],
                    materials=[str(m) for m in data["materials"]],
                    landmarks=data["landmarks68"],
                    parts={
                        str(n): slice(int(a), int(b))
                        for n, (a, b) in zip(data["part_names"], data["part_ranges"], strict=True)
                    },
                )
        except Exception as error:  # it may be anything: no zip, no header, other arrays
            raise RealTalkError(
                f"{file} is not a readable ict_facekit.npz ({reason(error)}): make it anew by "
                "realtalk data facekit"
            ) from error

    def neutral(self, identity: np.ndarray) -> np.ndarray:
        """(V, 3) float32 neutral head of a person of that `identity` (100,)."""
        identity = np.asarray(identity, np.float32)
        if identity.shape != (len(self.identity_modes),):
            raise RealTalkError(
                f"identity must have {len(self.identity_modes)} coefficients, got {identity.shape}"
            )
        return self.mean + (identity @ self._identity32).reshape(-1, 3)

    def deform(self, neutral: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(V, 3): a person's neutral head with `weights` (52,) in ARKit order applied."""
        weights = np.asarray(weights, np.float32)
        active = np.flatnonzero(weights)
        if len(active) == 0:
            return neutral.copy()
        # One dense GEMV is as fast as gathering rows once half of the weights are in use.
        if len(active) < 26:
            delta = weights[active[0]] * self.expressions[active[0]]
            for i in active[1:]:
                delta += weights[i] * self.expressions[i]
        else:
            delta = weights @ self.expressions
        vertices = neutral + delta.reshape(-1, 3)
        for side, name in (("Left", "eyeball_left"), ("Right", "eyeball_right")):
            pitch, yaw = gaze_angles(weights, side)
            if (yaw or pitch) and name in self.parts:
                ball = vertices[self.parts[name]]
                centre = (ball.min(0) + ball.max(0)) / 2
                ball[:] = (ball - centre) @ rotation_matrix(pitch, yaw).T + centre
        return vertices

    def vertices(self, identity: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(V, 3) float32, cm: head of `identity` (100,) with ARKit `weights` (52,)."""
        return self.deform(self.neutral(identity), weights)

    def normals(self, vertices: np.ndarray) -> np.ndarray:
        """(V, 3) unit normals, area weighted, smooth across the seam between face and head."""
        corners = [vertices.take(self.triangles[:, k], axis=0) for k in range(3)]
        a, b = corners[1] - corners[0], corners[2] - corners[0]
        faces = np.empty_like(a)
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            faces[:, i] = a[:, j] * b[:, k] - a[:, k] * b[:, j]
        normals = self._corner_sum @ faces
        length = np.sqrt(np.einsum("ij,ij->i", normals, normals))[:, None]
        return normals / np.maximum(length, 1e-12)

    @cached_property
    def _identity32(self) -> np.ndarray:
        return self.identity_modes.astype(np.float32)

    @cached_property
    def twins(self) -> np.ndarray:
        """(V,) the vertex that each is one with: of the head's border, where the face begins, its
        place in the face; of all others themselves."""
        twins = np.arange(len(self.mean))
        if {"face", "head_neck"} <= self.parts.keys():
            from scipy.spatial import cKDTree

            face, head = self.parts["face"], self.parts["head_neck"]
            distance, near = map(np.asarray, cKDTree(self.mean[face]).query(self.mean[head]))
            same = distance < SAME
            twins[head][same] = near[same] + face.start
        return twins

    @cached_property
    def _corner_sum(self) -> Any:
        """Sparse (V, T): adds a triangle's normal to its corners and to their twins."""
        from scipy import sparse

        rows = self.twins[self.triangles.ravel()]
        cols = np.repeat(np.arange(len(self.triangles)), 3)
        shape = len(self.mean), len(self.triangles)
        return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, cols)), shape)[self.twins]
