# SPDX-License-Identifier: Apache-2.0
"""Portraits: skin of middle age, hair that is cut on a line, brows' tails, a shirt's collar."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="training needs scipy")

from realtalk_ros.training.portraits import (
    ageing,
    fine_hair,
    garments,
    hairline,
    make_portrait,
    middle_age,
    skin_maps,
    strands,
)
from realtalk_ros.training.portraits.people import KENJI, MIRA, Hair


@pytest.fixture
def places():
    """(220, 160, 3) of the mean face's front, 14 to 12 texels a cm."""
    x, y = np.meshgrid(np.linspace(-7, 7, 160), np.linspace(10, -8, 220))
    return np.dstack([x, y, 11.0 - 0.06 * x**2])


def near(places, x, y, radius=0.4):
    return np.hypot(np.abs(places[..., 0]) - x, places[..., 1] - y) < radius


def test_a_shaved_beard_is_a_grey_shadow_on_lip_chin_and_jaw(places):
    density = middle_age.shaved(places)
    for x, y in ((0, -6.6), (1.2, -2.4), (4.0, -5.5)):
        assert density[near(places, x, y)].mean() > 0.4, (x, y)
    for x, y in ((0, 8.0), (3.3, 3.5), (0, 0.4), (3.6, 0.8)):
        assert density[near(places, x, y)].max() < 0.05, (x, y)
    colour = middle_age.stubble(density, np.random.default_rng(1))
    chin, brow = near(places, 0, -6.6), near(places, 0, 8.0)
    assert colour[chin].mean() < 0.85 < 0.99 < colour[brow].mean()
    red, _, blue = colour[chin].mean(0)
    assert blue > red  # skin is redder than what is left of it
    assert colour[chin].std() > 0.03  # single hairs


def test_pores_are_open_on_nose_and_cheeks(places):
    made = middle_age.pores(places, np.random.default_rng(1))
    assert made.min() >= 0 and made.max() <= 1
    nose, cheek, temple = (made[near(places, x, y, 0.9)].mean() for x, y in
                           ((0, 0.6), (3.3, -0.3), (5.5, 7.0)))  # fmt: skip
    assert min(nose, cheek) > 3 * temple


def test_a_man_of_fifty_has_lines_across_forehead_and_from_nose_to_mouth(places):
    made = ageing.wrinkles(places, np.random.default_rng(1), middle_age.LINES)
    for x, y in ((0, 7.55), (0, 8.4), (0.65, 5.5), (3.0, -2.2)):
        at = near(places, x, y, 0.35)
        left, right = at & (places[..., 0] < 0), at & (places[..., 0] >= 0)
        assert max(made[left].min(), made[right].min()) < -0.3, (x, y)  # on both sides
    assert np.abs(made[near(places, 5.8, -1.0, 0.8)]).max() < 0.02


def test_no_hair_grows_on_ears():
    ear, above, before = np.array([[8.9, 3.6, 0.5], [8.9, 5.6, 0.5], [7.6, 3.6, 0.5]])
    for style in ("combed", "shoulder"):
        hair = Hair(style=style)
        assert hairline.scalp(ear, hair) == 0
        assert hairline.scalp(above, hair) > 0.3
    assert hairline.scalp(before, Hair(style="combed")) > 0.3


def test_curves_are_cut_off_exactly_at_their_level():
    down = np.stack([np.zeros(9), np.linspace(2, -6, 9), np.zeros(9)], 1)
    cut = strands.cut_off(np.stack([down, down, down]), np.array([-2.3, 1.4, -9.0]))
    np.testing.assert_allclose(cut[:, -1, 1], [-2.3, 1.4, -6.0], atol=1e-6)
    np.testing.assert_allclose(cut[:, 0, 1], 2.0)
    np.testing.assert_allclose(np.diff(cut[0, :, 1]), -4.3 / 8)


