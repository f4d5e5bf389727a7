# SPDX-License-Identifier: Apache-2.0
"""A puckered mouth goes down with the chin, as people's do; the face model's goes up."""

import cv2
import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering.common.template_landmarks import frontal_landmarks
from realtalk_ros.rendering.geometry import Geometry

SIZE = 256
NOBODY = np.zeros(landmarks.IDENTITY_SIZE, np.float32)
EYES_CM = 8.92  # between their outer corners


def test_landmarks_and_the_hole_between_the_lips_go_down_together():
    rest = frontal_landmarks(NOBODY)[None]
    rounded = arkit.weights(mouthPucker=0.4, jawOpen=0.2)
    model, people = (Geometry(NOBODY, rest, as_people=which) for which in (False, True))
    before, after = (SIZE * one.target_landmarks(rounded, 0) for one in (model, people))
    lower = (after - before)[:, 1]
    left, right = landmarks.EYE_CORNERS
    cm = EYES_CM / (before[right, 0] - before[left, 0])  # of a pixel
    assert np.abs(lower[landmarks.LIPS] * cm - 0.2).max() < 0.02  # 0.5 cm for mouthPucker 1
    assert lower[landmarks.CHIN] == pytest.approx(lower[57], rel=0.1)
    assert np.array_equal(before[17:48], after[17:48])  # brows, nose and eyes
    # The teeth stay behind.
    maps = [one.draw_mouth(rounded, 0, np.zeros((SIZE, SIZE, 3), "u1")) for one in (model, people)]
    (y0, _), (y1, _) = (np.argwhere(one[..., 0] > 128).mean(0) for one in maps)
    assert y1 - y0 == pytest.approx(lower[57], abs=0.6)
    both = (maps[0][..., 0] == 255) & (maps[1][..., 0] == 255)
    assert np.array_equal(maps[0][both], maps[1][both])


def test_they_do_in_pictures():
    renderer = bundled_face("default")
    x, y, side = renderer.avatar.crop
    rest, rounded = (
        cv2.cvtColor(
            cv2.resize(renderer.render(w, 0)[y : y + side, x : x + side], (SIZE, SIZE)),
            cv2.COLOR_BGR2GRAY,
        )
        for w in (arkit.weights(), arkit.weights(mouthPucker=0.5))
    )
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(rest, rounded, None)
    chin, eyes = flow[195:215, 108:148, 1], flow[70:90, 60:196, 1]
    assert 2 < chin.mean() < 5 and abs(eyes.mean()) < 0.5  # pixels downwards


def test_those_of_drawings_and_machines_follow_the_face_model():
    for name in ("pia", "android"):
        renderer = bundled_face(name)
        rounded = arkit.weights(mouthPucker=0.5)
        avatar, (x, y, side) = renderer.avatar, renderer.avatar.crop
        template = (avatar.landmarks[:1] - (x, y)) / side
        model = Geometry(avatar.identity, template, resting_weights=avatar.resting_weights)
        drawn = renderer.generator.geometry[renderer.index]
        np.testing.assert_allclose(
            drawn.target_landmarks(rounded, 0), model.target_landmarks(rounded, 0), atol=1e-3
        )
