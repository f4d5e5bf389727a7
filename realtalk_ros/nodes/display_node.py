"""Serves a web page with the face and its sound, and an operator's page with a text box. A thin
shell of Display."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from std_srvs.srv import Trigger

from realtalk_ros import avatar as avatars
from realtalk_ros.audio import check_rate, decode_pcm
from realtalk_ros.display import Display
from realtalk_ros.errors import AudioError, RealTalkError
from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes import common

OPERATORS = ("local", "all", "none")
MAX_JPEG = 8 * 2**20  # bytes of one picture


class DisplayNode(common.RealTalkNode):
    def __init__(self, name: str = "display_node", **options):
        super().__init__(name, **options)
        p, later = self.parameter, common.UNCONFIGURED
        self.host = p("host", "127.0.0.1", "Address to serve on; 0.0.0.0: every network", None,
                      later)  # fmt: skip
        self.port = p("port", 8080, "Port to serve on; 0: any that is free", (0, 65535), later)
        self.buffer = p("buffer", 0.1, "How long pages hold sound and pictures back, to even out "
                        "the network [s]", (0.02, 2.0), later)  # fmt: skip
        self.operators = p("operators", "local", "Who may use the operator's page: local (this "
                           "machine), all or none", None, later)  # fmt: skip
        self.host_names = p("host_names", "", "Names besides this machine's own under which pages "
                            "may be asked for, with spaces between", None, later)  # fmt: skip
        self.avatar = p("avatar", *common.AVATAR)

        self.counts = {"images": 0, "chunks": 0, "orders": 0}
        self.display: Display | None = None
        self._orders: list[tuple[str, Any]] = []  # from the server's thread
        self._watched = 0  # pages that look
        self._image: Any = None  # subscriptions while somebody looks
        self._audio: Any = None
        self._say = self.create_publisher(
            String, "say", common.COMMAND_QOS, qos_overriding_options=common.overridable()
        )
        self._interrupt = self.create_client(Trigger, "interrupt")
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
            on_order=lambda name, value: self._orders.append((name, value)),
            on_clients=lambda count: setattr(self, "_watched", count),
        )  # fmt: skip
        display.start()
        folder = Path(avatars.__file__).parent / "avatars"
        names = sorted(p.parent.name for p in folder.glob("*/avatar.yaml"))
        display.tell(avatars=names, avatar=self.avatar)
        self.display = display
        self.get_logger().info(f"the face is on http://{self.host}:{display.port}/ (and /operator)")

    def halt(self) -> None:
        self._watch(False)

    def free(self) -> None:
        if self.display is not None:
            self.display.stop()
            self.display = None

    def close(self) -> None:
        super().close()
        self.free()

    def work(self) -> None:
        """Subscribes while somebody looks, and does what operators ask."""
        if not self.ready:
            return
        self._watch(self._watched > 0)
        while self._orders:
            name, value = self._orders.pop(0)
            self.counts["orders"] += 1
            if name == "say":
                self._say.publish(String(data=value))
                if not self._say.get_subscription_count():
                    self.display.tell(notice="nobody listens on the topic say: start say_node")
            elif name == "interrupt":
                self._interrupt.call_async(Trigger.Request())
            elif name == "avatar":
                self._choose(value)

    def _choose(self, avatar: str) -> None:
        request = SetParameters.Request(
            parameters=[Parameter("avatar", value=avatar).to_parameter_msg()]
        )
        for setter in self._setters:
            if not setter.service_is_ready():
                self.display.tell(notice=f"{setter.srv_name.split('/')[-2]} is not there")
                continue
            setter.call_async(request).add_done_callback(functools.partial(self._chosen, avatar))

    def _chosen(self, avatar: str, future: Any) -> None:
        result = future.result().results[0]
        if result.successful and self.display is not None:
            self.display.tell(avatar=avatar, notice="")
        elif self.display is not None:
            self.display.tell(notice=f"the avatar stays: {result.reason}")

    def _watch(self, wanted: bool) -> None:
        if wanted == (self._image is not None):
            return
        if not wanted:
            self.destroy_subscription(self._image)
            self.destroy_subscription(self._audio)
            self._image = self._audio = None
            return
        overridable = common.overridable()
        self._image = self.create_subscription(
            CompressedImage, "face/image_raw/compressed", self.on_image, common.IMAGE_QOS,
            qos_overriding_options=overridable,
        )  # fmt: skip
        self._audio = self.create_subscription(
            AudioChunk, "audio_out", self.on_audio, common.AUDIO_QOS,
            qos_overriding_options=overridable,
        )  # fmt: skip

    def on_image(self, message: CompressedImage) -> None:
        self.counts["images"] += 1
        time = self.media_time(message.header.stamp)
        if "jpeg" not in message.format and "jpg" not in message.format:
            self.problems.add(f"a picture of format {message.format!r} was left out: send jpeg")
        elif len(message.data) > MAX_JPEG or time is None:
            self.problems.add("a picture that is too large, or without a stamp, was left out")
        elif self.display is not None:
            self.display.show(time, bytes(message.data))

    def on_audio(self, message: AudioChunk) -> None:
        self.counts["chunks"] += 1
        if self.display is None:
            return
        try:
            if message.reset:
                self.display.forget()
            if message.data:
                pcm = decode_pcm(memoryview(message.data), message.encoding, message.channels)
                check_rate(message.sample_rate)
                time = self.media_time(message.header.stamp)
                if time is None:
                    raise AudioError("a chunk of audio_out has no stamp: it was left out")
                self.display.hear(time, message.sample_rate, pcm)
            if message.last:
                self.display.end()
        except AudioError as error:
            self.problems.add(str(error))

    def status(self) -> dict:
        values: dict = {"pages": self._watched, **self.counts}
        if self.display is not None:
            values.update({f"page_{name}": count for name, count in self.display.counts.items()})
        return values


def main(args: list[str] | None = None) -> int:
    return common.run(lambda: [DisplayNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
