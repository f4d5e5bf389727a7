# SPDX-License-Identifier: Apache-2.0
"""What the lips do in a recording whose words are known, as the times of its phones say.

What a network was taught by its own output keeps its mistakes: where it closed the lips at an n or
a d, they would be closed there again. Phones with times say where lips surely meet, where the lower
lip is at the teeth, and where neither can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.lips import WIDTH, gap_of
from realtalk_ros.training.expression import coarticulation, speaking_style
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import Segment
from realtalk_ros.training.videos.mouth_targets import LABIODENTAL_GAP, match_mouth

# Sounds at which people's lips may meet, nearly or for a moment: films of twelve people show it.
LIP_SOUNDS = (
    ph.BILABIALS | ph.LABIODENTALS | ph.ROUNDED | ph.APPROXIMANTS | {ph.SIL, "R", "ER", "AW"}
)
NEAR, FAR = 0.04, 0.08  # s from such a sound, up to which it counts, and from which it does not
ROLL, NO_ROLL = 0.35, 0.15  # mouthRollLower of a contact at least, and elsewhere at most
_CONTACT, _NO_CONTACT = 0.95, 0.05  # of the coarticulation model's: surely there, surely not
_ROLL = arkit.INDEX["mouthRollLower"]


@dataclass(frozen=True)
class LipContacts:
    """Each (n,) 0..1 in steps of 20 ms."""

    closed: np.ndarray  # the lips meet
    labiodental: np.ndarray  # the lower lip is at the teeth
    apart: np.ndarray  # the lips are apart: no sound near that would bring them together

    @classmethod
    def of(cls, segments: Sequence[Segment], steps: int) -> LipContacts:
        motion = coarticulation.animate(segments, steps, speaking_style.average_style())
        time = np.arange(steps) / EXPRESSION_RATE
        distance = np.full(steps, np.inf)
        for phone, start, end in segments:
            if phone in LIP_SOUNDS:
                distance = np.minimum(distance, np.maximum(start - time, time - end))
        apart = np.clip((distance - NEAR) / (FAR - NEAR), 0, 1)
        return cls(motion.closure, motion.labiodental * (1 - motion.closure), apart)

    def corrected(self, weights: np.ndarray) -> np.ndarray:
        """Weights (n, 52) in which the lower lip is at the teeth where it is to be, and nowhere
        else."""
        out = weights.copy()
        there, nowhere = self.labiodental > _CONTACT, self.labiodental < _NO_CONTACT
        out[there, _ROLL] = np.maximum(out[there, _ROLL], ROLL)
        out[nowhere, _ROLL] = np.minimum(out[nowhere, _ROLL], NO_ROLL)
        gap = np.clip(gap_of(out[there]), *LABIODENTAL_GAP)
        out[there] = match_mouth(out[there], gap, out[there] @ WIDTH)
        return out
