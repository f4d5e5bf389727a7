# SPDX-License-Identifier: Apache-2.0
"""The colour of teeth: of those that no picture shows, and of those that one shows."""

import numpy as np
import pytest

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import mouth_crop
from realtalk_ros.rendering.avatar_encoding import reference_images, reference_inputs
from realtalk_ros.rendering.enamel_colour import expected_enamel
from realtalk_ros.rendering.generator import FaceInputs, Generator

POINTS = np.zeros((68, 2))
for eye, x in ((slice(36, 42), 70), (slice(42, 48), 150)):
    POINTS[eye] = np.array([[0, 6], [10, 0], [20, 0], [30, 6], [20, 12], [10, 12]]) + (x, 100)


@pytest.mark.parametrize(
    "white, enamel",
    [
        ((130, 130, 140), (0.84, 0.87, 0.91)),  # of the study's light
        ((40, 140, 130), (0.65, 0.86, 0.84)),  # of a painting under old varnish: paler
    ],
)
def test_teeth_follow_the_whites_of_the_eyes_but_are_never_green(white, enamel):
    face = np.full((256, 256, 3), white, np.uint8)
    found = expected_enamel(face, POINTS)
    assert np.abs(found - enamel).max() < 0.02
    assert found.dtype == np.float32


@pytest.mark.parametrize("name", ["default", "mira", "ines", "kenji"])
def test_teeth_are_as_light_as_the_reference_that_shows_most_of_them(name):
    avatar = Avatar.load(name)
    maps = [inputs[..., 3:] for inputs in reference_inputs(avatar, shaded=True)]
    seen = [(shown[..., 0] == 255) & (shown[..., 1] > 120) for shown in maps]
    k = int(np.argmax([np.count_nonzero(teeth) for teeth in seen]))
    weights = avatar.reference_weights[k : k + 1]
    face = Generator([avatar]).run(weights, [FaceInputs(0, 0, 0)])[0]
    interior = face.mouth_interior[mouth_crop()]
    drawn = face.mouth[(interior[..., 0] == 255) & (interior[..., 1] > 120)]
    light = np.median(reference_images(avatar)[k][seen[k]].mean(-1))
    assert np.median(drawn.mean(-1)) == pytest.approx(light, rel=0.07)  # was 0.87 to 0.93 of it
