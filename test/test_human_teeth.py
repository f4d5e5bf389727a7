# SPDX-License-Identifier: Apache-2.0
"""A person's teeth are single ones, the upper ones as high as they are wide or a little more."""

import cv2
import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering.common import rasterizer
from realtalk_ros.rendering.common.camera import Cameras
from realtalk_ros.rendering.common.template_landmarks import frontal_landmarks
from realtalk_ros.rendering.generator import MOUTH, FaceInputs
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.rendering.mouth import human_teeth, mouth, mouth_model
from realtalk_ros.rendering.mouth.lip_shadow import MouthOpening
from realtalk_ros.rendering.mouth.mouth_tables import MouthTables
from realtalk_ros.rendering.mouth.oral_cavity import OralCavity
from realtalk_ros.rendering.mouth.tooth_relief import (
    LOWER_MEET,
    MEET,
    light_between,
    light_between_lower,
    tooth_relief,
)

NOBODY = np.zeros(landmarks.IDENTITY_SIZE, np.float32)
LOOKS = "shaded", "lifelike"
AHEAD, ASIDE, ROLLED = (0.0, 0.0, 0.0), (0.0, 0.45, 0.0), (0.1, 0.2, 0.3)


def seen_by(rotation: tuple[float, float, float]) -> tuple[np.ndarray, Cameras]:
    """The landmarks (1, 68, 2) of the mean face, its head rotated, and the camera that sees it."""
    shape = landmarks.load().points(np.zeros(arkit.COUNT, np.float32), NOBODY)
    turned = (shape - shape.mean(0)) @ cv2.Rodrigues(np.array(rotation))[0].T
    flat = turned[:, :2] / (1 - turned[:, 2:] / 65)
    x, y, side = landmarks.face_square(flat)
    points = ((flat - (x, y)) / (side, -side) + 0.5)[None].astype(np.float32)
    return points, Cameras(points, shape[None])


def upper_teeth(look: str) -> np.ndarray:
    """(H, W): light of the mean face's upper teeth from the front, 50 pixels a cm, without lips;
    the middle is in column 150, the first row at y = -1 cm."""
    model = mouth_model.load()
    of = model.looks[look]
    points = of.places[of.skull.vertices] * (50, -50, 1) + (150, -50, 0)
    values, nearness = np.zeros((150, 300), np.uint16), np.full((150, 300), -np.inf, np.float32)
    rasterizer.draw(
        points.astype(np.float32), of.skull.faces, of.light[of.skull.vertices], of.skull.channels,
        values, shown=nearness,
    )  # fmt: skip
    return (values & 255).astype(np.uint8)[40:]


def heights(look: str) -> np.ndarray:
    """(3,) cm: how high the teeth are that stand out of the gum, from the first to the third."""
    teeth = upper_teeth(look) > 0
    columns = (150 + 50 * np.array([0.4, 1.2, 1.75])).astype(int)
    return np.mean([teeth[:, columns].sum(0), teeth[:, 300 - columns].sum(0)], 0) / 50


def test_incisors_are_hardly_higher_than_canines_and_the_second_ones_are_shorter():
    first, second, third = heights("lifelike")
    assert 0.9 < first < 1.3 and 0.8 < second < third < first
    assert heights("shaded")[0] > 1.45


def test_the_upper_teeth_s_edges_make_no_step():
    """Second incisors and canines end less than 1.2 mm above the first ones."""
    teeth = upper_teeth("lifelike") > 0
    columns = (150 + 50 * np.array([0.4, 1.15, 1.75])).astype(int)
    ends = np.mean([len(teeth) - teeth[::-1, at].argmax(0) for at in (columns, 300 - columns)], 0)
    above = (ends[0] - ends[1:]) / 50
    assert (above > 0.03).all() and (above < 0.12).all()


def test_lower_teeth_lie_in_the_shadow_of_rounded_lips_while_the_jaw_is_up():
    """And no person's are darker in a smile or an "oh"; a drawing's never are."""
    light = {}
    for look in LOOKS:
        mouth_of = Geometry(NOBODY, frontal_landmarks(NOBODY)[None], look=look).mouth
        below = np.cumsum(mouth_of.teeth_mask(0, 256)[::-1], 0)[::-1] == 0  # the upper teeth
        for jaw, pucker in ((0.12, 0.0), (0.12, 0.9), (0.4, 0.0), (0.4, 0.9)):
            weights = arkit.weights(jawOpen=jaw, mouthPucker=pucker)
            seen = np.full((60, 20), 255, np.uint8)  # as if there were no lips
            drawn = mouth_of.interior.draw(weights, 0, 256, np.array([118, 160]), seen)[..., 0]
            light[look, jaw, pucker] = np.percentile(drawn[below[160:220, 118:138]], 90)
    assert light["lifelike", 0.12, 0.9] < 0.4 * light["lifelike", 0.12, 0.0]
    assert light["lifelike", 0.4, 0.9] == light["lifelike", 0.4, 0.0]
    assert light["shaded", 0.12, 0.9] == light["shaded", 0.12, 0.0] > 60


