# SPDX-License-Identifier: Apache-2.0
"""Commands to a face: its emotion, where it looks, and whether it listens."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PointStamped
from std_msgs.msg import Bool, String

from realtalk_ros.behaviour.emotion import emotion_from_valence_arousal, parse_emotion
from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes import lifecycle, qos
from realtalk_ros.nodes.face_loader import FaceLoader
from realtalk_ros.nodes.look_at import LookAtTransformer
from realtalk_ros.playout.face_playout import FacePlayout

HRI_TOPIC = "robot_expression"  # ROS4HRI's


class FaceCommands:
    """Subscribes to `emotion`, `look_at`, `listening`, and where hri_msgs is installed to ROS4HRI's
    `robot_expression`. Does nothing while no face is loaded."""

    def __init__(
        self,
        node: lifecycle.RealTalkNode,
        loader: FaceLoader,
        playout: FacePlayout,
        look_at: LookAtTransformer,
    ) -> None:
        self._node, self._loader, self._playout, self._look_at = node, loader, playout, look_at
        topics: list[tuple[Any, str, Callable[[Any], None]]] = [
            (String, "emotion", self.on_emotion),
            (PointStamped, "look_at", self.on_look_at),
            (Bool, "listening", self.on_listening),
        ]
        self._unread = ""  # topic whose type is not installed here
        try:
            hri = importlib.import_module("hri_msgs.msg")
            topics.append((hri.Expression, HRI_TOPIC, self.on_hri_expression))
        except ImportError:
            self._unread = node.resolve_topic_name(HRI_TOPIC)
        for kind, topic, callback in topics:
            node.subscription(kind, topic, callback, qos.COMMAND)

    def watch(self) -> None:
        """Once a second: says that emotions come that cannot be read."""
        if self._unread and self._node.count_publishers(self._unread):
            self._node.problems.add(
                f"{self._unread} is not read, as hri_msgs is not installed here: install it "
                "(ros-<distro>-hri-msgs) or source its workspace, and start this node again"
            )
            self._unread = ""

    def on_emotion(self, message: String) -> None:
        self._set_emotion(message.data)

    def on_hri_expression(self, message: Any) -> None:
        """An hri_msgs/Expression: a name, or valence and arousal."""
        if message.expression:
            self._set_emotion(message.expression)
        elif (face := self._loader.face) is not None:
            face.set_emotion(*emotion_from_valence_arousal(message.valence, message.arousal))

    def _set_emotion(self, text: str) -> None:
        try:
            name, intensity = parse_emotion(text)
        except RealTalkError as error:
            self._node.problems.add(str(error))
            return
        if (face := self._loader.face) is not None:
            face.set_emotion(name, intensity)

    def on_look_at(self, message: PointStamped) -> None:
        try:
            point = self._look_at.point(message)
            if (face := self._loader.face) is not None:
                face.gaze.look_at(point, self._playout.shown_now())
        except (ValueError, RealTalkError) as error:
            self._node.problems.add(str(error))

    def on_listening(self, message: Bool) -> None:
        if (face := self._loader.face) is not None:
            face.listening = message.data
