# SPDX-License-Identifier: Apache-2.0
"""The audio thread: publishes audio when its frame is shown, for any player to play at once."""

from __future__ import annotations

import threading
import time

from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes import lifecycle, qos
from realtalk_ros.playout.face_playout import FacePlayout
from realtalk_ros.stream_types import ScheduledChunk

MAX_SLEEP = 0.01  # s between two checks whether audio is due, while there is any
MIN_SLEEP = 0.001  # s
MUCH_LOST = 0.1  # s of sound that was left out, from which on that is said
LOST = (
    "some of the sound comes too late for its frames, and is left out (late_sound_ms counts it): "
    "this machine, or that of expression_node, is too slow or too busy. `realtalk doctor` says "
    "what to set"
)
IDLE = 0.2  # s between two checks while there is none


class AudioOutput:
    """Publishes `audio_out`."""

    def __init__(self, node: lifecycle.RealTalkNode, playout: FacePlayout) -> None:
        self._node, self._playout = node, playout
        self.publisher = node.publisher(AudioChunk, "audio_out", qos.STREAM)
        self._said_of = 0.0  # s of sound that was left out before that was said last

    def run(self, stop: threading.Event) -> None:
        """Publishes what is due until `stop` is set."""
        while not stop.is_set():
            wait = MAX_SLEEP
            try:
                wait = self._publish_due()
            except Exception as error:  # audio that fails must not end the thread
                if stop.is_set() or not self._node.context.ok():
                    return
                self._node.problems.exception(error)
            if not self._playout.wake_audio.wait(IDLE):
                continue
            time.sleep(max(MIN_SLEEP, min(wait, MAX_SLEEP)))

    def watch(self) -> None:
        """Once a second: says that sound is left out."""
        lost = self._playout.late_sound
        if lost - self._said_of > MUCH_LOST:
            self._said_of = lost
            self._node.problems.add(LOST)

    def reset(self, message: AudioChunk) -> None:
        """An interrupt: drops all audio, and passes the reset on, as players drop theirs, too."""

        def pass_on() -> None:
            if self.publisher.get_subscription_count():
                self.publisher.publish(message)

        self._playout.drop_audio(pass_on)

    def _publish_due(self) -> float:
        """Returns after how many seconds there may be more."""
        return self._playout.play_audio(self._publish)

    def _publish(self, chunks: list[ScheduledChunk]) -> None:
        if not self.publisher.get_subscription_count():
            return
        for chunk in chunks:
            message = self._node.audio_message(
                chunk.pcm, chunk.sample_rate, chunk.start, chunk.utterance, chunk.last
            )
            self.publisher.publish(message)
            self._node.counts["audio_out"] += 1
