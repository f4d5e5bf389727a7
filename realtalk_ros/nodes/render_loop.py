# SPDX-License-Identifier: Apache-2.0
"""The render loop: renders each frame before it is due, and publishes it when it is due.

Two threads share the work: while one image is composed and waits until it is due, the networks run
for the next one. A face that has not changed is spared the networks: `run` in
rendering/generator.py.
"""

from __future__ import annotations

import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from std_msgs.msg import Bool

from realtalk_ros.behaviour.face import Face, GeneratedFrame
from realtalk_ros.errors import NetworkError
from realtalk_ros.nodes import lifecycle, qos
from realtalk_ros.nodes.face_loader import FaceLoader
from realtalk_ros.nodes.image_publisher import ImagePublisher
from realtalk_ros.playout.face_playout import FacePlayout
from realtalk_ros.playout.jitter_buffer import DueFrame
from realtalk_ros.playout.quality_monitor import FrameStatistics
from realtalk_ros.rendering.face_renderer import FaceRenderer

MAX_SLEEP = 0.02  # s, until a change of the delay or the clock is noticed
MIN_SLEEP = 0.0005  # s
NETWORK_FAILURES = 3  # frames in a row for which a network fails before it is loaded on the CPU
OTHER_FAILURES = 25  # the same for any other error
RELOAD_EVERY = 5.0  # s between two attempts


@dataclass(frozen=True)
class PendingFrame:
    """A frame whose image is to be composed and shown."""

    frame: DueFrame
    face: Face
    generated: GeneratedFrame
    seconds: float  # that generating took


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
        self._shown: FaceRenderer | None = None  # of the images for which the publisher is prepared
        self._failures = 0  # frames in a row
        self._reloaded_at = -math.inf  # monotonic, when the networks were loaded again
        self._speaking = node.publisher(Bool, "speaking", qos.LATCHED)
        self._speaking.publish(Bool(data=False))

    def run(self, stop: threading.Event) -> None:
        """Shows frame after frame until `stop` is set."""
        showing: Future[None] | None = None
        with ThreadPoolExecutor(1, "compose") as composer:
            while not stop.is_set():
                frame, wait = self._playout.next_frame()
                if frame is None:
                    stop.wait(min(MAX_SLEEP, max(MIN_SLEEP, wait)))
                    continue
                try:
                    self._loader.take()
                    pending = self.generate(frame)
                    before, showing = showing, None
                    if before is not None:
                        before.result()
                        self._failures = 0
                    showing = composer.submit(self.show, pending)
                except Exception as error:  # a frame that fails must not end the loop
                    if stop.is_set() or not self._node.context.ok():
                        return
                    self._on_failure(error)

    def prepare(self, renderer: FaceRenderer) -> None:
        """The images of another face, or of another size of it, are shown from now on."""
        self._images.prepare(renderer.size, renderer.avatar.provenance)
        self._shown = renderer

    def generate(self, frame: DueFrame) -> PendingFrame:
        """The first half of rendering a frame: all but its image."""
        began, face = time.perf_counter(), self._loader.face
        assert face is not None
        generated = face.generate(frame.time, frame.weights, frame.rotation, frame.speech)
        return PendingFrame(
            frame=frame,
            face=face,
            generated=generated,
            seconds=time.perf_counter() - began,
        )

    def show(self, pending: PendingFrame) -> None:
        """Composes the image of a frame, and publishes it when it is due."""
        playout, counts = self._playout, self._node.counts
        frame = pending.frame
        began = time.perf_counter()
        image = pending.face.compose(pending.generated)
        composed = time.perf_counter()
        if pending.generated.renderer is not self._shown:
            self.prepare(pending.generated.renderer)
        self._wait_until(frame.due)
        if playout.is_dropped(frame):
            counts["skipped_frames"] += 1  # its utterance was interrupted while it was rendered
            return
        behind = self._node.now() - frame.due
        ready = time.perf_counter()
        self._images.publish(image, frame.time)
        if playout.show(frame):
            self._speaking.publish(Bool(data=playout.speaking))
        counts["images"] += 1
        counts["skipped_frames"] += frame.skipped
        published = time.perf_counter()
        self._statistics.add(
            generate=pending.seconds,
            compose=composed - began,
            publish=published - ready,
            behind=behind,
            missed=frame.skipped,
            speech=frame.utterance is not None,
        )

    def end_speaking(self) -> None:
        """The face is not shown any more, so it does not speak."""
        if self._playout.end_speaking():
            self._speaking.publish(Bool(data=False))

    def _wait_until(self, due: float) -> None:
        """Sleeps until the ROS clock is at `due`, which is at most `lead` away."""
        wait = min(due - self._node.now(), self._playout.lead)
        if wait > 0:
            time.sleep(wait)

    def _on_failure(self, error: Exception) -> None:
        if isinstance(error, NetworkError):
            self._node.problems.add(f"a frame could not be shown, the network failed: {error}")
        else:
            self._node.problems.exception(error)
        if self._loader.replacing:
            # Another fallback would throw away what loads: where that takes longer than
            # RELOAD_EVERY, nothing would ever be shown again.
            return
        self._failures += 1
        enough = NETWORK_FAILURES if isinstance(error, NetworkError) else OTHER_FAILURES
        if self._failures < enough or time.monotonic() - self._reloaded_at < RELOAD_EVERY:
            return
        self._failures, self._reloaded_at = 0, time.monotonic()
        self._node.counts["fallbacks"] += 1
        self._loader.fall_back()
