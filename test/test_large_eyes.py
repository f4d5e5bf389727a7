# SPDX-License-Identifier: Apache-2.0
"""Lids of eyes that are larger than people's."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.eyes import large_eyes
from realtalk_ros.rendering.eyes.eyes import Eyes
from realtalk_ros.rendering.eyes.eyes_model import load
from realtalk_ros.rendering.eyes.lid_curves import SHUT
from realtalk_ros.rendering.face_renderer import FaceRenderer

MIDDLE = slice(5, -5)


def opening(lids: np.ndarray) -> np.ndarray:
    """(2,) cm, of lids (2, 2, N, 3)."""
    return (lids[:, 0, MIDDLE, 1] - lids[:, 1, MIDDLE, 1]).mean(1)


@pytest.mark.parametrize("times", [1.25, 2])  # a large eye of a person, a drawing's
def test_a_large_eye_shuts_and_others_blink_as_before(times):
    model = load()
    assert large_eyes.shutting(model.expressions, model.lids) is model.expressions
    wide = model.lids.copy()
    middle = wide[..., 1].mean((1, 2), keepdims=True)
    wide[..., 1] = middle + (wide[..., 1] - middle) * times
    longer = large_eyes.shutting(model.expressions, wide)
    blink = arkit.weights(eyeBlink=1)
    left_open, shut = (
        opening(wide + (blink @ one).reshape(wide.shape)) / opening(wide)
        for one in (model.expressions, longer)
    )
    assert (left_open > SHUT + 0.03).all()
    np.testing.assert_allclose(shut, SHUT, atol=0.01)
    others = [k for k in range(arkit.COUNT) if not arkit.NAMES[k].startswith("eyeBlink")]
    np.testing.assert_array_equal(longer[others], model.expressions[others])
    one = model.lids.copy()
    one[1] = wide[1]  # only the left one
    mixed = large_eyes.shutting(model.expressions, one)
    right, left = (arkit.INDEX[name] for name in large_eyes.BLINKS)
    np.testing.assert_array_equal(mixed[right], model.expressions[right])
    assert np.abs(mixed[left]).max() > 1.03 * np.abs(model.expressions[left]).max()


def test_lids_that_are_low_at_rest_have_a_shorter_way():
    mira, model, none = Avatar.load("mira"), load(), np.zeros((1, 68, 2), np.float32)
    for resting, same in ((mira.resting_weights, True), (np.zeros(arkit.COUNT), False)):
        camera = SimpleNamespace(scale=np.ones(1))
        expressions = Eyes(mira.identity, camera, none, resting)._expressions
        assert np.array_equal(expressions, model.expressions) == same


def test_an_avatars_own_picture_of_shut_eyes_is_shown():
    avatar, red = Avatar.load("pia"), (20, 40, 220)
    avatar = replace(avatar, shut_eyes=np.full_like(avatar.templates, red))
    renderer = FaceRenderer(avatar, 512)
    eyes = np.rint(avatar.landmarks[0, [*range(36, 48)]].reshape(2, 6, 2).mean(1)).astype(int)
    for weights, shown in ((arkit.weights(eyeBlink=1), True), (arkit.weights(), False)):
        image = renderer.render(weights, 0)
        for x, y in eyes:
            alike = np.abs(image[y - 3 : y + 3, x - 12 : x + 13].astype(int) - red).max() <= 3
            assert alike == shown
    half = renderer.render(arkit.weights(eyeBlink=0.5), 0)
    x, y = eyes[0]
    assert np.abs(half[y - 10, x].astype(int) - red).max() <= 3  # above the lid's edge
    assert np.abs(half[y + 4, x].astype(int) - red).max() > 50  # below it the eye
