# SPDX-License-Identifier: Apache-2.0
"""The map of the mouth's interior is as the face model has it."""

from dataclasses import replace

import numpy as np
import pytest

from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering.common.template_landmarks import frontal_landmarks
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.rendering.mouth import mouth, mouth_model

SIZE = 256
NOBODY = np.zeros(landmarks.IDENTITY_SIZE, np.float32)
BARED = {f"mouth{which}{side}": 0.8 for which in ("UpperUp", "LowerDown")
         for side in ("Left", "Right")}  # fmt: skip


def weights(**values: float) -> np.ndarray:
    array = np.zeros(arkit.COUNT, np.float32)
    for name, value in values.items():
        array[arkit.INDEX[name]] = value
    return array


def drawn(rest: np.ndarray | None = None, look: str = "plain", **values: float) -> np.ndarray:
    """(256, 256, 3) in 0..1, over a resting face that looks ahead."""
    rest = frontal_landmarks(NOBODY) if rest is None else rest
    face = Geometry(NOBODY, rest[None], look=look)
    return face.draw_mouth(weights(**values), 0, np.full((SIZE, SIZE, 3), 9, np.uint8)) / 255


def rows(channel: np.ndarray) -> np.ndarray:
    return np.flatnonzero(channel.max(1) > 0.5)


def test_lips_are_shut_at_rest_and_when_pressed_while_the_jaw_is_down():
    assert drawn()[..., 0].sum() < 20  # the mean face's lips leave a line between them
    assert drawn(jawOpen=0.4, mouthClose=0.4)[..., 0].sum() < 10
    assert drawn(jawOpen=0.4)[..., 0].sum() > 200


def test_the_opening_lies_between_the_inner_lips():
    wide = weights(jawOpen=0.6)
    opened = drawn(jawOpen=0.6)[..., 0]
    moved = landmarks.load().points(wide, NOBODY)[:, :2]
    resting = landmarks.load().points(wide * 0, NOBODY)[:, :2]
    # The crop of a frontal face is the face's plane, scaled and shifted.
    x, y, side = landmarks.face_square(resting)
    points = ((moved - (x, y)) / (side, -side) + 0.5) * SIZE
    top, bottom = points[[61, 62, 63], 1].mean(), points[[65, 66, 67], 1].mean()
    seen = rows(opened[:, int(points[62, 0]) - 2 : int(points[62, 0]) + 3])
    assert abs(seen[0] - top) < 3 and abs(seen[-1] - bottom) < 3
    columns = np.flatnonzero(opened.max(0) > 0.5)
    assert points[60, 0] - 3 < columns[0] and columns[-1] < points[64, 0] + 3


def test_teeth_show_above_and_below_a_dark_gap_with_the_tongue():
    middle = drawn(jawOpen=0.3, **BARED)[:, 118:138]
    teeth = rows(middle[..., 1] * middle[..., 0])
    tongue = rows(2 * middle[..., 2] * middle[..., 0])  # darker than teeth
    assert (np.diff(teeth) > 3).sum() == 1  # two rows of them
    assert teeth[0] < tongue[0] and tongue[-1] < teeth[-1] + 3
    # The lower ones go down with the jaw, the upper ones stay.
    less = drawn(jawOpen=0.2, **BARED)[:, 118:138]
    less = rows(less[..., 1] * less[..., 0])
    first, last = (np.flatnonzero(np.diff(found) > 2)[0] for found in (less, teeth))
    assert abs(less[first] - teeth[last]) <= 1  # the upper edge
    assert less[first + 1] < teeth[last + 1] - 2  # the lower edge


def test_lips_and_cheeks_shade_the_lower_teeth_and_those_in_the_corners():
    lit, shaded = (drawn(jawOpen=0.3, look=how, **BARED) for how in ("plain", "shaded"))
    assert (shaded[..., 0] == lit[..., 0]).all()  # how far it is open
    assert (shaded[..., 2] == lit[..., 2]).all()  # flesh
    teeth = lit[..., 1] * lit[..., 0] > 0.4
    share = np.where(teeth, shaded[..., 1] / np.maximum(lit[..., 1], 0.1), np.nan)
    seen = rows(teeth[:, 126:130])
    gap = np.flatnonzero(np.diff(seen) > 3)[0] + 1
    middle = np.nanmean(share[seen, 126:130], 1)
    assert middle[:gap].min() > 0.95
    assert abs(middle[gap:] - mouth_model.LOWER_TEETH).max() < 0.05
    columns = np.flatnonzero(teeth.any(0))
    assert np.nanmax(share[:, columns[[0, -1]]]) < 0.7
    lower = share[seen[gap] :]
    columns = np.flatnonzero(np.isfinite(lower).any(0))
    assert np.nanmax(lower[:, columns[[0, -1]]]) < 0.4


