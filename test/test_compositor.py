# SPDX-License-Identifier: Apache-2.0
"""The template's own pixels in the image: their detail, lids, and the mouth, which is drawn; and
the head that turns before its background."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import mouth_crop
from realtalk_ros.enroll import framing
from realtalk_ros.face_model import landmarks
from realtalk_ros.face_model.arkit import weights
from realtalk_ros.face_model.rotations import rotation_matrix
from realtalk_ros.rendering.common.boxes import BAND_PIXELS, bands
from realtalk_ros.rendering.compositor import Compositor, joined, with_swept
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.head.head_depth import HeadDepth
from realtalk_ros.rendering.head.moving_person import JOINT, MovingPerson

MOUTH = mouth_crop()
TURNED = np.array([0.03, 0.05, 0.02], np.float32)  # rad


SPOKEN = weights(jawOpen=0.3, mouthFunnel=0.2)


@cache
def rough(size: int) -> FaceRenderer:
    """The default avatar in templates of `size` pixels with pores: noise of a pixel."""
    avatar = Avatar.load("default")
    scale = size / avatar.size[1]
    (template,) = avatar.templates[:1]
    template = cv2.resize(template, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    pores = np.random.default_rng(0).normal(0, 12, (*template.shape[:2], 1))
    template = np.clip(template + pores, 0, 255).astype(np.uint8)
    avatar = replace(
        avatar,
        templates=template[None],
        size=template.shape[1::-1],
        crop=tuple(round(v * scale) for v in avatar.crop),
        landmarks=avatar.landmarks[:1] * scale,
    )
    return FaceRenderer(avatar, size)


def detail(image: np.ndarray) -> float:
    return float(cv2.Laplacian(image.mean(-1), cv2.CV_64F).var())


@pytest.mark.parametrize("size", [512, 1024])
@pytest.mark.parametrize("rotation", [None, TURNED], ids=["upright", "turned"])
@pytest.mark.parametrize("shown", [weights(), SPOKEN], ids=["rest", "spoken"])
def test_pores_stay_when_the_face_speaks_and_turns(size, rotation, shown):
    face = rough(size)
    image = face.render(shown, 0, rotation)
    avatar, side = face.avatar, face.avatar.crop[2]
    for name, point, share in (("cheek", 2, 0.4), ("chin", 8, 0.4), ("nose", 27, 0.4)):
        at = avatar.landmarks[0, point] * 0.8 + avatar.landmarks[0, 30] * 0.2
        left, top = (at - side / 20).astype(int)
        box = slice(top, top + side // 10), slice(left, left + side // 10)
        assert detail(image[box]) > share * detail(avatar.templates[0][box]), name


@pytest.mark.parametrize("name", ["default", "kenji", "ines"])
def test_a_shut_lid_is_clean_skin_with_a_line_of_lashes(name):
    renderer = bundled_face(name)
    image = renderer.render(weights(eyeBlink=1), 0).astype(int).mean(-1)
    eyes = renderer.avatar.landmarks[0, 36:48].reshape(2, 6, 2)
    for eye in eyes:
        width = np.ptp(eye[:, 0])
        middle, top = eye[:, 0].mean(), eye[:, 1].min()
        columns = slice(int(middle - 0.2 * width), int(middle + 0.2 * width))
        lid = image[int(top) - 1 : int(top) + 2, columns]  # where the eye was open
        above = image[int(top - 0.3 * width) : int(top - 0.2 * width), columns]
        assert abs(lid.mean() - above.mean()) < 12, (lid.mean(), above.mean())
        line = image[int(top) : int(eye[:, 1].max()) + 4, columns].min(0)
        assert line.mean() < lid.mean() - 25  # lashes


def test_no_iris_shows_through_a_shut_lid_and_a_half_shut_one_is_clean_above_its_edge():
    avatar = replace(Avatar.load("android"), shut_eyes=None)  # as if it were of a photograph
    renderer = FaceRenderer(avatar, 512)
    eyes = renderer.avatar.landmarks[0, 36:48].reshape(2, 6, 2)
    shown = {v: renderer.render(weights(eyeBlink=v), 0).astype(int) for v in (0, 0.5, 1)}
    for eye in eyes:
        (left, top), (right, bottom) = eye.min(0).astype(int), eye.max(0).astype(int) + 1
        colour = {
            v: np.ptp(image[top - 3 : bottom + 4, left:right], axis=-1)  # grey skin, cyan irises
            for v, image in shown.items()
        }
        assert (colour[0] > 90).sum() > 100
        assert (colour[1] > 40).sum() == 0
        assert 20 < (colour[0.5] > 90).sum() < 0.75 * (colour[0] > 90).sum()
        assert (colour[0.5][:4] > 40).sum() == 0


def test_a_smile_is_as_wide_where_the_network_may_draw_in_a_part_of_the_face_alone():
    """As in an enrolled photograph: dots beside the corners of the mouth come as far."""
    avatar = Avatar.load("default")
    image, corners = avatar.templates[0].copy(), avatar.landmarks[0, [48, 54]]
    dots = np.rint(corners + [(-3, 0), (3, 0)]).astype(int)
    for dot in dots:
        cv2.circle(image, dot.tolist(), 2, (0, 255, 0), -1)
    marked = replace(avatar, templates=image[None], landmarks=avatar.landmarks[:1])
    part = framing.region(avatar.landmarks[0], avatar.crop).astype(np.float32) / 255
    found = []
    for region in (None, part):
        renderer = FaceRenderer(replace(marked, region=region), 512)
        drawn = renderer.render(weights(mouthSmile=0.9, mouthStretch=0.3), 0).astype(int)
        green = drawn[..., 1] - drawn[..., ::2].max(-1)
        for x, y in dots:
            near = np.s_[y - 20 : y + 20, x - 20 : x + 20]
            rows, columns = np.nonzero(green[near] > 60)
            found.append((columns.mean() - 20, rows.mean() - 20))
    whole, of_part = np.array(found).reshape(2, 2, 2)
    assert np.linalg.norm(whole, axis=1).min() > 5
    assert np.linalg.norm(whole - of_part, axis=1).max() < 0.1 * np.linalg.norm(whole, axis=1).min()


def test_what_the_mouth_shows_is_the_networks():
    renderer = bundled_face("default")
    shown = weights(jawOpen=0.6)
    made = renderer.generate(shown, 0)
    x, y, side = renderer.avatar.crop
    assert side == 256
    inside = cv2.erode(made.mouth_interior[..., 0], np.ones((5, 5), np.uint8))[MOUTH] > 200
    drawn = made.mouth.astype(int)
    image = renderer.compose(made, renderer.begin(0))[y : y + side, x : x + side][MOUTH].astype(int)
    assert inside.sum() > 200
    assert np.abs(image - drawn)[inside].mean() < 3


def test_the_line_between_shut_lips_is_not_seen_in_an_open_mouth():
    avatar, shown = Avatar.load("default"), weights(jawOpen=0.6)
    image = avatar.templates[0].copy()
    lips = np.round(avatar.landmarks[0, [48, 60, 61, 62, 63, 64, 54]]).astype(np.int32)
    cv2.polylines(image, [lips], False, (0, 0, 0))
    lined = replace(avatar, templates=image[None], landmarks=avatar.landmarks[:1])
    renderer = FaceRenderer(lined, 512)
    made = renderer.generate(shown, 0)
    x, y, side = avatar.crop
    inside = cv2.erode(made.mouth_interior[..., 0], np.ones((5, 5), np.uint8))[MOUTH] > 200
    drawn = made.mouth.astype(int)
    image = renderer.compose(made, renderer.begin(0))[y : y + side, x : x + side][MOUTH]
    assert np.abs(image.astype(int) - drawn)[inside].max() < 8


def test_a_gap_in_the_mask_between_chin_and_neck_is_closed_and_no_other():
    mask = np.zeros((64, 64), np.float32)
    mask[8:20, 20:44] = mask[40:50, 16:48] = mask[53:64, 24:40] = 1
    mask[24:28, 20:44] = 1  # above the middle gaps stay
    closed = joined(mask)
    assert (closed[50:53, 26:38] == 1).all() and not closed[50:53, :22].any()
    np.testing.assert_array_equal(closed[:32], mask[:32])
    solid = np.zeros((64, 64), np.float32)
    solid[30:, 16:48] = 0.7
    np.testing.assert_array_equal(joined(solid), solid)


def test_the_chin_moves_over_what_lies_beside_it():
    """Where the generator's mask ends at the chin's line."""
    mask = np.zeros((64, 64), np.float32)
    mask[10:40, 20:44] = 1
    down = 6.0  # pixels by which it moves
    x, y = np.meshgrid(np.arange(64), np.arange(64))
    moved = with_swept(mask, np.stack([x, y - down]).astype(np.float32))
    np.testing.assert_array_equal(moved[:32], mask[:32])  # a fringe stays above the brows
    assert (moved[32:46, 20:44] == 1).all() and not moved[50:].any()


@pytest.mark.parametrize("name, usual", [("pia", 22), ("android", 15.8)])
def test_an_open_mouths_jaw_line_is_as_in_the_picture_of_it(name, usual):
    """`usual`: grey levels by which it differs where hair beside the chin cuts steps into it."""
    face = bundled_face(name)
    avatar, (x, y, side) = face.avatar, face.avatar.crop
    drawn = face.render(avatar.reference_weights[1], 0)
    apart = cv2.absdiff(drawn[y : y + side, x : x + side], avatar.more_references[1]).max(2)
    jaw = np.int32(avatar.reference_landmarks[1][3:14]).reshape(-1, 1, 2)
    along = cv2.polylines(np.zeros((side, side), np.uint8), [jaw], False, 255, 15) > 0
    assert apart[along].mean() < 0.9 * usual


def test_no_mouth_opens_beyond_what_the_generator_draws():
    """MOUTH_CROP holds every mouth; its last pixels fade into what is around them."""
    wide = weights(jawOpen=1, mouthFunnel=0.3)
    stretched = weights(jawOpen=0.6, mouthStretchLeft=1, mouthSmileLeft=1, mouthLeft=1)
    for name in ("default", "mira", "kenji", "ines", "android", "pia"):
        renderer = bundled_face(name, 128)
        for shown in (wide, stretched):
            interior = renderer.generate(shown, 0).mouth_interior[..., 0].copy()
            assert interior.any()
            interior[MOUTH][4:-4, 4:-4] = 0
            assert not interior.any()


ANGLE = np.radians(5)


@pytest.mark.parametrize("name", ["default", "kenji"])
@pytest.mark.parametrize("rotation", np.eye(3) * ANGLE, ids=["pitch", "yaw", "roll"])
def test_a_turned_head_goes_where_its_model_in_space_does(name, rotation):
    """Each landmark above the chin, within a millimetre; a yaw moves the nose, hardly the ears."""
    avatar = Avatar.load(name)
    person, camera = MovingPerson(avatar), HeadDepth(avatar).cameras
    shape = landmarks.load().points(avatar.resting_weights, avatar.identity)
    ears = np.array([[side * 8.0, 3.0, 0.0] for side in (-1, 1)])  # cm, stand off the cheeks
    points = np.concatenate([shape[[30, 27, 36, 45, 48, 54]], ears])
    turned = (points - JOINT) @ rotation_matrix(*rotation).T + JOINT
    before, after = (
        camera.project(p.astype(np.float32), 0)[:, :2] * avatar.crop[2] + avatar.crop[:2]
        for p in (points, turned)
    )
    back = cv2.resize(person.motion(0, rotation, 0.0), avatar.size)
    went = -np.array([back[round(float(y)), round(float(x))] for x, y in after])
    assert np.abs(went - (after - before))[:6].max() < 0.1 * person.depth.pixels_per_cm
    if rotation[1]:
        assert went[0, 0] > 12 and np.abs(went[6:, 0]).max() < 0.3 * went[0, 0]


def test_what_is_behind_a_turning_head_stays_and_is_continued():
    """Stripes, such as a door's frame: straight up to the head, and where the head was."""
    avatar = Avatar.load("kenji")
    person = MovingPerson(avatar)
    behind = cv2.resize(person.mask, avatar.size) < 128
    stripes = np.where(np.arange(avatar.size[0]) // 16 % 2, 150, 100).astype(np.uint8)
    template = avatar.templates[person.key].copy()
    template[behind] = np.broadcast_to(stripes[None, :, None], template.shape)[behind]
    avatar = replace(avatar, templates=template[None], landmarks=avatar.landmarks[person.key][None])
    renderer = FaceRenderer(avatar, 512)
    image = renderer.render(weights(), 0, np.array([0.05, 0.05, 0.08], np.float32)).astype(int)
    inside = (~behind).astype(np.uint8)
    moved = np.abs(image - template).max(-1) > 2
    far = cv2.dilate(inside, np.ones((67, 67), np.uint8)) == 0  # four cells of the motion's grid
    assert far.mean() > 0.3 and not moved[far].any()
    # The head rolls to the right: at its left background is bared.
    hair = int(avatar.landmarks[0, 17, 1]) - 60
    edge = int(np.flatnonzero(inside[hair])[0])
    bared = hair, slice(edge + 2, edge + 5)
    assert image[bared].min(0).mean() > template[bared].mean() + 20


def test_an_even_wall_is_continued_without_a_line_where_the_person_was():
    """A wall that becomes lighter to the right, as by a lamp."""
    avatar = Avatar.load("kenji")
    person = MovingPerson(avatar)
    behind = cv2.resize(person.mask, avatar.size) < 128
    wall = 60 + 0.3 * np.arange(avatar.size[0])
    template = avatar.templates[person.key].copy()
    template[behind] = np.broadcast_to(wall[None, :, None], template.shape)[behind]
    avatar = replace(avatar, templates=template[None], landmarks=avatar.landmarks[person.key][None])
    image = FaceRenderer(avatar, 512).render(weights(), 0, np.array([0.0, 0.0, 0.1], np.float32))
    hair = int(avatar.landmarks[0, 17, 1]) - 60
    edges = [int(np.flatnonzero(~behind[row])[0]) for row in range(hair, hair + 60)]
    bared = [image[row, edge : edge + 8].mean(-1) - wall[edge : edge + 8]
             for row, edge in enumerate(edges, hair)]  # fmt: skip
    assert np.abs(np.mean(bared, axis=0)).max() < 2


def test_broad_shoulders_that_are_raised_belong_to_the_person():
    """Else they tear where they do not move with the rest."""
    avatar, beside = Avatar.load("kenji"), 100  # pixels of more wall at each side
    picture = cv2.copyMakeBorder(avatar.templates[0], 0, 0, beside, beside, cv2.BORDER_REPLICATE)
    x, y, side = avatar.crop
    avatar = replace(
        avatar, templates=picture[None], size=picture.shape[1::-1], crop=(x + beside, y, side),
        landmarks=avatar.landmarks[:1] + [beside, 0], mattes=None,
    )  # fmt: skip
    head = HeadDepth(avatar)
    flat = np.zeros(picture.shape[:2], np.float32)
    aside, up, _ = np.moveaxis(head.in_space(0, flat), -1, 0)  # cm
    raised = head.chin - up > 2 + 0.01 * aside**2
    shoulders = raised & (np.abs(aside) > 7) & (np.abs(aside) < 20)
    cloth = np.random.default_rng(0).normal([60, 40, 40], 4, picture.shape)
    picture[shoulders] = cloth[shoulders]
    mask = cv2.resize(MovingPerson(avatar).mask, avatar.size) > 127
    outer = shoulders & (np.abs(aside) > 15)
    assert mask[outer].mean() > 0.99


def test_shoulders_breathe_and_the_background_does_not():
    renderer = bundled_face("kenji")
    breathed_in, out = (renderer.render(weights(), 0, None, breath) for breath in (1.0, -1.0))
    chin = renderer.avatar.landmarks[0, 8]
    top = int(chin[1]) + 60
    for side in (-110, 110):
        column = slice(int(chin[0]) + side - 20, int(chin[0]) + side + 20)
        one, two = (
            cv2.GaussianBlur(image[top : top + 90, column], (0, 0), 2).astype(np.float64).mean(-1)
            for image in (breathed_in, out)
        )
        # The least squares shift of one to the other, pixels upwards.
        slope = np.gradient((one + two) / 2, axis=0)
        assert 0.8 < ((one - two) * slope).sum() / (slope**2).sum() < 3
    assert np.abs(breathed_in[:20].astype(int) - out[:20]).max() <= 1


@pytest.mark.parametrize("rotation", [None, TURNED, 2 * TURNED], ids=["upright", "turned", "far"])
def test_the_head_turns_without_seams(rotation):
    """What is sampled in parts is as if it were sampled as one."""
    renderer = bundled_face("default")
    height, width = renderer.templates[0].shape[:2]
    across, down = np.meshgrid(np.arange(width) // 2, np.arange(height) // 2)
    slope = np.stack([across, down, (across + down) // 2], -1).astype(np.uint8)
    made = renderer.generate(weights(), 0)
    made = replace(made, mask=np.zeros_like(made.mask), lids=None)
    made.mouth_interior[:] = 0
    person = MovingPerson(renderer.avatar)
    compositor = Compositor(renderer.avatar, slope[None], person)
    image = compositor.compose(made, compositor.begin(0, rotation))
    # At its border, the head passes before the background.
    head = cv2.erode(cv2.resize(person.mask, (width, height)), np.ones((61, 61), np.uint8))
    bends = np.abs(cv2.Laplacian(image, cv2.CV_32F))[head > 128].max()
    assert bends <= (4 if rotation is None or rotation is TURNED else 6)


@pytest.mark.parametrize("width", [1, 345, 700, 10_000])
def test_an_image_is_made_in_parts_that_hold_each_row_once(width):
    made = list(bands((slice(7, 901), slice(5, 5 + width))))
    assert np.concatenate([np.arange(901)[rows] for rows, _ in made]).tolist() == [*range(7, 901)]
    assert all(columns == slice(5, 5 + width) for _, columns in made)
    sizes = [width * (rows.stop - rows.start) for rows, _ in made]
    assert (
        max(sizes) <= max(BAND_PIXELS, width) and len(made) <= 894 * width / BAND_PIXELS * 1.1 + 1
    )
