"""The launch file brings the nodes up, active, and a killed one comes back (launch_testing)."""

import os
import time
import unittest

import launch_testing.actions
import pytest
import rclpy
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from lifecycle_msgs.srv import GetState
from sensor_msgs.msg import Image

FILE = os.path.join(get_package_share_directory("realtalk_ros"), "launch", "realtalk.launch.py")


@pytest.mark.launch_test
def generate_test_description():
    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(FILE),
        launch_arguments={"namespace": "launched", "size": "128"}.items(),
    )
    return LaunchDescription([included, launch_testing.actions.ReadyToTest()])


class TestLaunched(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        rclpy.init()
        cls.node = rclpy.create_node("launch_test", namespace="launched")

    @classmethod
    def tearDownClass(cls):
        cls.node.destroy_node()
        rclpy.shutdown()

    def wait(self, condition, what, timeout=30.0):
        end = time.monotonic() + timeout
        while not condition():
            self.assertLess(time.monotonic(), end, f"no {what}")
            rclpy.spin_once(self.node, timeout_sec=0.1)

    def test_images_come_and_nodes_are_active(self):
        images = []
        self.node.create_subscription(Image, "face/image_raw", images.append, 3)
        self.wait(lambda: len(images) > 10, "images")
        self.assertEqual(images[-1].height, 128)
        for name in ("expression_node", "renderer_node"):
            client = self.node.create_client(GetState, f"{name}/get_state")
            self.assertTrue(client.wait_for_service(10))
            future = client.call_async(GetState.Request())
            self.wait(future.done, "state")
            self.assertEqual(future.result().current_state.label, "active")