def test_teeth_touch_as_people_s_do():
    looks = "plain", "shaded"
    apart, touching = (drawn(jawOpen=0.3, look=look, **BARED)[..., 1] for look in looks)
    row = rows(apart)[7]  # of the upper incisors
    assert touching[row, 118:138].min() > apart[row, 118:138].min() + 0.1


def test_behind_people_s_tongue_and_teeth_are_their_cheeks():
    wide = dict(jawOpen=0.5, mouthLowerDownLeft=0.2, mouthLowerDownRight=0.2)
    machine, person = (drawn(look=look, **wide) for look in ("shaded", "lifelike"))
    np.testing.assert_array_equal(person[..., 0], machine[..., 0])
    opened = person[..., 0] == 1
    hollow = opened & (machine[..., 1:].max(-1) == 0)
    assert hollow.sum() > 50
    cheek = mouth_model.CHEEKS / 255
    assert np.abs(person[hollow, 2] - cheek).max() < 0.1  # smooth towards the tongue's border
    # No dark enamel is left in the corners, and nowhere a hole.
    corners = opened.copy()
    corners[:, 104:152] = False  # in which lower canines are seen
    assert machine[corners, 1].max() > 0.05 and person[corners, 1].max() < 0.03
    assert person[opened][:, 1:].sum(-1).min() > 0.8 * cheek
    tongue = person[rows(opened)[len(rows(opened)) // 2], :, 2]
    across = tongue[np.flatnonzero(opened.any(0))]
    assert np.abs(np.diff(across)).max() < 0.08  # its edge is soft


def test_people_s_incisors_are_nearer_and_no_gum_lies_over_one_of_them():
    shown = dict(Smile=0.5, UpperUp=0.8, LowerDown=0.3)
    smile = {f"mouth{name}{side}": shown[name] for name in shown for side in ("Left", "Right")}
    machine, person = (drawn(look=look, jawOpen=0.1, **smile) for look in ("shaded", "lifelike"))
    row = rows(person[:, 120:136, 1])[4:8]
    gap, wider = (look[row, 127:129, 1].mean() for look in (person, machine))
    assert 1.1 * wider < gap < 0.8 * person[row, 132:136, 1].mean()
    gums = [look[..., 2][:, 110:128] - look[..., 2][:, 145:127:-1] for look in (machine, person)]
    lopsided, even = (np.abs(difference).sum() for difference in gums)
    assert even < 0.4 * lopsided


def test_how_far_the_teeth_in_a_column_are_from_the_middle():
    rest = frontal_landmarks(NOBODY)
    across = Geometry(NOBODY, rest[None]).mouth.across_teeth(0)
    assert across.shape == (128,) and (np.diff(across) >= 0).all()
    assert abs(across[63:65].mean()) < 0.05  # the mean face's middle
    lips = rest[54, 0] - rest[48, 0]  # some 5 cm apart
    moved = Geometry(NOBODY, (rest + np.array([0.1 * lips, 0]))[None]).mouth.across_teeth(0)
    aside = across[64] - moved[64]
    assert 0.3 < aside < 0.8


def test_it_follows_the_lips_of_the_template():
    rest = frontal_landmarks(NOBODY)
    here, there = drawn(rest, jawOpen=0.6), drawn(rest + np.array([0.1, 0.05]), jawOpen=0.6)
    (y0, x0), (y1, x1) = (np.argwhere(p[..., 0] > 0.5).mean(0) for p in (here, there))
    assert abs(x1 - x0 - 25.6) < 0.5 and abs(y1 - y0 - 12.8) < 0.5
    # Lower lip higher in the picture than the identity says: so is the opening's lower edge.
    lips = rest.copy()
    lips[[65, 66, 67, 55, 56, 57, 58, 59], 1] -= 0.02
    assert rows(drawn(lips, jawOpen=0.6)[..., 0])[-1] <= rows(here[..., 0])[-1] - 3


@pytest.mark.parametrize("name", ["plain", "shaded", "lifelike"])
def test_skull_and_jaw_apart_are_what_all_triangles_are_at_once(name, monkeypatch):
    shown = dict(jawOpen=0.25, jawLeft=0.3, tongueOut=0.2, **BARED)
    apart, model = drawn(look=name, **shown), mouth_model.load()
    look = model.looks[name]
    vertices = [surface.vertices[surface.faces.T] for surface in (look.skull, look.jaw)]
    channels = np.concatenate([look.skull.channels, look.jaw.channels])
    nothing = mouth_model.Surface.of(np.zeros((0, 3), int), channels[:0])
    all_ = mouth_model.Surface.of(np.concatenate(vertices), channels)
    monkeypatch.setitem(model.looks, name, replace(look, skull=nothing, jaw=all_))
    monkeypatch.setattr(
        mouth, "opened_columns",
        lambda opened: np.repeat([[0], [10**6]], len(opened) * mouth.SUPERSAMPLING, 1),
    )  # fmt: skip
    assert (apart[..., 1] > 0.5).sum() > 100
    np.testing.assert_array_equal(drawn(look=name, **shown), apart)
