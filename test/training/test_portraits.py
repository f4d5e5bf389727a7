# SPDX-License-Identifier: Apache-2.0
"""Portraits: what is made of Blender's pictures, and the polygons that it is given."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy", reason="training needs scipy")

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.temperament import USUAL
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import landmarks
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits import (
    ageing,
    anatomy,
    canvas,
    drawn,
    fine_hair,
    garments,
    hairline,
    make_portrait,
    old_age,
    robot,
    short_hair,
    shut_eyes,
    skin_maps,
)
from realtalk_ros.training.portraits.people import (
    DRAWING,
    KENJI,
    MIRA,
    PEOPLE,
    PERSON,
    SAMUEL,
    Hair,
)
from realtalk_ros.training.portraits.skin_maps import SIZE, SKINS, SkinPainter
from realtalk_ros.training.synthetic.view import View


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


def test_teeth_that_taper_touch_their_neighbours_and_keep_their_corners():
    """Two of 1 cm, side by side, half as wide at the root."""
    down = np.tile(np.linspace(0, 1, 21), 2)
    points, own = [], []
    for number, x in enumerate((-0.5, 0.5)):
        across = np.repeat([-1.0, 1.0], 21) * np.interp(down, [0, 0.7, 1], [0.5, 1.0, 0.6])
        points.append(np.stack([x + across / 2, -down, 0 * down], -1))
        own.append(np.stack([across, down, 0 * down + number, 0 * down], -1))
    row = anatomy.closed_row(np.concatenate(points), np.concatenate(own)).reshape(2, 2, 21, 3)
    gap = row[1, 0, :, 0] - row[0, 1, :, 0]  # cm between them, from root to edge
    assert np.abs(gap[5:15]).max() < 0.08 and gap[-1] > 0.1
    np.testing.assert_array_equal(row[..., 1], -down.reshape(2, 21)[None].repeat(2, 0))


@pytest.mark.parametrize("style", ["shoulder", "cropped", "combed"])
def test_hair_thins_out_towards_a_hairline(style):
    y = np.linspace(4, 15, 111)
    forehead = np.stack([0 * y, y, 0 * y + 9.0], -1)
    grown = hairline.scalp(forehead, Hair(style=style))
    assert grown[0] == 0 and grown[-1] == 1 and (np.diff(grown) >= 0).all()
    soft = y[(grown > 0.05) & (grown < 0.95)]
    assert np.ptp(soft) > 1.2  # cm
    higher = hairline.scalp(forehead, Hair(style=style, hairline=-0.5))
    assert higher.sum() < grown.sum()


def test_film_keeps_the_backdrop_where_nobody_is_and_the_order_of_light():
    light = np.zeros((40, 60, 4), np.float32)
    light[:, 30:] = [0.2, 0.2, 0.2, 1.0]
    image = make_portrait.develop(light, MIRA).astype(int)
    assert (image[:, 29:31, 3] == [0, 255]).all()
    image = image[..., :3]
    empty = make_portrait.develop(np.zeros_like(light), MIRA)[..., :3].astype(int)
    assert np.abs(image[:, :30] - empty[:, :30]).max() == 0
    assert np.ptp(image[:, 30:]) < 12  # a grey person, but for the grain
    levels = make_portrait.exposed(np.outer(np.linspace(0, 40, 400), [1.0, 0.7, 0.5]))
    assert (np.diff(levels, axis=0) > -1e-9).all() and 0.99 < levels[-1, 0] <= 1


def test_a_cutout_has_nothing_of_the_backdrop():
    sitter, orange = PEOPLE["pia"], np.array([1.0, 0.5, 0.1])
    share = np.repeat(np.linspace(0, 1, 6), 10)[None, :, None].repeat(40, 0)  # 0, 0.2 .. 1
    page = make_portrait.inked(np.concatenate([orange * share, share], -1), sitter)
    cut = make_portrait.cut_out(page, sitter).astype(int)
    assert not cut[:, :10].any() and (cut[:, 50:, 3] == 255).all()
    assert np.abs(cut[:, 10:, :3] - orange[::-1] * 255).max() <= 4  # rounding, over 0.2
    assert np.abs(page[:, 10:20, :3] - orange[::-1] * 255).max() > 50  # so there was some
    half = cut[:, 30:40] / 255
    wall = make_portrait.to_srgb(make_portrait.backdrop(40, 60, sitter))[:, 30:40, ::-1]
    again = half[..., :3] * half[..., 3:] + wall * (1 - half[..., 3:])
    np.testing.assert_allclose(again, page[:, 30:40, :3] / 255, atol=0.01)


@pytest.mark.parametrize("size", make_portrait.SIZES)
@pytest.mark.parametrize("name", list(PEOPLE))
def test_written_avatar_has_its_landmarks_where_the_camera_sees_them(
    kit, name, size, tmp_path, monkeypatch
):
    monkeypatch.setattr(make_portrait, "own_expressions", lambda _: np.zeros((50, 52)))
    sitter = PEOPLE[name]
    light = np.full((make_portrait.SIZE, make_portrait.SIZE, 4), 0.5, np.float32)
    rest = make_portrait.develop(make_portrait.reduced(light, size), sitter)
    images = {
        expression: np.full((256, 256, 3), 90, np.uint8) for expression in make_portrait.EXPRESSIONS
    } | {"rest": rest}
    make_portrait.write_avatar(tmp_path, kit, sitter, images)
    avatar = Avatar.load(tmp_path)
    assert avatar.size == (size, size) and len(avatar.templates) == 1
    assert avatar.name == tmp_path.name
    x, y, side = avatar.crop
    rest = (avatar.landmarks - (x, y)) / side
    assert rest.min() > 0 and rest.max() < 1
    # The same camera as that of `geometry`, which fits one to them.
    geometry = Geometry(avatar.identity, rest, resting_weights=avatar.resting_weights)
    seen = geometry.target_landmarks(np.zeros(52, np.float32), 0)
    np.testing.assert_allclose(seen, rest[0], atol=2e-3)
    count = len(make_portrait.EXPRESSIONS) - 1
    assert [round(image.mean()) for image in avatar.more_references] == [90] * count
    assert np.any(avatar.reference_weights, axis=1).all()
    assert avatar.mattes.shape == (1, size, size) and (avatar.mattes == 128).all()  # half there
    assert avatar.temperament == replace(USUAL, **sitter.temperament)
    assert (avatar.flat_mouth is not None) == (sitter.kind == DRAWING)


def test_who_has_no_skin_for_lids_brings_a_picture_of_shut_eyes(kit, tmp_path, monkeypatch):
    monkeypatch.setattr(make_portrait, "own_expressions", lambda _: np.zeros((50, 52)))
    sitter = next(one for one in PEOPLE.values() if one.kind == DRAWING)
    images = {name: np.full((256, 256, 4), 90, np.uint8) for name in make_portrait.EXPRESSIONS}
    images |= {"rest": np.full((512, 512, 4), 200, np.uint8)}
    images |= {"shut": np.full((256, 256, 4), 40, np.uint8)}
    make_portrait.write_avatar(tmp_path, kit, sitter, images)
    avatar = Avatar.load(tmp_path)
    x, y, side = avatar.crop
    square = avatar.shut_eyes[0, y : y + side, x : x + side]
    assert abs(square[8:-8, 8:-8].mean() - 40) < 1
    assert avatar.shut_eyes[0, : y - 8].mean() == pytest.approx(200, abs=1)
    assert len(avatar.more_references) == len(make_portrait.EXPRESSIONS) - 1


def test_a_robots_shut_eyes_are_lit_arcs_on_its_visor():
    visor = np.full((512, 512, 3), 30, np.uint8)
    eyes = np.array([[(-20, 0), (-10, -5), (10, -5), (20, 0), (10, 5), (-10, 5)]] * 2, np.float32)
    eyes += np.array([[[180, 200]], [[330, 200]]], np.float32)
    for x, y in ((180, 200), (330, 200)):
        cv2.circle(visor, (x, y), 12, (255, 230, 20), 5)
    shown = shut_eyes.lit_arcs(visor, eyes).astype(int)
    for x, y in ((180, 200), (330, 200)):
        assert np.abs(shown[y - 12 : y - 6, x - 15 : x + 16] - 30).max() < 15  # the ring is gone
        assert np.abs(shown[y + 4, x] - shut_eyes.ARC).max() < 20
    assert np.abs(shown[:150] - 30).max() == 0


def test_missing_textures_are_named(kit, tmp_path, monkeypatch):
    import argparse

    monkeypatch.setattr(make_portrait.FaceKit, "load", lambda _: kit)
    parser = argparse.ArgumentParser()
    make_portrait.add_arguments(parser)
    args = parser.parse_args(["--sources", str(tmp_path), "--out", str(tmp_path / "out")])
    with pytest.raises(RealTalkError, match="lacks characters/reom"):
        make_portrait.run(args)


def test_a_drawn_stroke_is_as_wide_as_it_says_and_goes_through_its_corners():
    corners = [(-4.0, 0.0), (0.0, 3.0), (4.0, 0.0)]
    path = canvas.curve(corners)
    for corner in corners:
        assert np.linalg.norm(path - corner, axis=1).min() < 1e-6
    ring = canvas.curve(corners, closed=True)
    assert np.linalg.norm(ring[0] - ring[-1]) < 0.5  # no jump where it closes
    page = canvas.Canvas(View(crop=(0.0, 0.0, 10.0, 0.0)), 100)  # 10 pixels a cm
    level = np.column_stack([np.linspace(-4, 4, 200), np.zeros(200)])
    page.stroke(level, [0.0, 1.0, 0.0], (200, 100, 50))
    alpha = page.picture()[..., 3]
    assert abs(alpha[:, 50].sum() - 10) < 0.6 and abs(alpha[:, 30].sum() - 5) < 0.8
    red, green, blue, covered = page.picture()[50, 50]
    assert covered == 1 and np.allclose([red, green, blue], np.array([200, 100, 50]) / 255)
    page.fill(np.array([(-1, 4), (1, 4), (1, 2), (-1, 2)]), (0, 0, 0))
    assert abs(page.picture()[8:32, :, 3].sum() - 20 * 20) < 25


def test_the_robots_visor_holds_eyes_and_brows_and_its_plate_ends_before_the_ears(kit):
    marks = kit.mean
    eyes, brows, mouth, jaw = marks[36:48], marks[17:27], marks[48:68], marks[[0, 16]]
    assert (robot.visor_depth(np.concatenate([eyes, brows])) > 0.2).all()
    assert (robot.visor_depth(np.concatenate([mouth, marks[31:36], marks[:17]])) < 0).all()
    assert (robot.plate_depth(np.concatenate([eyes, mouth, marks[17:36]])) > 0.5).all()
    assert (robot.plate_depth(jaw) < 0.5).all()
    assert (robot.plate_depth(np.array([[0.0, 5.0, -9.0], [0.0, 13.5, 3.0]])) < 0).all()
    assert (robot.brow_depth(eyes, kit) < 0).all()
    x, y = np.meshgrid(np.linspace(-7, 7, 141), np.linspace(3, 8, 51))
    places = np.stack([x, y, 0 * x + 9.0], -1).reshape(-1, 3)
    bars = robot.brow_depth(places, kit) > 0
    assert bars.sum() > 50 and (robot.visor_depth(places)[bars] > 0).all()
    inner = marks[60:68]
    assert (robot.lip_depth(inner, kit) > 0).all() and (robot.lip_depth(eyes, kit) < 0).all()


def test_wrinkles_are_where_they_are_said_to_be_and_nowhere_else():
    x, y = np.meshgrid(np.linspace(-8, 8, 400), np.linspace(12, -8, 500))
    places = np.stack([x, y, 0 * x + 8], -1)
    lines = ageing.wrinkles(places, np.random.default_rng(0))
    on = {name: lines[np.hypot(x - at[0], y - at[1]) < 0.2].min()
          for name, at in (("nasolabial", (2.7, -1.7)), ("mirrored", (-2.7, -1.7)),
                           ("nose", (0.0, 1.5)), ("cheek", (4.6, 0.2)))}  # fmt: skip
    assert on["nasolabial"] < -0.5 and on["mirrored"] < -0.5
    assert abs(on["nose"]) < 0.02 and abs(on["cheek"]) < 0.02
    behind = ageing.wrinkles(places * [1, 1, -1], np.random.default_rng(0))
    assert not behind.any()


def test_only_people_need_textures(kit, tmp_path, monkeypatch):
    import argparse

    monkeypatch.setattr(make_portrait.FaceKit, "load", lambda _: kit)
    asked = []
    monkeypatch.setattr(make_portrait, "pictures", lambda *given: asked.append(given[2].name) or {})
    monkeypatch.setattr(make_portrait, "write_avatar", lambda *_: None)
    monkeypatch.setattr(make_portrait.cv2, "imwrite", lambda *_: True)
    parser = argparse.ArgumentParser()
    make_portrait.add_arguments(parser)
    for name in ("android", "pia", "ines"):
        args = parser.parse_args(["--name", name, "--out", str(tmp_path / name)])
        try:
            make_portrait.run(args)
        except KeyError:  # there is no picture to cut out
            pass
        except RealTalkError as error:
            asked.append(str(error)[:14])
    assert asked == ["android", "pia", "give --sources"]


def test_the_drawing_has_its_eyes_lips_and_chin_where_its_landmarks_are(whole_kit):
    sitter = PEOPLE["pia"]
    head = make_portrait.rest_head(whole_kit, sitter)
    view = make_portrait.frame_view(whole_kit, head)
    jaw_down = make_portrait.EXPRESSIONS["ah"]
    for weights in (np.zeros(52, np.float32), jaw_down):
        image = drawn.picture(whole_kit, sitter, weights, view, 512)
        marks = view.pixels(whole_kit.deform(head, weights)[whole_kit.landmarks], 512)
        assert image[..., 3].max() == 1 and image[:20, :20, 3].max() == 0
        x, y = np.rint(marks[8]).astype(int)
        dark = image[y - 8 : y + 9, x, :3].sum(1)
        assert dark.min() < 0.9 < dark.max()  # the chin's line
        for eye in (marks[36:42], marks[42:48]):
            (left, top), (right, bottom) = eye.min(0).astype(int), eye.max(0).astype(int) + 1
            seen = image[top:bottom, left:right, :3]
            assert (seen.min(-1) > 0.95).sum() > 20  # the white of the eye
            assert (seen[..., 1] - seen[..., 0] > 0.15).sum() > 40  # the iris
        inner = marks[60:68]
        gap = inner[6, 1] - inner[2, 1]
        column = image[int(inner[2, 1]) : int(inner[6, 1]) + 1, int(inner[2, 0]), :3]
        inside = (np.abs(column - np.array(drawn.MOUTH) / 255).max(1) < 0.1).sum()
        assert inside > 0.2 * gap if weights.any() else gap < 6


def test_the_robot_has_no_nostrils_and_the_lips_and_lids_of_the_face_model(whole_kit):
    kit, sitter = whole_kit, PEOPLE["android"]
    head = make_portrait.rest_head(kit, sitter)
    made = robot.designed(kit, head)
    moving = kit.landmarks[36:68]
    np.testing.assert_allclose(made[moving], head[moving], atol=1e-4)
    hole = robot.nostrils(kit, slice(0, kit.parts["head_neck"].stop))
    assert hole.sum() > 200 and np.ptp(head[hole, 2]) > 2.5  # cm deep
    assert made[hole, 2].max() - np.median(made[hole, 2]) < 0.3
    still = np.abs(made - head)[:, :2].max(1) < 1e-6
    assert still[(robot.visor_depth(kit.mean) > 0.5) & (robot.nose_share(kit.mean) == 0)].all()
    ears = robot.ear_share(kit.mean) > 0.99
    assert np.abs(head[ears, 0]).max() > np.abs(made[ears, 0]).max() + 1


def test_no_skin_of_the_robots_neck_comes_out_of_the_bellows(whole_kit):
    kit = whole_kit
    head = robot.designed(kit, make_portrait.rest_head(kit, PEOPLE["android"]))
    front = robot.neck(head, kit).points[:, 2].max()
    shell = robot.shell(kit, head)
    corners = shell.points[np.concatenate(shell.polygons)]
    plate = kit.mean[kit.landmarks[8], 2] - 4.0  # it ends so far behind the chin
    below = corners[:, 1] < head[kit.landmarks[8], 1] - 0.3
    assert not (below & (corners[:, 2] > front) & (corners[:, 2] < plate)).any()


def test_a_band_lies_behind_each_row_of_teeth_and_the_lower_one_follows_the_jaw(whole_kit):
    kit = whole_kit
    opened = kit.deform(kit.mean, make_portrait.EXPRESSIONS["ah"])
    for head in (kit.mean, opened):
        upper, lower = (band.points for band in anatomy.behind_teeth(kit, head))
        teeth = head[kit.parts["teeth"]]
        assert upper[:, 2].max() < teeth[:, 2].max() and upper[:, 1].mean() > lower[:, 1].mean()
    shut_jaw, fallen = (anatomy.behind_teeth(kit, head) for head in (kit.mean, opened))
    shut_y, fallen_y = (np.array([b.points[:, 1].mean() for b in bands])
                        for bands in (shut_jaw, fallen))  # fmt: skip
    moved = fallen_y - shut_y
    assert abs(moved[0]) < 0.01 and moved[1] < -0.8


def test_age_moves_neither_lips_nor_lids(whole_kit):
    kit = whole_kit
    old = ageing.aged(kit, kit.mean, 1.0)
    moving = kit.landmarks[36:68]
    np.testing.assert_allclose(old[moving], kit.mean[moving], atol=1e-5)
    jowl = np.argmin(np.linalg.norm(kit.mean[: kit.parts["face"].stop] - [4.7, -5.3, 7.5], axis=1))
    assert 0.1 < np.linalg.norm(old[jowl] - kit.mean[jowl]) < 0.4
    sunk = old_age.sunk(kit, kit.mean, 1.0)
    np.testing.assert_allclose(sunk[moving], kit.mean[moving], atol=1e-5)
    face = kit.mean[: kit.parts["face"].stop]
    hanging = np.argmin(np.linalg.norm(face - [3.9, -5.3, 8.0], axis=1))
    assert sunk[hanging, 1] < kit.mean[hanging, 1] - 0.2
    x, y, z = kit.mean.T
    throat = (np.abs(np.abs(x) - 1.3) < 0.4) & (np.abs(y + 11) < 1.5) & (z > 3)
    assert (sunk - kit.mean)[throat, 2].max() > 0.1  # a band stands out
    np.testing.assert_allclose(old_age.sunk(kit, kit.mean, 0.0), kit.mean, atol=1e-6)


def test_old_skin_is_uneven_and_lined_and_the_same_for_a_seed():
    x, y = np.meshgrid(np.linspace(-7, 7, 160), np.linspace(10, -8, 200))
    places = np.dstack([x, y, np.full_like(x, 8.0)])
    colour = old_age.blotchy(places, np.random.default_rng(4))
    assert colour.min() > 0.3 and colour.max() <= 1
    assert (colour[..., 0] >= colour[..., 2] - 1e-6).all()  # redder or browner, never bluer
    below = (np.abs(np.abs(x) - 2.9) < 0.8) & (np.abs(y - 2.35) < 0.3)
    forehead = (np.abs(x) < 2) & (y > 6.5)
    assert colour[below].mean() < colour[forehead].mean() - 0.05
    np.testing.assert_array_equal(colour, old_age.blotchy(places, np.random.default_rng(4)))
    lines = old_age.relief(places, np.random.default_rng(4))
    assert lines.max() <= 0 and 0.01 < lines.std() < 0.1


def test_lashes_of_less_spread_begin_closer_to_the_lids_border(whole_kit):
    kit = whole_kit
    roots = {}
    for spread in (1.0, 0.0):
        sitter = replace(MIRA, lash_spread=spread)
        roots[spread] = fine_hair.lashes(kit, kit.mean, sitter, np.random.default_rng(2))
    apart = np.linalg.norm(roots[1.0].points[:, 0] - roots[0.0].points[:, 0], axis=1)
    assert 0.01 < apart.mean() < 0.04
    ways = {s: r.points[:, -1] - r.points[:, 0] for s, r in roots.items()}
    turns = {s: np.abs(np.diff(np.arctan2(w[:150, 0], w[:150, 2]))).mean() for s, w in ways.items()}
    assert turns[0.0] < 0.3 * turns[1.0]


@pytest.mark.parametrize("name", [s.name for s in PEOPLE.values() if s.kind == PERSON])
def test_clothes_cover_the_shoulders_and_leave_the_neck(whole_kit, name):
    """Seen from the front: cloth before all skin of the chest, none before the chin."""
    sitter = PEOPLE[name]
    head = make_portrait.rest_head(whole_kit, sitter)
    jumper = garments.clothes(whole_kit, head, sitter)[0]
    assert jumper.name == "jumper"
    points = jumper.surface.points
    front = points[points[:, 2] > -4]
    stop = whole_kit.parts["head_neck"].stop
    skin = anatomy.slimmed(head, sitter.slim_neck)[:stop]
    chest = skin[(whole_kit.mean[:stop, 1] < -13.5) & (np.abs(whole_kit.mean[:stop, 0]) > 7)]
    chest = chest[chest[:, 2] > 0]
    away = np.linalg.norm(chest[:, None, :2] - front[None, :, :2], axis=2)
    assert len(chest) > 20 and away.min(1).max() < 1
    assert (front[away.argmin(1), 2] > chest[:, 2]).all()
    chin = head[whole_kit.landmarks[8]]
    assert points[np.abs(points[:, 0]) < 3][:, 1].max() < chin[1] - 1
    # Shoulders fall from the neck outwards, and end in sleeves.
    tops = [points[np.abs(points[:, 0] - x * sitter.broad) < 0.5][:, 1].max() for x in (9, 13, 17)]
    assert tops[0] > tops[1] + 0.8 > tops[2] + 2
    assert np.ptp(points[:, 0]) > 46 * sitter.broad


def test_a_shirt_lies_below_the_jumper_and_its_collar_around_the_neck(whole_kit):
    head = make_portrait.rest_head(whole_kit, KENJI)
    body = garments.Body(whole_kit, head, KENJI)
    pieces = {
        piece.name: piece.surface.points for piece in garments.clothes(whole_kit, head, KENJI)
    }
    front = {name: p[(p[:, 2] > 2) & (p[:, 1] > -30)] for name, p in pieces.items()}
    shirt, jumper = front["shirt"], front["jumper"]
    away = np.linalg.norm(shirt[:, None, :2] - jumper[None, ::3, :2], axis=2)
    covered = away.min(1) < 0.3
    assert 0.5 < covered.mean() < 0.99
    over = jumper[::3][away.argmin(1)][covered]
    assert np.percentile(over[:, 2] - shirt[covered, 2], 2) > 0.1
    assert body.distance(pieces["collar"]).min() > 0.1
    assert pieces["collar"][:, 1].max() > pieces["jumper"][:, 1].max() + 1
    np.testing.assert_allclose(np.sort(np.abs(pieces["collar"][:, 0]))[::-1][:2], 8.0, atol=1.0)


def test_a_string_of_pearls_lies_on_the_neck_and_below_it_is_smooth_cloth(whole_kit):
    sitter = PEOPLE["ines"]
    head = make_portrait.rest_head(whole_kit, sitter)
    pieces = {piece.name: piece for piece in garments.clothes(whole_kit, head, sitter)}
    assert set(pieces) == {"jumper", "pearls", "studs"}
    jumper, string = pieces["jumper"], pieces["pearls"]
    assert not jumper.surface.attributes["ribs"].any()
    ball = len(garments.pill(1, 1).points)
    middles = string.surface.points.reshape(-1, ball, 3).mean(1)
    middles = middles[middles[:, 2] > 0]
    above = garments.Body(whole_kit, head, sitter).distance(middles.copy())
    assert above.min() > 0.3 * garments.PEARL and above.max() < garments.PEARL + 0.7
    middle = jumper.surface.points[np.abs(jumper.surface.points[:, 0]) < 0.5]
    neckline = middle[middle[:, 2] > 0][:, 1].max()
    chin = head[whole_kit.landmarks[8], 1]
    assert neckline + garments.PEARL < middles[:, 1].min() < chin - 4
    steps = np.diff(middles, axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), 2 * garments.PEARL, rtol=0.15)
    assert (steps[:, 0] > -0.1).all()  # from one side to the other
    studs = pieces["studs"].surface.points.reshape(2, ball, 3).mean(1)
    ears = head[(np.abs(whole_kit.mean[:, 0]) > 7.5) & (whole_kit.mean[:, 1] < 0)]
    assert (np.linalg.norm(studs[:, None] - ears, axis=2).min(1) < 0.5).all()


def test_a_jacket_is_open_over_a_top(whole_kit):
    head = make_portrait.rest_head(whole_kit, MIRA)
    pieces = {p.name: p.surface.points for p in garments.clothes(whole_kit, head, MIRA)}
    middle = {name: p[(p[:, 2] > 2) & (np.abs(p[:, 0]) < 0.5)] for name, p in pieces.items()}
    assert middle["top"][:, 1].max() > middle["jumper"][:, 1].max() + 2
    for name, open_to in (("top", -17.5), ("jumper", -20.5)):
        assert middle[name][:, 1].max() > open_to


def test_waved_hair_rises_from_the_forehead_and_covers_the_ears(whole_kit):
    sitter = PEOPLE["ines"]
    head = make_portrait.rest_head(whole_kit, sitter)
    hair = replace(sitter.hair, strands=8000)
    made = short_hair.waved(whole_kit, head, hair, np.random.default_rng(3))
    root, tip = made.points[:, 0], made.points[:, -1]
    front = (root[:, 2] > 6) & (np.abs(root[:, 0]) < 4)
    assert (tip - root)[front & (root[:, 0] > hair.part), 0].mean() > 2
    line = hairline.scalp(whole_kit.mean, hair) > 0.5
    forehead = (np.abs(whole_kit.mean[:, 0]) < 3) & (whole_kit.mean[:, 2] > 6) & line
    lowest = head[forehead, 1].min()
    before = (np.abs(made.points[..., 0]) < 3.5) & (made.points[..., 2] > 6)
    assert (made.points[before][:, 1] > lowest - 1.0).mean() > 0.99  # none hangs over it
    ears = whole_kit.mean[:, 1] > 0.5
    ears &= anatomy.ears(whole_kit) & (np.abs(whole_kit.mean[:, 0]) > 7.8)
    for side in (-1, 1):
        near = made.points[np.abs(made.points[..., 2] - head[ears, 2].mean()) < 1.5] * [side, 1, 1]
        for y in np.quantile(head[ears, 1], (0.3, 0.6, 0.9)):
            here = ears & (np.abs(head[:, 1] - y) < 0.2)
            reach = near[np.abs(near[:, 1] - y) < 0.4, 0].max() - np.abs(head[here, 0]).max()
            assert 0 < reach < hair.volume  # nor stands off
    length = np.linalg.norm(np.diff(made.points, axis=1), axis=2).sum(1)
    nape = root[:, 1] < -2
    assert length[nape].mean() < 0.6 * length[~nape].mean()
    for part in (nape, front):
        assert abs(made.white[part].mean() - hair.temples) < 0.1


def test_combed_hair_lies_over_the_scalp_to_its_side_and_is_grey_at_the_temples(whole_kit):
    head = make_portrait.rest_head(whole_kit, KENJI)
    hair = Hair(style="combed", length=4.6, volume=1.5, part=2.6, temples=0.8, strands=3000)
    made = short_hair.combed(whole_kit, head, hair, np.random.default_rng(3))
    root, tip = made.points[:, 0], made.points[:, -1]
    top = (root[:, 1] > 11) & (root[:, 2] > 0)
    right, left = top & (root[:, 0] < 0), top & (root[:, 0] > 4.5)
    assert (tip - root)[right, 0].mean() < -1 and (tip - root)[left, 0].mean() > 0.5
    length = np.linalg.norm(np.diff(made.points, axis=1), axis=2).sum(1)
    beside = (root[:, 1] < 4) & (root[:, 2] > -3)
    assert length[top].mean() > 2.5 * length[beside].mean()
    assert made.white[beside].mean() > 0.5 > 2 * made.white[top].mean()
    # No line at the parting: there hair runs back, and turns aside more and more beside it.
    aside = np.abs((tip - root)[:, 0])
    apart = np.abs(root[:, 0] - hair.part)
    at, near, far = (top & (apart > low) & (apart < high) for low, high in
                     ((0, 0.4), (0.8, 1.6), (2.5, 4.0)))  # fmt: skip
    assert aside[at].mean() < 0.75 * aside[near].mean() < 0.75 * aside[far].mean()
    assert (tip - root)[at, 2].mean() < -1
    # Sideburns reach down before the ears.
    before_ears = (root[:, 2] > 1.5) & (np.abs(root[:, 0]) > 6)
    assert (root[before_ears, 1] < 2.0).sum() > 3


def test_a_soft_brow_thins_out_to_its_head_and_its_borders(whole_kit):
    kit = whole_kit
    hairs = {}
    for soft in (0.0, 1.0):
        sitter = replace(SAMUEL, brow_soft=soft)
        made = fine_hair.brows(kit, kit.mean, sitter, np.random.default_rng(2))
        left = made.points[:, 0, 0] > 0
        hairs[soft] = made.points[left, 0], made.root[left]
    ends = np.sort(kit.mean[kit.landmarks[22:27], 0])[[0, -1]]
    share, thick = {}, {}
    for soft, (roots, radius) in hairs.items():
        t = (roots[:, 0] - ends[0]) / np.ptp(ends)
        share[soft] = np.histogram(t, [0, 0.12, 0.35, 0.75])[0] / [0.12, 0.23, 0.40]
        thick[soft] = radius[t < 0.12].mean() / radius[(t > 0.35) & (t < 0.75)].mean()
    assert share[0.0][0] > 0.7 * share[0.0][2]  # a hard one begins at once
    assert share[1.0][0] < 0.5 * share[1.0][1] < 0.5 * share[1.0][2]
    assert thick[1.0] < 0.85 < 0.95 < thick[0.0]
    spread = [np.ptp(np.percentile(roots[:, 1], [25, 75])) for roots, _ in hairs.values()]
    assert spread[1] < spread[0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_eyeball_is_shaded_most_below_the_upper_lid(whole_kit, side):
    kit = whole_kit
    marks = kit.mean[kit.landmarks[slice(36, 42) if side == "right" else slice(42, 48)]]
    upper, lower = marks[1:3].mean(0), marks[4:6].mean(0)
    places = np.stack([upper, 0.6 * lower + 0.4 * upper, lower])
    top, middle, bottom = anatomy.near_lids(kit, kit.mean, side, places)
    assert top > 0.7 and middle < 0.15 < 0.25 < bottom < 0.61
    white = anatomy.eye(kit, kit.mean, side, np.eye(3))["white"]
    assert white.attributes["lid"].shape == (len(white.points),)
    assert white.attributes["lid"].max() > 0.7


def test_skin_beside_and_below_the_nose_is_what_is_made_even(whole_kit):
    painter = SkinPainter(whole_kit, Path())
    mask = painter.beside_nose()
    marks = painter.pixels(painter.marks)
    mirrored = mask[:, ::-1]
    assert np.abs(mask - mirrored).mean() < 0.01  # the face model's texture is

    def at(*mark_numbers):
        x, y = np.clip(marks[list(mark_numbers)].mean(0), 0, SIZE - 1).astype(int)
        return mask[y, x]

    assert min(at(31, 39), at(35, 42), at(33, 51), at(31)) > 0.9
    assert max(at(8), at(1), at(15), at(27), at(19), at(57)) < 0.15


def test_a_bare_throat_has_nothing_of_the_photographed_skin(whole_kit, tmp_path, monkeypatch):
    """Which is stretched there; the rest of the face keeps it."""
    source = tmp_path / SKINS[0]
    source.parent.mkdir(parents=True)
    cv2.imwrite(str(source), np.full((8, 8, 3), 180, np.uint8))
    monkeypatch.setattr(skin_maps, "SIZE", 512)  # takes less time
    coarse = np.random.default_rng(0).integers(90, 200, (128, 128, 3), np.uint8)
    photo = cv2.resize(coarse, (512, 512))
    monkeypatch.setattr(SkinPainter, "_warped", lambda *_: photo)
    painter = SkinPainter(whole_kit, tmp_path)
    (x, chin), (_, brows) = painter.pixels(painter.marks[[8, 27]]).astype(int)
    below, forehead = ((slice(y, y + 35), slice(x - 50, x + 50)) for y in (chin + 30, brows - 120))
    young = replace(MIRA, age=0.0, old=0.0)  # no wrinkles of the neck
    kept, bare = (painter.paint(replace(young, throat=throat)) for throat in (1.0, 0.0))
    for before, after in ((kept.albedo, bare.albedo), (kept.height, bare.height)):
        assert before[below].std((0, 1)).max() > 0.01
        assert after[below].std((0, 1)).max() < 1e-3
        np.testing.assert_array_equal(before[forehead], after[forehead])


def test_a_brow_falls_less_to_its_tail_than_its_landmarks_and_ends_where_they_do(whole_kit):
    marks = whole_kit.mean[whole_kit.landmarks[22:27]]  # from the nose outwards
    line = fine_hair.brow_line(marks)
    top = line[:, 1].argmax()
    fall, true_fall = line[top, 1] - line[-1, 1], marks[:, 1].max() - marks[-1, 1]
    assert 0.3 * true_fall < fall < 0.75 * true_fall
    np.testing.assert_allclose(line[-1, 0], marks[-1, 0], atol=0.01)
    assert (np.diff(line[top:, 1]) <= 1e-6).all()


def test_thin_lips_are_red_at_their_inner_borders_only(whole_kit):
    painter = SkinPainter(whole_kit, Path())
    full, thin = painter.lip_mask(), painter.lip_mask(0.5)
    assert 0.6 < thin.sum() / full.sum() < 0.85  # also between the lips
    for outer, inner in ((51, 62), (57, 66)):
        edge, middle = (painter.pixels(painter.marks[row]) for row in (outer, inner))
        x, y = np.round(edge + 0.2 * (middle - edge)).astype(int)
        assert full[y, x] > 0.7 and thin[y, x] < 0.1
        x, y = np.round(edge + 0.85 * (middle - edge)).astype(int)
        assert thin[y, x] > 0.7


def test_curves_end_before_they_turn_sharply():
    bend = np.array([[0, 0, 0], [1, 0, 0], [2, 0.3, 0], [3, 0.9, 0], [4, 2, 0]], float)
    kink = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [2, 1, 0], [2, 2, 0]], float)
    made = short_hair.before_kinks(np.stack([bend, kink]))
    np.testing.assert_allclose(made[0], bend)
    np.testing.assert_allclose(made[1, -1], [2, 0, 0])
    assert np.ptp(made[1, :, 1]) == 0
