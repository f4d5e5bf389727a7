# SPDX-License-Identifier: Apache-2.0
"""The launch file brings the nodes up, active; a killed one comes back; all stop when told to."""

import os
import signal
import time
import unittest

import launch_testing
import launch_testing.actions
import launch_testing.asserts
import pytest
import rclpy
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, RegisterEventHandler
from launch.event_handlers import OnProcessStart
from launch.launch_description_sources import PythonLaunchDescriptionSource
from lifecycle_msgs.srv import GetState
from sensor_msgs.msg import Image

FILE = os.path.join(get_package_share_directory("realtalk_ros"), "launch", "realtalk.launch.py")
NODES = ("expression_node", "renderer_node")
started = []  # (launch's name of the process, pid) of every start


@pytest.mark.launch_test
def generate_test_description():
    included = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(FILE),
        launch_arguments={"namespace": "launched", "size": "128"}.items(),
    )
    watch = OnProcessStart(
        on_start=lambda event, _: started.append((event.process_name, event.pid))
    )
    return LaunchDescription(
        [RegisterEventHandler(watch), included, launch_testing.actions.ReadyToTest()]
    )


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

    def wait_until_active(self, name):
        client = self.node.create_client(GetState, f"{name}/get_state")
        end = time.monotonic() + 30
        label = "nothing"
        while label != "active":
            self.assertLess(time.monotonic(), end, f"{name} is {label}")
            future = client.call_async(GetState.Request())  # lost if the node is on its way down
            stop = time.monotonic() + 1
            while not future.done() and time.monotonic() < stop:
                rclpy.spin_once(self.node, timeout_sec=0.1)
            label = future.result().current_state.label if future.done() else "silent"
        self.node.destroy_client(client)

    def test_images_come_and_nodes_are_active(self):
        images = []
        subscription = self.node.create_subscription(Image, "face/image_raw", images.append, 3)
        self.wait(lambda: len(images) > 10, "images")
        self.assertEqual(images[-1].height, 128)
        for name in NODES:
            self.wait_until_active(name)
        self.node.destroy_subscription(subscription)

    def test_killed_nodes_come_back(self):
        for name in NODES:
            with self.subTest(name):
                self.wait_until_active(name)
                pids = [pid for process, pid in started if process.startswith(name)]
                # The respawn is launch's; how soon frames flow again is test_faults.py's.
                starts = len(started)
                os.kill(pids[-1], signal.SIGKILL)
                self.wait(lambda: len(started) > starts, "respawn", 10)  # noqa: B023
                self.wait_until_active(name)
        images = []
        subscription = self.node.create_subscription(Image, "face/image_raw", images.append, 3)
        self.wait(lambda: len(images) > 10, "images after the respawn")
        self.node.destroy_subscription(subscription)


@launch_testing.post_shutdown_test()
class TestShutDown(unittest.TestCase):
    def test_nodes_stop_without_error(self, proc_info):
        last = {process.rsplit("-", 1)[0]: process for process, _ in started}
        self.assertEqual(sorted(last), sorted(NODES))
        for process in last.values():  # the ones before were killed
            launch_testing.asserts.assertExitCodes(proc_info, process=process)
