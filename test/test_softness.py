# SPDX-License-Identifier: Apache-2.0
"""Mouths are as soft as the picture they are drawn into."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.rendering.avatar_encoding import template_crops
from realtalk_ros.rendering.common.template_landmarks import template_landmarks
from realtalk_ros.rendering.generator import MOUTH, FaceInputs, Generator
from realtalk_ros.rendering.mouth.lip_shadow import MouthOpening
from realtalk_ros.rendering.mouth.mouth_tables import MouthTables
from realtalk_ros.rendering.mouth.oral_cavity import SMILE, OralCavity
from realtalk_ros.rendering.mouth.softness import blur_of, softness


@pytest.mark.parametrize("name", ["default", "mira"])
def test_the_blur_of_a_face_is_found(name):
    avatar = Avatar.load(name)
    sharp, points = template_crops(avatar)[0], template_landmarks(avatar)[0] * CROP_SIZE
    assert blur_of(sharp, points) == 0
    for sd in (0.7, 1.0, 1.5):
        assert blur_of(cv2.GaussianBlur(sharp, (0, 0), sd), points) == pytest.approx(sd, rel=0.3)
    small = cv2.resize(cv2.resize(sharp, (110, 110), interpolation=cv2.INTER_AREA), (256, 256))
    assert 0.7 < blur_of(small, points) < 1.5
    assert blur_of(np.zeros_like(sharp), points) == 0  # nothing is known
    assert softness([sharp] * 2, np.stack([points / 256] * 2)) == 0


def test_a_soft_face_gets_a_soft_mouth():
    avatar = Avatar.load("mira")
    soft = [cv2.GaussianBlur(t, (0, 0), 1.5 * avatar.crop[2] / 256) for t in avatar.templates]
    edges = []
    for one in (avatar, replace(avatar, templates=soft)):
        face = Generator([one]).run(SMILE[None], [FaceInputs(0, 0, 0)])[0]
        inside = cv2.erode(face.mouth_interior[MOUTH][..., 0], np.ones((3, 3))) == 255
        edges.append(cv2.Laplacian(face.mouth[..., 1], cv2.CV_64F)[inside].std())
    assert edges[1] < 0.4 * edges[0]


def test_what_is_beside_a_soft_mouth_stays_as_it_is():
    interior = np.zeros((128, 128, 3), np.uint8)
    interior[0:40, 20:100] = 255, 200, 0  # at the crop's border, too
    drawn = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    lit, blurred = drawn.copy(), drawn.copy()
    tables = MouthTables(np.ones((66, 65, 3)), np.ones((1, 128, 3)), roots=np.zeros((1, 128)))
    for picture, soft in ((lit, 0.0), (blurred, 1.0)):
        cavity = OralCavity(tables, soft=soft)
        cavity.apply(cavity.light_in(interior, 0, MouthOpening(gap=0.1, wider=0.09)), picture)
    np.testing.assert_array_equal(blurred[44:], drawn[44:])
    np.testing.assert_array_equal(blurred[:, :15], drawn[:, :15])
    assert blurred[5:30, 30:90].std() < 0.5 * lit[5:30, 30:90].std()
