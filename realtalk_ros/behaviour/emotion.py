# SPDX-License-Identifier: Apache-2.0
"""Named emotions as ARKit weights, and other vocabularies of emotions mapped to these names.

Each emotion is the action units that EMFACS gives it (W. V. Friesen & P. Ekman, "EMFACS-7:
Emotional Facial Action Coding System", 1983), and each action unit is the ARKit weights that show
it. They are as strong as in somebody who talks, not as in somebody who poses. What speech leaves of
them, so that p, b and m close: face.py.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit

# Weights without a side stand for both sides. Action units are in the comments.
_UNITS: dict[str, dict[str, float]] = {
    "happy": {"cheekSquint": 0.5, "mouthSmile": 0.5},  # 6 + 12
    "sad": {"browInnerUp": 0.6, "browDown": 0.15, "mouthFrown": 0.4, "eyeBlink": 0.1},  # 1 + 4 + 15
    "surprised": {  # 1 + 2 + 5 + 26
        "browInnerUp": 0.6, "browOuterUp": 0.6, "eyeWide": 0.6, "jawOpen": 0.08,
    },
    "afraid": {  # 1 + 2 + 4 + 5 + 20
        "browInnerUp": 0.7, "browOuterUp": 0.3, "browDown": 0.2, "eyeWide": 0.5,
        "mouthStretch": 0.25,
    },
    "angry": {  # 4 + 5 + 7 + 23
        "browDown": 0.7, "eyeWide": 0.15, "eyeSquint": 0.4, "mouthPress": 0.15, "noseSneer": 0.12,
    },
    "disgusted": {  # 4 + 9 + 15
        "browDown": 0.3, "noseSneer": 0.5, "mouthUpperUp": 0.1, "mouthFrown": 0.3,
    },
    "neutral": {},
}  # fmt: skip
NAMES: tuple[str, ...] = tuple(_UNITS)


def weights(name: str, intensity: float = 1.0) -> np.ndarray:
    """(52,) float32: a named emotion, scaled by intensity 0..1. Raises RealTalkError for unknown
    names."""
    if name not in _UNITS:
        raise RealTalkError(f"no emotion {name!r}: choose one of {', '.join(NAMES)}")
    return arkit.weights(**{shape: value * intensity for shape, value in _UNITS[name].items()})


# Names of hri_msgs/Expression that have no emotion of their own here: (emotion, intensity).
HRI_NAMES = {
    "scared": ("afraid", 1.0), "horrified": ("afraid", 1.0), "pleading": ("sad", 0.6),
    "vulnerable": ("sad", 0.5), "despaired": ("sad", 1.0), "guilty": ("sad", 0.7),
    "disappointed": ("sad", 0.6), "embarrassed": ("sad", 0.4), "rejected": ("sad", 0.8),
    "bored": ("neutral", 1.0), "tired": ("sad", 0.3), "asleep": ("neutral", 1.0),
    "skeptical": ("angry", 0.3), "suspicious": ("angry", 0.4), "annoyed": ("angry", 0.6),
    "furious": ("angry", 1.0), "confused": ("surprised", 0.4), "amazed": ("surprised", 1.0),
    "excited": ("happy", 1.0),
}  # fmt: skip


def parse_emotion(text: str) -> tuple[str, float]:
    """ "happy" or "happy 0.5" -> (name, intensity 0..1). Raises RealTalkError."""
    name, _, amount = text.strip().lower().partition(" ")
    try:
        intensity = float(amount) if amount.strip() else 1.0
    except ValueError:
        intensity = float("nan")
    if not 0 <= intensity <= 1:
        raise RealTalkError(
            f"emotion {text[:60]!r} is not understood: give a name and, after a space, 0 to 1"
        )
    if name in HRI_NAMES:
        name, scale = HRI_NAMES[name]
        intensity *= scale
    weights(name)  # raises
    return name, intensity


def emotion_from_valence_arousal(valence: float, arousal: float) -> tuple[str, float]:
    """(name, intensity) for valence and arousal, both -1..1 (Russell's circumplex, 1980)."""
    strength = float(np.hypot(valence, arousal))
    if not np.isfinite(strength) or strength < 0.1:
        return "neutral", 0.0
    strength = min(1.0, strength)
    if valence >= 0:
        return ("surprised" if arousal > 2 * valence else "happy"), strength
    if arousal <= 0:
        return "sad", strength
    return ("angry" if arousal < -2 * valence else "afraid"), strength
