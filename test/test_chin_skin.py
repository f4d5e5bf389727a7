# SPDX-License-Identifier: Apache-2.0
"""The skin below a lip that rises (rendering/mouth/chin_skin.py)."""

import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.face_model.landmarks import CHIN
from realtalk_ros.output.contact_sheet import EXPRESSIONS
from realtalk_ros.rendering.face_renderer import FaceRenderer

LOWER_LIP = 57  # landmark of its edge, in the middle


def chin(renderer: FaceRenderer, weights: np.ndarray) -> np.ndarray:
    """Which row of the template each row of the chin shows, from the lip's edge to the jaw's, in
    the middle of the mouth: (rows, columns)."""
    geometry = renderer.generator.geometry[renderer.index]
    points = geometry.target_landmarks(weights, 0) * 256
    middle = round(float(points[LOWER_LIP, 0]))
    rows = slice(int(points[LOWER_LIP, 1]) + 4, int(points[CHIN, 1]))
    return renderer.generate(weights, 0).sampling_grid[1, rows, middle - 10 : middle + 11]


@pytest.mark.parametrize("sound", ["m", "f"])
@pytest.mark.parametrize("name", ["default", "mira", "ines", "kenji"])
def test_skin_below_a_risen_lip_is_not_drawn_out(name, sound):
    rows = chin(bundled_face(name), EXPRESSIONS[sound])
    assert np.diff(rows, axis=0).min() > 0.55


def test_it_does_not_jump_while_the_lip_rises():
    renderer = bundled_face("mira")
    shares = np.linspace(0, 1, 26, dtype=np.float32)
    grids = [renderer.generate(s * EXPRESSIONS["m"], 0).sampling_grid.copy() for s in shares]
    steps = np.abs(np.diff(grids, axis=0)).max((1, 2, 3))
    assert steps.max() < 1.2, steps
