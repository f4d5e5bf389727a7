# SPDX-License-Identifier: Apache-2.0
"""Other nodes' publishers and subscriptions that do not match this node's: of another type, or with
a QoS that is not compatible. Each is reported once, with what to change.

rclpy reports them, too, by two event handlers for each endpoint. Its executor asks all of them
whenever it wakes up, which is a third of what a wake-up costs a node of this package: its endpoints
have none (NO_PUBLISHER_EVENTS in qos.py).
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.topic_endpoint_info import TopicEndpointInfo, TopicEndpointTypeEnum

from realtalk_ros.nodes.problems import Problems

STAYS = 1.5  # s


class UnmatchedEndpoints:
    """Looks for them among all publishers and subscriptions of the graph."""

    def __init__(self, node: Node, problems: Problems) -> None:
        self._node, self._problems = node, problems
        self._since: dict[str, float] = {}  # problem -> when it was seen first
        self._reported: set[str] = set()

    def check(self) -> None:
        """Reports those that are new and stay. Call it often."""
        now = time.monotonic()
        self._since = {problem: self._since.get(problem, now) for problem in self._all()}
        for problem, since in self._since.items():
            if now - since > STAYS and problem not in self._reported:
                self._reported.add(problem)
                self._problems.add(problem)

    def _all(self) -> Iterator[str]:
        node = self._node
        topics = {publisher.topic_name for publisher in node.publishers}
        topics.update(subscription.topic_name for subscription in node.subscriptions)
        for topic in topics:
            publishers = node.get_publishers_info_by_topic(topic)
            subscriptions = node.get_subscriptions_info_by_topic(topic)
            for others, candidates in ((publishers, subscriptions), (subscriptions, publishers)):
                ours = [i for i in candidates if _name(i) == node.get_fully_qualified_name()]
                for other in others:
                    # One that matches is enough: `audio` gets a second one (subscriptions.py).
                    reasons = [_mismatch(own, other) for own in ours]
                    if reasons and all(reasons):
                        yield f"{topic} does not connect to {_name(other)}: {reasons[0]}"


def _mismatch(own: TopicEndpointInfo, other: TopicEndpointInfo) -> str:
    """Why an endpoint of this node does not connect to another one; empty if it does."""
    if other.topic_type != own.topic_type:
        return f"its type is {other.topic_type}, and should be {own.topic_type}"
    sends = own.endpoint_type == TopicEndpointTypeEnum.PUBLISHER
    publisher, subscription = (own, other) if sends else (other, own)
    compatibility, reason = qos_check_compatible(publisher.qos_profile, subscription.qos_profile)
    if compatibility == QoSCompatibility.ERROR:
        return f"change its QoS ({reason.removeprefix('ERROR: ').rstrip('; ')})"
    return ""


def _name(info: TopicEndpointInfo) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
