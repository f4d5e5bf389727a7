# SPDX-License-Identifier: Apache-2.0
"""Draws training sequences: recorded or synthetic speech, the face moved by a random person.

Blendshape weights come from the coarticulation model, which moves a random person's face from the
phones' times. Sequences of videos have a real person's weights instead.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from realtalk_ros.behaviour import emotion
from realtalk_ros.contracts import EXPRESSION_RATE, MEL_STEP
from realtalk_ros.training.expression import coarticulation, mel_augment, speaking_style
from realtalk_ros.training.expression.coarticulation import WINDOW_STEPS
from realtalk_ros.training.expression.sampler_settings import KIND_SHARES, SamplerSettings
from realtalk_ros.training.expression.samples import Batch, Sample
from realtalk_ros.training.expression.speaking_style import SpeakingStyle
from realtalk_ros.training.expression.video_dataset import VideoDataset
from realtalk_ros.training.speech_data.dataset import SpeechDataset, Utterance

_MARGIN = 20  # frames before and after a reference window that influence it
_MIN_REST = 60  # frames left of an utterance that begins in its middle
_MOTION_FIELDS = ("weights", "rotation", "speech", "closure", "labiodental", "phone")


class Sampler:
    """Random sequences of `datasets` (kind of speech -> utterances) and of `videos`."""

    def __init__(
        self,
        datasets: dict[str, SpeechDataset],
        seed: int,
        videos: VideoDataset | None = None,
        settings: SamplerSettings | None = None,
    ):
        self.datasets, self.videos, self.seed = datasets, videos, seed
        self.settings = settings or SamplerSettings()
        self.restart(0)
        shares = [self.settings.kind_shares[kind] for kind in datasets]
        self.kinds = list(datasets)
        self._kind_probabilities = [share / sum(shares) for share in shares]
        # The kinds that have speech in them.
        self.speech_kinds = [kind for kind in datasets if kind != "still"]
        # Big sources come more often than small ones, but less than in proportion; one of hundreds
        # of speakers more often than one of one speaker.
        self._sources = {}
        for kind, data in datasets.items():
            sources, which, counts = np.unique(data.source, return_inverse=True, return_counts=True)
            share = np.sqrt(counts) * [self.settings.source_count(source) for source in sources]
            members = [np.flatnonzero(which == k) for k in range(len(sources))]
            self._sources[kind] = members, share / share.sum()

    def restart(self, step: int) -> None:
        """Random numbers begin anew, for a training that goes on at this step: what it has learned
        from so far is not drawn again."""
        self.rng = np.random.default_rng(self.seed + step)

    def draw_kind(self) -> str:
        """A kind of speech."""
        return self.kinds[self.rng.choice(len(self.kinds), p=self._kind_probabilities)]

    def draw_utterance(self, kind: str) -> Utterance:
        members, share = self._sources[kind]
        group = members[self.rng.choice(len(members), p=share)]
        mel, segments, source = self.datasets[kind][int(group[self.rng.integers(len(group))])]
        return Utterance(mel.astype(np.float32), segments, source)

    def draw_noise(self) -> np.ndarray | None:
        """Log-mel (k, 80) of something that is not speech, for the background of a sequence; None
        for none, or where there is nothing."""
        if self.rng.random() >= self.settings.noise_probability:
            return None
        if "still" in self.datasets:
            return self.draw_utterance("still").mel
        return self.videos.draw_noise(self.rng) if self.videos else None

    def draw_emotion(self) -> np.ndarray | None:
        """Blendshape weights (52,) of a random emotion, as one who talks shows it, or None for a
        neutral face."""
        if self.rng.random() >= self.settings.emotion_probability:
            return None
        return emotion.weights(self.rng.choice(emotion.NAMES), self.rng.uniform(0.2, 0.6))

    def draw_reference(self, style: SpeakingStyle, shown_emotion: np.ndarray | None) -> np.ndarray:
        """Reference window (50, 52) of a person of this style who says something."""
        kind = self.speech_kinds[self.rng.integers(len(self.speech_kinds))]
        mel, segments, _ = self.draw_utterance(kind)
        frames = len(mel) // MEL_STEP
        start = int(self.rng.integers(0, max(1, frames - WINDOW_STEPS)))
        # Only the frames that influence the window are computed.
        first, last = max(0, start - _MARGIN), min(frames, start + WINDOW_STEPS + _MARGIN)
        begin, end = first / EXPRESSION_RATE, last / EXPRESSION_RATE
        near = [
            (phone, max(s, begin) - begin, min(e, end) - begin)
            for phone, s, e in segments
            if s < end and e > begin
        ]
        accent = coarticulation.accents(mel[: last * MEL_STEP])[first:]
        motion = coarticulation.animate(near, last - first, style, accent, shown_emotion)
        return coarticulation.reference_window(motion.weights, start - first)

    def draw_sample(self, look_ahead_steps: int) -> Sample:
        """A sequence of speech, moved by a random person."""
        settings, kind = self.settings, self.draw_kind()
        identity, style = speaking_style.random_speaker(self.rng)
        shown_emotion = self.draw_emotion()
        mels: list[np.ndarray] = []
        motions: list[dict[str, np.ndarray]] = []
        steps = 0
        while steps < settings.steps:
            # Now and then of nobody, at a random pace.
            still = "still" in self.datasets and self._happens(settings.stillness_probability)
            mel, segments, _ = self.draw_utterance("still" if still else kind)
            mel, segments = mel_augment.time_stretch(mel, segments, self.rng)
            frames = len(mel) // MEL_STEP
            mel = mel[: frames * MEL_STEP]
            accent = coarticulation.accents(mel)
            motion = coarticulation.animate(segments, frames, style, accent, shown_emotion)
            # Starts and middles of utterances are both learned.
            skips = not mels and self._happens(settings.skip_probability)
            skip = self.draw_start(frames) if skips else 0
            mels.append(mel[skip * MEL_STEP :])
            motions.append({name: getattr(motion, name)[skip:] for name in _MOTION_FIELDS})
            steps += frames - skip
        mel = np.concatenate(mels)[: settings.steps * MEL_STEP]
        mel = mel_augment.augment(mel, self.draw_noise(), self.rng)
        if self._happens(settings.mask_probability):
            mel = mel_augment.spec_augment(mel, self.rng)
        end = settings.steps - look_ahead_steps
        labels = {name: np.concatenate([m[name] for m in motions])[:end] for name in _MOTION_FIELDS}
        reference = self.draw_reference(style, shown_emotion)
        known = [self._happens(settings.known_probability) for _ in range(2)]
        return Sample(
            mel=mel,
            identity=identity,
            style=style.latent,
            reference=reference,
            condition_mask=np.array(known, np.float32),
            **labels,
        )

    def _happens(self, probability: float) -> bool:
        return self.rng.random() < probability

    def draw_start(self, frames: int) -> int:
        """Where to begin in an utterance of so many frames, so that some are left."""
        return int(self.rng.integers(0, max(1, frames - _MIN_REST)))

    def draw_batch(self, size: int, look_ahead_steps: int) -> Batch:
        """look_ahead_steps: steps from the sound of a frame to its output, see Dims."""
        return Batch.collate([self._draw(look_ahead_steps) for _ in range(size)])

    def _draw(self, look_ahead_steps: int) -> Sample:
        """A sequence of a video, or of speech."""
        if self.videos and (not self.datasets or self._happens(self.settings.video_share)):
            noise = self.draw_noise()
            return self.videos.draw_sample(self.settings, look_ahead_steps, noise, self.rng)
        return self.draw_sample(look_ahead_steps)


def load_datasets(folder: Path) -> dict[str, SpeechDataset]:
    """The kinds of speech in a folder of train_<kind>*.npz."""
    shards = {kind: sorted(folder.glob(f"train_{kind}*.npz")) for kind in KIND_SHARES}
    datasets = {kind: SpeechDataset.load(*paths) for kind, paths in shards.items() if paths}
    for kind, data in datasets.items():
        print(f"{kind}: {len(data)} utterances, {data.hours:.2f} h", flush=True)
    return datasets
