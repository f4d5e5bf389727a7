# SPDX-License-Identifier: Apache-2.0
"""The render loop: renders each frame before it is due, and publishes it when it is due.

A face that has not changed is spared the networks: `run` in rendering/generator.py.
"""

from __future__ import annotations

import math
import threading
import time

from std_msgs.msg import Bool

from realtalk_ros.errors import NetworkError
from realtalk_ros.nodes import lifecycle, qos
from realtalk_ros.nodes.face_loader import FaceLoader
from realtalk_ros.nodes.image_publisher import ImagePublisher
from realtalk_ros.playout.face_playout import FacePlayout
from realtalk_ros.playout.jitter_buffer import DueFrame
from realtalk_ros.playout.quality_monitor import FrameStatistics

MAX_SLEEP = 0.02  # s, until a change of the delay or the clock is noticed
MIN_SLEEP = 0.0005  # s
NETWORK_FAILURES = 3  # frames in a row for which a network fails before it is loaded on the CPU
OTHER_FAILURES = 25  # the same for any other error
RELOAD_EVERY = 5.0  # s between two attempts


class RenderLoop:
    """Shows what is in the playout with the face that is loaded."""

    def __init__(
        self,
        node: lifecycle.RealTalkNode,
        playout: FacePlayout,
        loader: FaceLoader,
        images: ImagePublisher,
        statistics: FrameStatistics,
    ) -> None:
        self._node, self._playout, self._loader = node, playout, loader
        self._images, self._statistics = images, statistics
        self._failures = 0  # frames in a row
        self._reloaded_at = -math.inf  # monotonic, when the networks were loaded again
        self._speaking = node.create_publisher(
            Bool, "speaking", qos.LATCHED, qos_overriding_options=qos.overridable()
        )
        self._speaking.publish(Bool(data=False))

    def run(self, stop: threading.Event) -> None:
        """Shows frame after frame until `stop` is set."""
        while not stop.is_set():
            frame, wait = self._playout.next_frame()
            if frame is None:
                stop.wait(min(MAX_SLEEP, max(MIN_SLEEP, wait)))
                continue
            try:
                if self._loader.take():
                    self.prepare()
                self.show(frame)
                self._failures = 0
            except Exception as error:  # a frame that fails must not end the loop
                if stop.is_set() or not self._node.context.ok():
                    return
                self._on_failure(error)

    def prepare(self) -> None:
        """Another face, or another size of it, is shown from now on."""
        face = self._loader.face
        assert face is not None
        self._images.prepare(face.renderer.size, face.renderer.avatar.provenance)

    def show(self, frame: DueFrame) -> None:
        """Renders a frame and publishes it when it is due."""
        playout, counts, face = self._playout, self._node.counts, self._loader.face
        assert face is not None
        media_time = frame.frame / playout.frames.fps
        began, interrupts = time.perf_counter(), playout.interrupts
        _, image = face.render(media_time, frame.weights, frame.rotation, frame.speech)
        rendered = time.perf_counter()
        self._wait_until(frame.due)
        if frame.utterance and playout.interrupts != interrupts:
            counts["skipped_frames"] += 1  # its utterance was interrupted while it was rendered
            return
        behind = self._node.now() - frame.due
        ready = time.perf_counter()
        self._images.publish(image, media_time)
        if playout.speaking.update(media_time, frame.speech):
            self._speaking.publish(Bool(data=playout.speaking.state))
        counts["images"] += 1
        counts["skipped_frames"] += frame.skipped
        published = time.perf_counter()
        self._statistics.add(
            render=rendered - began,
            publish=published - ready,
            behind=behind,
            missed=frame.skipped,
        )

    def end_speaking(self) -> None:
        """The face is not shown any more, so it does not speak."""
        if self._playout.speaking.state:
            self._playout.speaking.state = False
            self._speaking.publish(Bool(data=False))

    def _wait_until(self, due: float) -> None:
        """Sleeps until the ROS clock is at `due`, which is at most `lead` away."""
        wait = min(due - self._node.now(), self._playout.frames.lead)
        if wait > 0:
            time.sleep(wait)

    def _on_failure(self, error: Exception) -> None:
        if isinstance(error, NetworkError):
            self._node.problems.add(f"a frame could not be shown, the network failed: {error}")
        else:
            self._node.problems.exception(error)
        self._failures += 1
        enough = NETWORK_FAILURES if isinstance(error, NetworkError) else OTHER_FAILURES
        if self._failures < enough or time.monotonic() - self._reloaded_at < RELOAD_EVERY:
            return
        self._failures, self._reloaded_at = 0, time.monotonic()
        self._node.counts["fallbacks"] += 1
        self._loader.fall_back()
