# SPDX-License-Identifier: Apache-2.0
"""Lids and irises are where the face model has them."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from bundled_faces import bundled_face
from realtalk_ros.face_model import landmarks
from realtalk_ros.face_model.arkit import weights
from realtalk_ros.rendering.common.template_landmarks import frontal_landmarks
from realtalk_ros.rendering.eyes import eyelids
from realtalk_ros.rendering.eyes.eyelids import shut_eyes
from realtalk_ros.rendering.eyes.eyes import PAINTED, change, draw_eyes, draw_visibility, warp_eyes
from realtalk_ros.rendering.eyes.moved_eye import CLOSING, MovedEye
from realtalk_ros.rendering.geometry import SLIGHT, Geometry
from realtalk_ros.rendering.sampling_grid import warp

SIZE = 256
NOBODY = np.zeros(landmarks.IDENTITY_SIZE, np.float32)
RIGHT, LEFT = slice(36, 42), slice(42, 48)
IDENTITY = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE))).astype(np.float32)
SKIN, EYEBALL, IRIS = (90, 140, 200), (255, 255, 255), (255, 200, 0)


def warped(rest: np.ndarray, picture: np.ndarray, **values: float) -> np.ndarray:
    return warp(picture, grid_and_map(rest, **values)[0])


def grid_and_map(rest: np.ndarray, **values: float) -> tuple[np.ndarray, np.ndarray]:
    """The sampling grid (2, 256, 256) and the map (256, 256, 3) of the eyes."""
    grid, visible = IDENTITY.copy(), np.zeros((SIZE, SIZE, 3), np.uint8)
    geometry = Geometry(NOBODY, rest[None].astype(np.float32))
    patches = geometry.eyes(weights(**values), 0, SIZE)[1]
    draw_visibility(patches, visible)
    for patch in patches:
        change(grid[:, patch.rows, patch.columns], patch.sampling_grid, patch.blend)
    return grid, visible


def portrait(rest: np.ndarray) -> np.ndarray:
    """Flat skin, white eyes between the landmarks of the lids, irises in the middle of them."""
    picture = np.full((SIZE, SIZE, 3), SKIN, np.uint8)
    for eye in (RIGHT, LEFT):
        points = rest[eye] * SIZE - 0.5
        white = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(white, [np.rint(points * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
        iris = np.zeros_like(white)
        cv2.circle(iris, np.rint(points.mean(0)).astype(int).tolist(), 6, 255, -1)
        picture[white > 0] = EYEBALL
        picture[(white > 0) & (iris > 0)] = IRIS
    return picture


@pytest.fixture
def rest() -> np.ndarray:
    """Landmarks (68, 2) of the mean face, of the picture's side."""
    return frontal_landmarks(NOBODY)


