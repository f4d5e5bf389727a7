# SPDX-License-Identifier: Apache-2.0
"""What training sequences are made of: shares of the data, and probabilities of what varies."""

from __future__ import annotations

from dataclasses import dataclass, field

# Share in a batch of each kind of speech, which is in files train_<kind>*.npz; "still": silence and
# noise.
KIND_SHARES = {"real": 0.73, "festival": 0.08, "flite": 0.06, "espeak": 0.08, "still": 0.05}
# A source of many speakers counts as this many sources. Learners of English are among them because
# they pronounce th differently.
SOURCE_COUNTS = {
    "commonvoice": 2.5, "commonvoice/en": 4, "commonvoice/fr": 2, "commonvoice/es": 12,
    "librispeech": 6, "speechocean": 4, "steelsky": 4, "amazonqueen": 3, "drascula/en": 3,
    "drascula/es": 6, "picovoice/en/orders": 4, "picovoice/en/words": 1.5, "kathleen": 2,
}  # fmt: skip


@dataclass(frozen=True)
class SamplerSettings:
    """Of the sampler (sampler.py). Saved with the training's other settings."""

    steps: int = 192  # of 20 ms in a sequence: 3.84 s
    kind_shares: dict[str, float] = field(default_factory=lambda: dict(KIND_SHARES))
    source_counts: dict[str, float] = field(default_factory=lambda: dict(SOURCE_COUNTS))
    video_share: float = 0.3  # of the sequences, where there are both videos and speech
    emotion_probability: float = 0.25
    known_probability: float = 0.65  # of the identity, and of the reference
    stillness_probability: float = 0.05  # of something that is not speech in place of an utterance
    skip_probability: float = 0.7  # of beginning inside the first utterance
    noise_probability: float = 0.5  # of noise in the background
    mask_probability: float = 0.5  # of SpecAugment

    def source_count(self, source: str) -> float:
        """How many sources this one counts as: by its full name, by its corpus, or 1."""
        corpus = source.partition("/")[0]
        return self.source_counts.get(source, self.source_counts.get(corpus, 1))
