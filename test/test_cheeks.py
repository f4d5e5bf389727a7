# SPDX-License-Identifier: Apache-2.0
"""A smile raises the cheeks of a person, and folds appear beside nose and mouth."""

from dataclasses import replace

import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.cheeks import MOST, Cheeks, make_cheek
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.template_landmarks import frontal_landmarks

FACE = frontal_landmarks(np.zeros(100)) * CROP_SIZE
SKIN = np.full((CROP_SIZE, CROP_SIZE, 3), (120, 140, 180), np.uint8)
RIGHT, LEFT = (36, 48, 31, 0), (45, 54, 35, 0)
DOT = 4  # pixels, half its side


def dotted(avatar, spots):
    """The avatar with black dots at `spots` (n, 2), pixels of its frame."""
    templates = avatar.templates.copy()
    for x, y in np.rint(spots).astype(int):
        templates[:, y - DOT : y + DOT, x - DOT : x + DOT] = 0
    return replace(avatar, templates=templates)


def middle_of_dark(image, spot):
    """Where around a spot (2,) the dark pixels are, (2,)."""
    x, y = np.rint(spot).astype(int) - 20
    dark = np.maximum(60.0 - image[y : y + 40, x : x + 40].mean(-1), 0)
    rows, columns = np.mgrid[:40, :40]
    return np.array([(dark * columns).sum(), (dark * rows).sum()]) / dark.sum() + (x, y)


def test_cheeks_go_up_and_outwards_and_the_nose_stays():
    avatar = Avatar.load("mira")
    points = avatar.landmarks[0]
    right, left = (points[[36, 31, 48]].mean(0), points[[45, 35, 54]].mean(0))
    right, left = right + (-10, 0), left + (10, 0)
    spots = np.array([right, left, points[29]])
    face = FaceRenderer(dotted(avatar, spots), avatar.size[1])
    rest, smile = (
        face.render(arkit.weights(mouthSmile=s), 0)[..., :3].astype(float) for s in (0, 0.6)
    )
    moved = np.array([middle_of_dark(smile, s) - middle_of_dark(rest, s) for s in spots])
    eye = np.linalg.norm(points[45] - points[36]) / 2
    assert (moved[:2, 1] < -0.04 * eye).all()
    assert moved[0, 0] < -0.04 * eye and moved[1, 0] > 0.04 * eye
    assert np.abs(moved[2]).max() < 0.01 * eye


def test_each_side_smiles_for_itself_and_nothing_else_raises_cheeks():
    face = bundled_face("mira", 256)
    for name, count in (
        ("mouthSmileLeft", 1),
        ("mouthSmile", 2),
        ("jawOpen", 0),
        ("mouthFrown", 0),
    ):
        assert len(face.generate(arkit.weights(**{name: 0.5}), 0).cheeks) == count
    (most, _), _ = face.generate(arkit.weights(mouthSmile=1.0), 0).cheeks
    assert most == MOST


@pytest.mark.parametrize("name", ["pia", "android"])
def test_drawings_and_machines_have_none(name):
    assert not bundled_face(name, 256).generate(arkit.weights(mouthSmile=0.6), 0).cheeks


def test_the_fold_is_darker_and_the_cheek_beside_it_lighter():
    cheek = make_cheek(FACE, LEFT, SKIN, glasses=False)
    light = np.zeros((64, 64, 4), np.float32)
    light[cheek.cells] = cheek.light
    wing, corner, eye = (FACE[i] / 4 for i in (35, 54, 45))
    x, y = np.rint(wing + 0.4 * (corner - wing) + (3, 0)).astype(int)
    assert light[y - 2 : y + 3, x - 2 : x + 3, :3].min() < -12
    x, y = np.rint((eye + corner) / 2 + (3, -3)).astype(int)
    assert light[y - 3 : y + 4, x : x + 6, :3].min(-1).max() > 2
    assert not light[..., 3].any()


def test_rims_of_glasses_stay():
    bare, glasses = (make_cheek(FACE, LEFT, SKIN, g) for g in (False, True))
    below_eye = round(FACE[45, 1] + 0.4 * (FACE[54, 1] - FACE[45, 1]))
    assert bare.box[0].start < below_eye < glasses.box[0].start
    assert 4 * glasses.cells[0].start > below_eye - 4


def test_what_is_not_seen_is_not_moved():
    turned = FACE.copy()  # the face's right half is behind its nose
    turned[:, 0] = np.maximum(FACE[:, 0], FACE[27, 0] - 4)
    cheeks = Cheeks(np.stack([FACE, turned, FACE + 400]), [SKIN, SKIN, SKIN], glasses=False)
    smile = arkit.weights(mouthSmile=0.5)
    assert [len(cheeks.raised(smile, t)) for t in range(3)] == [2, 1, 0]
    assert not cheeks.raised(np.zeros(arkit.COUNT, np.float32), 0)


def test_both_sides_are_alike():
    right, left = (make_cheek(FACE, side, SKIN, glasses=False) for side in (RIGHT, LEFT))
    assert right.movement[0].min() >= 0 >= left.movement[0].max()  # sources lie inwards
    assert right.movement[1].min() >= -1e-3 and left.movement[1].min() >= -1e-3  # and below
    assert right.movement.max() == pytest.approx(np.abs(left.movement).max(), rel=0.05)
