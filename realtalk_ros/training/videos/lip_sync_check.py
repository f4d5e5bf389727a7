"""Does the mouth in a video move as its sound says? And if so, how far apart are the two?

The expression network hears the sound and opens a mouth; the tracker saw one open. Their
correlation over time tells both: its height, whether this face speaks these words; the lag at
which it is highest, by how much the sound is off.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from realtalk_ros.audio import log_mel
from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.contracts import EXPRESSION_RATE, MEL_STEP
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.face_model import landmarks

MAX_LAG = 0.4  # s that are looked at either way
MAX_OFFSET = 0.08  # s; what is farther off is left out
MIN_CORRELATION = 0.35
SURE = 0.6  # correlation from which an offset is one, and no chance
MIN_SPEECH = 1.0  # s of speech, without which nothing can be told
INNER = ((61, 67), (62, 66), (63, 65))  # of the 68: upper and lower inner lip


@dataclass(frozen=True)
class Sound:
    """What is heard, n steps of 20 ms from 0 s on."""

    mel: np.ndarray  # (2 n, 80) float32
    weights: np.ndarray  # (n, 52) that the network makes of it, for nobody in particular
    rotation: np.ndarray  # (n, 3) rad pitch, yaw, roll, likewise
    speech: np.ndarray  # (n,) 0..1, probability that somebody speaks

    @classmethod
    def of(cls, pcm: np.ndarray, rate: int) -> Sound:
        """Mono float32 samples."""
        front, stream = log_mel.AudioFrontEnd(rate), _network().stream(_network().prior())
        mel = np.concatenate([front.push(pcm), front.flush()])
        parts = [stream.push(mel), stream.flush()]
        count = len(mel) // MEL_STEP
        return cls(
            mel[: count * MEL_STEP],
            *(
                np.concatenate([getattr(part, name) for part in parts])[:count]
                for name in ("weights", "rotation", "speech")
            ),
        )

    @classmethod
    def read(cls, path: Path) -> Sound:
        """Of a media file. Raises AudioError."""
        return cls.of(*read_audio(path))


@dataclass(frozen=True)
class Sync:
    """How a tracked mouth goes with its sound. `correlation` and `of_stretch` are at `offset`."""

    offset: float  # s by which the mouth comes after the sound
    correlation: float
    of_stretch: list[float | None]  # None: too little speech in it to tell


@lru_cache(maxsize=1)
def _network() -> ExpressionModel:
    return ExpressionModel()


def opening(weights: np.ndarray) -> np.ndarray:
    """(n,) cm between the inner lips at ARKit weights (n, 52), on the mean face."""
    points = landmarks.load().points(weights)
    return np.mean([points[..., a, 1] - points[..., b, 1] for a, b in INNER], 0)


def compare(
    time: np.ndarray, weights: np.ndarray, stretches: list[range], sound: Sound
) -> Sync | None:
    """Tracked weights (N, 52) at `time` (N,) s against the sound; None if there is too little
    speech in all stretches together to tell."""
    seen, heard = opening(weights), opening(sound.weights)
    reach = round(MAX_LAG * EXPRESSION_RATE)
    curves: list[np.ndarray | None] = []  # correlation of each stretch at each lag
    sizes: list[int] = []
    for stretch in stretches:
        first, last = time[stretch.start], time[stretch.stop - 1]
        steps = np.arange(int(np.ceil(first * EXPRESSION_RATE)), int(last * EXPRESSION_RATE) + 1)
        steps = steps[(steps >= reach) & (steps < len(heard) - reach)]
        if sound.speech[steps].sum() / EXPRESSION_RATE < MIN_SPEECH:
            curves.append(None)
            continue
        mouth = np.interp(steps / EXPRESSION_RATE, time[stretch], seen[stretch])
        curves.append(
            np.array([correlation(mouth, heard[steps - k]) for k in range(-reach, reach + 1)])
        )
        sizes.append(len(steps))
    told = [curve for curve in curves if curve is not None]
    if not told:
        return None
    whole = np.average(told, axis=0, weights=sizes)
    best = int(np.argmax(whole))
    return Sync(
        peak(whole, best) / EXPRESSION_RATE - MAX_LAG,
        float(whole[best]),
        [None if curve is None else float(curve[best]) for curve in curves],
    )


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-9))


def peak(curve: np.ndarray, at: int) -> float:
    """Where between the samples a curve is highest, by a parabola through three of them."""
    if not 0 < at < len(curve) - 1:
        return float(at)
    left, middle, right = curve[at - 1 : at + 2]
    return at + 0.5 * float((left - right) / min(left - 2 * middle + right, -1e-9))
