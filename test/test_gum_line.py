# SPDX-License-Identifier: Apache-2.0
"""The gum over people's upper teeth is an arch over each, with a point between two."""

import numpy as np

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.face_model import landmarks
from realtalk_ros.rendering.common.template_landmarks import frontal_landmarks
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.rendering.mouth import mouth, mouth_model
from realtalk_ros.rendering.mouth.gum_line import HEIGHTS, gum_line
from realtalk_ros.rendering.mouth.tooth_relief import EDGE_X, EDGE_Y, MEET

NOBODY = np.zeros(landmarks.IDENTITY_SIZE, np.float32)


def upper_jaw(look: str, identity: np.ndarray = NOBODY) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) each: levels of enamel and flesh of the upper jaw, without lips, 44 pixels a cm."""
    rest = frontal_landmarks(identity)[None]
    face = Geometry(identity, rest, look=look).mouth
    values, _ = face.interior.draw_skull(0, CROP_SIZE)
    return values & 255, values >> 8


def columns(face: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Those of the picture of the upper jaw at x cm of the mean face's teeth."""
    seen, places = Geometry(face, frontal_landmarks(face)[None]).mouth.upper_teeth(0)
    order = np.argsort(places[:, 0])
    return np.rint(np.interp(x, places[order, 0], seen[order, 0]) * mouth.SUPERSAMPLING).astype(int)


def test_arches_and_points():
    middles = (np.array(MEET)[1:] + MEET[:-1]) / 2
    tops, points = gum_line(middles), gum_line(np.array(MEET))
    assert (np.diff([tops[0], tops[1]]) < 0).all() and tops[2] > tops[1]  # the second is shorter
    assert (tops - [points[:-1], points[1:]] > 0.3).all()
    np.testing.assert_array_equal(gum_line(-middles), tops)
    beside = gum_line(np.array(MEET[1:4]) + 0.08)  # points are narrow
    assert (beside - points[1:4] > 0.45 * (tops[1:] - points[1:4])).all()
    assert len(HEIGHTS) == len(MEET) - 1


def test_the_map_shows_the_gum_line():
    enamel, _ = upper_jaw("lifelike")
    x = np.linspace(-1.9, 1.9, 60)
    x = x[np.abs(np.abs(x[:, None]) - MEET).min(1) > 0.12]
    height = (enamel[80:, columns(NOBODY, x)] > 0).sum(0)
    wanted = gum_line(x) - np.interp(np.abs(x), EDGE_X, EDGE_Y)
    off = height / np.median(height / wanted) - wanted  # cm
    assert np.abs(off).max() < 0.1 and np.abs(off).mean() < 0.04


def test_nothing_of_a_root_is_seen_and_the_gum_has_no_hole():
    wide = np.random.default_rng(1).normal(0, 1, landmarks.IDENTITY_SIZE).astype(np.float32)
    for identity in (NOBODY, wide):
        enamel, flesh = upper_jaw("lifelike", identity)
        x = np.linspace(-2.2, 2.2, 80)  # where teeth meet their gaps are filled later
        x = x[np.abs(np.abs(x[:, None]) - MEET).min(1) > 0.12]
        for column in columns(identity, x):
            rows = 80 + np.flatnonzero(enamel[80:, column])  # y < -1.2 cm: no lip is higher
            above = flesh[: rows[0], column]
            assert (
                above[-20:] > mouth_model.CHEEKS + 20
            ).all()  # gum, and not the hollow behind it
            gaps = np.diff(rows)
            assert gaps.max(initial=1) <= 3  # no gum across a tooth
