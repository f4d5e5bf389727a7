# SPDX-License-Identifier: Apache-2.0
"""Hair of synthetic people, grown on a head made up here: a ball of 10 cm radius."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="training needs scipy")

from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits import strands
from realtalk_ros.training.portraits.people import Hair
from realtalk_ros.training.synthetic.hair import STYLES, grow_hair
from realtalk_ros.training.synthetic.traits import Traits

CENTRE, RADIUS = np.array([0.0, 3.0, 0.0]), 10.0


@pytest.fixture(scope="module")
def ball() -> FaceKit:
    """A FaceKit whose face and head are the two halves of a ball."""
    rows, columns = 24, 48
    v, u = np.meshgrid(np.linspace(0.02, np.pi - 0.02, rows), np.arange(columns), indexing="ij")
    u = 2 * np.pi * u / columns
    points = np.stack([np.sin(v) * np.sin(u), np.cos(v), np.sin(v) * np.cos(u)], -1)
    mean = (CENTRE + RADIUS * points.reshape(-1, 3)).astype(np.float32)
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = row * columns + column, row * columns + (column + 1) % columns
    corners = a, a + columns, b, b, a + columns, b + columns
    triangles = np.stack(corners, -1).reshape(-1, 3).astype(np.int32)
    half = len(mean) // 2
    return FaceKit(
        mean=mean,
        identity_modes=np.zeros((100, mean.size), np.float16),
        expressions=np.zeros((52, mean.size), np.float32),
        triangles=triangles,
        triangle_uvs=triangles,
        triangle_materials=np.zeros(len(triangles), np.int8),
        uvs=np.zeros((len(mean), 2), np.float32),
        materials=["skin"],
        landmarks=np.zeros(68, np.int32),
        parts={"face": slice(0, half), "head_neck": slice(half, len(mean))},
    )


def grown(kit, style, seed=0, **traits):
    rng = np.random.default_rng(seed)
    return grow_hair(kit, kit.mean, Traits(hair=style, hair_strands=400, **traits), rng)


def heights(points):
    """cm above the ball's surface."""
    return np.linalg.norm(points - CENTRE, axis=-1) - RADIUS


@pytest.mark.parametrize("style", list(STYLES))
def test_strands_begin_on_the_scalp_and_stay_above_the_skin(ball, style):
    hair = grown(ball, style)
    assert hair.points.dtype == np.float32 and hair.colours.shape == (400, 3)
    assert hair.shade.shape == hair.points.shape[:2] and np.isfinite(hair.points).all()
    root, rest = hair.points[:, 0], hair.points[:, 1:]
    assert (np.abs(heights(root)) < 1).all()
    assert (root[:, 1] > 3).mean() > 0.6  # on the upper half, but for the neck
    assert heights(rest).min() > -0.6  # no strand runs through the head


@pytest.mark.parametrize("style", list(STYLES))
def test_the_same_seed_grows_the_same_hair(ball, style):
    one, again, other = grown(ball, style), grown(ball, style), grown(ball, style, seed=1)
    np.testing.assert_array_equal(one.points, again.points)
    np.testing.assert_array_equal(one.colours, again.colours)
    assert not np.array_equal(one.points, other.points)


def test_bald_and_shaved_heads_have_none(ball):
    assert grown(ball, "bald") is None and grown(ball, "shaved") is None


def lengths(hair):
    return np.linalg.norm(np.diff(hair.points, axis=1), axis=-1).sum(1)


def test_styles_differ_as_they_are_called(ball):
    short, long, bob = (grown(ball, style) for style in ("short", "long", "bob"))
    assert lengths(long).mean() > 3 * lengths(short).mean()
    assert long.points[..., 1].min() < -8.5 < bob.points[..., 1].min()  # the bob is cut off
    right, left = (grown(ball, "side", part_side=side) for side in (1.0, -1.0))
    swept = [(hair.points[:, -1] - hair.points[:, 0])[:, 0].mean() for hair in (right, left)]
    assert swept[0] < -0.3 and swept[1] > 0.3
    to_bun = np.linalg.norm(grown(ball, "tied").points - (0, 7, -11.5), axis=-1)
    assert np.median(to_bun[:, -1]) < 0.5 * np.median(to_bun[:, 0])


def test_hair_that_a_face_crop_does_not_show_is_left_out(ball):
    whole = grown(ball, "short")
    rng = np.random.default_rng(0)
    seen = grow_hair(ball, ball.mean, Traits(hair="short", hair_strands=400), rng, fine=False)
    assert 0 < len(seen.points) < len(whole.points)
    assert seen.points[:, 0, 2].min() > -5 and (seen.points[..., 1].min(1) < 9.5).all()


def test_portrait_hair_lies_above_the_skin_and_leaves_the_face_free(ball):
    head = ball.mean
    body = np.array([[0.0, -20.0, 0.0]]), np.array([[0.0, 1.0, 0.0]])
    around = strands.surroundings(ball, head, body)
    hair = Hair(strands=500, cut=-5.0)
    rng = np.random.default_rng(3)
    points = strands.grow(ball, head, hair, around, rng).points
    assert points.dtype == np.float32 and points.shape == (500, strands.POINTS, 3)
    assert np.isfinite(points).all()
    assert (np.abs(heights(points[:, 0])) < 0.5).all()
    high = points[..., 1] > 0
    assert np.quantile(heights(points)[high], 0.01) > -0.4
    x, y, z = np.moveaxis(points, -1, 0)
    azimuth = np.degrees(np.arctan2(np.abs(x), z - strands.AXIS_Z))
    before_face = (y < 6) & (azimuth < 35)
    assert before_face.mean() < 0.01
    # Cut off, but for locks and flying hairs.
    assert np.quantile(y, 0.01) > hair.cut - 1.5
    assert y.min(1).mean() < 2
