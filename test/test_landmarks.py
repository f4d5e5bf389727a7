# SPDX-License-Identifier: Apache-2.0
"""The landmark model that comes with the package."""

import numpy as np
import pytest

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, bundled_arrays, landmarks


def test_lips_open_with_the_jaw_and_meet_again_with_mouth_close():
    model = landmarks.load()
    weights = np.zeros((3, arkit.COUNT), np.float32)
    weights[1:, arkit.INDEX["jawOpen"]] = 0.5
    weights[2, arkit.INDEX["mouthClose"]] = 0.44
    points = model.points(weights)
    gap = points[:, 62, 1] - points[:, 66, 1]
    assert 0 < gap[0] < 0.1 and gap[1] > 1.5 and gap[2] < 0.1


def test_the_face_is_symmetric_and_blinks():
    model = landmarks.load()
    weights = np.zeros(arkit.COUNT, np.float32)
    weights[arkit.INDEX["eyeBlinkLeft"]] = 1
    moved = np.abs(model.move(weights)).sum(-1)
    assert moved[42:48].max() > 0.3 and moved[36:42].max() < 0.05  # 42-47: the subject's left eye
    assert abs(model.mean[48, 0] + model.mean[54, 0]) < 0.05 and model.mean[54, 0] > 1


def test_identity_moves_the_resting_face_only():
    model = landmarks.load()
    identity = np.random.default_rng(0).standard_normal(landmarks.IDENTITY_SIZE)
    weights = np.full(arkit.COUNT, 0.2)
    shift = model.points(weights, identity) - model.points(weights)
    rest = model.points(0 * weights, identity) - model.mean
    np.testing.assert_allclose(shift, rest, atol=1e-5)
    assert np.abs(shift).max() > 0.1


@pytest.mark.parametrize("content", [None, b"PK no zip", {"lids": np.zeros(3)}])
def test_a_broken_file_says_what_to_do(content, tmp_path, monkeypatch):
    monkeypatch.setattr(bundled_arrays, "FOLDER", tmp_path)
    if isinstance(content, dict):
        np.savez(tmp_path / "eyes.npz", **content)
    elif content:
        (tmp_path / "eyes.npz").write_bytes(content)
    with pytest.raises(RealTalkError, match="eyes.npz cannot be read: reinstall"):
        bundled_arrays.read("eyes", ("lids", "balls"))


def test_wrong_shapes_are_refused():
    with pytest.raises(RealTalkError, match="reinstall"):
        landmarks.Landmarks(np.zeros((68, 3)), np.zeros((51, 68, 3)), np.zeros((100, 68, 3)))
