# SPDX-License-Identifier: Apache-2.0
"""How people moved while they spoke, without phones: these sequences teach movement alone.

OUT/speech/*.npz of `realtalk data videos`, a file a video (training/videos/build.py says what is in
it), or of `realtalk data mouths`, a file a person, some of whom nobody filmed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from realtalk_ros.contracts import MEL_STEP, N_MELS, REFERENCE_SHAPE
from realtalk_ros.errors import RealTalkError, reason
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.face_model.lips import gap_of
from realtalk_ros.face_model.rotations import flip_roll
from realtalk_ros.training.expression import coarticulation, mel_augment, speaking_style
from realtalk_ros.training.expression.sampler_settings import SamplerSettings
from realtalk_ros.training.expression.samples import UNKNOWN_CONTACT, UNLABELLED, Sample

HELD_OUT = 0.1  # of each video: its last steps


@dataclass(frozen=True)
class Video:
    """N steps of 20 ms of one person."""

    name: str
    mel: np.ndarray  # (2 N, 80)
    weights: np.ndarray  # (N, 52)
    rotation: np.ndarray  # (N, 3) rad, as face_model/rotations.py has it
    speech: np.ndarray  # (N,) 0..1
    starts: np.ndarray  # (k + 1,): stretch i is steps starts[i] to starts[i + 1]
    identity: np.ndarray  # (100,)
    # Of `realtalk data mouths`: the only window and knowledge of the person with which the
    # movement goes. Without a window: any of the video, and of what the mask has, known or not at
    # random; without both, of all.
    reference: np.ndarray | None = None  # (50, 52)
    condition_mask: np.ndarray | None = None  # (2,)
    labiodental: np.ndarray | None = None  # (N,) 1 where the lower lip is at the teeth, or 0

    @classmethod
    def load(cls, path: Path) -> Video:
        """Raises RealTalkError for a file that `realtalk data videos` did not write."""
        try:
            with np.load(path, allow_pickle=False) as data:
                names = (*_ARRAYS, *(name for name in _OPTIONAL if name in data))
                video = cls(path.stem, **{name: data[name] for name in names})
            video._check()
        except Exception as error:  # it may be anything: no zip, no header, other arrays
            raise RealTalkError(
                f"{path} holds no video to learn from ({reason(error)}): remove it"
            ) from error
        return replace(video, rotation=flip_roll(video.rotation))

    def _check(self) -> None:
        """Raises ValueError for arrays that do not fit each other."""
        n = len(self.weights)
        shapes = {
            "mel": (MEL_STEP * n, N_MELS), "weights": (n, arkit.COUNT), "rotation": (n, 3),
            "speech": (n,), "identity": (IDENTITY_SIZE,), "reference": REFERENCE_SHAPE,
            "condition_mask": (2,), "labiodental": (n,),
        }  # fmt: skip
        for name, shape in shapes.items():
            array = getattr(self, name)
            if name in _OPTIONAL and array is None:
                continue
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name} must hold {shape} finite numbers")
        starts = self.starts
        if starts.ndim != 1 or list(starts[[0, -1]]) != [0, n] or (np.diff(starts) <= 0).any():
            raise ValueError("starts must rise from 0 to the video's end")

    @property
    def has_window(self) -> bool:
        """Whether the network may be given a window of the person's expressions."""
        return self.condition_mask is None or bool(self.condition_mask[1])

    @property
    def train_steps(self) -> int:
        """How many of its first steps are for training; the rest is held out."""
        return round(len(self.weights) * (1 - HELD_OUT))

    def held_out(self) -> slice:
        """The longest stretch of the steps that are not for training."""
        stretches = zip(self.starts, self.starts[1:], strict=False)
        held_out = [(max(start, self.train_steps), end) for start, end in stretches]
        start, end = max(held_out, key=lambda stretch: stretch[1] - stretch[0])
        return slice(int(start), int(end))

    def reference_window(self, first: int) -> np.ndarray:
        """(50, 52) at 25 Hz from step `first` on, repeated where the training steps are few."""
        return coarticulation.reference_window(self.weights[: self.train_steps], first)

    def draw_condition(
        self, known_probability: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reference window (50, 52), and whether identity and window are given (2,)."""
        if self.reference is not None and self.condition_mask is not None:
            return self.reference, self.condition_mask
        reference = self.reference_window(int(rng.integers(self.train_steps)))
        known = np.array([rng.random() < known_probability for _ in range(2)], np.float32)
        return reference, known if self.condition_mask is None else known * self.condition_mask


# Of `realtalk data mouths`: how the files of filmed people, and of silence and noise, begin, and
# their shares of the sequences. With 0.15 of silence and noise, some of it moved the lips.
FILMED = "filmed_"
STILL = "still"
SHARES = {FILMED: 0.35, STILL: 0.35}
RISE = (8, 3)  # steps before the first of speech, from where and up to where lips leave rest
CLOSED = 0.06  # cm between the lips, under which a movement is taken for a closure
_OPTIONAL = ("reference", "condition_mask", "labiodental")
_ARRAYS = ("mel", "weights", "rotation", "speech", "starts", "identity")


class VideoDataset:
    """All videos of a folder that `realtalk data videos` made."""

    def __init__(self, folder: Path, only_window: bool = False):
        """only_window: without those of whom no window is ever given. Raises RealTalkError where
        there are none."""
        videos = [Video.load(path) for path in sorted((folder / "speech").glob("*.npz"))]
        self.videos = [
            video for video in videos
            if video.train_steps >= 2 * MEL_STEP and (video.has_window or not only_window)
        ]  # fmt: skip
        if not self.videos:
            raise RealTalkError(f"no videos in {folder}: make them by realtalk data videos")
        self._probabilities = _probabilities(self.videos)
        self._still = [video for video in self.videos if video.name.startswith(STILL)]

    def draw_noise(self, rng: np.random.Generator) -> np.ndarray | None:
        """Log-mel (k, 80) of one recording of silence, noise or music, or None where there are
        none."""
        if not self._still:
            return None
        video = self._still[int(rng.integers(len(self._still)))]
        starts = np.append(video.starts[video.starts < video.train_steps], video.train_steps)
        k = int(rng.integers(len(starts) - 1))
        first, end = MEL_STEP * starts[k : k + 2]
        return video.mel[first:end].astype(np.float32)

    def draw_sample(
        self,
        settings: SamplerSettings,
        look_ahead_steps: int,
        noise: np.ndarray | None,
        rng: np.random.Generator,
    ) -> Sample:
        """As Sampler.draw_sample; phones are UNLABELLED, style is 0.

        In `noise` the face rests until speech is heard, however the person waited for it: else the
        network would take noise at a stream's start for somebody about to speak.
        """
        video = self.videos[rng.choice(len(self.videos), p=self._probabilities)]
        first = int(rng.integers(max(1, video.train_steps - settings.steps)))
        steps = (first + np.arange(settings.steps)) % video.train_steps
        mel = video.mel.reshape(-1, MEL_STEP, N_MELS)[steps].reshape(-1, N_MELS)
        mel = mel_augment.augment(mel.astype(np.float32), noise, rng)
        if rng.random() < settings.mask_probability:
            mel = mel_augment.spec_augment(mel, rng)
        reference, known = video.draw_condition(settings.known_probability, rng)
        shown = steps[: settings.steps - look_ahead_steps]
        weights = video.weights[shown].astype(np.float32)
        speech = (video.speech[shown] > 0.5).astype(np.float32)
        contact = np.full(len(shown), UNKNOWN_CONTACT, np.float32)
        if video.labiodental is not None:
            contact = video.labiodental[shown].astype(np.float32)
        if noise is not None:
            awake = onset_ramp(speech)
            weights = awake[:, None] * weights
            contact = np.where(awake == 0, 0, contact).astype(np.float32)  # at rest there is none
        return Sample(
            mel=mel,
            identity=video.identity.astype(np.float32),
            style=np.zeros(speaking_style.STYLE_SIZE, np.float32),
            reference=reference.astype(np.float32),
            condition_mask=known.astype(np.float32),
            weights=weights,
            rotation=video.rotation[shown].astype(np.float32),
            speech=speech,
            closure=(gap_of(weights) < CLOSED).astype(np.float32),
            labiodental=contact,
            phone=np.full(len(shown), UNLABELLED, np.int64),
        )


def onset_ramp(speech: np.ndarray) -> np.ndarray:
    """(n,) 0 or 1 -> (n,) from 0 in the steps before any speech to 1 in all from the first on. It
    rises in the look-ahead, before which the sound says nothing of it."""
    first = int(np.argmax(speech)) if speech.any() else len(speech) + RISE[0]
    start, end = first - RISE[0], first - RISE[1]
    return np.interp(np.arange(len(speech)), (start, end), (0, 1)).astype(np.float32)


def _probabilities(videos: list[Video]) -> np.ndarray:
    """(V,) of each to be drawn, among those of its kind, whose shares SHARES has: by its length,
    and by the root of it for filmed people, as a person of seconds would be drowned."""
    steps = np.array([video.train_steps for video in videos], np.float64)
    kinds = np.array([next((k for k in SHARES if v.name.startswith(k)), "") for v in videos])
    steps[kinds == FILMED] **= 0.5
    found = {kind: SHARES.get(kind, 0.0) for kind in set(kinds)}
    if "" in found:
        found[""] = 1 - sum(found.values())
    for kind, share in found.items():
        steps[kinds == kind] *= share / steps[kinds == kind].sum()
    return np.asarray(steps / steps.sum())
