# SPDX-License-Identifier: Apache-2.0
"""Speech that is sent in real time, by the ROS clock: where that is set, the speech goes on from
where it is."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rclpy.publisher import Publisher

from realtalk_ros.msg import FaceExpression
from realtalk_ros.nodes.lifecycle import RealTalkNode

SLEEP = 0.02  # s, longest sleep between checks whether to stop
# s in which sound reaches the face. An interrupt and a text that are sent at once come in any
# order, so what is as new as this outlives an interrupt that found nothing.
UNDER_WAY = 0.1


class Pace:
    """Seconds on the ROS clock since a beginning, which moves with a clock that is set. One thread
    of a node at a time has one."""

    def __init__(self, node: RealTalkNode, ahead: float = 0.0) -> None:
        """It begins `ahead` s from now."""
        self._node = node
        node.watch_clock()
        self._began = node.now() + ahead

    @property
    def began(self) -> float:
        """Media time of the beginning, by the clock of now."""
        self._began += self._node.clock_jump()
        return self._began

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning; before it, less than 0."""
        began = self.began
        return self._node.now() - began

    def wait(
        self,
        until: float,
        stopped: Callable[[], bool],
        report: Callable[[float], object] = lambda _: None,
    ) -> bool:
        """Sleeps until `until` s have elapsed; False if it was stopped. `report` is called again
        and again with the seconds elapsed."""
        while True:
            elapsed = self.elapsed
            report(elapsed)
            if stopped():
                return False
            if elapsed >= until:
                return True
            time.sleep(min(until - elapsed, SLEEP))


class PacedSpeech(Pace):
    """One utterance on its way to `audio`: its seconds elapsed are those that were played."""

    def __init__(
        self, node: RealTalkNode, publisher: Publisher, utterance: str, ahead: float
    ) -> None:
        """Its first sample is played `ahead` s from now."""
        super().__init__(node, ahead)
        self._publisher, self._utterance = publisher, utterance
        self.sent = 0.0  # s

    def publish(self, pcm: np.ndarray, rate: int, last: bool) -> None:
        """Sends more of it: (n,) float32 mono in -1..1 of `rate` Hz."""
        self._publisher.publish(
            self._node.audio_message(pcm, rate, self.began + self.sent, self._utterance, last)
        )
        self.sent += len(pcm) / rate


def is_interrupted(
    node: RealTalkNode, reset: FaceExpression, utterance: str, requested: float
) -> bool:
    """Whether a reset on `expression` ends `utterance`, which was requested at media time
    `requested`, s. A reset names what it ends; without a name it ends what the face did not know
    yet, unless that was requested after it."""
    if reset.utterance_id:
        return bool(reset.utterance_id == utterance)
    sent = node.media_time(reset.header.stamp)
    return sent is None or requested < sent - UNDER_WAY