def test_lower_teeth_are_as_high_and_as_light_as_people_s():
    """Of the mean face's "ah", seen from the front."""
    face = {look: Geometry(NOBODY, frontal_landmarks(NOBODY)[None], look=look) for look in LOOKS}
    weights = arkit.weights(jawOpen=0.45, mouthLowerDown=0.25, mouthUpperUp=0.12)
    maps = [g.draw_mouth(weights, 0, np.zeros((256, 256, 3), np.uint8)) for g in face.values()]
    machine, person = (shown[:, 124:132] for shown in maps)
    middle = np.flatnonzero((person[..., 0] == 255).all(1)).mean()
    rows = np.arange(256)[:, None] > middle
    low = [np.median(((of[..., 1] > 60) & rows).sum(0)) for of in (machine, person)]
    eyes = np.linalg.norm(np.diff(face["lifelike"].template_landmarks[0, [36, 45]], axis=0)) * 256
    assert 0.035 < low[1] / eyes < 0.07 and low[0] < 0.4 * low[1]  # of 27 people: 0 to 0.057
    light = person[..., 1].astype(float)
    light = [np.percentile(light[(light > 60) & (rows == half)], 70) for half in (False, True)]
    assert 0.75 < light[1] / light[0] < 1.05


def test_gums_lie_alike_over_both_sides():
    teeth = upper_teeth("lifelike")[:, 50:251] > 0
    assert (teeth != teeth[:, ::-1]).mean() < 0.001
    model = mouth_model.load()
    wrong = [human_teeth.nearest(model.inside, place) for place, _ in human_teeth.GUM_PLACES]
    assert np.abs(model.inside[wrong] - [p for p, _ in human_teeth.GUM_PLACES]).max() < 0.01


@pytest.mark.parametrize("rotation", [AHEAD, ASIDE, ROLLED])
def test_it_is_darker_where_teeth_meet_wherever_the_camera_is(rotation):
    points, camera = seen_by(rotation)
    teeth = Geometry(NOBODY, points).mouth.upper_teeth(0)
    relief = tooth_relief(*teeth) / 255
    assert relief.shape == (128, 128)
    # The sides and the middle of each tooth, by the triangles of the face model.
    model = mouth_model.load()
    edge = model.inside[model.outer_teeth]
    edge = edge[(edge[:, 1] < -2.9) & (edge[:, 1] > -3.45) & (np.abs(edge[:, 0]) < 2.1)]
    seen = camera.project(edge, 0)[:, :2] * 256 - 0.5 - mouth.mouth_corner(256)
    light = cv2.remap(relief.astype(np.float32), *seen.astype(np.float32).T[..., None], 1)[:, 0]
    near = np.abs(np.abs(edge[:, :1]) - MEET[1:4]).min(1)
    assert light[near < 0.06].mean() < 0.86
    assert light[near > 0.2].mean() > 0.93


def test_notches_are_deepest_at_the_edge_and_below_it_is_a_shadow():
    face = Geometry(NOBODY, frontal_landmarks(NOBODY)[None])
    seen, places = face.mouth.upper_teeth(0)
    relief = tooth_relief(seen, places).astype(float)
    column = round(float(np.interp(MEET[1], *np.sort([places[:, 0], seen[:, 0]], 1))))
    shade = relief[:, column - 1 : column + 2].min(1)
    bottom = int(seen[:, 1].max())
    assert shade.argmin() > bottom - 5 and shade.min() < 0.75 * 255
    assert 0.85 * 255 < shade[bottom - 9] < 0.98 * 255  # a line, up to the gum
    x = np.arange(-2.5, 2.5, 0.02)
    near, far = (light_between(x, np.full_like(x, y)) for y in (-3.65, -4.2))  # of lower teeth
    assert near.max() < 0.9 and far.min() > 0.97


@pytest.mark.parametrize("rotation", [AHEAD, ASIDE, ROLLED])
@pytest.mark.parametrize("jaw", [{}, {"jawOpen": 0.6}, {"jawLeft": 0.8, "jawOpen": 0.2}])
def test_lower_teeth_are_told_apart_wherever_the_jaw_is(rotation, jaw):
    points, camera = seen_by(rotation)
    weights = arkit.weights(**jaw)
    found = Geometry(NOBODY, points).lower_teeth(weights, 0)
    model = mouth_model.load()
    teeth = model.outer_lower_teeth
    places = model.inside[teeth]
    moved = np.tensordot(weights[model.moving], model.inside_expressions[:, teeth], 1)
    seen = camera.project(places + moved + (0, human_teeth.LOWER_HIGHER, 0), 0)[:, :2]
    x, y = (seen * 256 - 0.5 - mouth.mouth_corner(256)).T
    across = found @ [np.ones_like(x), x, y, x * x, x * y]
    off = np.abs(across - places[:, 0])  # cm
    assert off[np.abs(places[:, 0]) < 1.3].max() < 0.17 and off.mean() < 0.08


