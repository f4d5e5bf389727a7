# SPDX-License-Identifier: Apache-2.0
"""QoS profiles of the topics (expression_node's and the adapter's of audio: subscriptions.py), and
QoS events."""

from __future__ import annotations

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

# Audio and expressions: room for what is sent while a subscriber stalls for 5 s, at 120 fps.
STREAM = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
# Who only listens to audio connects to any publisher, and none waits for it.
AUDIO_LISTENER = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
# Few: a subscriber that hangs must not make the publisher keep or wait for anything.
IMAGE = QoSProfile(depth=3, reliability=ReliabilityPolicy.RELIABLE)
COMMAND = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
# None may be lost, and they may come at once: DDS drops what exceeds the depth without a word.
REQUEST = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)

# None, and not rclpy's own: unmatched_endpoints.py.
NO_PUBLISHER_EVENTS = PublisherEventCallbacks(use_default_callbacks=False)
NO_SUBSCRIPTION_EVENTS = SubscriptionEventCallbacks(use_default_callbacks=False)


def with_depth(profile: QoSProfile, depth: int) -> QoSProfile:
    """The same profile with another depth."""
    return QoSProfile(depth=depth, reliability=profile.reliability, durability=profile.durability)


def overridable() -> QoSOverridingOptions:
    """Lets a user's YAML override history, depth and reliability of an endpoint."""
    return QoSOverridingOptions.with_default_policies()
