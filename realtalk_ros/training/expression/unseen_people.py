# SPDX-License-Identifier: Apache-2.0
"""People whose style the network has never seen, to measure what the prior is worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from realtalk_ros.contracts import MEL_STEP
from realtalk_ros.training.expression import coarticulation, speaking_style
from realtalk_ros.training.speech_data.dataset import SpeechDataset


@dataclass(frozen=True)
class UnseenPerson:
    """A person who says one utterance; the reference window is of another one."""

    mel: np.ndarray  # (m, 80)
    weights: np.ndarray  # (m // 2, 52): how this person moves
    identity: np.ndarray  # (100,)
    reference: np.ndarray  # (50, 52)


def unseen_people(data: SpeechDataset, count: int) -> Iterator[UnseenPerson]:
    """`count` random people who say the utterances of `data` in turn."""
    rng, n = np.random.default_rng(7), len(data)
    for i in range(count):
        identity, style = speaking_style.random_speaker(rng)
        another = (i + 1 + i // n % max(n - 1, 1)) % n
        weights, other_weights = (
            coarticulation.animate(
                segments, len(mel) // MEL_STEP, style, coarticulation.accents(mel)
            ).weights
            for mel, segments, _ in (data[i % n], data[another])
        )
        start = int(rng.integers(0, max(1, len(other_weights) - coarticulation.WINDOW_STEPS)))
        reference = coarticulation.reference_window(other_weights, start)
        yield UnseenPerson(data[i % n].mel, weights, identity, reference)
