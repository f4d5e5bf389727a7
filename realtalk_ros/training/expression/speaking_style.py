# SPDX-License-Identifier: Apache-2.0
"""How people differ in speaking: what coarticulation.py moves a face by.

A person is an identity (100 coefficients of the 3D face, sd 1) and a `SpeakingStyle`, which is
partly a fixed linear function of the identity and partly the person's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.training.expression import articulation


@dataclass
class SpeakingStyle:
    """How one person moves. Gains are about 1, the rest about 0."""

    jaw: float
    rounding: float
    spreading: float
    lower_lip: float  # gain of lowering it
    upper_lip: float  # gain of lifting it
    crispness: float  # decay rate of dominance: high is over-articulated
    asymmetry: float  # > 0: the left side moves more
    smile: float  # while speaking
    mouth_corners: float  # while speaking: > 0 drawn back, < 0 drawn down
    mouth_shift: float  # while speaking, to the subject's left
    lip_press: float  # how closures are held: 1 pressed, 0 rolled in
    lag: float  # s, movement after sound
    brows: float
    nods: float
    tilt: float
    target_gains: np.ndarray  # (rows, articulators), see articulation.py
    latent: np.ndarray  # (STYLE_SIZE,), sd 1: all of the above follows from it


_TARGET_DIRECTIONS = 8  # in which people's targets differ
STYLE_SIZE = 15 + _TARGET_DIRECTIONS
# Which part of the style shows in the face's shape: a fixed linear map of the identity, unit sd.
_STYLE_OF_IDENTITY = np.random.default_rng(20).standard_normal((IDENTITY_SIZE, STYLE_SIZE)) / 10
_TARGET_BASIS = np.random.default_rng(21).standard_normal(
    (len(articulation.TARGETS), len(articulation.ARTICULATORS), _TARGET_DIRECTIONS)
) / np.sqrt(_TARGET_DIRECTIONS)  # fmt: skip


def style_of(identity: np.ndarray, own: np.ndarray) -> SpeakingStyle:
    """Of a person: identity (100,) and own (23,), both standard normal.

    The spreads follow what is reported of speakers: jaw and lip excursions for the same words
    differ by a factor of two and more between people, the order of movements hardly.
    """
    z = 0.65 * identity @ _STYLE_OF_IDENTITY + 0.76 * own  # unit variance
    z = np.clip(z, -2.2, 2.2)
    return SpeakingStyle(
        jaw=float(np.exp(0.30 * z[0])), rounding=float(np.exp(0.30 * z[1])),
        spreading=float(np.exp(0.35 * z[2])), lower_lip=float(np.exp(0.35 * z[3])),
        upper_lip=float(np.exp(0.40 * z[4])), crispness=float(np.exp(0.15 * z[5])),
        asymmetry=float(0.18 * z[6]), smile=float(max(0.0, 0.06 + 0.12 * z[7])),
        lip_press=float(np.clip(0.5 + 0.3 * z[8], 0, 1)), lag=float(0.007 * z[9]),
        brows=float(np.exp(0.4 * z[10])), nods=float(np.exp(0.4 * z[11])), tilt=float(z[12]),
        mouth_corners=float(0.14 * z[13]), mouth_shift=float(0.06 * z[14]),
        target_gains=np.exp(0.2 * _TARGET_BASIS @ z[15:]).astype(np.float32),
        latent=z.astype(np.float32),
    )  # fmt: skip


def average_style() -> SpeakingStyle:
    """The mean style."""
    return style_of(np.zeros(IDENTITY_SIZE), np.zeros(STYLE_SIZE))


def random_speaker(rng: np.random.Generator) -> tuple[np.ndarray, SpeakingStyle]:
    """Identity (100,) and a style."""
    identity = rng.standard_normal(IDENTITY_SIZE).astype(np.float32)
    return identity, style_of(identity, rng.standard_normal(STYLE_SIZE))
