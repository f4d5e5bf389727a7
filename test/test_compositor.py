# SPDX-License-Identifier: Apache-2.0
"""The template's own pixels in the image: their detail, lids, and the mouth, which is drawn."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model.arkit import weights
from realtalk_ros.rendering.face_renderer import FaceRenderer

TURNED = np.array([0.03, 0.05, 0.02], np.float32)  # rad


SPOKEN = weights(jawOpen=0.3, mouthFunnel=0.2)


def rough(avatar: Avatar, size: int) -> Avatar:
    """The avatar in templates of `size` pixels with pores: noise of a pixel."""
    scale = size / avatar.size[1]
    (template,) = avatar.templates[:1]
    template = cv2.resize(template, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    pores = np.random.default_rng(0).normal(0, 12, (*template.shape[:2], 1))
    template = np.clip(template + pores, 0, 255).astype(np.uint8)
    return replace(
        avatar,
        templates=template[None],
        size=template.shape[1::-1],
        crop=tuple(round(v * scale) for v in avatar.crop),
        landmarks=avatar.landmarks[:1] * scale,
    )


def detail(image: np.ndarray) -> float:
    return float(cv2.Laplacian(image.mean(-1), cv2.CV_64F).var())


@pytest.mark.parametrize("size", [512, 1024])
@pytest.mark.parametrize("rotation", [None, TURNED], ids=["upright", "turned"])
@pytest.mark.parametrize("shown", [weights(), SPOKEN], ids=["rest", "spoken"])
def test_pores_stay_when_the_face_speaks_and_turns(size, rotation, shown):
    avatar = rough(Avatar.load("default"), size)
    image = FaceRenderer(avatar, size).render(shown, 0, rotation)
    side = avatar.crop[2]
    for name, point, share in (("cheek", 2, 0.4), ("chin", 8, 0.4), ("nose", 27, 0.4)):
        at = avatar.landmarks[0, point] * 0.8 + avatar.landmarks[0, 30] * 0.2
        left, top = (at - side / 20).astype(int)
        box = slice(top, top + side // 10), slice(left, left + side // 10)
        assert detail(image[box]) > share * detail(avatar.templates[0][box]), name


@pytest.mark.parametrize("name", ["default", "noah", "ines"])
def test_a_shut_lid_is_clean_skin_with_a_line_of_lashes(name):
    renderer = FaceRenderer(Avatar.load(name), 512)
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


def test_what_the_mouth_shows_is_the_networks():
    renderer = FaceRenderer(Avatar.load("default"), 512)
    shown = weights(jawOpen=0.6)
    made = renderer.generate(shown, 0)
    x, y, side = renderer.avatar.crop
    assert side == 256
    inside = cv2.erode(made.mouth_interior[..., 0], np.ones((5, 5), np.uint8)) > 200
    drawn = made.image.astype(int)
    image = renderer.compose(made, 0)[y : y + side, x : x + side].astype(int)
    assert inside.sum() > 200
    assert np.abs(image - drawn)[inside].mean() < 3


@pytest.mark.parametrize("rotation", [None, TURNED, 20 * TURNED], ids=["upright", "turned", "far"])
def test_the_head_turns_without_seams(rotation):
    """What is sampled in parts is as if it were sampled as one."""
    renderer = FaceRenderer(Avatar.load("default"), 512)
    height, width = renderer.templates[0].shape[:2]
    across, down = np.meshgrid(np.arange(width) // 2, np.arange(height) // 2)
    slope = np.stack([across, down, (across + down) // 2], -1).astype(np.uint8)
    made = renderer.generate(weights(), 0)
    made = replace(made, mask=np.zeros_like(made.mask), lashes=np.zeros_like(made.lashes))
    made.mouth_interior[:] = 0
    image = renderer._compositor.compose(slope, made, rotation)
    bends = np.abs(cv2.Laplacian(image, cv2.CV_32F)).max()
    assert bends <= (4 if rotation is None or rotation is TURNED else 6)
