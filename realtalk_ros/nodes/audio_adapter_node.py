# SPDX-License-Identifier: Apache-2.0
"""Audio messages of other packages on `audio_in` become AudioChunks on `audio`. The type is the one
that is published.

A thin shell of audio/message_adapters.py."""

from __future__ import annotations

import importlib
from typing import Any

from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription

from realtalk_ros.audio.arrival_timeline import ArrivalTimeline
from realtalk_ros.audio.message_adapters import (
    FORMATS,
    KINDS,
    DecodedAudio,
    Kind,
    SampleLayout,
    layout_of,
)
from realtalk_ros.errors import AudioError, RealTalkError
from realtalk_ros.msg import AudioChunk, FaceExpression
from realtalk_ros.nodes import lifecycle, parameters, qos, spin
from realtalk_ros.nodes.subscriptions import AudioSubscription, Received

CHECK_EVERY = 0.5  # s between checks of what is published
# Checks for which bytes that say nothing of themselves are not read: AudioInfo may not be known
# yet; where somebody publishes it, it may not have come.
WITHOUT_INFO, UNTIL_INFO = 1, 4


class AudioAdapterNode(lifecycle.RealTalkNode):
    """Subscribes to the type that is published on `audio_in`, and converts it."""

    rated = ("messages",)

    def __init__(self, **options: Any) -> None:
        super().__init__("audio_adapter_node", **options)
        p, later = self.parameter, parameters.UNCONFIGURED
        self.sample_rate = p("sample_rate", 16000, "Sample rate of AudioData without AudioInfo "
                             "[Hz]", (4000, 384000), later)  # fmt: skip
        self.channels = p("channels", 1, "Channel count of AudioData without AudioInfo", (1, 64),
                          later)  # fmt: skip
        self.sample_format = p("sample_format", "S16LE", "Sample format of AudioData without "
                               "AudioInfo: "
                               + ", ".join(FORMATS), None, later)  # fmt: skip

        self.counts = {"messages": 0, "utterances": 0}
        self.kind: Kind | None = None
        self.layout: SampleLayout | None = None
        self._informed = False  # whether AudioInfo has come
        self._refused: set[bytes] = set()  # publishers whose AudioInfo cannot be used
        self._checks = 0  # for which it was waited for
        self._timeline = ArrivalTimeline()
        self._input: AudioSubscription | None = None
        self._info: Subscription | None = None
        self._audio = self.publisher(AudioChunk, "audio", qos.STREAM)
        self.subscription(FaceExpression, "expression", self.on_expression, qos.STREAM)
        self.topic, self.info_topic = map(self.resolve_topic_name, ("audio_in", "audio_info"))
        self.steady_timer(CHECK_EVERY, self.check_publishers)

    def setup(self) -> None:
        self.layout = self._given_layout()
        self.get_logger().info(f"waiting for audio on {self.topic}")

    def _given_layout(self) -> SampleLayout:
        """By the parameters. Raises AudioError."""
        return SampleLayout(self.sample_rate, self.channels, self.sample_format)

    def halt(self) -> None:
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        if self._input is not None:
            self._input.close()
        if self._info is not None:
            self.destroy_subscription(self._info)
        self._input = self._info = self.kind = None
        self._informed, self._checks, self._refused = False, 0, set()

    def check_publishers(self) -> None:
        """Subscribes to what is published on the topic."""
        if not self.ready:
            return
        types = {p.topic_type for p in self.get_publishers_info_by_topic(self.topic)}
        another = self.kind is not None and types and self.kind.type not in types
        senders = self._senders() if self._refused else set()
        if another or (senders and not senders & self._refused):
            self._unsubscribe()  # its publisher is gone, and another has come
            self.layout = self._given_layout()
        if self._input is None:
            for name in sorted(types):
                try:
                    self._subscribe(name)
                    break
                except RealTalkError as error:
                    self.problems.add(str(error))
        if self.kind is not None and not self.kind.described and self._info is None:
            self._subscribe_info()

    def _senders(self) -> set[bytes]:
        return {bytes(p.endpoint_gid) for p in self.get_publishers_info_by_topic(self.topic)}

    def _subscribe(self, name: str) -> None:
        kinds = [kind for kind in KINDS if kind.type == name]
        if name == "realtalk_ros/msg/AudioChunk":
            raise RealTalkError(f"{self.topic} carries AudioChunk: remap it to audio, without me")
        if not kinds:
            known = ", ".join(dict.fromkeys(kind.type for kind in KINDS))
            raise RealTalkError(f"{self.topic} carries {name}: send one of {known}")
        message, kind = self._import(name, kinds)
        if not kind.described and not self._is_format_known():
            return
        self._input = AudioSubscription(self, message, "audio_in", self.on_messages)
        self.kind = kind
        self.get_logger().info(f"{self.topic} carries {name} of {kind.whose}")

    def _import(self, name: str, kinds: list[Kind]) -> tuple[type, Kind]:
        package, _, short = name.split("/")
        whose = " or ".join(kind.whose for kind in kinds)
        try:
            message = getattr(importlib.import_module(f"{package}.msg"), short)
            kind = next(k for k in kinds if k.field in message.get_fields_and_field_types())
        except (ImportError, AttributeError, StopIteration) as error:
            raise RealTalkError(
                f"{self.topic} carries {name} of {whose}, which is not installed here (another "
                "package of the same name may be): build it in this workspace, source it, and "
                "start this node again"
            ) from error
        return message, kind

    def _is_format_known(self) -> bool:
        """Whether AudioInfo has come, or seems not to be published: MP3 read as samples is noise,
        and loud."""
        self._checks += 1
        if self._info is None:
            self._subscribe_info()
        return self._informed or self._checks > (UNTIL_INFO if self._info else WITHOUT_INFO)

    def _subscribe_info(self) -> None:
        """ros-drivers' AudioInfo, which is published once."""
        publishers = self.get_publishers_info_by_topic(self.info_topic)
        found = [p for p in publishers if p.topic_type == "audio_common_msgs/msg/AudioInfo"]
        message = getattr(importlib.import_module("audio_common_msgs.msg"), "AudioInfo", None)
        if message is None or not found:
            return
        if "coding_format" not in message.get_fields_and_field_types():  # of another package
            return
        kept = found[0].qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        durability = DurabilityPolicy.TRANSIENT_LOCAL if kept else DurabilityPolicy.VOLATILE
        self._info = self.subscription(
            message, "audio_info", self.on_info, QoSProfile(depth=1, durability=durability)
        )

    def on_info(self, message: Any) -> None:
        self._informed = True
        try:
            self.layout, self._refused = layout_of(message), set()
        except AudioError as error:
            # Noise would be worse than silence, until another sends.
            self.layout, self._refused = None, self._senders()
            self.problems.add(str(error))

    def on_expression(self, message: FaceExpression) -> None:
        if message.reset:
            self._timeline.interrupt()

    def on_messages(self, messages: list[Received]) -> None:
        self.counts["messages"] += len(messages)
        take = self.guarded(self._take)  # an error in one keeps back no other
        for received in messages:
            take(received)

    def _take(self, received: Received) -> None:
        if self.ready and self.layout is not None and self.kind is not None:
            try:
                self._publish(self.kind.read(received.message, self.layout), received.waited)
            except AudioError as error:
                self.problems.add(str(error))

    def _publish(self, audio: DecodedAudio, waited: float) -> None:
        if not len(audio.pcm):
            return
        if audio.cancelled:
            self.problems.add(
                f"the channels of the audio on {self.topic} cancel each other out (one is "
                "inverted): only one of them is used. Send mono, or invert one channel"
            )
        stamp = self.media_time(audio.stamp) if audio.stamp is not None else None
        seconds = len(audio.pcm) / audio.rate
        start, number = self._timeline.place(stamp, self.now() - waited, seconds)
        self.counts["utterances"] = number
        utterance = self.unique_id(self.topic.strip("/"), number)
        chunk = self.audio_message(
            audio.pcm, audio.rate, start, utterance, encoding=AudioChunk.PCM_F32LE
        )
        self._audio.publish(chunk)

    def status(self) -> dict[str, Any]:
        kind = f"{self.kind.type} of {self.kind.whose}" if self.kind else "none yet"
        return {"topic": self.topic, "kind": kind, **self.counts}


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [AudioAdapterNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
