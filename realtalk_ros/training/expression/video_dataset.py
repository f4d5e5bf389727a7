"""How people in videos moved while they spoke, to learn from (training side).

`realtalk data videos` writes it: OUT/speech/*.npz, one file a video (training/videos/build.py tells
what is in it). Nobody has said which phones were spoken, so a sequence of these teaches movement
alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtalk_ros.contracts import MEL_STEP, N_MELS
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.training.expression import coarticulation, mel_augment

HELD_OUT = 0.1  # of each film, its last steps
UNKNOWN = -1  # where a phone would stand


@dataclass(frozen=True)
class Film:
    """N steps of 20 ms of one person."""

    name: str
    mel: np.ndarray  # (2 N, 80)
    weights: np.ndarray  # (N, 52)
    rotation: np.ndarray  # (N, 3) rad pitch, yaw, roll
    speech: np.ndarray  # (N,) 0..1
    starts: np.ndarray  # (k + 1,): stretch i is steps starts[i] to starts[i + 1]
    identity: np.ndarray  # (100,)

    @classmethod
    def load(cls, path: Path) -> Film:
        """Raises RealTalkError for what `realtalk data videos` did not write."""
        try:
            with np.load(path, allow_pickle=False) as data:
                film = cls(path.stem, *(data[name] for name in list(cls.__annotations__)[1:]))
            n = len(film.weights)
            shapes = {"mel": (MEL_STEP * n, N_MELS), "weights": (n, arkit.COUNT),
                      "rotation": (n, 3), "speech": (n,), "identity": (IDENTITY_SIZE,)}  # fmt: skip
            for name, shape in shapes.items():
                array = getattr(film, name)
                if array.shape != shape or not np.isfinite(array).all():
                    raise ValueError(f"{name} must hold {shape} finite numbers")
            starts = film.starts
            if starts.ndim != 1 or list(starts[[0, -1]]) != [0, n] or (np.diff(starts) <= 0).any():
                raise ValueError("starts must rise from 0 to the film's end")
        except Exception as error:  # it may be anything: no zip, no header, other arrays
            raise RealTalkError(f"{path} is no film to learn from ({error}): remove it") from error
        return film

    @property
    def learned(self) -> int:
        """How many of its steps are learned from: the rest is held out."""
        return round(len(self.weights) * (1 - HELD_OUT))

    def held_out(self) -> slice:
        """The longest stretch of the steps that are not learned from."""
        spans = zip(self.starts, self.starts[1:], strict=False)
        a, b = max(((max(a, self.learned), b) for a, b in spans), key=lambda s: s[1] - s[0])
        return slice(int(a), int(b))

    def window(self, first: int) -> np.ndarray:
        """(50, 52) at 25 Hz from step `first` on, repeated where what is learned from is short."""
        return coarticulation.reference_window(self.weights[: self.learned], first)


class Films:
    """All films of a folder that `realtalk data videos` made."""

    def __init__(self, folder: Path):
        """Raises RealTalkError where there are none."""
        self.films = [Film.load(path) for path in sorted((folder / "speech").glob("*.npz"))]
        self.films = [film for film in self.films if film.learned >= 2 * MEL_STEP]
        if not self.films:
            raise RealTalkError(f"no films in {folder}: make them by realtalk data videos")
        lengths = np.array([film.learned for film in self.films], np.float64)
        self._shares = lengths / lengths.sum()

    def sequence(
        self, steps: int, delay: int, noise: np.ndarray | None, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """As train.Sampler.sequence; the phones are UNKNOWN and the style is 0."""
        film = self.films[rng.choice(len(self.films), p=self._shares)]
        first = int(rng.integers(max(1, film.learned - steps)))
        at = (first + np.arange(steps)) % film.learned
        mel = film.mel.reshape(-1, MEL_STEP, N_MELS)[at].reshape(-1, N_MELS)
        mel = mel_augment.colour(mel.astype(np.float32), noise, rng)
        shown = at[: steps - delay]
        nothing = np.zeros(len(shown), np.float32)
        return {
            "mel": mel_augment.mask(mel, rng) if rng.random() < 0.5 else mel,
            "identity": film.identity.astype(np.float32),
            "style": np.zeros(coarticulation.STYLE_SIZE, np.float32),
            "reference": film.window(int(rng.integers(film.learned))).astype(np.float32),
            "known": np.array((rng.random() < 0.65, rng.random() < 0.65), np.float32),
            "weights": film.weights[shown].astype(np.float32),
            "rotation": film.rotation[shown].astype(np.float32),
            "speech": (film.speech[shown] > 0.5).astype(np.float32),
            "closure": nothing, "labiodental": nothing,  # nobody has said
            "phone": np.full(len(shown), UNKNOWN, np.int64),
        }  # fmt: skip