def test_lower_teeth_lie_where_the_jaw_of_a_face_at_rest_has_them():
    resting, asked = arkit.weights(jawLeft=0.5), arkit.weights(jawOpen=0.3)
    shape = landmarks.load().points(resting, NOBODY)
    x, y, side = landmarks.face_square(shape[:, :2])
    points = ((shape[:, :2] - (x, y)) / (side, -side) + 0.5)[None].astype(np.float32)
    at_rest = Geometry(NOBODY, points, resting_weights=resting).lower_teeth(asked, 0)
    shown = Geometry(NOBODY, points, template_weights=resting[None])
    np.testing.assert_allclose(at_rest, shown.lower_teeth(asked + resting, 0), atol=1e-6)
    assert np.abs(at_rest - shown.lower_teeth(asked, 0)).max() > 0.1


def test_it_is_darker_between_lower_teeth():
    meet = np.array(LOWER_MEET[:4])
    light = light_between_lower(np.stack([meet, -meet, meet + 0.27, np.full(4, 9)]))
    assert light.dtype == np.float32 and (light[0] == light[1]).all()
    assert light[0].max() < 0.92 and light[2:].min() > 0.95
    far = light_between_lower(np.array([4, 1e9, np.inf, -np.inf, np.nan], np.float32))
    assert (far == far[0]).all()


def test_lines_between_lower_teeth_lie_on_them_alone():
    interior = np.zeros((128, 128, 3), np.uint8)
    interior[40:80, 24:104] = 255, 0, 60
    interior[40:50, 24:104] = interior[60:70, 24:104] = 255, 200, 0
    tables = MouthTables(np.ones((80, 65, 3)), np.ones((1, 128, 3)), roots=np.zeros((1, 128)))
    above_edge = np.zeros((1, 128, 128), bool)
    above_edge[:, :52] = True
    cavity = OralCavity(tables, above_edge=above_edge)
    opening, across = MouthOpening(gap=0.1, wider=0.09), np.array([-6.4, 0.1, 0, 0, 0])
    plain, lined = (cavity.light_in(interior, 0, opening, a).factors for a in (None, across))
    ratio = (lined / plain).mean(-1)
    np.testing.assert_array_equal(ratio[:20], 1)
    np.testing.assert_array_equal(ratio[30:], 1)
    assert ratio[25, 40] < 0.92 and ratio[25, 43] > 0.95 > ratio[25, 47]  # at 0, 0.3 and 0.7 cm


def test_where_no_tooth_is_seen_nothing_is_darker():
    far = np.array([[300.0, 300.0], [310.0, 310.0], [320.0, 300.0]])
    assert (tooth_relief(far, np.zeros((3, 2))) == 255).all()


def test_the_shade_lies_on_enamel_alone():
    interior = np.zeros((128, 128, 3), np.uint8)
    interior[40:80, 24:104] = 255, 0, 60
    interior[40:50, 24:104] = 255, 200, 0
    relief = np.full((1, 128, 128), 255, np.uint8)
    relief[:, :, 60:64] = 128
    tables = MouthTables(np.ones((66, 65, 3)), np.ones((1, 128, 3)), roots=np.zeros((1, 128)))
    drawn = []
    for shade in (None, relief):
        cavity = OralCavity(tables, shade)
        light = cavity.light_in(interior, 0, MouthOpening(gap=0.1, wider=0.09))
        cavity.apply(light, image := np.full((128, 128, 3), 200, np.uint8))
        drawn.append(image.mean(-1))
    np.testing.assert_array_equal(drawn[0][51:], drawn[1][51:])
    np.testing.assert_array_equal(drawn[0][:, :59], drawn[1][:, :59])
    assert np.abs(drawn[1][44, 61:63] - 100).max() < 12


def test_a_persons_picture_shows_single_teeth():
    """The smile of a bundled person has a dark line between the first and the second incisor,
    on either side."""
    generator = bundled_face("mira").generator
    bared = {f"mouth{which}{side}": weight for side in ("Left", "Right") for which, weight in
             (("Smile", 0.4), ("Stretch", 0.4), ("UpperUp", 0.3), ("LowerDown", 0.4))}  # fmt: skip
    face = generator.run(arkit.weights(jawOpen=0.12, **bared)[None], [FaceInputs(0, 0, 0)])[0]
    seen, places = generator.geometry[0].mouth.upper_teeth(0)
    enamel = face.mouth_interior[MOUTH][..., 1] > 0
    lower = (seen[:, 1].max() - 4, seen[:, 1].max() - 2)  # rows near the edge
    order = np.argsort(places[:, 0])
    x = np.arange(-1.75, 1.76, 0.05)
    columns = np.interp(x, places[order, 0], seen[order, 0])
    light = np.array([
        [face.mouth[int(row), round(c)].mean() if enamel[int(row), round(c)] else np.nan
         for c in columns] for row in lower
    ])  # fmt: skip
    light = np.nanmean(light, 0)
    for side in (-1, 1):
        first, gap, second = (np.abs(x - side * place) < 0.13 for place in (0.5, MEET[1], 1.13))
        assert light[gap].min() < 0.78 * min(light[first].max(), light[second].max())
