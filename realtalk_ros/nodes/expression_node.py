"""Speech on `audio` becomes expressions on `expression`; the same speech goes out on `speech` with
its final stamps. A thin shell of TurnTaking (who speaks) and ExpressionPipeline (how it looks)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from realtalk_ros import onnx_session
from realtalk_ros.audio.pcm import check_rate, decode_channels, mix_down
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.errors import AudioError, NetworkError, RealTalkError
from realtalk_ros.expression.onnx_model import ExpressionModel, Prior
from realtalk_ros.expression.pipeline import ExpressionPipeline
from realtalk_ros.msg import AudioChunk, FaceExpression
from realtalk_ros.nodes import lifecycle, parameters, qos, spin
from realtalk_ros.nodes.background_loader import BackgroundLoader
from realtalk_ros.nodes.face_settings import SharedSettings
from realtalk_ros.nodes.face_settings import check as check_setting
from realtalk_ros.nodes.subscriptions import AudioSubscription, Received
from realtalk_ros.playout.sender_identity import SenderIdentifier
from realtalk_ros.playout.turn_taking import POLICIES, TurnTaking
from realtalk_ros.stream_types import Chunk, ScheduledChunk, TimedExpression

WORK_EVERY = 0.02  # s
WORK_AT_ONCE = 0.01  # s of computing after which other callbacks have their turn
AHEAD = 1.0  # s before it is heard, speech is worked off; what comes earlier waits
LOADED = ("avatar", "device", "model_dir")  # parameters whose change takes long
ADVICE = {  # what senders do that others could misunderstand, and what they should change
    "overlapping_stamps": "the stamps on audio leave no room for the sound that they belong to: it "
    "is heard in the order of its coming. Stamp a chunk with the time at which its first sample is "
    "to be heard, or with zero",
    "mixed_senders": "two senders speak on audio under the same utterance_id: each is heard as an "
    "utterance of its own (parameter policy). Give each an id of its own",
    "interrupted_chunks": "more of what was interrupted still comes on audio, and is left out: "
    "stop sending it, end it by `last`, or begin the next answer with `reset` or another "
    "utterance_id",
}


@dataclass(frozen=True)
class Voice:
    """A loaded network, and what it knows of a person."""

    model: ExpressionModel
    prior: Prior
    avatar: str
    device: str
    model_dir: str


class ExpressionNode(lifecycle.RealTalkNode):
    rated = ("chunks", "frames")

    def __init__(self, name: str = "expression_node", **options):
        super().__init__(name, **options)
        self.avatar = self.parameter("avatar", *parameters.AVATAR)
        self.fps = self.parameter("fps", *parameters.FPS)
        self.device = self.parameter("device", *parameters.DEVICE)
        self.threads = self.parameter(
            "threads", 1, "CPU threads of the network", (1, 64), parameters.UNCONFIGURED
        )
        self.model_dir = self.parameter("model_dir", *parameters.MODEL_DIR)
        self.policy = self.parameter(
            "policy", "replace", "What becomes of an utterance that begins before the last one "
            "has ended: `replace` the last one, or `queue` until it has ended",
            None, parameters.LIVE,
        )  # fmt: skip

        self.pipeline: ExpressionPipeline | None = None
        self.turns = TurnTaking()
        self.counts = {"chunks": 0, "frames": 0, "interrupts": 0, "fallbacks": 0}
        self._voice: Voice | None = None
        self._loader: BackgroundLoader[Voice, Voice] = BackgroundLoader(self._load, self.problems)
        self._senders = SenderIdentifier()
        self._files: dict[str, str] = {}  # of the network, and their checksums
        self._load_share = 0.0  # computing per second of sound, of late
        self._behind = 0.0  # s by which the work was late when it was last done

        overridable = qos.overridable()
        self._expression = self.create_publisher(
            FaceExpression,
            "expression",
            qos.EXPRESSION,
            qos_overriding_options=overridable,
        )
        self._speech = self.create_publisher(
            AudioChunk, "speech", qos.EXPRESSION, qos_overriding_options=overridable
        )
        self._audio = AudioSubscription(self, AudioChunk, "audio", self.on_letters, overridable)
        self._interrupt = self.create_service(Trigger, "interrupt", self.on_interrupt)
        self._settings = SharedSettings(self)
        self._more = self.create_guard_condition(self.guarded(self.work))
        self.steady_timer(WORK_EVERY, self.work)

    # Life

    def setup(self) -> None:
        self.check_parameter("policy", self.policy)
        self.turns.policy = self.policy
        self.pipeline = None
        self._use(self._load(self._wanted()))
        assert self.pipeline is not None
        self.get_logger().info(
            f"ready: avatar {self.avatar}, {self.fps:g} fps, {self.device}, "
            f"look-ahead {self.pipeline.model.look_ahead * 1000:.0f} ms"
        )

    def _wanted(self) -> tuple[str, str, str]:
        return self.avatar, self.device, self.model_dir

    def _load(self, wanted: tuple[str, str, str]) -> Voice:
        avatar, device, model_dir = wanted
        model = ExpressionModel(
            Path(model_dir) if model_dir else None, onnx_session.providers_for(device), self.threads
        )
        person = Avatar.load(avatar)
        prior = model.prior(person.identity, person.reference_expressions)
        return Voice(model, prior, *wanted)

    def _as_it_runs(self) -> None:
        """Parameters say what runs again."""
        assert self._voice is not None
        self.set_parameters([Parameter(name, value=getattr(self._voice, name)) for name in LOADED])

    def _use(self, voice: Voice) -> None:
        """From the next stretch of sound on; the running one ends as it began."""
        self._voice = voice
        if self.pipeline is None:
            self.pipeline = ExpressionPipeline(voice.model, voice.prior, self.fps)
        self.pipeline.model, self.pipeline.prior = voice.model, voice.prior
        self._files = onnx_session.fingerprints(voice.model_dir, "expression")

    def halt(self) -> None:
        self.interrupt()

    def close(self) -> None:
        super().close()
        self._loader.cancel()  # a thread that still computes would end the process with an error

    def free(self) -> None:
        self._loader.cancel()
        self.pipeline = self._voice = None

    def check_parameter(self, name: str, value) -> None:
        check_setting(name, value)
        if name == "policy" and value not in POLICIES:
            raise RealTalkError(f"policy is one of {', '.join(POLICIES)}, not {value!r}")
        if name == "device":
            onnx_session.providers_for(value)
        if name == "model_dir":
            onnx_session.check_folder(value)

    def change_parameter(self, name: str, value) -> None:
        if name == "policy":
            self.turns.policy = value
        if name in ("avatar", "fps"):
            self._settings.changed()
        if self.pipeline is None:
            return
        if name == "fps":
            self.pipeline.fps = float(value)
        voice = self._voice
        running = voice and (voice.avatar, voice.device, voice.model_dir)
        if name in LOADED and voice and (self._loader.loading or running != self._wanted()):
            self._loader.request(self._wanted(), f"{name} {value}")

    def loading(self) -> str:
        return self._loader.loading

    # Sound in

    def on_audio(self, message: AudioChunk) -> None:
        """Takes one chunk, from whoever has it at hand, now."""
        self.on_letters([Received(message)])

    def on_letters(self, letters: list[Received]) -> None:
        self.counts["chunks"] += len(letters)
        if not self.ready:
            return
        now = self._present()
        for letter in letters:
            self._take_in(letter, now)
        self.work()

    def _take_in(self, letter: Received, now: float) -> None:
        message, counts = letter.message, dict(self.turns.counts)
        sent = now - letter.waited
        seconds = len(message.data) / max(1, 2 * message.channels * message.sample_rate)
        sender = self._senders.identify(message.utterance_id, letter.number, sent, seconds)
        if message.reset:
            self.interrupt()
            self.turns.accept_again(message.utterance_id, sender)
            if not message.data:
                return
        try:
            chunk = self._read(message)
            ended = self.turns.put(chunk, now, sent, sender)
        except AudioError as error:
            self.problems.add(str(error))
            return
        if self.turns.counts["foreign_stamps"] > counts["foreign_stamps"]:
            self.problems.add(
                f"a chunk is stamped {chunk.start - sent:.0f} s from now, by another clock: "
                "it is heard next"
            )
        for habit, advice in ADVICE.items():
            if self.turns.counts[habit] > counts[habit]:
                self.problems.add(advice)
        if ended:
            self._forget(ended)

    def _read(self, message: AudioChunk) -> Chunk:
        """A message as a chunk. Raises AudioError."""
        frames = decode_channels(memoryview(message.data), message.encoding, message.channels)
        pcm, cancelled = mix_down(frames)
        check_rate(message.sample_rate)
        if not len(pcm) and not message.last:
            self.problems.add("a chunk without samples: send sound, or leave it out")
        if message.encoding == AudioChunk.PCM_F32LE:
            samples = np.frombuffer(memoryview(message.data), "<f4")
            if not np.isfinite(samples).all():
                self.problems.add("samples that are NaN or infinite: they are heard as silence")
        if cancelled:
            self.problems.add(
                "the channels of the sound on audio cancel each other out (one is inverted): one "
                "of them is heard alone. Send mono, or turn the phase of one channel"
            )
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
        if not self.ready or self.pipeline is None:
            return
        if (voice := self._loader.take()) is not None:
            self._use(voice)
        if self._loader.take_failure():
            self._as_it_runs()
        began, now = time.perf_counter(), self._present()
        heard, skipped = 0.0, self.turns.skipped
        while time.perf_counter() - began < WORK_AT_ONCE:
            chunk = self.turns.take(now, AHEAD)
            if self.turns.skipped > skipped:  # its end, too, has passed
                skipped = self.turns.skipped
                self.pipeline.reset()
            if chunk is None:
                break
            self._say(chunk, now)
            heard += chunk.seconds
            self._behind = max(0.0, now - (chunk.start or now) - chunk.seconds)
        else:
            self._more.trigger()  # as soon as others had their turn
        if self.pipeline.end is not None and not self.turns.utterances:
            self._publish(self._flush())
        if heard:
            self._load_share += 0.02 * (
                (time.perf_counter() - began) / heard - self._load_share
            )  # fmt: skip

    def _say(self, chunk: Chunk, now: float) -> None:
        assert self.pipeline is not None
        scheduled: ScheduledChunk | None = None
        try:
            try:
                ended, scheduled = self.pipeline.schedule(chunk, now)
                expressions = ended + self.pipeline.feed(scheduled)
            except NetworkError as error:
                self._fall_back(error)
                ended, scheduled = self.pipeline.schedule(scheduled or chunk, now)
                expressions = ended + self.pipeline.feed(scheduled)
        except RealTalkError as error:
            self.problems.add(str(error))
            return
        except Exception as error:
            self.problems.exception(error)
            self.pipeline.reset()
            return
        if scheduled is not None:
            self._publish_speech(scheduled)
        self._publish(expressions)

    def _flush(self) -> list[TimedExpression]:
        assert self.pipeline is not None
        try:
            return self.pipeline.flush()
        except NetworkError as error:
            self._fall_back(error)
        except Exception as error:
            self.problems.exception(error)
            self.pipeline.reset()
        return []

    def _fall_back(self, error: NetworkError) -> None:
        """The network failed while it ran: goes on with a new one on the CPU. Raises RealTalkError
        if there is none."""
        assert self.pipeline is not None and self._voice is not None
        self.counts["fallbacks"] += 1
        self.problems.add(
            f"the network failed on {self._voice.device}, going on on the CPU: {error}"
        )
        self.pipeline.reset()
        onnx_session.forget_sessions()  # it is broken: a new one is opened
        self._use(self._load((self._voice.avatar, "cpu", self._voice.model_dir)))

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
            sound = AudioChunk(
                utterance_id=utterance, reset=True, encoding=AudioChunk.PCM_S16LE,
                sample_rate=SAMPLE_RATE, channels=1,
            )  # fmt: skip
            sound.header.stamp = stamp
            self._speech.publish(sound)

    # Diagnostics

    def warning(self) -> str:
        if self._load_share > 0.9:
            share = f"{self._load_share:.1f} s of computing a second of sound"
            return f"this machine cannot keep up: {share}"
        return super().warning()

    def status(self) -> dict:
        voice = self._voice
        device = voice.device if voice else self.device
        values: dict = {
            "avatar": voice.avatar if voice else self.avatar, "device": device,
            "provider": onnx_session.PROVIDERS.get(device, ("",))[0],
            "loading": self.loading(), **self.counts, **self.turns.counts,
        }  # fmt: skip
        values["skipped_s"] = self.turns.skipped
        values["backlog_s"] = self.turns.seconds
        values["computing_per_second_of_sound"] = self._load_share
        values["behind_ms"] = self._behind * 1e3
        if self.pipeline is not None:
            values.update(self.pipeline.counts)
        values.update(self._files)
        return values


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [ExpressionNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
