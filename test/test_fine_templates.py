# SPDX-License-Identifier: Apache-2.0
"""Enlarged templates: sampled bilinearly, they show what bicubic sampling of the template does."""

import weakref

import cv2
import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering import fine_templates
from realtalk_ros.rendering.common.enlarging import FACTOR, enlarged
from realtalk_ros.rendering.fine_templates import FineTemplates


@pytest.fixture(scope="module")
def default():
    return Avatar.load("default")


def test_each_pixel_of_the_template_is_one_of_the_enlarged_and_flat_areas_stay_flat():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    fine = enlarged(image)
    assert fine.shape == (9 * FACTOR, 7 * FACTOR, 3)
    np.testing.assert_array_equal(fine[::FACTOR, ::FACTOR], image)
    flat = np.full((6, 6, 3), (3, 130, 255), np.uint8)
    np.testing.assert_array_equal(enlarged(flat), np.full((12, 12, 3), (3, 130, 255)))


def test_moved_by_part_of_a_pixel_it_is_as_sharp_as_bicubic_sampling(default):
    x, y, side = default.crop
    part = FineTemplates(default.templates, default.crop).part(0, 2)
    across, down = np.meshgrid(np.arange(x, x + side), np.arange(y, y + side))
    sharpness = []
    for shift in (0.2, 0.5, 0.8):
        places = [(p + shift).astype(np.float32) for p in (across, down)]
        wanted = cv2.remap(default.templates[0], *places, cv2.INTER_CUBIC).astype(int)
        fine = [FACTOR * (p - c) for p, c in zip(places, part.corner, strict=True)]
        got = cv2.remap(part.image, *fine, cv2.INTER_LINEAR)[..., :3].astype(int)
        assert np.abs(got - wanted).mean() < 0.5  # grey levels
        detail = [cv2.Laplacian(i.mean(-1), cv2.CV_64F).var() for i in (got, wanted)]
        sharpness.append(detail[0] / detail[1])
    assert np.mean(sharpness) == pytest.approx(1, abs=0.1)


def test_what_is_enlarged_holds_the_margin_that_was_asked_for(default):
    fine = FineTemplates(default.templates, default.crop)
    x, y, side = default.crop
    for margin in (1, 40, 3, 1000):  # the last is beyond the template
        part = fine.part(0, margin)
        left, top = part.corner
        assert left <= max(x - margin, 0) and top <= max(y - margin, 0)
        height, width = np.array(part.image.shape[:2]) // FACTOR
        assert left + width >= min(x + side + margin, default.size[0])
        assert top + height >= min(y + side + margin, default.size[1])
        np.testing.assert_array_equal(
            part.image[::FACTOR, ::FACTOR, :3],
            default.templates[0, top : top + height, left : left + width],
        )


def test_of_a_film_only_the_last_templates_are_kept(default, monkeypatch):
    monkeypatch.setattr(fine_templates, "MOST", 5 * 2**20)
    film = FineTemplates(np.repeat(default.templates, 12, 0), default.crop)
    parts = [weakref.ref(film.part(number, 2).image) for number in range(12)]
    kept = [part() for part in parts if part() is not None]
    assert parts[-1]() is not None and 1 < len(kept) < 12
    assert sum(image.nbytes for image in kept) <= 5 * 2**20


def test_hair_beside_the_face_stays_about_as_sharp_while_the_head_sways():
    face = bundled_face("mira")
    x, y, side = face.avatar.crop
    hair = slice(y - 50, y - 12), slice(x + 40, x + side - 40)

    def detail(image):
        return cv2.Laplacian(image[hair].mean(-1), cv2.CV_64F).var()

    ways = np.linspace(0.002, 0.02, 10, dtype=np.float32)[:, None] * np.float32([0.5, 1, 0.3])
    shown = [detail(face.render(arkit.weights(), 0, rotation)) for rotation in ways]
    assert min(shown) > 0.5 * detail(face.avatar.templates[0])
    assert min(shown) > 0.65 * max(shown)
