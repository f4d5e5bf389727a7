# SPDX-License-Identifier: Apache-2.0
"""Points to look at, brought into the face's frame by tf2 where that is installed."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from geometry_msgs.msg import PointStamped, Quaternion, Vector3
from rclpy.node import Node
from rclpy.time import Time

from realtalk_ros.behaviour.gaze import direction_angles
from realtalk_ros.errors import RealTalkError

Point = tuple[float, float, float]


class LookAtTransformer:
    """Points of any frame in the frame of the face."""

    def __init__(self, node: Node, frame: str, aliases: tuple[str, ...] = ()) -> None:
        """`frame`: the face's; `aliases`: other names of it."""
        self._frame, self._own = frame, ("", frame, *aliases)
        self._transforms: Any = None  # of tf2
        try:
            tf2 = importlib.import_module("tf2_ros")
        except ImportError:
            return
        self._transforms = tf2.Buffer()
        self._listener = tf2.TransformListener(self._transforms, node)

    def point(self, message: PointStamped) -> Point:
        """Of a message, in the face's frame. Raises ValueError where it has no direction, and
        RealTalkError where its frame is not known."""
        point = (message.point.x, message.point.y, message.point.z)
        direction_angles(point)
        frame = message.header.frame_id
        if frame in self._own:
            return point
        if self._transforms is None:
            raise RealTalkError(
                f"look_at is in frame {frame!r}: without tf2_ros give it in {self._frame!r}"
            )
        try:
            transform = self._transforms.lookup_transform(
                self._frame, frame, Time.from_msg(message.header.stamp)
            ).transform
        except Exception as error:  # tf2's own exceptions
            raise RealTalkError(f"look_at: {error}") from error
        return transformed(point, transform.rotation, transform.translation)


def transformed(point: Point, rotation: Quaternion, translation: Vector3) -> Point:
    """A point rotated and then translated."""
    axis = np.array([rotation.x, rotation.y, rotation.z])
    v = np.array(point)
    v = v + 2 * np.cross(axis, np.cross(axis, v) + rotation.w * v)
    x, y, z = v + np.array([translation.x, translation.y, translation.z])
    return float(x), float(y), float(z)
