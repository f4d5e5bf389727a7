# SPDX-License-Identifier: Apache-2.0
"""Serves a web page with the face and its sound, and an operator's page with a text box.

A thin shell of Display."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from std_srvs.srv import Trigger

from realtalk_ros.errors import AudioError, RealTalkError
from realtalk_ros.msg import AudioChunk, FaceSettings
from realtalk_ros.nodes import lifecycle, parameters, qos, spin
from realtalk_ros.nodes.message_content import mono_samples
from realtalk_ros.output.avatar_list import AvatarList
from realtalk_ros.output.web_display import Display

OPERATORS = ("local", "all", "none")
MAX_JPEG = 8 * 2**20  # bytes of one image
LONGEST_WAIT = 1.0  # s for the answer to an interrupt


class DisplayNode(lifecycle.RealTalkNode):
    """Subscribes to face and audio while a page is open, and does what operators request."""

    def __init__(self, **options: Any) -> None:
        super().__init__("display_node", **options)
        p, later = self.parameter, parameters.UNCONFIGURED
        self.host = p("host", "127.0.0.1", "Address to serve on; 0.0.0.0: every network", None,
                      later)  # fmt: skip
        self.port = p("port", 8080, "Port to serve on; 0: any that is free", (0, 65535), later)
        self.buffer = p("buffer", 0.1, "How long pages delay sound and images, to even out the "
                        "network [s]", (0.02, 2.0), later)  # fmt: skip
        self.operators = p("operators", "local", "Who may use the operator's page: local (this "
                           "machine), all or none", None, later)  # fmt: skip
        self.host_names = p("host_names", "", "Names besides this machine's own under which pages "
                            "may be opened, separated by spaces", None, later)  # fmt: skip

        self.counts = {"images": 0, "chunks": 0, "commands": 0}
        self.display: Display | None = None
        self.avatars = AvatarList()
        # From the server's thread. Problems are counted by kind, so the oldest may be lost.
        self._commands: deque[tuple[str, Any]] = deque(maxlen=1000)
        self._page_problems: deque[str] = deque(maxlen=1000)
        self._pages = 0  # that are open
        self._image: Any = None  # subscriptions while a page is open
        self._audio: Any = None
        self._say = self.publisher(String, "say", qos.REQUEST)
        self.subscription(
            FaceSettings, "face/settings", self.on_settings, qos.with_depth(qos.LATCHED, 10)
        )
        self._interrupt = self.create_client(Trigger, "interrupt")
        self._interrupting: Any = None  # future of the last call
        self._interrupted = -math.inf  # when that was made, monotonic s
        self._setters = [
            self.create_client(SetParameters, f"{node}/set_parameters")
            for node in ("renderer_node", "expression_node")
        ]
        self.steady_timer(0.05, self.work)

    def setup(self) -> None:
        if self.operators not in OPERATORS:
            raise RealTalkError(
                f"operators is one of {', '.join(OPERATORS)}, not {self.operators!r}"
            )
        display = Display(
            self.host, self.port, self.buffer, self.operators, self.host_names.split(),
            on_command=lambda name, value: self._commands.append((name, value)),
            on_clients=lambda count: setattr(self, "_pages", count),
            on_problem=self._page_problems.append,
        )  # fmt: skip
        display.update(avatars=self.avatars.labels, avatar=self.avatars.shown)
        display.start()
        self.display = display
        self.get_logger().info(f"the face is on http://{display.address}/ (and /operator)")

    def halt(self) -> None:
        self._subscribe(False)

    def free(self) -> None:
        if self.display is not None:
            self.display.stop()
            self.display = None
        self._commands.clear()
        self._pages = 0

    def close(self) -> None:
        super().close()
        self.free()

    def work(self) -> None:
        """Subscribes while a page is open, and does what operators request."""
        while self._page_problems:
            self.problems.add(self._page_problems.popleft())
        if not self.ready or self.display is None:
            if self._commands and self.display is not None:
                self.display.update(notice=f"{self.get_name()} is not active")
            self._commands.clear()
            return
        try:
            self._subscribe(self._pages > 0)
            while self._commands and not self._has_to_wait(self._commands[0][0]):
                self.counts["commands"] += 1
                self.display.update(notice=self._do(*self._commands.popleft()))
        except Exception as error:  # pages must be served, whatever the middleware lacks
            self.problems.add(f"{type(error).__name__}: {error}")

    def _do(self, name: str, value: Any) -> str:
        """Carries a command out. Returns what its operator should know."""
        if name == "say":
            self._say.publish(String(data=value))
            subscribed = self._say.get_subscription_count()
            return "" if subscribed else "nobody listens on the topic say: start say_node"
        if name == "avatar":
            return self._choose(self.avatars.folder(value))
        if not self._interrupt.service_is_ready():
            return "there is nothing to interrupt: expression_node is not there"
        if self._interrupting is not None and not self._interrupting.done():
            self._interrupt.remove_pending_request(self._interrupting)  # or it is kept forever
        self._interrupting = self._interrupt.call_async(Trigger.Request())
        self._interrupted = time.monotonic()
        return ""

    def _has_to_wait(self, name: str) -> bool:
        """Whether a command is to wait for the answer to an interrupt, which would end a text that
        comes before it."""
        unanswered = self._interrupting is not None and not self._interrupting.done()
        return name == "say" and unanswered and time.monotonic() < self._interrupted + LONGEST_WAIT

    def _choose(self, avatar: str) -> str:
        request = SetParameters.Request(
            parameters=[Parameter("avatar", value=avatar).to_parameter_msg()]
        )
        missing = []
        for setter in self._setters:
            if setter.service_is_ready():
                future = setter.call_async(request)
                future.add_done_callback(self._chosen)
            else:
                missing.append(setter.srv_name.split("/")[-2])
        return f"{' and '.join(missing)}: not there" if missing else ""

    def _chosen(self, future: Any) -> None:
        """What was taken comes on face/settings."""
        results = getattr(future.result(), "results", None)
        if self.display is not None and results and not results[0].successful:
            self.display.update(notice=f"the avatar stays: {results[0].reason}")

    def on_settings(self, message: FaceSettings) -> None:
        stamp = message.header.stamp
        self.avatars.show(message.avatar, stamp.sec * 10**9 + stamp.nanosec)
        if self.display is not None:
            self.display.update(avatars=self.avatars.labels, avatar=self.avatars.shown)

    def _subscribe(self, wanted: bool) -> None:
        if wanted == (self._audio is not None):  # the one that is created last
            return
        for subscription in (self._image, self._audio):
            if subscription is not None:
                self.destroy_subscription(subscription)
        self._image = self._audio = None
        if not wanted:
            return
        self._image = self.subscription(
            CompressedImage, "face/image_raw/compressed", self.on_image, qos.IMAGE
        )
        self._audio = self.subscription(AudioChunk, "audio_out", self.on_audio, qos.AUDIO_LISTENER)

    def on_image(self, message: CompressedImage) -> None:
        self.counts["images"] += 1
        shown_at = self.media_time(message.header.stamp)
        if "jpeg" not in message.format and "jpg" not in message.format:
            self.problems.add(f"an image of format {message.format!r} was left out: send jpeg")
        elif len(message.data) > MAX_JPEG or shown_at is None:
            self.problems.add("an image that is too large, or without a stamp, was left out")
        elif self.display is not None:
            self.display.show(shown_at, bytes(message.data))

    def on_audio(self, message: AudioChunk) -> None:
        self.counts["chunks"] += 1
        if self.display is None:
            return
        try:
            if message.reset:
                self.display.clear()
            if message.data:
                pcm = mono_samples(message)
                start = self.media_time(message.header.stamp)
                if start is None:
                    raise AudioError("a chunk of audio_out has no stamp: it was left out")
                self.display.play(start, message.sample_rate, pcm)
            if message.last:
                self.display.flush()
        except AudioError as error:
            self.problems.add(str(error))

    def warning(self) -> str:
        if self.ready and self.display is not None and self.display.away:
            return "pages wait for images: is renderer_node running?"
        return super().warning()

    def status(self) -> dict[str, Any]:
        values: dict[str, Any] = {"pages": self._pages, **self.counts}
        if self.display is not None:
            values.update({f"page_{name}": count for name, count in self.display.counts.items()})
        return values


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [DisplayNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
