# SPDX-License-Identifier: Apache-2.0
"""Publishers and subscriptions that do not match a node's are reported, with what to change."""

import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from std_msgs.msg import Bool, String  # noqa: E402

from ros_domains import domain_of  # noqa: E402
from ros_graph import Client, start, stop  # noqa: E402

DOMAIN = domain_of(__file__)


def test_a_topic_of_another_type_or_qos_is_reported():
    process = start("say_node", DOMAIN)
    client, context = Client(DOMAIN, images=False), rclpy.Context()
    try:
        client.wait_ready("say_node")
        lossy = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        client.node.create_publisher(String, "say", lossy)
        rclpy.init(context=context, domain_id=DOMAIN)
        other = rclpy.create_node("other", namespace="realtalk", context=context)
        other.create_publisher(Bool, "expression", 1)

        def reported(*words):
            values = client.diagnostics["say_node"][2]
            return any(all(word in problem for word in words) for problem in values)

        connects = "does not connect to"
        client.wait(lambda: reported("/say", connects, "Best effort publisher"), 10, "QoS")
        client.wait(lambda: reported("/expression", connects, "std_msgs/msg/Bool"), 10, "type")
    finally:
        stop(process)
        client.close()
        rclpy.try_shutdown(context=context)
