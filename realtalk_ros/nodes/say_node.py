# SPDX-License-Identifier: Apache-2.0
"""Speaks texts, plain or in SSML, through espeak-ng: std_msgs/String on `say`, or the action `say`,
which reports its progress and can be cancelled. One text at a time."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from std_msgs.msg import String

from realtalk_ros.action import Say
from realtalk_ros.audio.espeak import (
    DEFAULT_PITCH,
    DEFAULT_SPEED,
    DEFAULT_VOICE,
    PITCH_RANGE,
    SPEED_RANGE,
    check_voice,
)
from realtalk_ros.audio.text_to_speech import Saying
from realtalk_ros.contracts import LEAD_RANGE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.msg import AudioChunk, FaceExpression
from realtalk_ros.nodes import lifecycle, parameters, qos, spin
from realtalk_ros.nodes.paced_speech import PacedSpeech, is_interrupted
from realtalk_ros.nodes.worker import Worker

MAX_QUEUE = 32  # texts that wait while another one is spoken
FULL = "too many texts wait"
RESERVE = 1.0  # s by which audio is sent before it is played, once it has begun
GROWTH = 0.5  # s that this grows in a second
FEEDBACK = 0.2  # s between feedbacks
HALT = 2.0  # s for which a halt waits for the speaker
PATIENCE = 3.0  # s for which a text waits for a face, which may be being restarted
SILENCE = 2.0  # s of a text for which a face sends no expression, after which it must have ended


@dataclass(eq=False)
class SayRequest:
    """A text to speak, where it came from, and how it ended."""

    text: str
    voice: str
    requested: float  # when it came, media time, s
    goal: Any = None  # of the action; None: it came on the topic
    utterance: str = ""  # its utterance_id, once it is being spoken
    stop: str = ""  # why it is to end early
    spoken: str = ""
    completed: bool = False


class SayNode(lifecycle.RealTalkNode):
    """Speaks the texts that come, each instead of the one before, or after it."""

    def __init__(self, **options: Any) -> None:
        super().__init__("say_node", **options)
        p = self.parameter
        self.voice = p("voice", DEFAULT_VOICE, "Voice of espeak-ng, such as en-us or de",
                       None, parameters.LIVE)  # fmt: skip
        self.speed = p("speed", DEFAULT_SPEED, "Words per minute", SPEED_RANGE, parameters.LIVE)
        self.pitch = p("pitch", DEFAULT_PITCH, "Pitch of the voice", PITCH_RANGE, parameters.LIVE)
        self.policy = p("policy", "replace", "What a new text does while another is spoken: "
                        "`replace` that one, or `queue` until it has ended",
                        None, parameters.LIVE)  # fmt: skip
        self.chunk = p("chunk", 0.02, "Length of a chunk [s]", (0.005, 1.0))
        self.lead = p("lead", 0.3, "How long before the end of its playback the first chunk is "
                      "sent [s]; later ones are sent up to 1 s before",
                      LEAD_RANGE, parameters.LIVE)  # fmt: skip

        self.counts = {"texts": 0, "refused_texts": 0, "interrupts": 0, "chunks": 0}
        self._requests: deque[SayRequest] = deque()  # the first one is being spoken
        self._lock = threading.Condition()
        self._speaker = Worker("speaker", self.speak, self.problems.add)
        self._audio = self.publisher(AudioChunk, "audio", qos.STREAM)
        self._answers = 0  # expressions that came: not of every listener do any come
        self._unanswered = False  # whether none come any more. (DDS tells it after 10 s.)
        self._expression = self.subscription(
            FaceExpression, "expression", self.on_expression, qos.STREAM
        )
        self._topic = self.subscription(String, "say", self.on_text, qos.REQUEST)
        self._action = ActionServer(
            self, Say, "say", self._result, goal_callback=self.on_goal,
            handle_accepted_callback=self.on_accepted, cancel_callback=self.on_cancel,
            goal_service_qos_profile=qos.REQUEST, result_service_qos_profile=qos.REQUEST,
            cancel_service_qos_profile=qos.REQUEST,
        )  # fmt: skip
        self._ended: dict[bytes, SayRequest] = {}  # goals whose result is to be sent

    # Life cycle

    def setup(self) -> None:
        self.check_parameter("policy", self.policy)
        self.check_parameter("voice", self.voice)  # raises now what is wrong with it

    def start(self) -> None:
        self._speaker.start()
        self.get_logger().info(f"ready to speak texts from {self._topic.topic_name}")

    def halt(self) -> None:
        self._speaker.request_stop()
        self._stop(lambda _: "the node was stopped")
        self._speaker.stop(HALT)

    def check_parameter(self, name: str, value: Any) -> None:
        """Raises RealTalkError for a value that cannot be used."""
        if name == "policy":
            parameters.check_policy(value)
        if name == "voice":
            check_voice(value)

    # Requests

    def on_text(self, message: String) -> None:
        if not self.ready:
            self.problems.add("a text was refused: not active")
            return
        self._take(SayRequest(message.data, self.voice, self.now()))

    def on_goal(self, _goal: Say.Goal) -> GoalResponse:
        full = self.policy == "queue" and self._is_full()
        if not self.ready or full:
            self.problems.add(f"a text was refused: {FULL if full else 'not active'}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def on_accepted(self, goal: Any) -> None:
        request = goal.request
        self._take(SayRequest(request.text, request.voice or self.voice, self.now(), goal))

    def on_cancel(self, goal: Any) -> CancelResponse:
        self._stop(lambda request: "cancelled" if request.goal is goal else "")
        return CancelResponse.ACCEPT

    def on_expression(self, message: FaceExpression) -> None:
        """Another node interrupted what is being spoken, or all that was to be."""
        self._answers += 1
        self._unanswered = False
        if not message.reset:
            return

        def why(request: SayRequest) -> str:
            meant = is_interrupted(self, message, request.utterance, request.requested)
            return "interrupted" if meant else ""

        self.counts["interrupts"] += self._stop(why)

    def _take(self, request: SayRequest) -> None:
        if self.policy == "replace":
            self._stop(lambda _: "replaced by another text")
        if self._is_full():
            request.stop = FULL
            self.problems.add(f"a text was refused: {FULL}")
            self._finish(request)
            return
        with self._lock:
            self._requests.append(request)
            self._lock.notify()

    def _is_full(self) -> bool:
        """Whether no more texts may wait."""
        return len(self._requests) > MAX_QUEUE

    def _stop(self, why: Callable[[SayRequest], str]) -> int:
        """Ends each request for which `why` gives a reason: the first one as soon as the speaker
        sees it, and those that wait at once. Returns how many."""
        count = 0
        with self._lock:
            for request in self._requests:
                if not request.stop and (reason := why(request)):
                    request.stop = reason
                    count += 1
            waited = [request for request in list(self._requests)[1:] if request.stop]
            self._requests = deque(r for r in self._requests if r not in waited)
            self._lock.notify()
        for request in waited:
            self._finish(request)
        return count

    # Speech

    def speak(self, stop: threading.Event) -> None:
        """Speaks one text after another (in a thread of its own), until `stop` is set."""
        while True:
            with self._lock:
                while not self._requests and not stop.is_set():
                    self._lock.wait(0.2)
                # Those that wait when it is to stop are to end; others are another thread's.
                if stop.is_set() and not (self._requests and self._requests[0].stop):
                    return
                request = self._requests[0]
            try:
                self._await_listener(request)
                if not request.stop:
                    self.say(request)
            except RealTalkError as error:
                request.stop = str(error)
                self.counts["refused_texts"] += 1
                self.problems.add(str(error))
            except Exception as error:  # ROS shutting down
                if not stop.is_set() and self.context.ok():
                    self.get_logger().error(f"{type(error).__name__}: {error}")
                request.stop = request.stop or str(error)
            with self._lock:
                # A thread that outlived its halt finds that another one has ended it.
                ended = not self._requests or self._requests[0] is not request
                if not ended:
                    self._requests.popleft()
            if not ended:
                self._finish(request)

    def _await_listener(self, request: SayRequest) -> None:
        """Waits until somebody listens, or the text is to end. Raises RealTalkError if nobody
        does."""
        end = time.monotonic() + PATIENCE
        with self._lock:
            while not request.stop and not self._audio.get_subscription_count():
                if time.monotonic() > end:
                    raise RealTalkError(f"a text was not said: {self._unheard}")
                self._lock.wait(0.05)

    @property
    def _unheard(self) -> str:
        topic = self._audio.topic_name
        return f"nobody listens on {topic}: does a face run, with this namespace and ROS_DOMAIN_ID?"

    @property
    def _mute(self) -> str:
        topic = self._expression.topic_name
        return f"the face sends nothing on {topic} any more: has expression_node ended?"

    def say(self, request: SayRequest) -> None:
        """Publishes one text, paced, and waits until it was played. Raises RealTalkError."""
        saying = Saying(request.text, request.voice, self.speed, self.pitch, self.warn)
        self.counts["texts"] += 1
        request.utterance = utterance = self.unique_id("say", self.counts["texts"])
        rate, reported = saying.sample_rate, -FEEDBACK
        answers, answered = self._answers, -math.inf  # the latter: s of it that were played then
        speech = PacedSpeech(self, self._audio, utterance, self.lead)

        def report(played: float) -> None:
            nonlocal reported, answers, answered
            if self._answers != answers:
                answers, answered = self._answers, played
            self._unanswered = answers > 0 and played - max(0.0, answered) > SILENCE
            if played - reported < FEEDBACK:
                return
            reported, spoken = played, saying.spoken(played)
            if spoken != request.spoken:
                request.spoken = spoken
                self._feedback(request, utterance)

        def wait(until: float) -> bool:
            """Until so many seconds of it are played; False if it is to end."""
            return speech.wait(until, lambda: bool(request.stop), report)

        try:
            for pcm, last in saying.chunks(self.chunk):
                end = speech.sent + len(pcm) / rate
                # The first word is sent at once; then a reserve is built up, should a node stall.
                early = max(self.lead, min(RESERVE, self.lead + GROWTH * end))
                if not wait(end - early):
                    break
                speech.publish(pcm, rate, last)
                self.counts["chunks"] += 1
            else:
                ended = wait(speech.sent)
                if ended and answers and speech.sent - answered > SILENCE:
                    raise RealTalkError(f"a text was not heard, or not all of it: {self._mute}")
                request.completed = ended
        finally:  # a voice may fail on the way
            if request.completed:
                request.spoken = saying.text
                self._feedback(request, utterance)
            elif request.stop != "interrupted":  # then the face knows already
                request.spoken = saying.spoken(speech.elapsed)
                self._audio.publish(
                    AudioChunk(
                        sample_rate=rate,
                        channels=1,
                        encoding=AudioChunk.PCM_S16LE,
                        utterance_id=utterance,
                        last=True,
                        reset=True,
                    )
                )

    def _feedback(self, request: SayRequest, utterance: str) -> None:
        if request.goal is not None and request.goal.is_active:
            request.goal.publish_feedback(
                Say.Feedback(utterance_id=utterance, spoken=request.spoken)
            )

    def _finish(self, request: SayRequest) -> None:
        """Has the action's result sent. rclpy calls `_result` for it, which must not wait: a
        callback that waits blocks the executor, which has one thread."""
        if request.goal is not None:
            self._ended[bytes(request.goal.goal_id.uuid)] = request
            request.goal.execute()

    def _result(self, goal: Any) -> Say.Result:
        request = self._ended.pop(bytes(goal.goal_id.uuid))
        if request.completed and not goal.is_cancel_requested:
            goal.succeed()
        elif goal.is_cancel_requested:
            goal.canceled()
        else:
            goal.abort()
        return Say.Result(completed=request.completed, spoken=request.spoken, message=request.stop)

    def owes_answers(self) -> bool:
        return bool(self._ended)

    def warning(self) -> str:
        if self.ready and not self._audio.get_subscription_count():
            return self._unheard
        if self.ready and self._unanswered:
            return self._mute
        return super().warning()

    def status(self) -> dict[str, Any]:
        return {"voice": self.voice, "waiting": max(0, len(self._requests) - 1), **self.counts}


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [SayNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
