# SPDX-License-Identifier: Apache-2.0
"""Speech on `audio` becomes expressions on `expression`; the same speech goes out on `speech` with
its final stamps.

A thin shell of TurnTaking (whose turn it is) and ExpressionPipeline."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.parameter import Parameter

from realtalk_ros import onnx_session
from realtalk_ros.audio.pcm import check_rate, decode_channels, mix_down
from realtalk_ros.contracts import LOOK_AHEAD, PROVIDERS, SAMPLE_RATE, STEP_FILES
from realtalk_ros.errors import AudioError
from realtalk_ros.expression.onnx_model import step_file_of
from realtalk_ros.msg import AudioChunk, FaceExpression
from realtalk_ros.nodes import parameters, qos, spin
from realtalk_ros.nodes.expression_engine import ExpressionEngine, ModelSettings
from realtalk_ros.nodes.face_settings import FaceNode, SharedSettings
from realtalk_ros.nodes.interrupt_service import InterruptService
from realtalk_ros.nodes.message_content import seconds_of
from realtalk_ros.nodes.subscriptions import AudioSubscription, Received
from realtalk_ros.playout.computing_load import ComputingLoad
from realtalk_ros.playout.scheduling import ChunkFinding, jitter_of
from realtalk_ros.playout.sender_identity import SenderIdentifier
from realtalk_ros.playout.turn_taking import TurnTaking
from realtalk_ros.stream_types import Chunk, TimedExpression

WORK_EVERY = 0.05  # s, a wake-up of rclpy's executor costs a millisecond
WORK_AT_ONCE = 0.01  # s of computing after which other callbacks have their turn
PROCESS_AHEAD = 1.0  # s before it is played, audio is processed; what comes earlier waits
LOADED = ("avatar", "device", "model_dir", "look_ahead")  # parameters whose change takes long
ADVICE = {  # what senders do that may not be meant, and what they should change
    ChunkFinding.OVERLAPPING: "the stamps on audio leave no room for the sound that they belong "
    "to: it is played in the order of arrival. Stamp a chunk with the time at which its first "
    "sample is to be played, or with zero",
    ChunkFinding.MIXED: "two senders speak on audio under the same utterance_id: each is played as "
    "an utterance of its own (parameter policy). Give each an id of its own",
    ChunkFinding.FRAGMENT: "each chunk on audio ends the one before, so the face is silent: give "
    "all chunks of an utterance one utterance_id, and `reset` to the first of an answer alone",
    ChunkFinding.SINGLE: "each chunk on audio is an utterance of its own, so the lips hardly move: "
    "give all chunks of an utterance one utterance_id, and `last` to the last of them alone",
    ChunkFinding.TINY: "more than 500 chunks a second come on audio, which takes the time that the "
    "face needs: send 10 to 100 ms of sound in each",
    ChunkFinding.INTERRUPTED: "more of what was interrupted still comes on audio, and is ignored: "
    "stop sending it, end it by `last`, or begin the next answer with `reset` or another "
    "utterance_id",
}

LATE = (
    "the sound on audio comes later and later, or long after its stamps: it is played when it "
    "comes. Send it faster than it is spoken, or stamp it with a later time"
)
SKIPPED = (
    "some of the sound on audio is left out, as its time had passed before it was processed "
    "(skipped_s counts it): this machine is too slow or too busy, or it came late. `realtalk "
    "doctor` says what to set"
)


class ExpressionNode(FaceNode):
    """Processes the audio of all senders, one utterance after another."""

    rated = ("chunks", "frames")

    def __init__(self, **options: Any) -> None:
        super().__init__("expression_node", **options)
        self.device = self.parameter("device", *parameters.DEVICE)
        self.threads = self.parameter("threads", *parameters.THREADS)
        self.model_dir = self.parameter("model_dir", *parameters.MODEL_DIR)
        self.look_ahead = self.parameter(
            "look_ahead",
            LOOK_AHEAD,
            "How much of the sound after a frame the network waits for [s]: 0.16, 0.1 or 0.06. "
            "With less, live speech is shown earlier, and the lips are a little less right",
            (min(STEP_FILES), max(STEP_FILES)),
            parameters.LIVE,
        )
        self.policy = self.parameter(
            "policy",
            "replace",
            "What a new utterance does while another is spoken: `replace` that one, or `queue` "
            "until it has ended",
            None,
            parameters.LIVE,
        )

        self.turns = TurnTaking()
        self.engine = ExpressionEngine(self._model_settings, self.problems)
        self.counts = {"chunks": 0, "frames": 0, "interrupts": 0}
        self._senders = SenderIdentifier()
        self._load = ComputingLoad()
        self._behind = 0.0  # s by which audio was late when it was last processed

        self._expression = self.publisher(FaceExpression, "expression", qos.STREAM)
        self._speech = self.publisher(AudioChunk, "speech", qos.STREAM)
        self._audio = AudioSubscription(self, AudioChunk, "audio", self.on_chunks)
        self._interrupts = InterruptService(self, lambda: self.interrupt(texts=True))
        self._shared_settings = SharedSettings(self)
        self._more_work = self.create_guard_condition(self.guarded(self.work))
        self.steady_timer(WORK_EVERY, self.work)

    # Life cycle

    def setup(self) -> None:
        self.check_parameter("policy", self.policy)
        self.turns.policy = self.policy
        pipeline = self.engine.setup(self.fps)
        self.get_logger().info(
            f"ready: avatar {self.avatar}, {self.fps:g} fps, {self.device}, "
            f"look-ahead {pipeline.model.look_ahead * 1000:.0f} ms"
        )

    def halt(self) -> None:
        self.interrupt()

    def close(self) -> None:
        super().close()
        self.engine.cancel()  # a thread that still computes would end the process with an error

    def free(self) -> None:
        self.engine.clear()

    # Parameters

    def check_parameter(self, name: str, value: Any) -> None:
        super().check_parameter(name, value)
        if name == "policy":
            parameters.check_policy(value)
        if name == "device":
            onnx_session.providers_for(value)
        if name == "model_dir":
            onnx_session.check_folder(value)
        if name == "look_ahead":
            step_file_of(value, Path(self.model_dir or onnx_session.MODEL_DIR))

    def change_parameter(self, name: str, value: Any) -> None:
        if name == "policy":
            self.turns.policy = value
        if name in ("avatar", "fps"):
            self._shared_settings.changed()
        if name == "fps" and self.engine.pipeline is not None:
            self.engine.pipeline.fps = float(value)
        if name in LOADED:
            self.engine.request(f"{name} {value}")

    def _model_settings(self) -> ModelSettings:
        """As the parameters have them now."""
        return ModelSettings(
            self.avatar, self.device, self.model_dir, self.threads, self.look_ahead
        )

    def _restore_parameters(self) -> None:
        """Something did not load: the parameters say again what runs."""
        settings = self.engine.settings
        with self._shared_settings.restoring():
            self.set_parameters([Parameter(name, value=getattr(settings, name)) for name in LOADED])

    # Audio in

    def on_chunks(self, messages: list[Received]) -> None:
        self.counts["chunks"] += len(messages)
        if not self.ready:
            return
        now = self._now()
        self._interrupts.take()
        take = self.guarded(self._take_chunk)  # an error in one keeps nothing else back
        for received in messages:
            self._interrupts.answer(received.sent)
            take(received, now)
        self._interrupts.answer()
        self.work()

    def _take_chunk(self, received: Received, now: float) -> None:
        message = received.message
        sent = now - received.waited
        sender = self._senders.identify(
            message.utterance_id, received.number, sent, seconds_of(message)
        )
        if message.reset and not self._is_copy(message, sent):
            self.interrupt(message.utterance_id)
            self.turns.accept_again(message.utterance_id, sender)
            if not message.data:
                return
        try:
            chunk = self._decode(message)
            result = self.turns.put(chunk, now, sent, sender)
        except AudioError as error:
            self.problems.add(str(error))
            return
        for finding in result.findings:
            if finding in ADVICE:
                self.problems.add(ADVICE[finding])
            elif finding is ChunkFinding.FOREIGN and chunk.start is not None:
                seconds = chunk.start - sent
                self.problems.add(
                    f"a chunk on audio is stamped {abs(seconds):.0f} s "
                    f"{'after' if seconds > 0 else 'before'} it was sent: it is played next. Its "
                    "sender has another clock (chrony sets it), or stood still meanwhile"
                )
        if result.ended:
            self._publish_resets(result.ended)

    def _is_copy(self, message: AudioChunk, sent: float) -> bool:
        """Whether a message with sound came before: its `reset` must not interrupt the answer."""
        try:
            return bool(message.data) and self.turns.is_copy(self._decode(message), sent)
        except AudioError:
            return False

    def _decode(self, message: AudioChunk) -> Chunk:
        """A message as a chunk. Raises AudioError."""
        frames = decode_channels(memoryview(message.data), message.encoding, message.channels)
        pcm, cancelled = mix_down(frames)
        check_rate(message.sample_rate)
        if not len(pcm) and not message.last:
            self.problems.add("a chunk without samples: send audio, or leave it out")
        if message.encoding == AudioChunk.PCM_F32LE:
            samples = np.frombuffer(memoryview(message.data), "<f4")
            if not np.isfinite(samples).all():
                self.problems.add("samples that are NaN or infinite: they are played as silence")
        if cancelled:
            self.problems.add(
                "the channels of the sound on audio cancel each other out (one is inverted): only "
                "one of them is used. Send mono, or invert one channel"
            )
        start = self.media_time(message.header.stamp)
        return Chunk(pcm, message.sample_rate, start, message.utterance_id, message.last)

    def _now(self) -> float:
        """Now, in seconds, after all that waits was moved with the clock. What comes after a jump
        is stamped by the new time: it must not be moved with what came before."""
        if jump := self.clock_jump():
            self.turns.shift(jump)
            self.engine.shift(jump)
        return self.now()

    # Expressions out

    def work(self) -> None:
        """Processes what waits for a while, and ends an utterance whose audio stopped."""
        pipeline = self.engine.pipeline
        if not self.ready or pipeline is None:
            return
        self.engine.take()
        self.turns.jitter = jitter_of(pipeline.model.look_ahead)
        if self.engine.take_failure():
            self._restore_parameters()
        began, now = time.perf_counter(), self._now()
        seconds, skipped, late = 0.0, self.turns.skipped, self.turns.counts["late_senders"]
        while time.perf_counter() - began < WORK_AT_ONCE:
            chunk = self.turns.take(now, PROCESS_AHEAD)
            for utterance in self.turns.take_ended(now):
                self._publish_end(utterance, now)
            if self.turns.skipped > skipped:  # the end of the running utterance was, too
                skipped = self.turns.skipped
                pipeline.reset()
                self.problems.add(SKIPPED)
            if chunk is None:
                break
            scheduled, expressions = self.engine.process(chunk, now)
            if scheduled is not None:
                self._publish_speech(scheduled)
            elif chunk.last:
                self._publish_end(chunk.utterance, now)
            self._publish(expressions)
            seconds += chunk.seconds
            self._behind = max(0.0, now - chunk.start - chunk.seconds)
        else:
            self._more_work.trigger()  # as soon as others had their turn
        if self.turns.counts["late_senders"] > late:
            self.problems.add(LATE)
        self._publish(self.engine.take_due(now))
        if pipeline.end is not None and not self.turns.utterances:
            self._publish(self.engine.flush())
        if seconds and self._load.add(time.perf_counter() - began, seconds):
            self.problems.add(self.warning())

    def _publish(self, expressions: list[TimedExpression]) -> None:
        for expression in expressions:
            message = FaceExpression(
                utterance_id=expression.utterance,
                sequence=expression.sequence & 0xFFFFFFFF,
                weights=np.asarray(expression.weights, np.float32),
                head_rotation=np.asarray(expression.rotation, np.float32),
                speech_probability=float(expression.speech),
            )
            self.set_stamp(message.header.stamp, expression.time)
            self._expression.publish(message)
        self.counts["frames"] += len(expressions)

    def _publish_speech(self, chunk: Chunk) -> None:
        message = self.audio_message(
            chunk.pcm, chunk.sample_rate, chunk.start, chunk.utterance, chunk.last
        )
        self._speech.publish(message)

    def _publish_end(self, utterance: str, now: float) -> None:
        """An utterance has ended, of which no sound is left that could say so."""
        self._publish_speech(Chunk(np.zeros(0, np.float32), SAMPLE_RATE, now, utterance, last=True))

    # Interrupts

    def interrupt(self, utterance: str = "", texts: bool = False) -> list[str]:
        """Drops everything not yet shown or played. Returns the utterances that this ended.

        utterance: the one that was to end, which is named where nothing else ended. Empty: all
        that speaks. texts: those that wait for their turn end, too.
        """
        ended = self.turns.interrupt(self._now())
        self.counts["interrupts"] += 1
        self._publish_resets([*ended, ""] if ended and texts else ended or [utterance])
        return ended

    def _publish_resets(self, utterances: list[str]) -> None:
        """These utterances (an empty name: whatever is shown) end now."""
        self.engine.reset()
        stamp = self.get_clock().now().to_msg()
        for utterance in utterances:
            expression = FaceExpression(utterance_id=utterance, reset=True)
            expression.header.stamp = stamp
            self._expression.publish(expression)
            audio = AudioChunk(
                utterance_id=utterance,
                reset=True,
                encoding=AudioChunk.PCM_S16LE,
                sample_rate=SAMPLE_RATE,
                channels=1,
            )
            audio.header.stamp = stamp
            self._speech.publish(audio)

    # Diagnostics

    def loading(self) -> str:
        return self.engine.loading

    def warning(self) -> str:
        if self._load.is_too_much:
            share = f"{self._load.value:.1f} s of computing a second of sound"
            return f"this machine cannot keep up: {share}. Close other programs, or lower fps"
        return super().warning()

    def status(self) -> dict[str, Any]:
        settings = self.engine.settings
        device = settings.device if settings else self.device
        values: dict[str, Any] = {
            "avatar": settings.avatar if settings else self.avatar,
            "device": device,
            "provider": PROVIDERS.get(device, ("",))[0],
            "loading": self.loading(),
            **self.counts,
            "fallbacks": self.engine.fallbacks,
            **self.turns.counts,
            "skipped_s": self.turns.skipped,
            "backlog_s": self.turns.seconds,
            "computing_per_second_of_sound": self._load.value,
            "behind_ms": self._behind * 1e3,
        }
        if self.engine.pipeline is not None:
            values["look_ahead_ms"] = self.engine.pipeline.model.look_ahead * 1e3
            values["bits_of_weights"] = self.engine.pipeline.model.weight_bits
            values.update(self.engine.pipeline.counts)
        values.update(self.engine.checksums)
        return values


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [ExpressionNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
