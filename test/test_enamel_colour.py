# SPDX-License-Identifier: Apache-2.0
"""The colour of teeth that no picture shows (rendering/enamel_colour.py)."""

import numpy as np
import pytest

from realtalk_ros.rendering.enamel_colour import expected_enamel

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
