# SPDX-License-Identifier: Apache-2.0
"""Messages on `expression` as what buffers of expressions take."""

from __future__ import annotations

import numpy as np

from realtalk_ros.msg import FaceExpression
from realtalk_ros.stream_types import TimedExpression


def timed_expression(message: FaceExpression, time: float, rotation: np.ndarray) -> TimedExpression:
    """A message whose weights are finite, to be shown at media time `time`, s, with the head
    rotated by `rotation` (3,) rad."""
    return TimedExpression(
        time=time,
        utterance=message.utterance_id,
        sequence=message.sequence,
        weights=np.clip(np.asarray(message.weights, np.float32), 0, 1),
        rotation=rotation,
        speech=message.speech_probability,
    )
