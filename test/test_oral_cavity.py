# SPDX-License-Identifier: Apache-2.0
"""The light in an open mouth."""

import shutil
from dataclasses import replace

import numpy as np

from realtalk_ros import onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering import oral_cavity
from realtalk_ros.rendering.generator import MOUTH, FaceInputs, Generator


def test_a_tongue_is_dark_at_its_back_and_light_at_its_front_and_nothing_else_changes():
    drawn = np.full((128, 128, 3), 100, np.uint8)
    interior = np.zeros_like(drawn)
    interior[40:80, 30:90] = 255, 0, 60  # open, no enamel
    interior[40:50, 30:90, 1] = 200  # the teeth
    before = drawn.copy()
    oral_cavity.lit(interior, drawn)
    column = drawn[50:80, 60].mean(-1)
    assert column[0] < 90 and column[15:25].min() > 125 and column[-1] < column[20]
    changed = (drawn != before).any(-1)
    assert not changed[:40].any() and not changed[80:].any()
    assert np.abs(drawn[40:50].astype(int) - 100).max() < np.abs(column - 100).max() / 2
    shut = np.zeros_like(drawn)
    oral_cavity.lit(shut, drawn := before.copy())
    np.testing.assert_array_equal(drawn, before)


def front_of_the_tongue(avatar: Avatar) -> float:
    """How light the tongue is at three quarters of an open mouth, over its back."""
    generator = Generator([avatar])
    weights = np.zeros((1, arkit.COUNT), np.float32)
    for name, value in (
        ("jawOpen", 0.5),
        ("mouthLowerDownLeft", 0.3),
        ("mouthLowerDownRight", 0.3),
    ):
        weights[0, arkit.INDEX[name]] = value
    face = generator.run(weights, [FaceInputs(0, 0, 0)])[0]
    opened, enamel, _ = np.moveaxis(face.mouth_interior[MOUTH], -1, 0)
    rows, columns = np.nonzero((opened == 255) & (enamel == 0))
    middle = np.abs(columns - np.median(columns)) < 6
    rows, columns = rows[middle], columns[middle]
    height = (rows - rows.min()) / np.ptp(rows)
    light = face.mouth[rows, columns].mean(-1)
    return light[(height > 0.6) & (height < 0.8)].mean() / light[height < 0.2].mean()


def test_an_avatars_tongue_is_lit(tmp_path):
    """As measured on people: from a quarter to three quarters of the opening it gets lighter. A
    generator of an avatar's own has learned the light in that mouth."""
    avatar = Avatar.load("default")
    assert front_of_the_tongue(avatar) > 1.2
    shutil.copy(onnx_session.MODEL_DIR / "renderer_generate.onnx", tmp_path)
    assert front_of_the_tongue(replace(avatar, generator=tmp_path)) < 1.1
