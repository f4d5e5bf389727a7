# SPDX-License-Identifier: Apache-2.0
"""The landmarks of face and lips in 3D, and the weights as text, as markers for RViz."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, TransformStamped
from rclpy.publisher import Publisher
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.msg import FaceExpression
from realtalk_ros.nodes import qos, spin
from realtalk_ros.nodes.face_settings import FaceNode, SharedSettings
from realtalk_ros.nodes.message_content import timed_expression
from realtalk_ros.output.rviz_markers import LINES, FaceLines, line, weights_text
from realtalk_ros.playout.jitter_buffer import JitterBuffer

GREY, RED = ColorRGBA(r=0.8, g=0.8, b=0.85, a=1.0), ColorRGBA(r=0.95, g=0.35, b=0.35, a=1.0)
WHITE = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)


class MarkersNode(FaceNode):
    """Expressions become markers on `face/markers`, with the delay of the face."""

    rated = ("arrays",)

    def __init__(self, **options: Any) -> None:
        super().__init__("markers_node", **options)
        self.frame_id = self.parameter("frame_id", "face", "Frame of the face: x forward, z up")
        self.parent_frame = self.parameter(
            "parent_frame", "base_link", "Frame in which the face gets a static transform, 1 m "
            "up; empty: none, another node publishes it"
        )  # fmt: skip
        self.counts = {"arrays": 0}
        self.face: FaceLines | None = None
        self.buffer = JitterBuffer(self.fps)
        self._markers = self.publisher(MarkerArray, "face/markers", qos.IMAGE)
        self.subscription(FaceExpression, "expression", self.on_expression, qos.STREAM)
        self._shared_settings = SharedSettings(self, publishes=False)
        self._static: Publisher | None = None
        self._timer: Any = None

    def setup(self) -> None:
        self.face = FaceLines(Avatar.load(self.avatar).identity)
        self.buffer = JitterBuffer(self.fps)
        if self.parent_frame:
            self._publish_static_transform()
        self.get_logger().info(f"ready: markers of {self.avatar} in frame {self._frame}")

    def start(self) -> None:
        self._timer = self.steady_timer(1 / self.fps, self.work)

    def halt(self) -> None:
        self.destroy_timer(self._timer)

    def check_parameter(self, name: str, value: Any) -> None:
        if name == "avatar":
            FaceLines(Avatar.load(value).identity)

    def change_parameter(self, name: str, value: Any) -> None:
        if name == "avatar":
            self.face = FaceLines(Avatar.load(value).identity)
        elif name == "fps":
            self.buffer.fps = float(value)
            if self.ready:
                self.destroy_timer(self._timer)
                self._timer = self.steady_timer(1 / value, self.work)

    @property
    def _frame(self) -> str:
        return self.in_namespace(self.frame_id)

    def _publish_static_transform(self) -> None:
        """Of the face in `parent_frame`. apt's ROS always has tf2_msgs; the PyPI wheels lack it."""
        try:
            tf_message = importlib.import_module("tf2_msgs.msg").TFMessage
        except ImportError:
            self.get_logger().warning(
                "no static frame: tf2_msgs is not installed; in RViz take the fixed frame "
                f"{self._frame}"
            )
            return
        transform = TransformStamped()
        transform.header.stamp = self.get_clock().now().to_msg()
        transform.header.frame_id, transform.child_frame_id = self.parent_frame, self._frame
        transform.transform.translation.z = 1.0
        if self._static is None:
            self._static = self.publisher(tf_message, "/tf_static", qos.LATCHED)
        self._static.publish(tf_message(transforms=[transform]))

    def on_expression(self, message: FaceExpression) -> None:
        if not self.ready:
            return
        if message.reset:
            self.buffer.reset()
            return
        rotation = np.array(message.head_rotation, np.float32)
        if not (np.isfinite(message.weights).all() and np.isfinite(rotation).all()):
            self.problems.add("an expression with numbers that are NaN or infinite was left out")
            return
        now, when = self._now(), self.media_time(message.header.stamp)
        self.buffer.push(timed_expression(message, now if when is None else when, rotation), now)

    def _now(self) -> float:
        """Now, in seconds, after what waits was moved with the clock."""
        if jump := self.clock_jump():
            self.buffer.shift(jump)
        return self.now()

    def work(self) -> None:
        frame = self.buffer.tick(self._now())
        if frame is None or not self._markers.get_subscription_count() or self.face is None:
            return
        points = self.face.points(frame.weights, frame.rotation)
        stamp = self.get_clock().now().to_msg()
        markers = []
        for number, name in enumerate(LINES):
            marker = self._marker("lips" if "lips" in name else "face", number, stamp)
            marker.type, marker.color = Marker.LINE_STRIP, RED if "lips" in name else GREY
            marker.scale.x = 0.0015
            marker.points = _points(line(points, name))
            markers.append(marker)
        dots = self._marker("landmarks", 0, stamp)
        dots.type, dots.color = Marker.SPHERE_LIST, WHITE
        dots.scale.x = dots.scale.y = dots.scale.z = 0.003
        dots.points = _points(points)
        text = self._marker("weights", 0, stamp)
        text.type, text.color, text.text = (
            Marker.TEXT_VIEW_FACING,
            WHITE,
            weights_text(frame.weights),
        )
        text.scale.z = 0.01
        text.pose.position.y = -0.16  # beside the face, on its right
        text.pose.position.z = float(points[:, 2].mean())
        self._markers.publish(MarkerArray(markers=[*markers, dots, text]))
        self.counts["arrays"] += 1

    def _marker(self, namespace: str, number: int, stamp: Any) -> Marker:
        marker = Marker(ns=namespace, id=number, action=Marker.ADD)
        marker.header.frame_id, marker.header.stamp = self._frame, stamp
        marker.pose.orientation.w = 1.0
        marker.lifetime.sec = 1  # a face that is gone does not stay
        return marker

    def status(self) -> dict[str, Any]:
        return {"avatar": self.avatar, "late_expressions": self.buffer.late, **self.counts}


def _points(array: np.ndarray) -> list[Point]:
    return [Point(x=x, y=y, z=z) for x, y, z in array.tolist()]


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [MarkersNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
