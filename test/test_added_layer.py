# SPDX-License-Identifier: Apache-2.0
"""What the generator adds to a template is drawn where it can be seen, and only there."""

from dataclasses import replace

import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import mouth_crop
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.added_layer import AddedLayer
from realtalk_ros.rendering.common.boxes import grown
from realtalk_ros.rendering.head.head_warp import HeadWarp
from realtalk_ros.rendering.head.moving_person import MovingPerson

ALWAYS = grown(mouth_crop(), 4, 256)  # the mouth, and a cell beside it
BROW = slice(10, 14), slice(20, 30)  # cells of the change


@pytest.fixture(scope="module")
def face():
    """Of a shut mouth, of which the generator would change nothing."""
    made = bundled_face("default", 256).generate(np.zeros(arkit.COUNT, np.float32), 0)
    made.mouth_interior[:] = 0
    return replace(
        made, change=0 * made.change, mask=0 * made.mask + 1, mouth=made.warped_mouth, lids=None
    )


def drawn(face, levels: float) -> AddedLayer:
    """The layer when the brow gets lighter by so many grey levels."""
    whole = np.ones((256, 256), np.float32)
    layer = AddedLayer(whole)
    face.change[:] = 99  # in an image before
    layer.draw(face, whole)
    face.change[:] = 0
    face.change[BROW] = levels
    layer.draw(face, whole)
    return layer


def test_nothing_is_drawn_where_nothing_changes(face):
    layer = drawn(face, 0.4)  # less than images can show
    assert layer.box == ALWAYS and layer.opening is None
    assert np.abs(layer.image).max() == 0


def test_a_change_is_drawn_up_to_where_it_ends(face):
    rows, columns = drawn(face, 3.0).box
    assert rows.start <= 40 and rows.stop == ALWAYS[0].stop
    assert columns == ALWAYS[1]
    image = drawn(face, -3.0).image
    assert np.allclose(image[46 - rows.start, 100 - columns.start], (-3, -3, -3, 0), atol=0.01)
    assert np.abs(image[0]).max() < 0.5  # it has faded where the layer ends


@pytest.mark.parametrize("rotation", [None, (0.05, 0.1, 0.0)])
def test_what_is_beside_the_face_may_be_drawn_after_it(rotation):
    """The helper may be late: what is drawn of the face stays."""
    avatar = Avatar.load("default")
    warp = HeadWarp(MovingPerson(avatar), avatar.templates)
    view = warp.view(0, None if rotation is None else np.float32(rotation))
    face = slice(150, 350), slice(140, 360)
    view.image[face] = 7
    warp.draw(view, face)
    assert (view.image[face] == 7).all() and view.image[:100, 200:300].std() > 5
