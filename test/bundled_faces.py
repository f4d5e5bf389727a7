# SPDX-License-Identifier: Apache-2.0
"""Faces of the bundled avatars, each loaded once in a process: that takes half a second."""

from __future__ import annotations

from functools import cache

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.face_renderer import FaceRenderer


@cache
def _loaded(name: str) -> FaceRenderer:
    return FaceRenderer(Avatar.load(name))


def bundled_face(name: str, size: int = 512) -> FaceRenderer:
    """As it is when it has just been loaded, whatever other tests have shown of it."""
    face = _loaded(name).resized(size)
    for shut in (1.0, 0.0):  # the lids of the frame before may stay (Geometry.eyes)
        face.generate(arkit.weights(eyeBlink=shut), 0)
    return face
