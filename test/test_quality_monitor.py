# SPDX-License-Identifier: Apache-2.0
"""The quality of a face on machines that cannot keep up while it speaks."""

from __future__ import annotations

import pytest

from realtalk_ros.playout.adaptive_quality import LEVELS
from realtalk_ros.playout.face_playout import FacePlayout
from realtalk_ros.playout.quality_monitor import QualityMonitor

FPS = 25.0


class Machine:
    """A face at a machine on which a frame of speech takes so many periods of a frame, and one of
    silence a share of that."""

    def __init__(self, speech: float, silence: float) -> None:
        self.cost = {True: speech, False: silence}
        self.playout = FacePlayout(FPS, lambda: 10.0, lambda: 0.0)
        self.monitor = QualityMonitor(self.playout)

    def run(self, seconds: int, speech: bool) -> list[int]:
        """The level after each second."""
        levels = []
        for _ in range(seconds):
            divisor, size = self.monitor.controller.divisors
            fps = FPS / divisor
            work = self.cost[speech] / FPS / (1.35 if size > 1 else 1.0)
            shown = min(fps, 1 / work)
            for number in range(round(shown)):
                missed = round(fps - shown) if number == 0 else 0
                self.monitor.statistics.add(generate=work, compose=0.3 * work, publish=0.0,
                                            behind=0.0, missed=missed, speech=speech)  # fmt: skip
            if self.monitor.update(adapt=True):
                self.playout.set_fps(FPS / self.monitor.controller.divisors[0])
            levels.append(self.monitor.controller.level)
        return levels


def test_a_face_that_is_silent_for_a_while_does_not_begin_to_speak_with_a_stutter():
    """In silence a frame takes less, so the machine would keep up; not when it speaks again."""
    machine = Machine(speech=1.3, silence=0.5)
    machine.run(10, speech=True)
    levels = [machine.run(20, speech=False)[-1] for _ in range(10) if machine.run(6, speech=True)]
    assert set(levels) == {1}


@pytest.mark.parametrize("seconds", [2, 15])
def test_the_full_quality_is_back_in_silence_when_another_program_has_ended(seconds):
    machine = Machine(speech=1.3, silence=0.5)
    machine.run(10, speech=True)
    assert machine.run(seconds, speech=False)[-1] == 1
    machine.cost = {True: 0.6, False: 0.23}
    assert machine.run(10, speech=False)[-1] == 0


def test_a_face_that_never_spoke_has_the_full_quality_as_soon_as_the_machine_keeps_up():
    machine = Machine(speech=2.0, silence=1.2)
    assert max(machine.run(20, speech=False)) > 0
    machine.cost[False] = 0.5
    assert machine.run(10, speech=False)[-1] == 0
    assert LEVELS[0] == (1, 1)
