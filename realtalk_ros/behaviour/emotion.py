# SPDX-License-Identifier: Apache-2.0
"""Named emotions as ARKit weights, and other vocabularies of emotions mapped to these names.

Each emotion is the action units that EMFACS gives it (W. V. Friesen & P. Ekman, "EMFACS-7:
Emotional Facial Action Coding System", 1983), and each action unit is the ARKit weights that show
it. They are so strong that it is read off a still face at a glance; an intensity of 0.5 is about
what somebody shows who talks of it. What speech leaves of them, so that p, b and m close: face.py.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit

# Weights without a side stand for both sides. Action units are in the comments.
_UNITS: dict[str, dict[str, float]] = {
    "happy": {"cheekSquint": 0.6, "mouthSmile": 0.6},  # 6 + 12
    "sad": {"browInnerUp": 1.0, "browDown": 0.3, "mouthFrown": 0.8, "eyeBlink": 0.15},  # 1 + 4 + 15
    "surprised": {  # 1 + 2 + 5 + 26
        "browInnerUp": 0.75, "browOuterUp": 0.75, "eyeWide": 0.7, "jawOpen": 0.18,
    },
    "afraid": {  # 1 + 2 + 4 + 5 + 20 + 26
        "browInnerUp": 0.9, "browOuterUp": 0.3, "browDown": 0.4, "eyeWide": 0.7,
        "mouthStretch": 0.6, "jawOpen": 0.05,
    },
    # 4 + 7 + 23, and 9 + 15: browDown alone lowers the middle of the brows, noseSneer (9) their
    # inner ends. It also raises the mouth's corners, which frown (15) against it, and parts the
    # lips, which mouthClose shuts.
    "angry": {
        "browDown": 1.0, "eyeSquint": 0.55, "noseSneer": 0.4, "mouthFrown": 0.8,
        "mouthPress": 0.4, "mouthRollLower": 0.3, "mouthClose": 0.03,
    },
    # 4 + 7 + 9 + 15 + 17
    "disgusted": {
        "browDown": 0.5, "eyeSquint": 0.4, "noseSneer": 0.8, "mouthFrown": 0.9,
        "mouthShrugLower": 0.3, "mouthClose": 0.08,
    },
    "neutral": {},
}  # fmt: skip
NAMES: tuple[str, ...] = tuple(_UNITS)


def weights(name: str, intensity: float = 1.0) -> np.ndarray:
    """(52,) float32: a named emotion, scaled by intensity 0..1. Raises RealTalkError for unknown
    names."""
    if name not in _UNITS:
        raise RealTalkError(f"no emotion {name[:60]!r}: choose one of {', '.join(NAMES)}")
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
