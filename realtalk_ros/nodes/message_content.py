# SPDX-License-Identifier: Apache-2.0
"""What messages of speech and expressions hold, as the rest of the package takes it."""

from __future__ import annotations

import numpy as np

from realtalk_ros.audio.pcm import ENCODINGS, check_rate, decode_pcm
from realtalk_ros.msg import AudioChunk, FaceExpression
from realtalk_ros.stream_types import TimedExpression


def mono_samples(message: AudioChunk) -> np.ndarray:
    """(n,) float32 in -1..1. Raises AudioError for a message that cannot be played."""
    pcm = decode_pcm(memoryview(message.data), message.encoding, message.channels)
    check_rate(message.sample_rate)
    return pcm


def seconds_of(message: AudioChunk) -> float:
    """How long the sound of a message is, s; also of one that cannot be decoded."""
    size = ENCODINGS.get(message.encoding, ENCODINGS[AudioChunk.PCM_S16LE]).itemsize
    return len(message.data) / max(1, size * message.channels * message.sample_rate)


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
