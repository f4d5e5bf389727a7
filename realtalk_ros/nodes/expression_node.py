"""Speech on `audio` becomes expressions on `expression`. A thin shell of ExpressionPipeline."""

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
from realtalk_ros.pipeline import Backlog, Chunk, ExpressionPipeline, TimedExpression
from realtalk_ros.timeline import MAX_DELAY

WORK_EVERY = 0.02  # s
WORK_AT_ONCE = 0.03  # s of computing after which other callbacks have their turn
AHEAD = 1.0  # s before it is heard, speech is worked off; what comes earlier waits
SILENCE = 0.25  # s without audio after which an utterance is over, though no chunk said `last`


class ExpressionNode(common.RealTalkNode):
    def __init__(self, name: str = "expression_node", **options):
        super().__init__(name, **options)
        self.avatar = self.parameter("avatar", *common.AVATAR)
        self.fps = self.parameter("fps", *common.FPS)
        self.device = self.parameter("device", *common.DEVICE)
        self.threads = self.parameter("threads", 1, "CPU threads of the network", (1, 64))
        self.model_dir = self.parameter("model_dir", *common.MODEL_DIR)

        self.pipeline: ExpressionPipeline | None = None
        self.backlog = Backlog()
        self.counts = {"chunks": 0, "frames": 0, "refused_chunks": 0, "interrupted_chunks": 0}
        self._ignored: str | None = None  # utterance that was interrupted
        self._ignored_at = 0.0
        self._utterance = ""  # of the chunk that came last, and when its sound ends
        self._end: float | None = None
        self._work_s = 0.0  # computing, of _heard_s seconds of sound
        self._heard_s = 0.0

        overridable = common.overridable()
        self._expression = self.create_publisher(
            FaceExpression, "expression", common.EXPRESSION_QOS, qos_overriding_options=overridable
        )
        self._audio = self.create_subscription(
            AudioChunk, "audio", self.on_audio, common.AUDIO_QOS, qos_overriding_options=overridable
        )
        self._interrupt = self.create_service(Trigger, "interrupt", self.on_interrupt)
        self._timer = self.create_timer(WORK_EVERY, self.work)

    def setup(self) -> None:
        avatar = Avatar.load(self.avatar)
        model = ExpressionModel(
            Path(self.model_dir) if self.model_dir else None,
            models.providers_for(self.device),
            self.threads,
        )
        prior = model.prior(avatar.identity, avatar.reference_expressions)
        self.pipeline = ExpressionPipeline(model, prior, self.fps)
        self.get_logger().info(
            f"ready: avatar {avatar.name}, {self.fps:g} fps, {self.device}, "
            f"look-ahead {model.look_ahead * 1000:.0f} ms"
        )

    def on_audio(self, message: AudioChunk) -> None:
        self.counts["chunks"] += 1
        if self.pipeline is None or self._is_interrupted(message):
            return
        try:
            chunk = self._read(message)
            if self._end and chunk.utterance != self._utterance and chunk.start < self._end:
                self.backlog.clear()  # who begins to speak takes the place of who spoke
            if not self.backlog.put(chunk):
                raise AudioError(
                    f"more than {self.backlog.limit:g} s of sound wait to be spoken; a chunk was "
                    "left out: send it later"
                )
        except AudioError as error:
            self.counts["refused_chunks"] += 1
            self.problems.add(str(error))
            return
        self._utterance, self._end = chunk.utterance, chunk.start + chunk.seconds
        self.work()

    def _read(self, message: AudioChunk) -> Chunk:
        """A message as a chunk with a start. Raises AudioError."""
        pcm = decode_pcm(memoryview(message.data), message.encoding, message.channels)
        check_rate(message.sample_rate)
        start, now = self.media_time(message.header.stamp), self.now()
        if start is None:
            goes_on = self._end is not None and message.utterance_id == self._utterance
            start = self._end if goes_on and self._end > now - SILENCE else now
        if start > now + self.backlog.limit:
            raise AudioError(f"a chunk is stamped {start - now:.0f} s from now: check its clock")
        if start + len(pcm) / message.sample_rate < now - MAX_DELAY:
            raise AudioError(f"a chunk is stamped {now - start:.0f} s ago: check its clock")
        if not len(pcm) and not message.last:
            self.problems.add("a chunk without samples: send sound, or leave it out")
        if message.encoding == AudioChunk.PCM_F32LE:
            samples = np.frombuffer(memoryview(message.data), "<f4")
            if not np.isfinite(samples).all():
                self.problems.add("samples that are NaN or infinite: they are heard as silence")
        return Chunk(pcm, message.sample_rate, start, message.utterance_id, message.last)

    def _is_interrupted(self, message: AudioChunk) -> bool:
        """Whether a chunk belongs to what was interrupted, and so is not to be seen any more."""
        if self._ignored is None:
            return False
        # Senders that give no id end an utterance by `last` or by a pause.
        anonymous_pause = not self._ignored and self.now() - self._ignored_at > 1.0
        if message.utterance_id != self._ignored or anonymous_pause:
            self._ignored = None
            return False
        self.counts["interrupted_chunks"] += 1
        self._ignored_at = self.now()
        if message.last and not self._ignored:
            self._ignored = None
        return True

    def work(self) -> None:
        """Works off the backlog for a while, and ends an utterance whose audio stopped."""
        if self.pipeline is None:
            return
        began, now = time.perf_counter(), self.now()
        while time.perf_counter() - began < WORK_AT_ONCE:
            chunk = self.backlog.take(now + AHEAD)
            if chunk is None:
                break
            try:
                self.publish(self.pipeline.push(chunk, now))
            except RealTalkError as error:
                self.problems.add(str(error))
            self._heard_s += chunk.seconds
        end = self.pipeline.end
        if end is not None and not self.backlog and now > end + SILENCE:
            self.publish(self.pipeline.flush())
        self._work_s += time.perf_counter() - began

    def publish(self, expressions: list[TimedExpression]) -> None:
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

    def on_interrupt(self, request: Trigger.Request, response: Trigger.Response):
        busy = bool(self.backlog) or (self.pipeline is not None and self.pipeline.end is not None)
        speaking = busy or (self._end is not None and self._end > self.now())
        if speaking:
            self._ignored, self._ignored_at = self._utterance, self.now()
        self.backlog.clear()
        if self.pipeline is not None:
            self.pipeline.reset()
        self._end = None
        message = FaceExpression(utterance_id=self._utterance, reset=True)
        message.header.stamp = self.get_clock().now().to_msg()
        self._expression.publish(message)
        response.success = True
        response.message = f"stopped {self._utterance!r}" if speaking else "nothing was being said"
        return response

    def status(self) -> dict:
        values: dict = {"avatar": self.avatar, "device": self.device, **self.counts}
        values["backlog_s"] = self.backlog.seconds
        if self.pipeline is not None:
            values.update(self.pipeline.counts)
        if self._heard_s:
            values["computing_per_second_of_sound"] = self._work_s / self._heard_s
        return values


def main(args: list[str] | None = None) -> int:
    return common.run(lambda: [ExpressionNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
