# SPDX-License-Identifier: Apache-2.0
"""The light that lips leave to the teeth behind them.

Lips that are far apart, and drawn back by a smile, let the light in. Those that part a little in
speech, or are rounded, do not.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from realtalk_ros.face_model.landmarks import EYE_CORNERS, INNER_LOWER_LIP, INNER_UPPER_LIP

# Of the distances between the eyes' corners, the lips and the mouth's inner corners.
ENDS = [*EYE_CORNERS, INNER_UPPER_LIP, INNER_LOWER_LIP, 60, 64]

# By how far the lips are apart and how wide the mouth is, in shares of the distance of the eyes'
# outer corners. In shares of the whites of the eyes, the middle of a mouth that was drawn in speech
# had a light (90th percentile of green) of 1.2, 1.2, 1.3, 1.4 and 1.3 at gaps of 0.04, 0.065, 0.1,
# 0.14 and 0.19, that of 13 people in films 0.66, 1.1, 1.1, 1.2 and 1.2; both are 0.5 wide. Within
# these people it rises by exp(1.3 width) where teeth are seen (284 frames of 11), by exp(2.6 width)
# in all frames. In 39 smiles, which are 0.6 wide and more, it was right at all gaps over 0.05
# (0.98 of people's, standard error 0.05), at 0.04 1.1 of it.
GAPS, OF_GAP = np.array([[0.02, 0.04, 0.06, 0.07], [0.5, 0.75, 0.97, 1.0]])
# Mouths differ in width, so it is counted from that at rest: 0.51 in the mean, as speech is, and a
# smile 0.09 more. A person who rests with a smile is taken to be at most so wide at rest.
OF_WIDTH, SMILE = 1.6, 0.09
WIDEST_REST = 0.53
# What is left is the redder: in the same frames red over green goes with the -0.47th power of green
# (some of it is flesh), in smiles with the -0.2nd.
REDDER = 0.35


class MouthOpening(NamedTuple):
    """How far a mouth is open, in shares of the distance of the outer corners of the eyes."""

    gap: float  # between the middles of the lips
    wider: float  # by how much its corners are farther apart than at rest

    @classmethod
    def of(cls, points: np.ndarray, rest: float) -> MouthOpening:
        """By landmarks (68, 2), and the width at rest (`width_at_rest`)."""
        gap, width = gap_and_width(points)
        return cls(gap, width - rest)

    def light_on_teeth(self) -> np.ndarray:
        """(3,): the shares of blue, green and red of the light that falls on them in a smile that
        the teeth have."""
        of_width = math.exp(OF_WIDTH * (min(self.wider, SMILE) - SMILE))
        light = float(np.interp(self.gap, GAPS, OF_GAP)) * of_width
        return np.array([light, light, light ** (1 - REDDER)], np.float32)


def width_at_rest(points: np.ndarray) -> float:
    """The mouth's width by landmarks (68, 2) at rest, in shares of the eyes' distance."""
    return min(gap_and_width(points)[1], WIDEST_REST)


def gap_and_width(points: np.ndarray) -> tuple[float, float]:
    """Of a mouth by landmarks (68, 2), in shares of the eyes' distance."""
    ends = points[ENDS].tolist()  # Python is faster with so few numbers than NumPy
    eyes, gap, width = map(math.dist, ends[::2], ends[1::2])
    return gap / eyes, width / eyes
