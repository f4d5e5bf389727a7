# SPDX-License-Identifier: Apache-2.0
"""The light that lips leave to the teeth."""

import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.generator import MOUTH, FaceInputs, Generator
from realtalk_ros.rendering.mouth.lip_shadow import MouthOpening, width_at_rest

WIDE, SPEECH, ROUNDED = 0.62, 0.5, 0.38


def landmarks(gap: float, width: float) -> np.ndarray:
    """(68, 2) of a mouth with lips and corners so far apart, in shares of the distance of the outer
    corners of the eyes."""
    points = np.zeros((68, 2), np.float32)
    points[36], points[45] = (0.3, 0.4), (0.7, 0.4)
    points[62], points[66] = (0.5, 0.7 - 0.2 * gap), (0.5, 0.7 + 0.2 * gap)
    points[60], points[64] = (0.5 - 0.2 * width, 0.7), (0.5 + 0.2 * width, 0.7)
    return points


@pytest.mark.parametrize(
    "gap, width, least, most",
    [
        (0.12, WIDE, 1, 1),
        (0.1, SPEECH, 0.8, 0.9),
        (0.04, SPEECH, 0.5, 0.7),
        (0.04, ROUNDED, 0.4, 0.6),
    ],
)
def test_teeth_are_darker_the_less_lips_part_and_the_rounder_they_are(gap, width, least, most):
    blue, green, red = MouthOpening.of(landmarks(gap, width), 0.51).light_on_teeth()
    assert least <= green <= most and blue == green
    assert red == pytest.approx(green**0.65)  # what is left is warmer


def test_they_are_so_in_any_size_of_a_face():
    points = landmarks(0.05, SPEECH)
    np.testing.assert_allclose(
        MouthOpening.of(points, 0.4), MouthOpening.of(300 * points + 7, 0.4), rtol=1e-4
    )


def test_a_small_mouth_is_not_a_rounded_one_and_a_smile_at_rest_is_one():
    small, usual = (
        MouthOpening.of(landmarks(0.1, w), width_at_rest(landmarks(0, w))) for w in (0.42, 0.51)
    )
    assert small == pytest.approx(usual, abs=1e-5)
    smile = MouthOpening.of(landmarks(0.1, 0.62), width_at_rest(landmarks(0, 0.62)))
    assert smile.light_on_teeth()[1] > 0.99


def enamel_of(generator: Generator, **weights: float) -> float:
    """The light of enamel, levels, beside that of which the map has it."""
    face = generator.run(arkit.weights(**weights)[None], [FaceInputs(0, 0, 0)])[0]
    interior = face.mouth_interior[MOUTH].astype(float)
    teeth = (interior[..., 0] == 255) & (interior[..., 1] > 100)
    assert teeth.sum() > 20
    return float(np.median(face.mouth[teeth][:, 1] / interior[teeth][:, 1]))


def test_a_face_s_teeth_are_light_in_a_smile_and_darker_between_lips_that_hardly_part():
    generator = bundled_face("default").generator
    smile = enamel_of(generator, mouthSmile=0.5, mouthUpperUp=0.4, mouthLowerDown=0.4)
    speech = enamel_of(generator, jawOpen=0.06, mouthPucker=0.3, mouthFunnel=0.1)
    assert speech < 0.85 * smile
