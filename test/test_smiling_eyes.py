# SPDX-License-Identifier: Apache-2.0
"""Eyes that narrow in a smile or a squint keep their lids' skin; what blinks of them is painted."""

import numpy as np
import pytest

from realtalk_ros.behaviour import emotion
from realtalk_ros.face_model import landmarks
from realtalk_ros.face_model.arkit import weights
from realtalk_ros.rendering.common.generated_face import Lids
from realtalk_ros.rendering.common.template_landmarks import frontal_landmarks
from realtalk_ros.rendering.eyes.eyes import draw_visibility, warp_eyes
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.rendering.sampling_grid import unmoved

SIZE = 256
RIGHT = slice(36, 42)


@pytest.fixture(scope="module")
def rest() -> np.ndarray:
    """Landmarks (68, 2) of the mean face, of the picture's side."""
    return frontal_landmarks(np.zeros(landmarks.IDENTITY_SIZE, np.float32))


def drawn(rest: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, Lids | None]:
    """Where the eyeballs are seen at weights (52,), (256, 256) uint8, and what is painted."""
    nobody = np.zeros(landmarks.IDENTITY_SIZE, np.float32)
    geometry = Geometry(nobody, rest[None].astype(np.float32))
    patches = geometry.eyes(values, 0, SIZE)[1]
    seen = np.zeros((SIZE, SIZE, 3), np.uint8)
    draw_visibility(patches, seen)
    return seen[..., 1], warp_eyes(patches, np.stack(unmoved(SIZE)).copy())


def column(rest: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Rows in which the right eyeball is seen in the eye's middle."""
    x = round(float(rest[RIGHT, 0].mean()) * SIZE)
    return np.flatnonzero(seen[:, x] > 128)


@pytest.mark.parametrize("name", ["happy", "angry", "disgusted"])
def test_eyes_that_narrow_from_below_are_not_painted_as_in_a_blink(rest, name):
    """Their lashes, make-up and creases stay, which painted skin would hide."""
    open_eye = column(rest, drawn(rest, weights())[0])
    seen, lids = drawn(rest, emotion.weights(name))
    narrow = column(rest, seen)
    assert lids is None
    assert len(narrow) < 0.85 * len(open_eye)
    assert narrow[0] - open_eye[0] <= 1 < open_eye[-1] - narrow[-1]


@pytest.mark.parametrize("blink", [0.25, 0.5, 1.0])
def test_a_blink_in_a_smile_is_painted_as_any_other(rest, blink):
    alone, smiling = (
        drawn(rest, weights(eyeBlink=blink) + more)[1]
        for more in (weights(), emotion.weights("happy", 0.5))
    )
    x, low = (int(c * SIZE) for c in (rest[RIGHT, 0].mean(), rest[40:42, 1].mean()))
    for lids in (alone, smiling):
        assert lids is not None
        above = lids.layers[low - 14 : low - 9, x]
        assert (above[:, 0] > 200 * min(1.0, 3 * blink)).all()
    # Of lids that lie lower, more is painted.
    assert smiling.layers[..., 0].sum(dtype=int) >= 0.95 * alone.layers[..., 0].sum(dtype=int)


def test_a_glance_down_lowers_painted_lids(rest):
    _, lids = drawn(rest, weights(eyeLookDown=0.6))
    assert lids is not None and lids.layers[..., 0].max() > 240
