# SPDX-License-Identifier: Apache-2.0
"""The inside of a drawn mouth: flat colours where the face model has teeth, tongue and hollow."""

from dataclasses import replace

import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.avatar.flat_mouth_colours import FlatMouthColours
from realtalk_ros.contracts import mouth_crop
from realtalk_ros.errors import AvatarError
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.mouth.flat_mouth import FlatMouthPainter

HOLLOW, TONGUE, TEETH = (100, 30, 50), (200, 90, 100), (255, 250, 240)  # red, green, blue
COLOURS = FlatMouthColours(HOLLOW, TONGUE, TEETH)
MOUTH = mouth_crop()


def interior(top=40, bottom=80, upper=50, lower=74):
    """A map with an opening from `top` to `bottom`, enamel down to `upper` and up to `lower`."""
    made = np.zeros((128, 128, 3), np.uint8)
    made[top:bottom, 30:98, 0] = 255
    made[top:upper, 34:94, 1] = made[lower:bottom, 40:88, 1] = 180
    made[top:upper, 60:62, 1] = 0  # a gap between two teeth
    return made


def painted(map_, before=128):
    mouth = np.full((128, 128, 3), before, np.uint8)
    FlatMouthPainter(COLOURS, 68.0).paint(map_, mouth)
    return mouth[..., ::-1]  # red first


def test_teeth_hollow_and_tongue_lie_where_the_face_model_has_them():
    mouth = painted(interior())
    assert (mouth[42:49, 36:92] == TEETH).all()  # one band, without the gap
    assert (mouth[53:66, 34:94] == HOLLOW).all()
    assert (mouth[78, 60:68] == TONGUE).all()  # over lower teeth, which are not drawn
    assert (mouth[75:80, 32:40] == HOLLOW).all()  # beside it
    outside = interior()[..., 0] == 0
    assert (mouth[outside] == 128).all()


def test_the_border_of_the_opening_is_soft():
    map_ = interior(upper=40, lower=80)
    map_[39, 30:98, 0] = 64
    assert np.abs(painted(map_)[39, 64] - (0.75 * 128 + 0.25 * np.array(HOLLOW))).max() <= 1


@pytest.mark.parametrize("map_", [
    np.zeros((128, 128, 3), np.uint8), interior(top=60, bottom=61, upper=61, lower=61),
], ids=["shut", "a slit"])  # fmt: skip
def test_a_mouth_that_hardly_opens(map_):
    mouth = painted(map_)
    assert (mouth[map_[..., 0] == 0] == 128).all()


def test_teeth_come_and_go_without_a_jump():
    """As the lip uncovers them, row by row."""
    white = [int((painted(interior(upper=u))[40:70] == TEETH).all(-1).sum()) for u in range(40, 52)]
    assert white[0] == 0 and white[-1] > 500 and np.diff(white).min() >= 0
    assert np.diff(white).max() < 90  # a row has 60


def test_one_does_not_see_through_teeth():
    """However far they have come: between their colour and the hollow's is one row."""
    for seen in (26, 32, 38, 60):  # columns of 68 with enamel
        map_ = interior()
        map_[..., 1] *= np.abs(np.arange(128) - 64) < seen / 2
        column = painted(map_)[41:60, 64]
        between = (column != TEETH).any(-1) & (column != HOLLOW).any(-1)
        assert between.sum() <= 1


def test_pias_open_mouth_is_that_of_her_drawings():
    pia = bundled_face("pia")
    avatar, (x, y, side) = pia.avatar, pia.avatar.crop

    def apart(renderer):
        levels = []
        for weights, picture in zip(avatar.reference_weights, avatar.more_references, strict=True):
            made = renderer.generate(weights, 0)
            inside = made.mouth_interior[MOUTH][..., 0] > 127
            drawn = renderer.compose(made, renderer.begin(0))[y : y + side, x : x + side]
            difference = np.abs(drawn.astype(int) - picture)[MOUTH].mean(-1)
            levels.append(difference[inside].mean())
        return np.array(levels)

    flat, network = map(apart, (pia, FaceRenderer(replace(avatar, flat_mouth=None))))
    assert (flat < 0.75 * network).all() and flat.mean() < 0.55 * network.mean()


def test_her_lips_still_shut():
    renderer = bundled_face("pia")
    shut = arkit.weights(mouthPress=0.6)
    made = renderer.generate(shut, 0)
    white = (made.mouth.min(-1) > 225).sum()
    assert white < 10


@pytest.mark.parametrize("section", [
    [], {"hollow": [0, 0, 0]}, {"hollow": [0, 0, 0], "tongue": [0, 0, 0], "teeth": [0, 0, 256]},
    {"hollow": [0, 0, 0], "tongue": "red", "teeth": [0, 0, 0]},
    {"hollow": [0, 0, 0], "tongue": [0.5, 0, 0], "teeth": [0, 0, 0]},
    {"hollow": [0, 0, 0], "tongue": [0, 0, 0], "teeth": [0, 0, 0], "gums": [0, 0, 0]},
])  # fmt: skip
def test_colours_that_cannot_be_are_refused_in_one_line(section):
    with pytest.raises(AvatarError, match="flat_mouth") as error:
        FlatMouthColours.of(section, "avatar ann")
    assert "\n" not in str(error.value)
    assert FlatMouthColours.of(None, "") is None
