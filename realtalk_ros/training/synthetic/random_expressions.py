# SPDX-License-Identifier: Apache-2.0
"""Random expressions: ARKit weights (52,) as they occur while somebody speaks."""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.eye_rotation import gaze_weights

# Mouth poses of speech, roughly by viseme; each is scaled and mixed.
MOUTH_POSES: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.55, "mouthLowerDown": 0.15, "mouthUpperUp": 0.10},  # aa
    {"jawOpen": 0.28, "mouthStretch": 0.25, "mouthLowerDown": 0.25, "mouthUpperUp": 0.12},  # eh
    {"jawOpen": 0.12, "mouthSmile": 0.25, "mouthStretch": 0.35, "mouthLowerDown": 0.30,
     "mouthUpperUp": 0.18},  # iy
    {"jawOpen": 0.30, "mouthFunnel": 0.55, "mouthPucker": 0.25},  # oh
    {"jawOpen": 0.10, "mouthPucker": 0.75, "mouthFunnel": 0.30},  # oo
    {"mouthPress": 0.35, "mouthRollLower": 0.25, "mouthRollUpper": 0.25},  # p b m
    {"jawOpen": 0.22, "mouthClose": 0.22, "mouthPress": 0.25, "mouthRollLower": 0.1,
     "mouthRollUpper": 0.1},
    {"jawOpen": 0.08, "mouthRollLower": 0.45, "mouthUpperUp": 0.30, "mouthLowerDown": 0.05},  # f v
    {"jawOpen": 0.06, "mouthFunnel": 0.55, "mouthLowerDown": 0.25, "mouthUpperUp": 0.25},  # sh ch
    {"jawOpen": 0.06, "mouthStretch": 0.25, "mouthLowerDown": 0.35, "mouthUpperUp": 0.20,
     "mouthSmile": 0.10},  # s z
    {"jawOpen": 0.18, "mouthLowerDown": 0.20, "mouthUpperUp": 0.15},  # t d n l
    {"jawOpen": 0.15, "mouthFunnel": 0.30, "mouthPucker": 0.20},  # r w
    {"mouthSmile": 0.7, "cheekSquint": 0.4, "mouthUpperUp": 0.2, "mouthLowerDown": 0.15},
    {"mouthSmile": 0.6, "mouthDimple": 0.3},
    {"mouthFrown": 0.6, "mouthShrugLower": 0.4},
    {"jawOpen": 0.9},
)  # fmt: skip


def add_weight(weights: np.ndarray, name: str, value: float, lean: float = 0.0) -> None:
    """Add to `name`, or to both its sides, the left by 1 + lean and the right by 1 - lean."""
    if name in arkit.INDEX:
        weights[arkit.INDEX[name]] += value
    else:
        weights[arkit.INDEX[name + "Left"]] += value * (1 + lean)
        weights[arkit.INDEX[name + "Right"]] += value * (1 - lean)


def random_mouth(weights: np.ndarray, rng: np.random.Generator) -> None:
    """Add one speech-like mouth, now and then a mixture of two on the way between them."""
    lean = rng.normal(0, 0.12)
    first, second = rng.integers(0, len(MOUTH_POSES), 2)
    mix = rng.random() * 0.6 if rng.random() < 0.5 else 0.0
    for pose, share in ((MOUTH_POSES[first], 1 - mix), (MOUTH_POSES[second], mix)):
        scale = share * rng.uniform(0.35, 1.5)
        for name, value in pose.items():
            add_weight(weights, name, value * scale * rng.uniform(0.75, 1.25), lean)


def random_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,) float32 weights: speech-like mouths, blinks, gaze, brows, and sparse anything."""
    weights = arkit.weights()
    if rng.random() < 0.88:
        random_mouth(weights, rng)
    if rng.random() < 0.35:
        for name in rng.choice(("mouthLeft", "mouthRight", "jawLeft", "jawRight", "jawForward",
                                "mouthRollLower", "mouthRollUpper", "mouthShrugUpper",
                                "mouthShrugLower", "cheekPuff", "mouthDimple", "mouthPress",
                                "mouthClose", "noseSneer"), 2, replace=False):  # fmt: skip
            add_weight(weights, str(name), rng.uniform(0, 0.5))
    blink = rng.random()
    if blink < 0.28:  # any stage of a blink
        add_weight(weights, "eyeBlink", rng.uniform(0.1, 1.0), rng.normal(0, 0.04))
    elif blink < 0.36:
        add_weight(weights, "eyeWide", rng.uniform(0.2, 0.9))
    elif blink < 0.48:
        add_weight(weights, "eyeSquint", rng.uniform(0.2, 0.9))
    if rng.random() < 0.5:
        left, up = rng.normal(0, 0.3, 2)
        weights += gaze_weights(left, up * 0.7)
    if rng.random() < 0.45:
        for name in rng.choice(
            ("browDown", "browInnerUp", "browOuterUp"), rng.integers(1, 3), replace=False
        ):
            add_weight(weights, str(name), rng.uniform(0.1, 1.0), rng.normal(0, 0.15))
    if rng.random() < 0.15:  # anything at all
        for i in rng.integers(0, arkit.COUNT, 3):
            weights[i] += rng.uniform(0, 0.8)
    weights[arkit.INDEX["tongueOut"]] = 0.0
    if rng.random() < 0.06:  # through an open mouth
        weights[arkit.INDEX["tongueOut"]] = rng.uniform(0.1, 1.0)
        weights[arkit.INDEX["jawOpen"]] = max(
            weights[arkit.INDEX["jawOpen"]], 0.35 * weights[arkit.INDEX["tongueOut"]] + 0.05
        )
        weights[arkit.INDEX["mouthClose"]] = 0.0
    close = arkit.INDEX["mouthClose"]
    weights[close] = min(weights[close], weights[arkit.INDEX["jawOpen"]] + 0.05)
    return np.clip(weights, 0, 1)


def neutral_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,): a face at rest, eyes open; what template frames show."""
    weights = gaze_weights(rng.normal(0, 0.05), rng.normal(0, 0.04))
    add_weight(weights, "mouthSmile", abs(rng.normal(0, 0.06)))
    add_weight(weights, "eyeBlink", abs(rng.normal(0, 0.03)))
    weights[arkit.INDEX["jawOpen"]] = abs(rng.normal(0, 0.02))
    return np.clip(weights, 0, 1)


def toothy_expression(rng: np.random.Generator) -> np.ndarray:
    """(52,): lips apart enough to show teeth."""
    weights = neutral_expression(rng)
    for name, low, high in (("jawOpen", 0.08, 0.4), ("mouthLowerDown", 0.15, 0.5),
                            ("mouthUpperUp", 0.2, 0.6), ("mouthSmile", 0.0, 0.6)):  # fmt: skip
        add_weight(weights, name, rng.uniform(low, high))
    return np.clip(weights, 0, 1)
