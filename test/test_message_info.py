# SPDX-License-Identifier: Apache-2.0
"""Callbacks that ask when a message was published work on every distribution."""

import time

import pytest

pytest.importorskip("rclpy")

import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import String

from realtalk_ros.nodes import message_info


class Listener:
    def __init__(self):
        self.heard = []

    def on_message(self, message, info):
        self.heard.append((message.data, info["source_timestamp"]))


@pytest.mark.parametrize("known", [message_info.KNOWN, False], ids=["as it is", "as on Humble"])
def test_callback_hears_message_and_time(monkeypatch, known):
    monkeypatch.setattr(message_info, "KNOWN", known)
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node("listener", context=context)
        listener = Listener()
        node.create_subscription(String, "words", message_info.with_info(listener.on_message), 10)
        words = node.create_publisher(String, "words", 10)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        end = time.monotonic() + 15
        while not listener.heard and time.monotonic() < end:
            words.publish(String(data="hello"))
            executor.spin_once(timeout_sec=0.1)
        word, published = listener.heard[0]
        assert word == "hello" and abs(time.time_ns() - published) < 10e9
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


def test_on_humble_a_callback_is_called_with_the_message_alone(monkeypatch):
    monkeypatch.setattr(message_info, "KNOWN", False)
    listener, before = Listener(), time.time_ns()
    message_info.with_info(listener.on_message)(String(data="hello"))
    assert before <= listener.heard[0][1] <= time.time_ns()
