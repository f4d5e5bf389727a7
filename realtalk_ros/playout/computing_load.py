# SPDX-License-Identifier: Apache-2.0
"""How much computing sound takes: whether the machine keeps up with speech."""

from __future__ import annotations

WINDOW = 5.0  # s of sound over which that is averaged
OVERLOAD = 0.9  # s of computing a second of sound, from which on the user is warned


class ComputingLoad:
    """S of computing that a second of sound took lately."""

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, computing: float, sound: float) -> bool:
        """Takes the s of computing that so many s of sound took. True if the machine has just
        ceased to keep up.

        Each second of sound counts alike: what an utterance leaves for its last chunk may be a
        single sample, which takes as long as others and says nothing of the machine.
        """
        before = self.value
        self.value += min(1.0, sound / WINDOW) * (computing / sound - before)
        return before <= OVERLOAD < self.value

    @property
    def is_too_much(self) -> bool:
        return self.value > OVERLOAD
