# SPDX-License-Identifier: Apache-2.0
"""Eyes whose lids move slowly change from frame to frame no faster than the lids."""

import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.behaviour import emotion
from realtalk_ros.face_model.arkit import weights

STEPS = 41
EYES = slice(40, 140)  # rows of the networks' crop: brows and eyes


@pytest.fixture(scope="module")
def face():
    return bundled_face("mira")


def jumping(face, way):
    """At how many places of the eyes what is shown moves by more than a pixel between two frames of
    weights (n, 52)."""
    grids = np.array([face.generate(values, 0).sampling_grid[:, EYES] for values in way])
    return np.count_nonzero(np.abs(np.diff(grids, axis=0)).max((0, 1)) > 1)


@pytest.mark.parametrize("name", ["happy", "sad", "angry", "disgusted"])
def test_no_pixel_jumps_while_an_emotion_grows(face, name):
    way = [emotion.weights(name, k / (STEPS - 1)) for k in range(STEPS)]
    assert jumping(face, way) == 0


@pytest.mark.parametrize("name, blink", [("surprised", 0.4), ("afraid", 0.4), ("angry", 0.2)])
def test_skin_below_moved_brows_does_not_jump_when_a_lid_comes_down(face, name, blink):
    before = emotion.weights(name)
    way = [np.maximum(before, weights(eyeBlink=blink * k / (STEPS - 1))) for k in range(STEPS)]
    assert jumping(face, way) < 10


@pytest.mark.parametrize(
    "shapes",
    [
        {"cheekSquint": 0.6, "mouthSmile": 0.6},
        {"eyeWide": 1},
        {"eyeLookDown": 0.6},
        {"eyeLookUp": 0.6},
        {"eyeLookOutRight": 0.6, "eyeLookInLeft": 0.6},
        {"noseSneer": 1},
    ],
    ids=["smile", "wide", "down", "up", "side", "sneer"],
)
def test_no_pixel_flashes_at_the_edges_of_lids_that_move_slowly(face, shapes):
    x, y, side = face.avatar.crop
    box = slice(y, y + round(0.55 * side)), slice(x, x + side)
    shown = [
        face.render(weights(**{name: value * k / 100 for name, value in shapes.items()}), 0)[box]
        for k in range(30, 101)
    ]
    assert np.abs(np.diff(np.array(shown, np.float32).mean(-1), axis=0)).max() < 55
