"""Expressions on `expression` become a face on `face/image_raw`, at a steady rate."""

from __future__ import annotations

import array
import threading
import time
from collections import deque
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool

from realtalk_ros import models
from realtalk_ros.avatar import Avatar
from realtalk_ros.idle import Idle
from realtalk_ros.msg import FaceExpression
from realtalk_ros.nodes import common
from realtalk_ros.pipeline import TimedExpression, alive
from realtalk_ros.renderer.stream import FaceRenderer
from realtalk_ros.timeline import Presenter, Speaking

POLL = 0.02  # s, longest sleep of the display: how soon it sees a change of delay or clock


class RendererNode(common.RealTalkNode):
    def __init__(self, name: str = "renderer_node", **options):
        super().__init__(name, **options)
        self.avatar = self.parameter("avatar", *common.AVATAR)
        self.fps = self.parameter("fps", *common.FPS)
        self.size = self.parameter("size", 512, "Height of the images [px]", (64, 2048))
        self.device = self.parameter("device", *common.DEVICE)
        self.threads = self.parameter("threads", 2, "CPU threads of the network", (1, 64))
        self.model_dir = self.parameter("model_dir", *common.MODEL_DIR)
        self.frame_id = self.parameter("frame_id", "face", "frame_id of the images")
        self.quality = self.parameter(
            "jpeg_quality", 90, "JPEG quality of the compressed images", (1, 100)
        )
        self.seed = self.parameter("seed", 0, "Which of its idle lives the face leads", (0, 2**31))

        self.renderer: FaceRenderer | None = None
        self.idle = Idle(self.seed)
        self.presenter = Presenter(self.fps)
        self.speaking = Speaking()
        self.counts = {"expressions": 0, "images": 0, "jpegs": 0, "skipped_frames": 0, "resets": 0}
        self._lock = threading.Lock()  # presenter: filled by the executor, read by the display
        self._stop = threading.Event()
        self._display: threading.Thread | None = None
        self._render_ms: deque[float] = deque(maxlen=250)
        self._publish_ms: deque[float] = deque(maxlen=250)
        self._image = Image(encoding="bgr8", is_bigendian=0)

        overridable = common.overridable()
        self._raw = self.create_publisher(
            Image, "face/image_raw", common.IMAGE_QOS, qos_overriding_options=overridable
        )
        self._jpeg = self.create_publisher(
            CompressedImage, "face/image_raw/compressed", common.IMAGE_QOS,
            qos_overriding_options=overridable,
        )  # fmt: skip
        self._speaking = self.create_publisher(
            Bool, "speaking", common.LATCHED_QOS, qos_overriding_options=overridable
        )
        self._speaking.publish(Bool(data=False))
        self._expression = self.create_subscription(
            FaceExpression, "expression", self.on_expression, common.EXPRESSION_QOS,
            qos_overriding_options=overridable,
        )  # fmt: skip

    def setup(self) -> None:
        began = time.perf_counter()
        renderer = FaceRenderer(
            Avatar.load(self.avatar),
            self.size,
            models.providers_for(self.device),
            self.threads,
            Path(self.model_dir) if self.model_dir else None,
        )
        renderer.render(np.zeros(52, np.float32), 0)  # the first run is slower than the others
        self.renderer = renderer
        width, height = renderer.size
        self._image.width, self._image.height, self._image.step = width, height, 3 * width
        self._image.data = array.array("B", bytes(3 * width * height))
        self._display = threading.Thread(target=self.display, name="display", daemon=True)
        self._display.start()
        self.get_logger().info(
            f"ready in {time.perf_counter() - began:.1f} s: avatar {renderer.avatar.name}, "
            f"{width}x{height} at {self.fps:g} fps, {self.device}"
        )

    def on_expression(self, message: FaceExpression) -> None:
        self.counts["expressions"] += 1
        if message.reset:
            self.counts["resets"] += 1
            with self._lock:
                self.presenter.reset()
            return
        weights = np.array(message.weights, np.float32)
        when = self.media_time(message.header.stamp)
        if not np.isfinite(weights).all():
            self.problems.add("an expression has weights that are NaN or infinite: left out")
            return
        now = self.now()
        expression = TimedExpression(
            now if when is None else when,
            message.utterance_id,
            message.sequence,
            np.clip(weights, 0, 1),
            np.array(message.head_rotation, np.float32),
            message.speech_probability,
        )
        with self._lock:
            self.presenter.push(expression, now)

    def display(self) -> None:
        """Shows frame after frame until the node closes (in a thread of its own)."""
        while not self._stop.is_set():
            now = self.now()
            with self._lock:
                shown, delay = self.presenter.tick(now), self.presenter.delay
            if shown is None:
                due = (np.floor((now - delay) * self.fps + 1e-6) + 1) / self.fps + delay
                self._stop.wait(min(POLL, max(0.0005, due - now)))
                continue
            try:
                self.show(shown)
            except Exception as error:  # a picture that fails must not end the display
                if self._stop.is_set() or not self.context.ok():
                    return
                self.problems.add(f"a frame could not be shown: {error}")

    def show(self, shown) -> None:
        media_time = shown.frame / self.fps
        began = time.perf_counter()
        weights = alive(shown.weights, self.idle.weights(media_time))
        template = self.idle.template(media_time, self.renderer.template_count)
        picture = self.renderer.render(weights, template)
        rendered = time.perf_counter()

        self.set_stamp(self._image.header.stamp, media_time)
        self._image.header.frame_id = self.frame_id
        if self._raw.get_subscription_count():
            # The message keeps its buffer: a new array each time costs a copy more.
            np.frombuffer(self._image.data, np.uint8)[:] = picture.reshape(-1)
            self._raw.publish(self._image)
        if self._jpeg.get_subscription_count():
            done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            if done:
                message = CompressedImage(header=self._image.header, format="jpeg")
                message.data = array.array("B", data.tobytes())
                self._jpeg.publish(message)
                self.counts["jpegs"] += 1
        if self.speaking.update(media_time, shown.speech):
            self._speaking.publish(Bool(data=self.speaking.state))
        self.counts["images"] += 1
        self.counts["skipped_frames"] += shown.skipped
        self._render_ms.append((rendered - began) * 1e3)
        self._publish_ms.append((time.perf_counter() - rendered) * 1e3)

    def close(self) -> None:
        self._stop.set()
        if self._display is not None:
            self._display.join(timeout=2)

    def status(self) -> dict:
        values: dict = {"avatar": self.avatar, "device": self.device, **self.counts}
        values["late_expressions"] = self.presenter.late
        values["queued_expressions"] = len(self.presenter)
        values["refused_expressions"] = self.presenter.overflow
        values["delay_ms"] = self.presenter.delay * 1e3
        values["speaking"] = self.speaking.state
        for name, times in (("render_ms", self._render_ms), ("publish_ms", self._publish_ms)):
            if times:
                values[f"{name}_p50"], values[f"{name}_p95"] = (
                    float(value) for value in np.percentile(list(times), (50, 95))
                )
        return values


def main(args: list[str] | None = None) -> int:
    return common.run(lambda: [RendererNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
