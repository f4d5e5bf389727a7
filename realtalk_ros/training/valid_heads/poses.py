# SPDX-License-Identifier: Apache-2.0
"""What VALID's people do before the camera: weights of their morph targets, and turns of the head.

Targets of the skin are called h_expressions.NAME_h, those of lower teeth and tongue
h_teeth.t_NAME_h.
Each expression is drawn anew for each person: how strong it is, and how far one side leads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Weights = dict[str, float]
TURN = np.radians([3.0, 4.0, 2.0])  # standard deviations of pitch, yaw and roll
TEETH = {"MPB_Up": "MPB", "MPB_Down": "MPB"}  # targets that have another name for the teeth
# Of speech, several at once: what of them `talking` mixes.
VISEMES = ("AE_AA", "AO_a", "Ax_E", "TD_I", "UH_OO", "UW_U", "H_EST", "FV", "S", "SH_CH", "KG")


def targets(of_face: Weights) -> Weights:
    """Weights of the targets in the files, of names such as MouthOpen."""
    skin = {f"h_expressions.{name}_h": weight for name, weight in of_face.items()}
    teeth = {f"h_teeth.t_{TEETH.get(name, name)}_h": weight for name, weight in of_face.items()}
    return skin | teeth


def both(name: str, weight: float, rng: np.random.Generator) -> Weights:
    """A target of either side; one may be up to a fifth weaker."""
    weaker = 1 - rng.uniform(0, 0.2)
    sides = [weight, weight * weaker]
    rng.shuffle(sides)
    return {f"R{name}": sides[0], f"L{name}": sides[1]}


def smile(rng: np.random.Generator) -> Weights:
    return both("smileClose", rng.uniform(0.5, 1.0), rng)


def grin(rng: np.random.Generator) -> Weights:
    return both("smileOpen", rng.uniform(0.6, 1.0), rng) | both("lipUp", rng.uniform(0, 0.4), rng)


def laugh(rng: np.random.Generator) -> Weights:
    return both("smileOpen", rng.uniform(0.7, 1.0), rng) | {"MouthOpen": rng.uniform(0.3, 0.9)}


def parted(rng: np.random.Generator) -> Weights:
    return {"MouthOpen": rng.uniform(0.15, 0.4)} | both("lipUp", rng.uniform(0, 0.5), rng)


def lowered(rng: np.random.Generator) -> Weights:
    return {"MouthOpen": rng.uniform(0.5, 1.0)} | both("lipDown", rng.uniform(0, 0.5), rng)


def ah(rng: np.random.Generator) -> Weights:
    return {"AE_AA": rng.uniform(0.3, 0.7)} | both("lipUp", rng.uniform(0, 0.5), rng)


def oh(rng: np.random.Generator) -> Weights:
    return {"AO_a": rng.uniform(0.4, 1.0)}


def oo(rng: np.random.Generator) -> Weights:
    return {"UW_U": rng.uniform(0.5, 1.0), "Kiss": rng.uniform(0, 0.4)}


def ee(rng: np.random.Generator) -> Weights:
    return {"TD_I": rng.uniform(0.5, 1.0)} | both("smileOpen", rng.uniform(0.1, 0.5), rng)


def fv(rng: np.random.Generator) -> Weights:
    return {"FV": rng.uniform(0.7, 1.0), "MouthOpen": rng.uniform(0, 0.1)}


def pressed(rng: np.random.Generator) -> Weights:
    strength = rng.uniform(0.5, 1.0)
    return {"MPB_Up": strength, "MPB_Down": strength}


def talking(rng: np.random.Generator) -> Weights:
    """Two of VISEMES, and some of a smile."""
    first, second = rng.choice(VISEMES, 2, replace=False)
    share = rng.uniform(0.3, 0.7)
    mixed = {str(first): 0.9 * share, str(second): 0.9 * (1 - share)}
    return mixed | both("smileOpen", rng.uniform(0, 0.4), rng)


EXPRESSIONS: dict[str, Callable[[np.random.Generator], Weights]] = {
    each.__name__: each
    for each in (smile, grin, laugh, parted, lowered, ah, oh, oo, ee, fv, pressed, talking)
}


def turn(rng: np.random.Generator) -> tuple[float, float, float]:
    """Pitch, yaw and roll of a head that holds nearly still, radians."""
    return tuple((TURN * rng.normal(0, 1, 3).clip(-2, 2)).tolist())
