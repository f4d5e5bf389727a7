# SPDX-License-Identifier: Apache-2.0
"""Triangles are rasterised as OpenCV fills them."""

import cv2
import numpy as np

from realtalk_ros.rendering.common import rasterizer

SIZE = 24
FACES = np.array([[0, 1, 2], [0, 2, 3]], np.int32).T
FACTORS = np.ones(2, np.uint16)


def square(left: float, top: float, side: float, nearness: float) -> np.ndarray:
    """Corners that face the viewer, in FACES' order: counter-clockwise with y up."""
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * side + (left, top)
    return np.c_[corners, np.full(4, nearness)].astype(np.float32)


def drawn(points, faces=FACES, values=None, factors=FACTORS) -> np.ndarray:
    out = np.zeros((SIZE, SIZE), np.uint16)
    values = np.full(len(points), 7, np.float32) if values is None else np.float32(values)
    rasterizer.draw(points, faces, values, factors, out)
    return out


def test_every_pixel_whose_middle_is_inside_is_filled():
    out = drawn(square(3.4, 5.5, 10, 0))
    assert (out[6:16, 4:14] == 7).all() and out.sum() == 7 * 100
    assert drawn(square(-8, -8, 40, 0)).all()  # larger than the picture
    assert not drawn(square(SIZE + 1, 3, 5, 0)).any()
    assert not drawn(square(3, 3, 10, 0)[::-1].copy()).any()  # from behind


def test_random_triangles_are_what_opencv_fills():
    rng = np.random.default_rng(0)
    for corners in rng.uniform(-10, SIZE + 10, (200, 3, 2)):
        points = np.c_[corners, np.zeros(3)].astype(np.float32)
        faces = np.array([[0, 1, 2], [0, 2, 1]], np.int32).T  # one of them faces the viewer
        # Distance of each pixel's middle to the border, where rounding may decide.
        outline = np.float32(corners)
        away = np.array([[cv2.pointPolygonTest(outline, (x, y), True) for x in range(SIZE)]
                         for y in range(SIZE)])  # fmt: skip
        sure = np.abs(away) > 1e-3
        assert ((drawn(points, faces) > 0) == (away > 0))[sure].all()


def test_the_nearer_hides_the_farther_and_values_change_evenly():
    points = np.concatenate([square(2, 2, 12, 1.0), square(6, 6, 12, 0.0)])
    faces = np.concatenate([FACES, FACES + 4], 1)
    values = np.r_[100, 100, 220, 220, 9, 9, 9, 9]
    out = drawn(points, faces, values, np.array([1, 1, 256, 256], np.uint16))
    assert (out[17, 6:19] == 9 * 256).all() and (out[8, 8:14] < 256).all()
    assert np.abs(out[8, 2:15] - (100 + 10 * np.arange(13))).max() <= 1


def test_surfaces_that_cross_are_seen_where_they_are_nearer():
    """As a tooth and the gum around its root: no order of whole triangles is right."""
    level, steep = square(2, 2, 20, 0.5), square(2, 2, 20, 0.0)
    steep[:, 2] = (steep[:, 1] - 2) / 20  # nearer, the lower
    points, faces = np.concatenate([level, steep]), np.concatenate([FACES, FACES + 4], 1)
    for first in (faces, faces[:, ::-1]):
        out = drawn(points, first.copy(), [1] * 4 + [2] * 4, np.ones(4, np.uint16))
        assert (out[2:11, 2:22] == 1).all() and (out[13:22, 2:22] == 2).all()


def test_thin_and_empty_triangles_do_no_harm():
    line = np.array([[2, 2, 0], [20, 2, 0], [11, 2, 0]], np.float32)
    assert not drawn(line, FACES[:, :1], factors=FACTORS[:1]).any()
    nearly = line + np.array([[0, 0, 0], [0, 1e-5, 0], [0, -1e-5, 0]], np.float32)
    assert drawn(nearly, FACES[:, :1], factors=FACTORS[:1]).sum() <= 7 * 19
    assert not drawn(square(3, 3, 0, 0)).any()


def test_what_is_shown_already_hides_the_farther_and_is_hidden_by_the_nearer():
    out, shown = np.zeros((SIZE, SIZE), np.uint16), np.full((SIZE, SIZE), -np.inf, np.float32)
    values, half = np.full(4, 7, np.float32), square(2, 2, 20, 1.0)
    rasterizer.draw(half, FACES, values, FACTORS, out, shown=shown)
    assert (shown[2:22, 2:22] == 1).all() and np.isinf(shown[0]).all()
    slope = square(0, 0, 24, 0.0)
    slope[:, 2] = np.where(slope[:, 0] > 12, 2, 0)  # nearer from the middle on to the right
    rasterizer.draw(slope, FACES, values + 1, FACTORS, out, shown=shown)
    assert (out[3:21, 3:11] == 7).all() and (out[3:21, 13:] == 8).all()
    assert (out[:2] == 8).all() and (shown[3:21, 14:22] > 1).all()


def test_beyond_the_bounds_of_a_row_nothing_is_drawn():
    out = np.zeros((SIZE, SIZE), np.uint16)
    bounds = np.stack([np.arange(SIZE), np.full(SIZE, 20)]).astype(np.int32)
    values = np.full(4, 7, np.float32)
    rasterizer.draw(square(-1, -1, 30, 0), FACES, values, FACTORS, out, bounds=bounds)
    column, row = np.meshgrid(np.arange(SIZE), np.arange(SIZE))
    np.testing.assert_array_equal(out > 0, (column >= row) & (column <= 20))
