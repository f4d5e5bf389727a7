# SPDX-License-Identifier: Apache-2.0
"""A sound file, or a text through espeak-ng, as chunks on `audio` in real time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.duration import Duration

from realtalk_ros.audio.espeak import DEFAULT_VOICE
from realtalk_ros.audio.media_files import STANDARD_INPUT, AudioStream
from realtalk_ros.audio.text_to_speech import synthesize_text
from realtalk_ros.contracts import LEAD_RANGE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.msg import AudioChunk, FaceExpression
from realtalk_ros.nodes import lifecycle, qos, spin
from realtalk_ros.nodes.paced_speech import Pace, PacedSpeech, is_interrupted
from realtalk_ros.nodes.worker import Worker

# s after its discovery, within which a subscriber discovers this node, too: what is sent before is
# lost. On a busy machine that took up to 0.4 s; lost discovery messages are repeated by Fast DDS
# within 1.1 s (edp_heartbeat_period and edp_nack_response_delay in its EDPSimple.cpp).
SETTLE = 1.2
PATIENCE = 3.0  # s without a listener, after which that is said


class SpeechNode(lifecycle.RealTalkNode):
    """Sends one file or text, repeatedly if wanted, and then ends its process."""

    def __init__(self, **options: Any) -> None:
        super().__init__("speech_node", **options)
        p = self.parameter
        self.wav = p("wav", "", "Sound file to speak (WAV, FLAC, MP3, Ogg, MP4 ...)")
        self.text = p("text", "", "Text or SSML to speak through espeak-ng, if wav is empty")
        self.voice = p("voice", DEFAULT_VOICE, "Voice of espeak-ng for text, such as en-us or de")
        self.chunk = p("chunk", 0.02, "Length of a chunk [s]", (0.005, 5.0))
        self.lead = p(
            "lead", 0.3, "How long before the end of its playback a chunk is sent [s]; 0: live, "
            "like a microphone", LEAD_RANGE,
        )  # fmt: skip
        self.repeat = p("repeat", 1, "How often to say it; 0: without end", (0, 10**6))
        self.pause = p("pause", 1.0, "Pause between repetitions [s]", (0.0, 3600.0))
        self.start_delay = p("start_delay", 0.0, "Wait before speaking [s]", (0.0, 3600.0))
        self.wait_for = p("wait_for", 1, "Subscribers of audio to wait for", (0, 100))
        self.utterance_id = p("utterance_id", "speech", "Prefix of the utterance_id")
        self.exit_when_done = p("exit_when_done", True, "End the process after the last word")
        self.persistent = not self.exit_when_done

        self.counts = {"chunks": 0, "utterances": 0, "interrupts": 0}
        self._speech: tuple[np.ndarray, int] = np.zeros(0, np.float32), 0  # of the text, and its Hz
        self._utterance, self._began = "", 0.0  # that is being sent, since when
        self._interrupted = threading.Event()
        self._speaker = Worker("speaker", self.speak, self.problems.add)
        self._audio = self.publisher(AudioChunk, "audio", qos.STREAM)
        self.subscription(FaceExpression, "expression", self.on_expression, qos.STREAM)

    def setup(self) -> None:
        if self.wav == STANDARD_INPUT:
            raise RealTalkError("wav '-' is standard input, which a node has none of: name a file")
        if self.wav:
            AudioStream(self.wav).close()  # raises now what is wrong with it
        else:
            self._speech = synthesize_text(self.text, self.voice, self.get_logger().warning)

    def start(self) -> None:
        self._speaker.start()
        self.get_logger().info(f"ready to say {self.wav or self.text!r}")

    def on_expression(self, message: FaceExpression) -> None:
        if message.reset and is_interrupted(self, message, self._utterance, self._began):
            self.counts["interrupts"] += 1
            self._interrupted.set()

    def speak(self, stop: threading.Event) -> None:
        """Sends everything (in a thread of its own), then ends the node if so set."""
        warn_at = time.monotonic() + PATIENCE
        while self._audio.get_subscription_count() < self.wait_for and not stop.wait(0.02):
            if time.monotonic() > warn_at:
                self.warn(f"waits for somebody to listen on {self._audio.topic_name}: does a face "
                          "run, with this namespace and ROS_DOMAIN_ID?")  # fmt: skip
        Pace(self).wait(SETTLE + self.start_delay, stop.is_set)
        try:
            count = 0
            while not stop.is_set() and (self.repeat == 0 or count < self.repeat):
                if count:
                    Pace(self).wait(self.pause, stop.is_set)
                self._interrupted.clear()
                count += 1
                number = self.counts["utterances"] + 1
                self._utterance, self._began = self.unique_id(self.utterance_id, number), self.now()
                self.say(self._utterance, stop)
        except Exception as error:  # a damaged file, ROS shutting down
            if not stop.is_set() and self.context.ok():
                self.get_logger().error(str(error))
                self.exit_code = 2
            return
        if self.exit_when_done and not stop.is_set():
            self._audio.wait_for_all_acked(Duration(seconds=1))
            self.exit_code = 0

    def say(self, utterance: str, stop: threading.Event) -> None:
        """Publishes one utterance, paced."""
        speech = PacedSpeech(self, self._audio, utterance, self.lead)

        def stopped() -> bool:
            return stop.is_set() or self._interrupted.is_set()

        for pcm, rate, last in self._chunks():
            if not speech.wait(speech.sent + len(pcm) / rate - self.lead, stopped):
                break
            speech.publish(pcm, rate, last)
            self.counts["chunks"] += 1
        self.counts["utterances"] += 1

    def _chunks(self) -> Iterator[tuple[np.ndarray, int, bool]]:
        """(float32 mono, its rate in Hz, whether it is the last) of what is to be spoken."""
        if self.wav:
            stream = AudioStream(self.wav, self.chunk)
            rate, blocks = stream.sample_rate, iter(stream)
        else:
            pcm, rate = self._speech
            step = max(1, round(self.chunk * rate))
            blocks = (pcm[i : i + step] for i in range(0, len(pcm), step))
        held = next(blocks, None)
        while held is not None:
            following = next(blocks, None)
            yield held, rate, following is None
            held = following
        for line in stream.warnings if self.wav else ():
            self.warn(line)

    def halt(self) -> None:
        self._speaker.stop(timeout=2)

    def status(self) -> dict[str, Any]:
        return {"wav": Path(self.wav).name if self.wav else "", **self.counts}


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [SpeechNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