@pytest.fixture
def picture(rest) -> np.ndarray:
    return portrait(rest)


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(256, 256) bool."""
    return np.abs(picture.astype(int) - colour).max(-1) < 60


def test_at_rest_nothing_moves():
    grid, visible = grid_and_map(frontal_landmarks(NOBODY))
    assert visible[..., 1].sum() > 255 * 300 and visible[..., 2].max() == 0
    assert np.abs(grid - IDENTITY).max() < 1e-3


@pytest.mark.parametrize("wider", [0.0, 0.006])
def test_a_shut_eye_hides_its_eyeball_and_an_open_one_keeps_it(rest, wider):
    rest[[37, 38, 43, 44], 1] -= wider  # eyes more open than the identity says
    picture = portrait(rest)
    white = has_colour(picture, EYEBALL).sum()
    shut = warped(rest, picture, eyeBlink=1)
    visible = grid_and_map(rest, eyeBlink=1)[1]
    assert visible[..., 1].sum() < 255 * 20 and (visible[..., 2] > 128).sum() > 300
    # (The inner corner's landmark lies beyond the lids' edges, at the nose.)
    assert has_colour(shut, IRIS).sum() == 0 and has_colour(shut, EYEBALL).sum() < 0.15 * white
    # Half shut, the lower half is where it was: a lid covers the eyeball, it does not press it.
    half = warped(rest, picture, eyeBlink=0.5)
    below = int(rest[36:48, 1].mean() * SIZE) + 1
    for colour in (IRIS, EYEBALL):
        was, is_now = (has_colour(p, colour)[below : below + 2] for p in (picture, half))
        assert (was & is_now).sum() > 0.8 * was.sum()
    assert 0.25 < has_colour(half, IRIS).sum() / has_colour(picture, IRIS).sum() < 0.8


def test_irises_turn_with_the_gaze_behind_lids_that_stay(rest, picture):
    aside = warped(rest, picture, eyeLookInLeft=0.5, eyeLookOutRight=0.5)
    for eye in (RIGHT, LEFT):
        x = int(rest[eye, 0].mean() * SIZE)
        near = (slice(None), slice(x - 22, x + 22))
        seen = [np.argwhere(has_colour(p, IRIS)[near])[:, 1] for p in (picture, aside)]
        # 1.4 cm in front of the eyeball's centre, it turns by 15 degrees to the person's right.
        moved = np.sin(np.radians(15)) * 1.4 * centimetre(rest)
        assert seen[0].mean() - seen[1].mean() == pytest.approx(moved, abs=0.8)
        assert len(seen[1]) > 0.8 * len(seen[0])
    opened = [has_colour(p, EYEBALL) | has_colour(p, IRIS) for p in (picture, aside)]
    assert (opened[0] != opened[1]).sum() < 0.2 * opened[0].sum()


def centimetre(rest: np.ndarray) -> float:
    """Its length in pixels."""
    shape = landmarks.load().points(weights(), NOBODY)
    return np.linalg.norm(rest[36] - rest[45]) * SIZE / np.linalg.norm(shape[36] - shape[45])


def test_lids_that_are_open_cost_nothing_and_those_that_close_cover_the_eye(rest):
    geometry = Geometry(NOBODY, rest[None].astype(np.float32))
    seen = {}
    for blink in (0, 0.5, 1):
        shown = IDENTITY.copy()
        lids = warp_eyes(geometry.eyes(weights(eyeBlink=blink), 0, SIZE)[1], shown)
        seen[blink] = lids and lids.layers
        if lids is not None:  # the brows and what else is far from the lid stay
            brows = slice(0, int(rest[17:27, 1].mean() * SIZE))
            assert np.abs(shown - IDENTITY)[:, brows].max() < 1
    assert seen[0] is None
    x, low = (int(c * SIZE) for c in (rest[36:42, 0].mean(), rest[40:42, 1].mean()))
    assert (seen[1][low - 12 : low + 3, x, 0] > 250).all()
    assert seen[0.5][low - 12, x, 0] > 250 and seen[0.5][low - 2, x, 0] == 0
    for blink, below in ((0.5, 9), (1, 4)):  # one line of lashes, at the lid's edge
        at = seen[blink][:, x, 1].argmax()
        assert low - below <= at <= low + 2 and seen[blink][at, x, 1] > 200


def test_the_lashes_of_shut_lids_are_a_line_that_rises_to_the_inner_corner(rest):
    """As in films: the lids meet low in the outer half."""
    geometry = Geometry(NOBODY, rest[None].astype(np.float32))
    patches = geometry.eyes(weights(eyeBlink=1), 0, SIZE)[1]
    layers, *box = warp_eyes(patches, IDENTITY.copy())
    beside = layers.copy()
    beside[tuple(box)] = 0
    assert layers.any() and not beside.any()
    visible = np.zeros((SIZE, SIZE, 3), np.uint8)
    draw_visibility(patches, visible)
    for eye in (RIGHT, LEFT):
        corners = np.sort(rest[eye, 0])[[0, -1]] * SIZE
        x = np.linspace(*corners, 9)[1:-1].round().astype(int)
        x = x if eye is RIGHT else x[::-1]  # from the outer corner on
        rows, darkness = layers[:, x, 1].argmax(0), layers[:, x, 1].max(0)
        assert (darkness > 120).all() and np.ptp(rows[:4]) <= 0.05 * np.ptp(corners)
        assert 0.08 < (rows[:3].mean() - rows[-1]) / np.ptp(corners) < 0.2
    assert (visible[..., 1] < 128).all()  # no sliver of the eyeball


def test_shut_lids_are_round(rest, picture):
    """They are darker at their edge and in the hollow at the inner corner."""
    painted = shut(rest, picture).mean(-1) / np.mean(SKIN)
    for eye in (RIGHT, LEFT):
        top, low = (round(row * SIZE) for row in (rest[eye, 1].min(), rest[eye, 1].max()))
        columns = [across(rest, eye, x if eye is RIGHT else 1 - x) for x in (0.4, 0.6, 0.95)]
        middle, edge, inner = painted[[top - 2, low - 2, low - 8], columns]
        assert 0.97 < middle < 1.03 and edge < 0.92 and inner < 0.9


@pytest.fixture
def flat_lids(monkeypatch):
    """Shut lids that have the colour of their skin alone."""
    monkeypatch.setattr(eyelids, "roundness", lambda x, depth: np.ones((*x.shape, 1), np.float32))


RIM = (25, 30, 30)


def shut(rest: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """The picture with its eyes painted shut."""
    geometry = Geometry(NOBODY, rest[None].astype(np.float32))
    made = shut_eyes(picture, (0, 0, SIZE), geometry.template_eyes[0], rest)
    (x, y), (height, width) = made.corner, made.image.shape[:2]
    picture = picture.copy()
    picture[y : y + height, x : x + width] = made.image
    return picture


@pytest.mark.usefixtures("flat_lids")
@pytest.mark.parametrize("skin", [SKIN, (35, 50, 75), (215, 225, 240)])
def test_shut_lids_are_skin_without_lashes_make_up_crease_or_iris(rest, picture, skin):
    picture[has_colour(picture, SKIN)] = skin
    lids = [rest[eye][:4] * SIZE for eye in (RIGHT, LEFT)]
    for upper in lids:
        for up, colour, thickness in (
            (0, (20, 20, 25), 3),  # lashes
            (4, np.array(skin) * 0.5 + (40, 10, 0), 3),  # make-up
            (7, np.array(skin) * 0.6, 2),  # the crease
        ):
            line = np.rint((upper - (0, up)) * 16).astype(np.int32)
            cv2.polylines(picture, [line], False, tuple(map(float, colour)), thickness, 16, 4)
    painted = shut(rest, picture).astype(int)
    for eye in (RIGHT, LEFT):
        (left, top), (right, bottom) = rest[eye].min(0) * SIZE, rest[eye].max(0) * SIZE
        inside = painted[int(top) - 9 : int(bottom), int(left) + 5 : int(right) - 5]
        off = np.abs(inside - skin)
        assert off.mean() < 8 and off.max() < 25, (off.mean(), off.max())


@pytest.mark.parametrize("rise, thickness", [(0.0, 2), (0.15, 4), (0.15, 6)])
@pytest.mark.parametrize("skin", [SKIN, (35, 50, 75), (215, 225, 240)])
def test_wings_of_make_up_beyond_the_eyes_go_when_they_shut_and_brows_stay(
    rest, picture, skin, rise, thickness
):
    picture[has_colour(picture, SKIN)] = skin
    wings, brows = np.zeros((2, SIZE, SIZE), np.uint8)
    for corner, inner, brow in ((36, 39, slice(17, 22)), (45, 42, slice(22, 27))):
        start, outwards = rest[corner] * SIZE, (rest[corner] - rest[inner]) * SIZE
        along = [start + (-0.1 * outwards), start + 0.35 * outwards - (0, rise * abs(outwards[0]))]
        cv2.polylines(wings, [np.rint(along).astype(np.int32)], False, 255, thickness)
        tail = np.rint(rest[brow] * SIZE).astype(np.int32)
        cv2.polylines(brows, [tail], False, 255, 3)
    picture[brows > 0] = np.array(skin) * 0.3
    before = picture.copy()
    picture[wings > 0] = (20, 20, 25)
    painted = shut(rest, picture).astype(int)
    beyond = np.zeros_like(wings)
    for corner, inner in ((36, 39), (45, 42)):
        outer = rest[corner] + 0.12 * (rest[corner] - rest[inner])
        beyond |= (wings > 0) & ((np.arange(SIZE) < outer[0] * SIZE) == (corner == 36))
    off = np.abs(painted - before).max(-1)[(beyond > 0) & (brows == 0)]
    assert off.mean() < 12 and off.max() < 60, (off.mean(), off.max())
    assert np.abs(painted - before)[brows > 0].mean() < 3


def test_shut_lids_of_the_brightest_skin_have_no_specks(rest, picture):
    pores = np.random.default_rng(0).integers(0, 6, picture.shape[:2])[..., None]
    picture = np.where(has_colour(picture, SKIN)[..., None], 255 - pores, picture).astype(np.uint8)
    painted = shut(rest, picture)
    for eye in (RIGHT, LEFT):
        (left, top), (right, bottom) = rest[eye].min(0) * SIZE, rest[eye].max(0) * SIZE
        assert painted[int(top) - 9 : int(bottom), int(left) : int(right)].min() > 180


@pytest.mark.usefixtures("flat_lids")
@pytest.mark.parametrize("rim", [RIM, (60, 105, 150), (40, 120, 190)])  # black, brown, gold
@pytest.mark.parametrize("size", [(0.9, 0.45), (0.9, 0.6), (0.8, 0.6)])  # the last are round
def test_the_rims_of_glasses_stay_where_they_are(rest, picture, size, rim):
    rims = np.zeros((SIZE, SIZE), np.uint8)
    for eye in (RIGHT, LEFT):
        middle = np.rint(rest[eye].mean(0) * SIZE).astype(int)
        axes = np.rint(np.ptp(rest[eye, 0]) * SIZE * np.array(size)).astype(int)
        cv2.ellipse(rims, middle.tolist(), axes.tolist(), 0, 0, 360, 255, 2, cv2.LINE_AA)
    picture[rims > 128] = rim
    painted = shut(rest, picture)
    assert np.abs(painted[rims > 128].astype(int) - rim).max() < 20
    assert has_colour(painted, IRIS).sum() == 0
    for eye in (RIGHT, LEFT):
        x, y = (rest[eye].mean(0) * SIZE).astype(int)
        assert np.abs(painted[y - 3 : y + 2, x - 8 : x + 9].astype(int) - SKIN).mean() < 8


@pytest.mark.parametrize("line", [2, 3])
def test_the_hard_outline_of_a_drawn_eye_is_no_rim_of_glasses(rest, picture, line):
    for eye in (RIGHT, LEFT):
        points = rest[eye] * SIZE - 0.5
        outline = np.rint((points.mean(0) + 1.3 * (points - points.mean(0))) * 16).astype(np.int32)
        cv2.polylines(picture, [outline], True, RIM, line, 16, 4)
    painted = shut(rest, picture).astype(int)
    assert np.abs(painted - SKIN)[above_lids(rest, -0.1, 0.4)].max() < 30


def draw_over_lids(
    rest: np.ndarray, picture: np.ndarray, ends: tuple[float, float], colour: tuple[int, ...]
) -> np.ndarray:
    """Draws a band over both eyes, between two heights above the upper lids in eye widths. Returns
    where it is, (256, 256) bool."""
    band = np.zeros((SIZE, SIZE), np.uint8)
    for eye in (RIGHT, LEFT):
        upper, width = rest[eye][:4] * SIZE - 0.5, np.ptp(rest[eye, 0]) * SIZE
        edges = [upper - (0, end * width) for end in ends]
        outline = np.rint(np.vstack([edges[0], edges[1][::-1]]) * 16).astype(np.int32)
        cv2.fillPoly(band, [outline], 255, cv2.LINE_8, 4)
    picture[band > 0] = colour
    return band > 0


def above_lids(rest: np.ndarray, start: float, end: float) -> np.ndarray:
    """(256, 256) bool: the middle half of both eyes, between two heights in eye widths above the
    upper lid."""
    chosen = np.zeros((SIZE, SIZE), bool)
    for eye in (RIGHT, LEFT):
        (left, top), (right, _) = rest[eye].min(0) * SIZE, rest[eye].max(0) * SIZE
        width = right - left
        rows = slice(round(top - end * width), round(top - start * width))
        chosen[rows, round(left + 0.25 * width) : round(right - 0.25 * width)] = True
    return chosen


@pytest.mark.parametrize("hair, skin", [((45, 50, 60), SKIN), ((18, 20, 25), (55, 75, 105))])
@pytest.mark.parametrize("crease", [False, True])
def test_hair_near_the_eye_stays_and_the_crease_below_it_goes(rest, picture, hair, skin, crease):
    picture[has_colour(picture, SKIN)] = skin
    draw_over_lids(rest, picture, (0.34, 0.75), hair)  # from below the landmarks on
    if crease:
        draw_over_lids(rest, picture, (0.17, 0.21), tuple(c // 2 for c in skin))
    painted = shut(rest, picture).astype(int)
    hairy = above_lids(rest, 0.46, 0.6)
    assert np.abs(painted - picture)[hairy].max() < 12
    lid = above_lids(rest, -0.1, 0.22)
    assert np.abs(painted - skin)[lid].mean() < 12 and np.abs(painted - skin)[lid].max() < 30


def test_a_deep_crease_with_kohl_is_no_rim_of_glasses(rest, picture):
    for eye in (RIGHT, LEFT):
        points, width = rest[eye] * SIZE - 0.5, np.ptp(rest[eye, 0]) * SIZE
        for line in (points[:4] - (0, 0.22 * width), points[[0, 5, 4, 3]] + (0, 0.14 * width)):
            cv2.polylines(picture, [np.rint(line * 16).astype(np.int32)], False, RIM, 2, 16, 4)
    painted = shut(rest, picture).astype(int)
    assert np.abs(painted - SKIN)[above_lids(rest, -0.1, 0.35)].max() < 30


@pytest.mark.usefixtures("flat_lids")
@pytest.mark.parametrize("own, expected", [(128, 112), (106, 106)])
def test_a_lid_is_lighter_than_the_skin_above_where_the_open_eye_shows_it(
    rest, picture, own, expected
):
    picture[has_colour(picture, SKIN)] = (150,) * 3
    draw_over_lids(rest, picture, (0.2, 0.75), (106,) * 3)  # in the brow's shadow
    draw_over_lids(rest, picture, (0.15, 0.2), (60,) * 3)  # the crease
    draw_over_lids(rest, picture, (0.0, 0.15), (own,) * 3)
    for eye in (RIGHT, LEFT):
        x, y = (rest[eye].mean(0) * SIZE).astype(int)
        lid = shut(rest, picture)[y - 3 : y + 2, x - 5 : x + 6]
        assert lid.mean() == pytest.approx(expected, abs=3)


def lids_of(rest: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """(2, 256): the light of the lids of both eyes, painted shut, at each column."""
    painted = shut(rest, picture).astype(float)
    rows = [round(rest[eye, 1].mean() * SIZE) for eye in (RIGHT, LEFT)]
    return np.stack([painted[row - 3 : row + 2].mean((0, 2)) for row in rows])


def across(rest: np.ndarray, eye: slice, share: float) -> int:
    """The column at this share of the way from the left corner of an eye to the right one."""
    left, right = np.sort(rest[eye, 0])[[0, -1]] * SIZE
    return round(left + share * (right - left))


@pytest.mark.usefixtures("flat_lids")
def test_hair_that_is_near_a_lid_does_not_make_it_darker(rest, picture):
    draw_over_lids(rest, picture, (0.34, 0.75), (45, 50, 60))
    for eye, lights in zip((RIGHT, LEFT), lids_of(rest, picture), strict=True):
        middle = slice(across(rest, eye, 0.3), across(rest, eye, 0.7))
        assert lights[middle].mean() == pytest.approx(np.mean(SKIN), abs=3)


def test_a_lid_below_a_near_brow_is_not_as_dark_as_its_shadow(rest, picture):
    draw_over_lids(rest, picture, (0.02, 0.3), tuple(0.7 * np.array(SKIN)))
    draw_over_lids(rest, picture, (0.3, 0.75), (25, 30, 35))
    for eye, lights in zip((RIGHT, LEFT), lids_of(rest, picture), strict=True):
        middle = slice(across(rest, eye, 0.3), across(rest, eye, 0.7))
        assert lights[middle].mean() > 0.8 * np.mean(SKIN)


def test_a_shadow_that_ends_above_a_lid_is_no_step_in_it(rest, picture):
    bright = picture.copy()
    draw_over_lids(rest, picture, (0.2, 0.75), tuple(0.7 * np.array(SKIN)))
    draw_over_lids(rest, picture, (0.17, 0.2), (60, 70, 90))  # the crease
    for eye in (RIGHT, LEFT):
        x = across(rest, eye, 0.5)  # the shadow is on one half of each eye
        part = slice(x, x + 40) if eye is RIGHT else slice(x - 40, x)
        picture[:, part] = bright[:, part]
    for eye, lights in zip((RIGHT, LEFT), lids_of(rest, picture), strict=True):
        light = lights[across(rest, eye, 0.15) : across(rest, eye, 0.85)]
        assert np.abs(light[4:] - light[:-4]).max() < 10, light.round()


def test_only_the_eyes_are_touched_and_none_that_cannot_be_seen(rest):
    grid, _ = grid_and_map(rest, eyeBlink=1, jawOpen=1)
    moved = np.argwhere(np.abs(grid - IDENTITY).max(0) > 1e-3)[:, 0] / SIZE
    assert len(moved) and moved.max() < rest[30, 1]  # above the nose's tip
    for away in ((1.5, 0), (0, -1.5)):  # out of the picture
        beyond, visible = grid_and_map(rest + away, eyeBlink=1)
        assert (beyond == IDENTITY).all() and not visible.any()


def test_the_network_knows_lids_that_close_at_once_and_others_as_they_were():
    """It draws the same, but for a pixel or so; what is shown are the eyes of the frame."""
    renderer = bundled_face("default", 256)
    steps = [weights(), weights(eyeBlink=0.06), weights(eyeBlink=0.7), weights(eyeBlink=0.75)]
    (geometry,) = renderer.generator.geometry
    moved = [geometry.project_eyes(w, 0).lids * 256 for w in steps]
    slight = [np.abs(b - a).max() < SLIGHT for a, b in pairwise(moved)]
    assert slight == [True, False, True]
    maps, images = [], []
    renderer.generate(weights(eyeBlink=1), 0)
    for expression in steps:
        images.append(renderer.render(expression, 0).astype(int))
        maps.append(renderer.generate(expression, 0).mouth_interior[:96])
    assert (maps[0] == maps[1]).all() and (maps[2] == maps[3]).all()
    assert np.count_nonzero(maps[1] != maps[2]) > 200
    for k, expression in enumerate(steps):
        renderer.generate(weights(eyeBlink=float(k < 2)), 0)  # far from it
        off = np.abs(renderer.render(expression, 0) - images[k])
        assert off.max() <= (4 if k % 2 else 0) and np.count_nonzero(off > 1) <= 3


@pytest.mark.parametrize(
    "values",
    [
        {"eyeLookOutLeft": 0.6, "eyeLookInRight": 0.6},
        {"eyeBlinkLeft": 0.9, "eyeLookDownRight": 0.2},
        {"eyeBlinkLeft": 0.08, "eyeBlinkRight": 1.0},
    ],
    ids=["glance", "wink", "lazy lid"],
)
def test_eyes_drawn_together_are_as_drawn_alone(values):
    geometry = Geometry(NOBODY, turned(frontal_landmarks(NOBODY))[None].astype(np.float32))
    target = geometry.project_eyes(weights(**values), 0)
    eyes = [MovedEye.of(geometry.template_eyes[0], target, side, SIZE) for side in (0, 1)]
    sizes = {(e.rows.stop - e.rows.start, e.columns.stop - e.columns.start) for e in eyes}
    assert len(sizes) == 2  # of patches that must be padded
    for eye, together in zip(eyes, draw_eyes(eyes), strict=True):
        (alone,) = draw_eyes([eye])
        assert together.rows == alone.rows and together.columns == alone.columns
        assert (together.closing is None) == (alone.closing is None) == (eye.closure < CLOSING)
        pairs = [(together, alone)]
        if together.closing and alone.closing:
            pairs.append((together.closing, alone.closing))
            layers = together.closing.layers, alone.closing.layers
            assert (layers[0] is None) == (layers[1] is None) == (eye.lowered < PAINTED[0])
            if layers[0] is not None:
                assert cv2.absdiff(*map(np.ascontiguousarray, layers)).max() <= 1
        for one, other in pairs:
            np.testing.assert_allclose(one.sampling_grid, other.sampling_grid, atol=1e-3)
            np.testing.assert_allclose(one.blend, other.blend, atol=1e-5)
        assert np.abs(together.visibility.astype(int) - alone.visibility).max() <= 1


def turned(rest: np.ndarray) -> np.ndarray:
    """Landmarks of a head that is turned and tilted a little: one eye is smaller."""
    x = rest[:, 0] - 0.5
    return np.stack([0.5 + x * (1 + 0.5 * x), rest[:, 1] + 0.1 * x], -1)
