# SPDX-License-Identifier: Apache-2.0
"""A smile raises the cheeks of a person, and folds appear beside nose and mouth."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.added_layer import CELL
from realtalk_ros.rendering.cheeks import Cheeks
from realtalk_ros.rendering.common.template_landmarks import frontal_landmarks
from realtalk_ros.rendering.eyes import lid_skin
from realtalk_ros.rendering.face_renderer import FaceRenderer

FACE = frontal_landmarks(np.zeros(100))  # normalised
SMILING = FACE.copy()
SMILING[[48, 54]] += [(-0.05, -0.06), (0.05, -0.06)]
AT_REST = arkit.weights()
SKIN = np.full((CROP_SIZE, CROP_SIZE, 3), (120, 140, 180), np.uint8)
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


def test_the_wings_of_the_nose_follow_the_cheeks():
    avatar = Avatar.load("mira")
    wings = avatar.landmarks[0][[31, 35]] + [(-7, -6), (7, -6)]  # their outsides
    weights = arkit.weights(mouthSmile=0.8)
    face = FaceRenderer(dotted(avatar, wings), avatar.size[1])
    moved = face.generate(weights, 0)
    still = replace(moved, cheeks=[])
    (right, left), before = (
        [middle_of_dark(face.compose(made, face.begin(0)).astype(float), s) for s in wings]
        for made in (moved, still)
    )
    eye = np.linalg.norm(np.diff(avatar.landmarks[0][[36, 45]], axis=0)) / 2
    assert right[0] - before[0][0] < -0.017 * eye and left[0] - before[1][0] > 0.017 * eye


def test_the_lip_below_the_nose_stays_beside_the_cheek():
    """The cheek, which the wings follow, does not pull it up."""
    _, (cheek, _, _) = smile(FACE)
    share = np.zeros((CROP_SIZE, CROP_SIZE), np.float32)
    share[cheek.box] = cheek.share
    wing, corner = (CROP_SIZE * SMILING[i] for i in (35, 54))
    x, y = np.rint((wing[0] + 6, (wing[1] + corner[1]) / 2)).astype(int)
    assert share[y, x] < 0.02 and share[y - 18, x] > 0.2


def sources(face, **weights):
    """Left and right, down and up: where pixels of the right and the left cheek come from."""
    return [cheek.source for cheek in face.generate(arkit.weights(**weights), 0).cheeks]


def test_the_fold_is_seen_in_the_picture():
    avatar, weights = Avatar.load("mira"), arkit.weights(mouthSmile=0.6)
    face = FaceRenderer(avatar, avatar.size[1])
    smiling = face.generate(weights, 0)
    unlit = replace(smiling, cheeks=[moved._replace(light=0.0) for moved in smiling.cheeks])
    folded, smooth = (face.compose(made, face.begin(0)).astype(int) for made in (smiling, unlit))
    cheek = smiling.cheeks[1].cheek
    row, column = np.unravel_index(cheek.light[..., 1].argmin(), cheek.light.shape[:2])
    x, y, side = avatar.crop
    cell = side * CELL / CROP_SIZE
    left, top = x + cell * (cheek.cells[1].start + column), y + cell * (cheek.cells[0].start + row)
    here = slice(round(top), round(top + cell)), slice(round(left), round(left + cell))
    darker = cheek.light[row, column, :3].mean()
    assert 0.7 * darker < (folded - smooth)[here].mean() < 0.4 * darker


def test_folds_of_strong_smiles_are_deeper_by_more():
    shares = [
        [light for _, _, light in cheeks_of(FACE).moved(AT_REST, FACE + s * (SMILING - FACE), 0)]
        for s in (0.35, 0.7)
    ]
    for weak, strong in zip(*shares, strict=True):
        assert 0.25 < weak < 0.4 and strong > 2.3 * weak


def test_each_side_smiles_for_itself_and_cheeks_follow_the_corners_of_the_mouth():
    face = bundled_face("mira", 256)
    assert sources(face) == []
    (left,) = sources(face, mouthSmileLeft=0.5)
    assert left[0] < -2 and left[1] > 2
    right, left = sources(face, mouthPucker=0.6)
    assert right[0] < -1 and left[0] > 1  # inwards
    for across, down in sources(face, jawOpen=0.7):  # an open mouth hardly moves them
        assert abs(across) < 2.5 and -2.5 < down <= 0
    most, all_of_it = (np.array(sources(face, mouthSmile=s)) for s in (0.9, 1.0))
    np.testing.assert_allclose(most, all_of_it, atol=0.2)  # as far as people's


def test_who_smiles_in_the_photograph_has_raised_the_cheeks():
    avatar, up = Avatar.load("mira"), []
    for shown in (0.0, 0.4, 0.9):
        smiling = replace(avatar, resting_weights=arkit.weights(mouthSmile=shown))
        up.append(sum(y for _, y in sources(FaceRenderer(smiling, 256), mouthSmile=1.0)))
    assert up[0] > 3 and up[1] == pytest.approx(0.5 * up[0], rel=0.1) and up[2] == 0


@pytest.mark.parametrize("name", ["pia", "android"])
def test_those_of_drawings_and_machines_stay(name):
    assert sources(bundled_face(name, 256), mouthSmile=0.6) == []


def cheeks_of(points):
    return Cheeks(points[None], (points + SMILING - FACE)[None], [SKIN])


def smile(points, share=0.5):
    """Both cheeks of a face with landmarks at `points` that smiles."""
    return cheeks_of(points).moved(AT_REST, points + share * (SMILING - FACE), 0)


def test_a_fold_is_darker_and_the_cheek_beside_it_lighter():
    _, (cheek, _, _) = smile(FACE)
    light = np.zeros((64, 64, 4), np.float32)
    light[cheek.cells] = cheek.light
    wing, corner, eye = (64 * SMILING[i] for i in (35, 54, 45))
    x, y = np.rint(wing + 0.4 * (corner - wing) + (3, 0)).astype(int)
    assert light[y - 2 : y + 3, x - 2 : x + 3, :3].min() < -12
    x, y = np.rint((eye + corner) / 2 + (3, -3)).astype(int)
    assert light[y - 3 : y + 4, x : x + 6, :3].min(-1).max() > 1.5
    assert not light[..., 3].any()
    (_, _, rounded), _ = smile(FACE, share=-0.5)
    assert rounded == 0  # what folds a face has at rest nobody knows


def in_glasses(avatar, radius):
    """The avatar with round black rims, `radius` in widths of its eyes. And their rims, a mask."""
    points, rims = avatar.landmarks[0], np.zeros(avatar.size[::-1], np.uint8)
    width = np.linalg.norm(points[45] - points[42])
    for eye in (slice(36, 42), slice(42, 48)):
        x, y = np.rint(points[eye].mean(0) + (0, 0.12 * width)).astype(int)
        cv2.circle(rims, (int(x), int(y)), round(radius * width), 255, 3)
    templates = avatar.templates.copy()
    templates[:, rims > 0] = 20
    return replace(avatar, templates=templates), rims > 0


@pytest.mark.parametrize("radius", [0.7, 1.05])
def test_rims_of_glasses_stay(radius):
    avatar, rims = in_glasses(Avatar.load("default"), radius)
    cheeks = FaceRenderer(avatar, 256).generate(arkit.weights(mouthSmile=0.8), 0).cheeks
    x, y, side = avatar.crop
    rims = cv2.resize(rims[y : y + side, x : x + side].astype(np.uint8), (CROP_SIZE, CROP_SIZE))
    assert len(cheeks) == 2
    for cheek, *_ in cheeks:
        assert cheek.share.max() > 0.3
        assert cheek.share[rims[cheek.box] > 0].max(initial=0) < 0.02


def test_a_blink_does_not_look_for_glasses_again(monkeypatch):
    renderer = bundled_face("default", 256)
    monkeypatch.delattr(lid_skin, "rim_heights")
    renderer.compose(*renderer.generate_and_begin(arkit.weights(eyeBlinkLeft=1.0), 0))


def test_what_is_not_seen_is_not_moved():
    turned = FACE.copy()  # the face's right half is behind its nose
    turned[:, 0] = np.maximum(FACE[:, 0], FACE[27, 0] - 0.016)
    assert [len(smile(points)) for points in (FACE, turned, FACE + 2)] == [2, 1, 0]
    assert not cheeks_of(FACE).moved(AT_REST, FACE, 0)


def test_cheeks_end_within_the_crop():
    """Its border would cut a step into them."""
    aside = np.array([0.3, 0.0])
    _, (cheek, _, _) = cheeks_of(FACE + aside).moved(AT_REST, SMILING + aside, 0)
    assert cheek.box[1].stop == CROP_SIZE
    assert cheek.share[:, -1].max() < 0.1 * cheek.share.max()


def test_what_is_beside_a_narrow_cheek_stays():
    narrow = FACE.copy()  # as the far cheek of a head that is turned
    narrow[11:17, 0] -= 0.4 * (FACE[14, 0] - FACE[45, 0])
    _, (cheek, _, _) = smile(narrow)
    share = np.zeros((CROP_SIZE, CROP_SIZE), np.float32)
    share[cheek.box] = cheek.share
    x, y = np.rint(CROP_SIZE * narrow[11:15]).astype(int).T
    assert share.max() > 0.5 and share[y, x].max() < 0.03


def test_both_sides_are_alike():
    (right, (right_x, right_y), _), (left, (left_x, left_y), _) = smile(FACE)
    assert (right_x, right_y) == pytest.approx((-left_x, left_y), abs=0.05)
    assert right_x > 3 and right_y > 3  # sources lie inwards and below
    assert right.share.sum() == pytest.approx(left.share.sum(), rel=0.05)


def test_cheeks_of_a_tilted_head_move_as_far():
    cos, sin = np.cos(np.radians(25)), np.sin(np.radians(25))
    turn = np.array([[cos, -sin], [sin, cos]])
    tilted = (FACE - 0.5) @ turn + 0.5
    cheeks = Cheeks(tilted[None], ((SMILING - 0.5) @ turn + 0.5)[None], [SKIN])
    moved = cheeks.moved(AT_REST, tilted + 0.5 * (SMILING - FACE) @ turn, 0)
    for (_, source, _), (_, upright, _) in zip(moved, smile(FACE), strict=True):
        np.testing.assert_allclose(source, upright @ turn, atol=0.02)
