# SPDX-License-Identifier: Apache-2.0
"""Expression and renderer node in a thread of this process, so that what they show can be seen."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from realtalk_ros.face_model import arkit
from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes.expression_node import ExpressionNode
from realtalk_ros.nodes.renderer_node import RendererNode
from ros_graph import AVATAR, FPS, THREADS, Client


class Stage:
    """Expression and renderer node in a thread, what they show, and a client."""

    def __init__(self, domain: int, **parameters):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        given = {
            "avatar": AVATAR,
            "size": 128,
            "fps": FPS,
            "adapt_quality": False,
            **THREADS,
            **parameters,
        }
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        options = dict(context=self.context, parameter_overrides=overrides)
        self.expression, self.renderer = ExpressionNode(**options), RendererNode(**options)
        self.shown = []  # when, DueFrame
        self.weights = np.zeros(arkit.COUNT, np.float32)  # of the last of them
        show = self.renderer.render_loop.show

        def watched(pending):
            images = self.renderer.counts["images"]
            show(pending)
            if self.renderer.counts["images"] > images:
                self.shown.append((time.time(), pending.frame))
                self.weights = pending.generated.weights

        self.renderer.render_loop.show = watched
        self.executor = SingleThreadedExecutor(context=self.context)
        for node in self.nodes:
            self.executor.add_node(node)
            node.try_setup()
            assert node.ready, node.failure
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()
        self.client = Client(domain, images=False)
        self.heard = []  # when it was sent, AudioChunk
        self.client.node.create_subscription(
            AudioChunk,
            "audio_out",
            lambda m, about: self.heard.append((about["source_timestamp"] / 1e9, m)),
            500,
        )
        self.client.wait_connected()
        for found, what in (
            (self.expression._audio.get_publisher_count, "publisher of audio"),
            (lambda: self.expression._expression.get_subscription_count() > 1, "both its readers"),
            (self.renderer.audio.publisher.get_subscription_count, "subscriber of audio_out"),
        ):
            self.client.wait(found, 10, what)

    @property
    def nodes(self):
        return self.expression, self.renderer

    def forget(self):
        """What was shown, heard and logged so far, in other tests or in a first try of this one."""
        self.shown.clear()
        self.heard.clear()
        for node in self.nodes:
            node.problems.counts.clear()

    def _spin(self):
        while not self.done.is_set():
            self.executor.spin_once(timeout_sec=0.05)

    def close(self):
        self.client.close()
        self.done.set()
        self.thread.join()
        for node in self.nodes:
            node.close()
            node.destroy_node()
        rclpy.shutdown(context=self.context)

    @contextmanager
    def setting(self, node, name, value):
        """A parameter of a node has another value; then that which it had."""
        before = node.get_parameter(name)
        assert node.set_parameters([Parameter(name, value=value)])[0].successful
        try:
            yield
        finally:
            node.set_parameters([before])

    def seen(self, utterance):
        return [(when, s) for when, s in self.shown if s.utterance == utterance]

    def said(self, utterance):
        return [(when, m) for when, m in self.heard if m.utterance_id == utterance and m.data]

    def left_out(self, before=0):
        """Samples of sound that came too late to be said, as they may on a busy machine."""
        return round(self.renderer.playout.status()["late_sound_ms"] * 16) - before
