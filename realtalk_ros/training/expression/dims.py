# SPDX-License-Identifier: Apache-2.0
"""Sizes of the expression network."""

from __future__ import annotations

from dataclasses import dataclass

from realtalk_ros.audio.log_mel import HOP, WINDOW
from realtalk_ros.contracts import MEL_RATE, MEL_STEP, SAMPLE_RATE

MAX_STEPS = 8  # that one run of the exported network may take


@dataclass
class Dims:
    """Sizes of the network, saved with its weights."""

    width: int = 160
    layers: int = 4
    heads: int = 4
    attention_window: int = 48  # steps a layer can look back, itself excluded: 0.96 s
    mel_context: int = 14  # mel frames before a step that the stem also reads: whole steps
    stem_width: int = 384  # hidden units of the stem
    conv_width: int = 256  # channels of the convolutions
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8, 1, 2)  # steps between the taps of each
    look_ahead_steps: int = 7  # from the sound of a frame to its output
    identity_tokens: int = 4
    reference_tokens: int = 10
    # How the prior enters: "attention", or for the ablation "concatenation" to the audio features.
    conditioning: str = "attention"

    @classmethod
    def from_dict(cls, saved: dict) -> Dims:
        """From `dataclasses.asdict`. Raises TypeError for another version's fields."""
        return cls(**{**saved, "dilations": tuple(saved["dilations"])})

    @property
    def conv_cache_steps(self) -> int:
        """Past steps that the convolutions cache, all together."""
        return sum(2 * d for d in self.dilations)

    @property
    def prior_tokens(self) -> int:
        return 1 + self.identity_tokens + self.reference_tokens

    @property
    def look_ahead(self) -> float:
        """Seconds of audio after a frame's time that the frame waits for."""
        # The last mel frame of the step is 10 ms after the first; half its window reaches beyond.
        last_mel = self.look_ahead_steps * MEL_STEP / MEL_RATE + HOP / SAMPLE_RATE
        return last_mel + WINDOW / 2 / SAMPLE_RATE
