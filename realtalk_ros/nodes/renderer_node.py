# SPDX-License-Identifier: Apache-2.0
"""Expressions on `expression` become a face on `face/image_raw`, at a steady rate; the audio that
belongs to it goes out on `audio_out` when it is shown.

This node translates messages and parameters. render_loop.py and audio_output.py are its threads,
face_loader.py loads what they show, face_commands.py takes emotions and points to look at.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from rclpy.parameter import Parameter

from realtalk_ros import contracts, onnx_session
from realtalk_ros.behaviour.emotion import parse_emotion
from realtalk_ros.behaviour.face import Face
from realtalk_ros.errors import RealTalkError
from realtalk_ros.msg import AudioChunk, FaceExpression
from realtalk_ros.nodes import parameters, qos, spin
from realtalk_ros.nodes.audio_output import AudioOutput
from realtalk_ros.nodes.face_commands import FaceCommands
from realtalk_ros.nodes.face_loader import FaceLoader, RendererSettings
from realtalk_ros.nodes.face_settings import FaceNode, SharedSettings
from realtalk_ros.nodes.image_publisher import ImagePublisher
from realtalk_ros.nodes.look_at import LookAtTransformer
from realtalk_ros.nodes.message_content import mono_samples, timed_expression
from realtalk_ros.nodes.render_loop import RenderLoop
from realtalk_ros.nodes.subscriptions import BatchedSubscription, Received
from realtalk_ros.nodes.worker import Worker
from realtalk_ros.playout.adaptive_quality import QualityController
from realtalk_ros.playout.face_playout import FacePlayout
from realtalk_ros.playout.mixed_expressions import MixedExpressions
from realtalk_ros.playout.other_clock import OtherClock
from realtalk_ros.playout.quality_monitor import QualityMonitor
from realtalk_ros.rendering.background import Background
from realtalk_ros.rendering.batching import BatchingRenderer
from realtalk_ros.rendering.watermark import Watermark
from realtalk_ros.stream_types import Chunk

STALL = 0.25  # s that a message has waited, from which on this process must have stalled
LOADED = ("avatar", "size", "device", "model_dir")  # parameters whose change takes long
MIXED = (
    "two nodes send expressions at once, so the face goes back and forth, and sound may be left "
    "out: stop one of them, or remap its topic expression"
)
TOO_SLOW = (
    "frame rate and size are lowered, as this machine is too slow for those that are set, or too "
    "busy: close other programs, or set a lower fps or size (`realtalk doctor` proposes them)"
)
# Parameters that are text: the attribute of Face, and what is made of them.
LOOKS = {"mark": ("watermark", Watermark), "background": ("background", Background)}
GAINS = ("expression_gain", "emotion_gain", "idle_gain", "head_gain")


class RendererNode(FaceNode):
    """Shows one face. Several in one process can share the networks (`batch`)."""

    rated = ("images", "expressions")

    def __init__(self, batch: tuple[BatchingRenderer, int] | None = None, **options: Any) -> None:
        """`batch`: the faces of this process that are rendered together, and the index of this
        one."""
        super().__init__("renderer_node", **options)
        self._declare_parameters()
        self.counts = {
            "expressions": 0,
            "images": 0,
            "jpegs": 0,
            "skipped_frames": 0,
            "resets": 0,
            "audio_out": 0,
            "fallbacks": 0,
        }
        self._batch = batch
        self._other_clock, self._mixed = OtherClock(), MixedExpressions()
        frame = self.in_namespace(self.frame_id)
        self.playout = FacePlayout(self.fps, self.now, self.clock_jump)
        self.playout.set_playback_latency(self.playback_latency)
        self.quality = QualityMonitor(self.playout)
        self._level = 0  # of the quality that is shown
        self.loader = FaceLoader(self._renderer_settings, self.problems, batch)
        self.images = ImagePublisher(self, frame, lambda: self.jpeg_quality)
        self.audio = AudioOutput(self, self.playout)
        self.render_loop = RenderLoop(
            self, self.playout, self.loader, self.images, statistics=self.quality.statistics
        )
        warn = self.problems.add
        self._workers = [
            Worker("render", self.render_loop.run, warn),
            Worker("audio", self.audio.run, warn),
        ]
        for kind, topic, on_messages in (
            (FaceExpression, "expression", self.on_expressions),
            (AudioChunk, "speech", self.on_chunks),
        ):
            BatchedSubscription(self, kind, topic, on_messages, qos.STREAM)
        look_at = LookAtTransformer(self, frame, aliases=(self.frame_id,))
        self.commands = FaceCommands(self, self.loader, self.playout, look_at)
        self._shared_settings = SharedSettings(self, leads=True)
        self.steady_timer(1.0, self.watch)

    def _declare_parameters(self) -> None:
        p, live = self.parameter, parameters.LIVE
        self.size = p("size", 512, "Height of the images [px]", contracts.SIZE_RANGE, live)
        self.device = p("device", *parameters.DEVICE)
        self.threads = p("threads", *parameters.THREADS)
        self.model_dir = p("model_dir", *parameters.MODEL_DIR)
        self.frame_id = p(
            "frame_id",
            "face",
            "frame_id of the images: the face's frame, after the namespace (realtalk/face)",
        )
        self.jpeg_quality = p(
            "jpeg_quality", 90, "JPEG quality of the compressed images", (1, 100), live
        )
        self.seed = p(
            "seed", 0, "Seed of the random idle motion", (0, 2**31), parameters.UNCONFIGURED
        )
        self.playback_latency = p(
            "playback_latency",
            0.0,
            "How much earlier audio_out is sent, to make up for the delay of player and "
            "loudspeaker [s]. While speech plays, its picture waits where this is raised",
            (0.0, 1.0),
            live,
        )
        self.emotion = p(
            "emotion",
            "neutral",
            "Emotion: a name as on the topic emotion, and its intensity from 0 to 1 if wanted: "
            "happy 0.5",
            None,
            live,
        )
        self.expression_gain = p(
            "expression_gain", 1.0, "How far speech moves the face", (0.0, 2.0), live
        )
        self.emotion_gain = p(
            "emotion_gain", 1.0, "How far emotions move the face", (0.0, 2.0), live
        )
        self.idle_gain = p("idle_gain", 1.0, "How far idle motion moves the face", (0.0, 2.0), live)
        self.head_gain = p(
            "head_gain", 1.0, "How far head and shoulders move; 0: they are still", (0.0, 2.0), live
        )
        self.mark = p(
            "mark",
            "",
            "Visible text in the corner of every image, such as AI-generated; empty: none",
            None,
            live,
        )
        self.background = p("background", "", "What is behind the person, of avatars with mattes: "
                            "transparent (images are bgra8), a colour such as '#20242a' (with "
                            "quotes: in YAML, # begins a comment), or a picture's path; empty: "
                            "the avatar's own", None, live)  # fmt: skip
        self.adapt_quality = p(
            "adapt_quality", True, "Lower fps, then size, while the machine cannot keep up"
        )

    # Life cycle

    @property
    def face(self) -> Face | None:
        """The face that is shown; None while unconfigured."""
        return self.loader.face

    def setup(self) -> None:
        began = time.perf_counter()
        name, intensity = parse_emotion(self.emotion)
        self.quality.controller, self._level = QualityController(), 0
        self.quality.set_render_time(self.loader.setup(self.seed))
        face = self.loader.face
        assert face is not None
        face.set_emotion(name, intensity)
        for parameter in (*GAINS, *LOOKS):
            self._apply(face, parameter, getattr(self, parameter))
        self.playout.set_fps(self.fps)
        self.render_loop.prepare(face.renderer)
        width, height = face.renderer.size
        self.get_logger().info(
            f"ready in {time.perf_counter() - began:.1f} s: avatar {self.avatar}, "
            f"{width}x{height} at {self.fps:g} fps, {self.device}"
        )

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def halt(self) -> None:
        for worker in self._workers:
            worker.request_stop()
        self.playout.wake_audio.set()
        for worker in self._workers:
            worker.stop(timeout=5)
        self.playout.clear()
        self.render_loop.end_speaking()

    def close(self) -> None:
        super().close()
        self.loader.cancel()  # a thread that still computes would end the process with an error

    def free(self) -> None:
        self.loader.clear()

    # Parameters

    def check_parameter(self, name: str, value: Any) -> None:
        super().check_parameter(name, value)
        if name == "emotion":
            parse_emotion(value)
        elif name in LOOKS and value:
            LOOKS[name][1](value)
        elif name == "device":
            onnx_session.providers_for(value)
        elif name == "model_dir":
            onnx_session.check_folder(value)

    def change_parameter(self, name: str, value: Any) -> None:
        face = self.loader.face
        if name in ("avatar", "fps"):
            self._shared_settings.changed()
        if name == "playback_latency":
            self.playout.set_playback_latency(value)
        if face is None:
            return
        if name == "emotion":
            face.set_emotion(*parse_emotion(value))
        elif name in (*GAINS, *LOOKS):
            self._apply(face, name, value)
        elif name == "fps":
            self.playout.set_fps(value / self.quality.controller.divisors[0])
        elif name in LOADED:
            if name in ("device", "model_dir"):
                self.loader.retry_device()
            self.loader.request(f"{name} {value}")

    @staticmethod
    def _apply(face: Face, name: str, value: Any) -> None:
        """One of GAINS or LOOKS. Raises RealTalkError."""
        if name in LOOKS:
            name, make = LOOKS[name]
            value = make(value) if value else None
        setattr(face, name, value)

    def _renderer_settings(self) -> RendererSettings:
        """As the parameters and the quality have them now."""
        size = max(contracts.SIZE_RANGE[0], self.size // self.quality.controller.divisors[1])
        return RendererSettings(self.avatar, size, self.device, self.model_dir, self.threads)

    def _restore_parameters(self) -> None:
        """Something did not load: the parameters say again what is shown."""
        settings = self.loader.settings
        if settings is not None and not self.loader.fallen_back:
            names = [name for name in LOADED if name != "size"]
            with self._shared_settings.restoring():
                self.set_parameters([Parameter(n, value=getattr(settings, n)) for n in names])

    # Expressions and audio

    def on_expressions(self, messages: list[Received]) -> None:
        self.counts["expressions"] += len(messages)
        if not self.ready:
            return
        take = self.guarded(self._take_expression)
        for received in messages:
            if received.message.reset:
                self.counts["resets"] += 1
                self._mixed = MixedExpressions()  # an utterance may be replaced again and again
                self.playout.interrupt_by_expressions()
            elif not self.playout.expressions_are_old():
                if self._mixed.update(received.message.utterance_id, time.monotonic()):
                    self.problems.add(MIXED)
                take(received.message, stall(received.waited))
        self.playout.wake_audio.set()

    def _take_expression(self, message: FaceExpression, waited: float) -> None:
        rotation = np.array(message.head_rotation, np.float32)
        stamp = self.media_time(message.header.stamp)
        if not np.isfinite(message.weights).all():
            self.problems.add("an expression has weights that are NaN or infinite: left out")
            return
        if not np.isfinite(rotation).all():
            rotation = np.zeros(3, np.float32)
        now = self.playout.now()
        when = now if stamp is None else stamp
        if offset := self._other_clock.offset(now - waited - when):
            self.problems.add(
                f"expressions come {abs(offset):.0f} s {'after' if offset > 0 else 'before'} their "
                "time, so the face is silent or late: the clock of expression_node's machine and "
                "this one's differ (chrony sets them)"
            )
        self.playout.push_expression(timed_expression(message, when, rotation), waited)

    def on_chunks(self, messages: list[Received]) -> None:
        if not self.ready:
            return
        take = self.guarded(self._take_chunk)
        for received in messages:
            if received.message.reset:
                self.playout.interrupt_by_audio()
                self.audio.reset(received.message)
            else:
                take(received.message, stall(received.waited))
        self.playout.wake_audio.set()

    def _take_chunk(self, message: AudioChunk, waited: float) -> None:
        start, now = self.media_time(message.header.stamp), self.playout.now()
        try:
            pcm = mono_samples(message)
        except RealTalkError as error:
            self.problems.add(f"on speech: {error}")
            return
        start = now if start is None else start
        chunk = Chunk(pcm, message.sample_rate, None, message.utterance_id, message.last)
        holds_any = bool(len(pcm) or message.last)
        if not holds_any or not self.playout.push_audio(chunk.scheduled(start), waited):
            self.problems.add("a chunk on speech that is empty, or not of now: left out")

    # Quality and diagnostics

    def watch(self) -> None:
        """Once a second: gives up what did not load, and has the quality follow the machine."""
        if not self.ready:
            return
        if self.loader.take_failure():
            self._restore_parameters()
        self.audio.watch()
        self.commands.watch()
        # What loads uses the processor, too.
        if self.quality.update(adapt=self.adapt_quality and not self.loader.loading):
            self.apply_quality()

    def apply_quality(self) -> None:
        """Shows the frame rate and size of the present quality."""
        fps = self.fps / self.quality.controller.divisors[0]
        size = self.loader.wanted.size
        before, self._level = self._level, self.quality.controller.level
        keeps_up = self._level < before
        reason = "this machine keeps up again" if keeps_up else "this machine cannot keep up"
        self.get_logger().info(f"{reason}: now {fps:.3g} fps, {size} pixels")
        if not keeps_up:
            self.problems.add(TOO_SLOW)
        self.playout.set_fps(fps)
        self.loader.request(f"size {size}")

    def loading(self) -> str:
        return self.loader.loading

    def warning(self) -> str:
        if self.quality.controller.level:
            return (
                f"this machine cannot keep up: now {self.playout.fps:.3g} fps, "
                f"{self.images.height} pixels"
            )
        avatar = self.face and self.face.renderer.avatar
        if self.background and avatar and avatar.mattes is None:
            return f"avatar {avatar.name} has no mattes, so it keeps its own background"
        return super().warning()

    def status(self) -> dict[str, Any]:
        settings = self.loader.settings
        device = settings.device if settings else self.device
        values: dict[str, Any] = {
            "avatar": settings.avatar if settings else self.avatar,
            "device": device,
            "provider": self.loader.provider,
            "loading": self.loading(),
            "size": self.images.height,
            **self.counts,
            **self.playout.status(),
        }
        if self._batch is not None:
            batching, _ = self._batch
            values["faces_per_batch"] = batching.frames / max(1, batching.batches)
        values["quality_level"] = self.quality.controller.level
        values.update(self.quality.statistics.percentiles())
        values.update(self.loader.checksums)
        return values


def stall(waited: float) -> float:
    """Of a message's wait, s, what is a stall of this process, for which nothing is shown later. A
    shorter wait is one that this process always needs: all must be shown so much later."""
    return waited if waited > STALL else 0.0


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [RendererNode()], args, images=True)


if __name__ == "__main__":
    raise SystemExit(main())
