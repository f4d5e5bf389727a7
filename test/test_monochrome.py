# SPDX-License-Identifier: Apache-2.0
"""Black-and-white and toned photographs (rendering/mouth/monochrome.py)."""

import dataclasses

import cv2
import numpy as np
import pytest

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.mouth.monochrome import tone, toned

SEPIA = np.array([0.55, 0.8, 1.0])  # BGR, of the light


def grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None], 3, -1)


@pytest.mark.parametrize("colour", [np.ones(3), SEPIA])
def test_the_tone_of_a_monochrome_picture_is_found_and_put_on(colour):
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 1)) * colour
    found = tone(picture.astype(np.uint8))
    ramp = np.arange(256, dtype=np.uint8)[None, :, None] * colour
    assert np.abs(toned(ramp.astype(np.uint8), found).astype(int) - ramp).max() < 12


def test_a_picture_with_colours_has_no_tone():
    assert tone(Avatar.load("mira").templates[0]) is None


@pytest.mark.parametrize("moved", [{"jawOpen": 0.6}, {"mouthSmile": 0.8}])
def test_the_moving_face_of_a_grey_portrait_is_grey(moved):
    avatar = Avatar.load("mira")
    images = np.stack([grey(image) for image in avatar.templates[:1]])
    changed = dataclasses.replace(avatar, templates=images)
    renderer = FaceRenderer(changed, size=256)
    image = renderer.render(arkit.weights(**moved), 0).astype(int)
    assert np.ptp(image, -1).max() <= 3
