# SPDX-License-Identifier: Apache-2.0
"""Apple ARKit's 52 expression coefficients: names and order.

A coefficient is 0 (neutral) to 1 (full). `Left` and `Right` are the subject's own. `jawOpen` moves
the lips with the jaw; `mouthClose` closes the lips independently of the jaw, so lips are shut with
the jaw open at mouthClose == jawOpen (Apple, ARFaceAnchor.BlendShapeLocation.mouthClose).
"""

import numpy as np

# Order of Apple's documentation of ARFaceAnchor.BlendShapeLocation; FaceExpression.msg uses it.
NAMES: tuple[str, ...] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft",
    "eyeSquintLeft", "eyeWideLeft",
    "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight",
    "jawForward", "jawLeft", "jawRight", "jawOpen",
    "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight",
    "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft", "mouthFrownRight",
    "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper",
    "mouthPressLeft", "mouthPressRight", "mouthLowerDownLeft", "mouthLowerDownRight",
    "mouthUpperUpLeft", "mouthUpperUpRight",
    "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight",
    "cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight",
    "tongueOut",
)  # fmt: skip
COUNT = len(NAMES)  # 52
INDEX: dict[str, int] = {name: i for i, name in enumerate(NAMES)}
MOUTH: tuple[int, ...] = tuple(
    i for i, n in enumerate(NAMES) if n.startswith(("jaw", "mouth", "cheekPuff", "tongue"))
)


def indices(*names: str) -> list[int]:
    """Where these coefficients are; a name without its side stands for both, Left first. Raises
    KeyError for an unknown one."""
    sides = ((n,) if n in INDEX else (f"{n}Left", f"{n}Right") for n in names)
    return [INDEX[name] for full in sides for name in full]


def weights(**named: float) -> np.ndarray:
    """(52,) float32, 0 but for those named, as of `indices`. Raises KeyError."""
    out = np.zeros(COUNT, np.float32)
    for name, value in named.items():
        out[indices(name)] = value
    return out
