"""Speech on `audio` becomes expressions on `expression`, and the same speech, laid on the timeline,
goes out on `speech`. A thin shell of Turns (who speaks) and ExpressionPipeline (how it looks)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from std_srvs.srv import Trigger

from realtalk_ros import models
from realtalk_ros.audio import check_rate, decode_pcm
from realtalk_ros.avatar import Avatar
from realtalk_ros.errors import AudioError, RealTalkError
from realtalk_ros.expression.stream import ExpressionModel
from realtalk_ros.msg import AudioChunk, FaceExpression
from realtalk_ros.nodes import common
from realtalk_ros.pipeline import Chunk, ExpressionPipeline, TimedExpression
from realtalk_ros.turns import POLICIES, SILENCE, Turns

WORK_EVERY = 0.02  # s
WORK_AT_ONCE = 0.01  # s of computing after which other callbacks have their turn
AHEAD = 1.0  # s before it is heard, speech is worked off; what comes earlier waits


class ExpressionNode(common.RealTalkNode):
    rated = ("chunks", "frames")

    def __init__(self, name: str = "expression_node", **options):
        super().__init__(name, **options)
        self.avatar = self.parameter("avatar", *common.AVATAR)
        self.fps = self.parameter("fps", *common.FPS)
        self.device = self.parameter("device", *common.DEVICE)
        self.threads = self.parameter(
            "threads", 1, "CPU threads of the network", (1, 64), common.UNCONFIGURED
        )
        self.model_dir = self.parameter("model_dir", *common.MODEL_DIR)
        self.policy = self.parameter(
            "policy", "replace", "What a new utterance does that begins before another has ended: "
            "replace it, or queue until then", None, common.LIVE,
        )  # fmt: skip

        self.pipeline: ExpressionPipeline | None = None
        self._person: Avatar | None = None
        self.turns = Turns()
        self.counts = {"chunks": 0, "frames": 0, "interrupts": 0, "fallbacks": 0}
        self._provider = ""
        self._files: dict[str, str] = {}  # of the network, and their checksums
        self._load = 0.0  # computing per second of sound, of late
        self._behind = 0.0  # s by which the work was late when it was last done

        overridable = common.overridable()
        self._expression = self.create_publisher(
            FaceExpression, "expression", common.EXPRESSION_QOS, qos_overriding_options=overridable
        )
        self._speech = self.create_publisher(
            AudioChunk, "speech", common.EXPRESSION_QOS, qos_overriding_options=overridable
        )
        self._audio = self.create_subscription(
            AudioChunk, "audio", self.on_audio, common.AUDIO_QOS, qos_overriding_options=overridable
        )
        self._interrupt = self.create_service(Trigger, "interrupt", self.on_interrupt)
        self.steady_timer(WORK_EVERY, self.work)

    # Life

    def setup(self) -> None:
        self.change_parameter("policy", self.policy)
        self._person = Avatar.load(self.avatar)
        self._load_model(self.device)
        self._files = models.fingerprints(self.model_dir, "expression")
        self.get_logger().info(
            f"ready: avatar {self.avatar}, {self.fps:g} fps, {self.device}, "
            f"look-ahead {self.pipeline.model.look_ahead * 1000:.0f} ms"
        )

    def _load_model(self, device: str) -> None:
        model = ExpressionModel(
            Path(self.model_dir) if self.model_dir else None,
            models.providers_for(device),
            self.threads,
        )
        prior = model.prior(self._person.identity, self._person.reference_expressions)
        self.pipeline = ExpressionPipeline(model, prior, self.fps)
        self._provider = models.providers_for(device)[0]

    def halt(self) -> None:
        self.interrupt()

    def free(self) -> None:
        self.pipeline = None

    def change_parameter(self, name: str, value) -> None:
        pipeline = self.pipeline
        if name == "policy":
            if value not in POLICIES:
                raise RealTalkError(f"policy is one of {', '.join(POLICIES)}, not {value!r}")
            self.turns.policy = value
        elif name == "avatar" and pipeline is not None:
            person = Avatar.load(value)
            # From the next utterance on.
            pipeline.prior = pipeline.model.prior(person.identity, person.reference_expressions)
            self._person = person
        elif name == "fps" and pipeline is not None:
            pipeline.fps = float(value)

    # Sound in

    def on_audio(self, message: AudioChunk) -> None:
        self.counts["chunks"] += 1
        if not self.ready:
            return
        if message.reset:
            self.interrupt()
            self.turns.welcome(message.utterance_id)
            if not message.data:
                return
        try:
            chunk = self._read(message)
            foreign = self.turns.counts["foreign_stamps"]
            ended = self.turns.put(chunk, self._present())
        except AudioError as error:
            self.problems.add(str(error))
            return
        if self.turns.counts["foreign_stamps"] > foreign:
            self.problems.add(
                f"a chunk is stamped {chunk.start - self.now():.0f} s from now, by another clock: "
                "it is heard next"
            )
        if ended:
            self._forget(ended)
        self.work()

    def _read(self, message: AudioChunk) -> Chunk:
        """A message as a chunk. Raises AudioError."""
        pcm = decode_pcm(memoryview(message.data), message.encoding, message.channels)
        check_rate(message.sample_rate)
        if not len(pcm) and not message.last:
            self.problems.add("a chunk without samples: send sound, or leave it out")
        if message.encoding == AudioChunk.PCM_F32LE:
            samples = np.frombuffer(memoryview(message.data), "<f4")
            if not np.isfinite(samples).all():
                self.problems.add("samples that are NaN or infinite: they are heard as silence")
        start = self.media_time(message.header.stamp)
        return Chunk(pcm, message.sample_rate, start, message.utterance_id, message.last)

    def _present(self) -> float:
        """Now, in seconds, everything that waits moved with the clock. What comes after a jump is
        stamped by the new time: it must not be moved with what came before."""
        if jump := self.clock_jump():
            self.turns.shift(jump)
            if self.pipeline is not None:
                self.pipeline.shift(jump)
        return self.now()

    # Expressions out

    def work(self) -> None:
        """Works off what waits for a while, and ends an utterance whose audio stopped."""
        if not self.ready:
            return
        began, now = time.perf_counter(), self._present()
        heard = 0.0
        while time.perf_counter() - began < WORK_AT_ONCE:
            chunk = self.turns.take(now, AHEAD)
            if chunk is None:
                break
            self._say(chunk, now)
            heard += chunk.seconds
            self._behind = max(0.0, now - chunk.start - chunk.seconds)
        end = self.pipeline.end
        if end is not None and not len(self.turns) and now > end + SILENCE:
            self._publish(self._flush())
        if heard:
            self._load += 0.02 * ((time.perf_counter() - began) / heard - self._load)

    def _say(self, chunk: Chunk, now: float) -> None:
        try:
            expressions = self.pipeline.push(chunk, now)
        except RealTalkError as error:
            self.problems.add(str(error))
            return
        except Exception as error:  # onnxruntime's own exceptions share no base class but this
            placed = self.pipeline.placed or chunk
            self._fall_back(error)
            expressions = self.pipeline.push(placed, now)
        if (placed := self.pipeline.placed) is not None:
            self._publish_speech(placed)
        self._publish(expressions)

    def _flush(self) -> list[TimedExpression]:
        try:
            return self.pipeline.flush()
        except Exception as error:  # as above
            self._fall_back(error)
            return []

    def _fall_back(self, error: Exception) -> None:
        """The network failed while it ran: goes on with a new one on the CPU."""
        self.counts["fallbacks"] += 1
        self.problems.add(f"the network failed on {self._provider}, going on on the CPU: "
                          f"{str(error).splitlines()[0]}")  # fmt: skip
        sequence = self.pipeline.sequence
        self._load_model("cpu")
        self.pipeline.sequence = sequence

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
        self._speech.publish(
            self.audio_message(
                chunk.pcm, chunk.sample_rate, chunk.start, chunk.utterance, chunk.last
            )
        )

    # Interrupts

    def on_interrupt(self, request: Trigger.Request, response: Trigger.Response):
        ended = self.interrupt()
        names = ", ".join(repr(name) for name in ended)
        response.success = True
        response.message = f"stopped {names}" if ended else "nothing was being said"
        return response

    def interrupt(self) -> list[str]:
        """Drops everything that is not yet seen or heard. Returns the utterances this ended."""
        ended = self.turns.interrupt(self._present())
        self.counts["interrupts"] += 1
        self._forget(ended)
        return ended

    def _forget(self, utterances: list[str]) -> None:
        if self.pipeline is not None:
            self.pipeline.reset()
        stamp = self.get_clock().now().to_msg()
        for utterance in utterances or [""]:
            message = FaceExpression(utterance_id=utterance, reset=True)
            message.header.stamp = stamp
            self._expression.publish(message)
            sound = AudioChunk(utterance_id=utterance, reset=True, encoding=AudioChunk.PCM_S16LE)
            sound.header.stamp = stamp
            self._speech.publish(sound)

    # Diagnostics

    def concern(self) -> str:
        if self._load > 0.9:
            return f"this machine cannot keep up: {self._load:.1f} s of computing a second of sound"
        return super().concern()

    def status(self) -> dict:
        values: dict = {
            "avatar": self.avatar, "device": self.device, "provider": self._provider,
            **self.counts, **self.turns.counts,
        }  # fmt: skip
        values["backlog_s"] = self.turns.seconds
        values["computing_per_second_of_sound"] = self._load
        values["behind_ms"] = self._behind * 1e3
        if self.pipeline is not None:
            values.update(self.pipeline.counts)
        values.update(self._files)
        return values


def main(args: list[str] | None = None) -> int:
    return common.run(lambda: [ExpressionNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
