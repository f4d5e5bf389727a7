# SPDX-License-Identifier: Apache-2.0
"""What each node offers: its topics, services, actions and parameters, for `realtalk document`.

Every node is created, though not started, and asked for its endpoints and its parameter
descriptors. Only what a topic means is kept here, in `MEANINGS`, since ROS has no place for it; so
are the endpoints that a node creates later, in `LATER`.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import rclpy
from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from realtalk_ros import nodes
from realtalk_ros.errors import RealTalkError

PUBLISHES, SUBSCRIBES, SERVES, ACTION, CALLS = "out", "in", "service", "action", "client"
# In this order; the first of them that handles a topic says its direction in the README.
NODES = (
    "expression_node", "renderer_node", "speech_node", "say_node", "microphone_node",
    "audio_adapter_node", "display_node", "recorder_node", "markers_node",
)  # fmt: skip
# (direction, name) where the same name means two things, else the name.
MEANINGS: dict[str | tuple[str, str], str] = {
    "audio": "Speech as PCM of any rate and channel count. `header.stamp`: when its first sample "
    "is to be played; zero: right after the chunk before",
    "expression": "52 ARKit weights, head rotation and speech probability of one frame. "
    "`header.stamp`: when the frame is to be shown",
    "speech": "The accepted audio with its final stamps, from expression_node to renderer_node",
    (SERVES, "interrupt"): "Drops all that is not yet shown or played; the mouth closes",
    "face/image_raw": "The face at `fps`, idle or talking, as bgr8; as bgra8 before a transparent "
    "`background`",
    "face/image_raw/compressed": "The face as JPEG; encoded only while somebody subscribes",
    "audio_out": "The audio in chunks of 20 ms, each published together with its frame: play what "
    "arrives, and it is in sync",
    "speaking": "Whether the face speaks: false in pauses of more than 0.3 s, too; published when "
    "that changes",
    "face/provenance": "XMP packet of the images: a network drew them, and who consented",
    "face/settings": "Avatar and frame rate, which all nodes of a face share",
    "emotion": "`happy`, `sad`, `surprised`, `afraid`, `angry`, `disgusted` or `neutral`, and an "
    "intensity if wanted: `happy 0.5`",
    "robot_expression": "Emotion by name, or by valence and arousal",
    "look_at": "Point that eyes and head turn to, for 5 s; in the face's frame, or, with tf2_ros, "
    "in any",
    "listening": "True: the face looks as if it listened",
    (SUBSCRIBES, "say"): "Text or SSML to speak through espeak-ng",
    (ACTION, "say"): "Text or SSML to speak. Feedback: the text spoken so far. Cancel: interrupt",
    (PUBLISHES, "say"): "Text that an operator has typed",
    "audio_in": "Audio messages of other packages",
    "audio_info": "Format of the messages on `audio_in`, if they do not say it themselves",
    "face/markers": "Landmarks in 3D, and the largest weights as text, for RViz",
    "/diagnostics": "At 1 Hz: state, rates, latencies, queues, drops, ONNX provider, checksums",
    "/tf": "Transforms, for points on `look_at`",
    (SUBSCRIBES, "/tf_static"): "Transforms, for points on `look_at`",
    (PUBLISHES, "/tf_static"): "Where the face is in `parent_frame`",
    (CALLS, "interrupt"): "Called by the operator's interrupt button",
    "expression_node/set_parameters": "Sets the avatar that an operator has chosen",
    "renderer_node/set_parameters": "Sets the avatar that an operator has chosen",
}  # fmt: skip
HIDDEN = ("/parameter_events", "/rosout")  # of every ROS node
RCLPYS_OWN = ("use_sim_time", "start_type_description_service")  # parameters


@dataclass(frozen=True)
class Endpoint:
    """A topic, service or action of a node. direction: one of the constants above; name: relative
    to the namespace of the face, or absolute; type: such as std_msgs/String."""

    direction: str
    name: str
    type: str
    qos: str = ""
    condition: str = ""  # when the node creates it; empty: always

    @property
    def meaning(self) -> str:
        """Raises RealTalkError where MEANINGS has none."""
        found = MEANINGS.get((self.direction, self.name)) or MEANINGS.get(self.name)
        if found is None:
            raise RealTalkError(f"{self.name} ({self.direction}) has no description: add one to "
                                "MEANINGS in realtalk_ros/commands/node_interfaces.py")  # fmt: skip
        return found + (f" ({self.condition})" if self.condition else "")


# What nodes create only later, or only where another package is installed.
LATER: dict[str, tuple[Endpoint, ...]] = {
    "renderer_node": (
        Endpoint(SUBSCRIBES, "robot_expression", "hri_msgs/Expression", "reliable, 10",
                 "where hri_msgs is installed"),
        Endpoint(SUBSCRIBES, "/tf", "tf2_msgs/TFMessage", "reliable, 100",
                 "where tf2_ros is installed"),
        Endpoint(SUBSCRIBES, "/tf_static", "tf2_msgs/TFMessage", "reliable, 100, latched",
                 "where tf2_ros is installed"),
    ),
    "display_node": (
        Endpoint(SUBSCRIBES, "face/image_raw/compressed", "sensor_msgs/CompressedImage",
                 "reliable, 3", "while a page is open"),
        Endpoint(SUBSCRIBES, "audio_out", "realtalk_ros/AudioChunk", "best effort, 100",
                 "while a page is open"),
    ),
    "audio_adapter_node": (
        Endpoint(SUBSCRIBES, "audio_in", "of three packages", "reliable, 5000",
                 "subscribed once somebody publishes it"),
        Endpoint(SUBSCRIBES, "audio_info", "audio_common_msgs/AudioInfo", "reliable, 1",
                 "subscribed once somebody publishes it"),
    ),
    "markers_node": (
        Endpoint(PUBLISHES, "/tf_static", "tf2_msgs/TFMessage", "reliable, 1, latched",
                 "where tf2_msgs is installed"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ParameterRow:
    """A parameter as its descriptor and its default say it."""

    name: str
    default: str
    range: str
    change: str
    meaning: str


@dataclass(frozen=True)
class NodeInterface:
    """What one node offers."""

    name: str
    endpoints: tuple[Endpoint, ...]
    parameters: tuple[ParameterRow, ...]


def describe_nodes() -> dict[str, NodeInterface]:
    """Creates every node of `realtalk_ros.nodes` and describes it. Nothing reaches the network.

    Raises RealTalkError for a node that NODES does not list.
    """
    found = [m.name for m in pkgutil.iter_modules(nodes.__path__) if m.name.endswith("_node")]
    if unlisted := set(found) - set(NODES):
        raise RealTalkError(
            f"NODES in commands/node_interfaces.py lacks {', '.join(sorted(unlisted))}"
        )
    with _undiscovered():
        context = rclpy.Context()
        rclpy.init(args=[], context=context)
        try:
            return {name: _describe(name, context) for name in NODES}
        finally:
            rclpy.shutdown(context=context)


@contextmanager
def _undiscovered() -> Iterator[None]:
    """Nodes that are created meanwhile find nobody and are found by nobody: a face that runs beside
    them would follow their settings."""
    name = "ROS_AUTOMATIC_DISCOVERY_RANGE"
    before = os.environ.get(name)
    os.environ[name] = "OFF"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _describe(name: str, context: rclpy.Context) -> NodeInterface:
    module = importlib.import_module(f"{nodes.__name__}.{name}")
    kind = next(
        value for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, LifecycleNode)
        and value.__module__ == module.__name__
    )  # fmt: skip
    make: Callable[..., LifecycleNode] = kind  # ours have names of their own
    node = make(context=context)
    try:
        later = LATER.get(name, ())
        known = {(e.direction, e.name) for e in later}
        endpoints = [e for e in _endpoints(node) if (e.direction, e.name) not in known]
        order = [PUBLISHES, SUBSCRIBES, SERVES, ACTION, CALLS]
        endpoints = sorted([*endpoints, *later], key=lambda e: order.index(e.direction))
        return NodeInterface(name, tuple(endpoints), tuple(_parameters(node)))
    finally:
        node.destroy_node()


def _endpoints(node: LifecycleNode) -> Iterator[Endpoint]:
    """Those of a node that are not of every lifecycle node."""
    me = node.get_name(), node.get_namespace()
    profiles = {
        PUBLISHES: {p.topic_name: p.qos_profile for p in node.publishers},
        SUBSCRIBES: {s.topic_name: s.qos_profile for s in node.subscriptions},
    }
    asked = (
        (PUBLISHES, node.get_publisher_names_and_types_by_node(*me)),
        (SUBSCRIBES, node.get_subscriber_names_and_types_by_node(*me)),
        (SERVES, node.get_service_names_and_types_by_node(*me)),
        (ACTION, get_action_server_names_and_types_by_node(node, *me)),
        (CALLS, node.get_client_names_and_types_by_node(*me)),
    )
    own = f"{node.get_fully_qualified_name()}/"
    for direction, names_and_types in asked:
        for whole, types in names_and_types:
            if whole in HIDDEN or whole.startswith(own) or "/_action/" in whole:
                continue
            profile = profiles.get(direction, {}).get(whole)
            name = whole.removeprefix(f"{node.get_namespace()}/")
            package, _, short = types[0].split("/")
            yield Endpoint(direction, name, f"{package}/{short}", _qos(profile))


def _qos(profile: QoSProfile | None) -> str:
    if profile is None:
        return ""
    reliable = profile.reliability == ReliabilityPolicy.RELIABLE
    latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    return (f"{'reliable' if reliable else 'best effort'}, {profile.depth}"
            + (", latched" if latched else ""))  # fmt: skip


def _parameters(node: LifecycleNode) -> Iterator[ParameterRow]:
    names = list(node.get_parameters_by_prefix(""))
    for name in sorted(names, key="autostart".__eq__):  # which every node has: last
        if name in RCLPYS_OWN or name.startswith("qos_overrides."):
            continue
        descriptor = node.describe_parameter(name)
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        limits = f"{ranges[0].from_value:.10g} to {ranges[0].to_value:.10g}" if ranges else ""
        yield ParameterRow(
            name, _value(node.get_parameter(name).value), limits,
            descriptor.additional_constraints.removeprefix("set it "), descriptor.description,
        )  # fmt: skip


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"`{value}`" if value else "empty"
    return f"{value}"