def test_hair_to_the_neck_ends_on_a_soft_line_and_in_tips(whole_kit):
    head = make_portrait.rest_head(whole_kit, MIRA)
    hair = replace(MIRA.hair, strands=3000)
    worn = garments.outside(garments.clothes(whole_kit, head, MIRA))
    around = strands.surroundings(whole_kit, head, worn)
    made = strands.grow(whole_kit, head, hair, around, np.random.default_rng(3))
    assert (made.tip < 0.2 * made.root).all()
    ends = made.points[:, -1, 1]
    assert ends.min() > hair.cut - 0.6
    # Most of what hangs ends on the line, some above it.
    hanging = ends[ends < hair.cut + 3]
    assert len(hanging) > 0.6 * len(ends)
    assert 0.15 < hanging.std() < 0.9


def test_a_brows_tail_runs_on_and_tapers(whole_kit):
    kit = whole_kit
    ends = {}
    for tail in (0.0, 1.0):
        sitter = replace(MIRA, brow_tail=tail)
        made = fine_hair.brows(kit, kit.mean, sitter, np.random.default_rng(2))
        root = made.points[made.points[:, 0, 0] > 0, 0]
        low, high = (root[(root[:, 0] > x - 0.15) & (root[:, 0] < x + 0.15), 1]
                     for x in (5.2, 2.5))  # fmt: skip
        ends[tail] = low.mean(), np.ptp(np.percentile(low, [5, 95])), high.mean()
    assert ends[1.0][0] > ends[0.0][0] + 0.05
    assert ends[1.0][1] < 0.8 * ends[0.0][1]
    assert abs(ends[1.0][2] - ends[0.0][2]) < 0.03  # the brow's head stays


def test_a_collar_is_stitched_along_its_edge_and_tucked_under_the_jumper(whole_kit):
    head = make_portrait.rest_head(whole_kit, KENJI)
    pieces = {piece.name: piece for piece in garments.clothes(whole_kit, head, KENJI)}
    collar, jumper = pieces["collar"].surface, pieces["jumper"].surface.points
    jumper = jumper[jumper[:, 2] > 2]
    rows = 47  # from the neck over the fold to the edge
    stitched = collar.attributes["stitched"].reshape(rows, -1)
    assert np.allclose(stitched[-1], 0) and np.allclose(stitched[-8:, [0, -1]], 0)
    assert stitched[:10].min() > 5  # not up the neck
    assert (np.abs(stitched - 1) < 0.15).sum() > 300
    tip = collar.points.reshape(rows, -1, 3)[-1, [0, -1]]
    away = np.linalg.norm(jumper[:, None, :2] - tip[None, :, :2], axis=2)
    assert (away.min(0) < 0.6).all()  # the jumper covers the tips
    assert (jumper[away.argmin(0), 2] > tip[:, 2]).all()


def test_skin_has_one_tone_where_the_back_of_the_head_begins(whole_kit, monkeypatch):
    kit = whole_kit
    monkeypatch.setattr(skin_maps, "SIZE", 512)  # takes less time
    painter = skin_maps.SkinPainter(kit, Path())
    face = kit.parts["face"]
    assert painter.uv[face].min() >= 0 and painter.uv[face].max() <= 1
    border = painter.border()

    def at(place):
        vertex = np.argmin(np.linalg.norm(kit.mean[face] - place, axis=1))
        x, y = np.clip(painter.pixels(painter.uv[vertex]), 0, 511).astype(int)
        return border[y, x]

    for place in ((0, -16.4, 4.0), (6.2, -2.3, -0.3), (-6.1, -12.2, 0.2)):
        assert at(place) > 0.7, place
    for place in ((0, 0.4, 13.0), (3.5, 0, 10), (0, -7.5, 10.4)):
        assert at(place) == 0, place


def test_cloth_is_lifted_off_the_neck_and_sleeves_keep_their_place(whole_kit):
    head = make_portrait.rest_head(whole_kit, KENJI)
    body = garments.Body(whole_kit, head, KENJI)
    points, below = garments.cloth(body, garments.NECKLINES[KENJI.garment], 0.8)
    lifted = garments.off_neck(body, points, below, 1.2)
    np.testing.assert_array_equal(lifted[below > 8.1], points[below > 8.1])
    near = (below > 1.0) & (below < 3.0)
    gained = body.distance(lifted[near].copy()) - body.distance(points[near].copy())
    assert gained.mean() > 0.1
