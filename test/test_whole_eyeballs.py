# SPDX-License-Identifier: Apache-2.0
"""Eyes that turn or open wide show what the template's lids hide."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model.arkit import weights
from realtalk_ros.rendering.eyes.iris_search import find_irises
from realtalk_ros.rendering.face_renderer import FaceRenderer

EYES = slice(36, 42), slice(42, 48)
WHITE, BLUE, SKIN = (225, 225, 225), (200, 90, 10), (140, 160, 200)
RADIUS = 0.2  # eye widths
ROWS = slice(40, 140)  # of the networks' crop: brows and eyes


def painted(radius=RADIUS, aside=(0, 0)):
    """An avatar with flat white eyes, in which lids hide a part of blue irises that lie `aside`
    pixels beside their middles; their places (2, 2) and radius. Without a radius, no irises."""
    avatar = Avatar.load("mira")
    template, places, widths = avatar.templates[0].copy(), [], []
    for eye in EYES:
        points = avatar.landmarks[0][eye]
        opening = np.zeros(template.shape[:2], np.uint8)
        cv2.fillPoly(opening, [np.rint(16 * points).astype(np.int32)], 255, cv2.LINE_AA, 4)
        places.append(points.mean(0) + aside)
        widths.append(np.ptp(points[:, 0]))
        ball = np.full_like(template, WHITE if radius else SKIN)
        centre = np.rint(16 * places[-1]).astype(int).tolist()
        if radius:
            cv2.circle(ball, centre, round(16 * radius * np.mean(widths)), BLUE, -1, cv2.LINE_AA, 4)
        share = opening[..., None] / 255
        template = np.rint(template + share * (ball - template.astype(float))).astype(np.uint8)
    made = replace(avatar, templates=template[None], more_references=avatar.more_references[:0])
    made = replace(made, reference_weights=None, reference_landmarks=None)
    return made, np.array(places), radius * np.mean(widths)


@pytest.fixture(scope="module")
def face():
    return FaceRenderer(painted()[0], 512)


def blue(face, **shapes):
    """(512, 512) bool: where a frame shows the irises."""
    image = face.render(weights(**shapes), 0).astype(int)
    return (image[..., 0] - image[..., 2] > 60) & (image[..., 1] < 150)


def irises(face, **shapes):
    """Of each eye the x and y of its iris's pixels, (N, 2)."""
    for eye in EYES:
        middle = face.avatar.landmarks[0][eye].mean(0)
        found = np.argwhere(blue(face, **shapes))[:, ::-1]
        yield found[np.abs(found - middle).max(1) < 25]


@pytest.mark.parametrize("shapes", [{"eyeWide": 1}, {"eyeWide": 0.7, "eyeLookUp": 0.2}])
def test_the_iris_of_a_wide_eye_is_round(face, shapes):
    _, _, radius = painted()
    for pixels in irises(face, **shapes):
        width, height = np.ptp(pixels, 0) + 1
        assert width == pytest.approx(2 * radius, abs=1.6)
        assert 0.8 * width < height < 1.08 * width


def test_an_iris_that_looks_up_is_round_below():
    avatar, places, radius = painted(aside=(0, 3))
    low = FaceRenderer(avatar, 512)
    for pixels, place in zip(irises(low, eyeLookUp=0.7), places, strict=True):
        rows, widths = np.unique(pixels[:, 1], return_counts=True)
        assert widths[-1] < 0.85 * widths.max() and len(rows) < 1.1 * widths.max()
        assert len(pixels) > 50 and rows.max() < place[1] + 0.5 * radius


def test_lids_that_hide_no_iris_at_rest_change_nothing():
    for name in ("mira", "kenji"):
        face = bundled_face(name, 512)
        assert not face.generate(weights(), 0).eyeballs
        assert face.generate(weights(eyeLookUp=0.3), 0).eyeballs


@pytest.mark.parametrize("aside", [(0, 0), (4, -1), (-5, 1)])
def test_irises_are_found_where_the_picture_shows_them(aside):
    avatar, places, radius = painted(aside=aside)
    x, y, side = avatar.crop
    crop = cv2.resize(avatar.templates[0][y : y + side, x : x + side], (256, 256))
    eyes = FaceRenderer(avatar, 512).generator.geometry[0].template_eyes[0]
    right, left = find_irises(crop, eyes)
    assert right.radius == left.radius == pytest.approx(radius / side, rel=0.1)
    for iris, place in zip((right, left), places, strict=True):
        assert np.abs(iris.place * side + (x, y) - 0.5 - place).max() < 1


def test_eyes_without_irises_are_stretched_as_lids_rise():
    """Not the row at the lid's edge repeated."""
    face = FaceRenderer(painted(radius=0)[0], 512)
    made = face.generate(weights(eyeWide=1), 0)
    assert not made.eyeballs
    assert np.count_nonzero(np.diff(made.sampling_grid[1, ROWS], axis=0) < 0.1) < 20
