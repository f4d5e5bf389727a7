# SPDX-License-Identifier: Apache-2.0
"""Portraits: what is made of Blender's pictures, and the polygons that it is given."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="training needs scipy")

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import landmarks
from realtalk_ros.face_model.facekit import FaceKit
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.training.portraits import anatomy, make_portrait
from realtalk_ros.training.portraits.people import MIRA, PEOPLE


@pytest.fixture
def kit():
    """A FaceKit of nothing but the landmarks, with three triangles."""
    model = landmarks.load()
    count = len(model.mean)
    return FaceKit(
        mean=model.mean.astype(np.float32),
        identity_modes=model.identity_modes.reshape(100, -1).astype(np.float16),
        expressions=model.expressions.reshape(52, -1).astype(np.float32),
        triangles=np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]], np.int32),
        triangle_uvs=np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]], np.int32),
        triangle_materials=np.zeros(3, np.int8),
        uvs=np.arange(14, dtype=np.float32).reshape(7, 2),
        materials=["M_Face"],
        landmarks=np.arange(count, dtype=np.int32),
        parts={"face": slice(0, count)},
    )


def test_triangles_become_the_quads_that_they_were(kit):
    polygons, uv, first = anatomy.polygons_of(kit, np.ones(3, bool))
    assert polygons == [(0, 1, 2, 3), (4, 5, 6)]
    np.testing.assert_array_equal(uv, kit.uvs[[0, 1, 2, 3, 4, 5, 6]])
    np.testing.assert_array_equal(first, [0, 2])
    polygons, uv, _ = anatomy.polygons_of(kit, np.array([True, False, True]))
    assert polygons == [(0, 1, 2), (4, 5, 6)] and len(uv) == 6


def test_film_keeps_the_backdrop_where_nobody_is_and_the_order_of_light():
    light = np.zeros((40, 60, 4), np.float32)
    light[:, 30:] = [0.2, 0.2, 0.2, 1.0]
    image = make_portrait.develop(light, MIRA).astype(int)
    empty = make_portrait.develop(np.zeros_like(light), MIRA).astype(int)
    assert np.abs(image[:, :30] - empty[:, :30]).max() == 0
    assert np.ptp(image[:, 30:]) < 12  # a grey person, but for the grain
    levels = make_portrait.exposed(np.outer(np.linspace(0, 40, 400), [1.0, 0.7, 0.5]))
    assert (np.diff(levels, axis=0) > -1e-9).all() and 0.99 < levels[-1, 0] <= 1


@pytest.mark.parametrize("name", list(PEOPLE))
def test_written_avatar_has_its_landmarks_where_the_camera_sees_them(
    kit, name, tmp_path, monkeypatch
):
    monkeypatch.setattr(make_portrait, "own_expressions", lambda _: (np.zeros((50, 52)), None))
    sitter, size = PEOPLE[name], make_portrait.SIZE
    images = {
        expression: np.full((256, 256, 3), 90, np.uint8) for expression in make_portrait.EXPRESSIONS
    } | {"rest": np.full((size, size, 3), 40, np.uint8)}
    make_portrait.write_avatar(tmp_path, kit, sitter, images)
    avatar = Avatar.load(tmp_path)
    assert avatar.size == (size, size) and len(avatar.templates) == 1
    x, y, side = avatar.crop
    rest = (avatar.landmarks - (x, y)) / side
    assert rest.min() > 0 and rest.max() < 1
    # The same camera as that of `geometry`, which fits one to them.
    geometry = Geometry(avatar.identity, rest, resting_weights=avatar.resting_weights)
    seen = geometry.target_landmarks(np.zeros(52, np.float32), 0)
    np.testing.assert_allclose(seen, rest[0], atol=2e-3)
    assert [round(image.mean()) for image in avatar.more_references] == [90]
    assert np.any(avatar.reference_weights, axis=1).all()


def test_missing_textures_are_named(kit, tmp_path, monkeypatch):
    import argparse

    monkeypatch.setattr(make_portrait.FaceKit, "load", lambda _: kit)
    parser = argparse.ArgumentParser()
    make_portrait.add_arguments(parser)
    args = parser.parse_args(["--sources", str(tmp_path), "--out", str(tmp_path / "out")])
    with pytest.raises(RealTalkError, match="lacks characters/reom"):
        make_portrait.run(args)
