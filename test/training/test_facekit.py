# SPDX-License-Identifier: Apache-2.0
"""The face prior and what is built on it, with a small stand-in for the model's file."""

import numpy as np
import pytest
from training_shards import broken

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.arkit import weights
from realtalk_ros.face_model.eye_rotation import gaze_angles
from realtalk_ros.training.common.facekit import ENVIRONMENT, FaceKit, arkit_matrix, find_facekit

EXPRESSIONS = ("jawOpen", "mouthSmile_L", "browInnerUp_L", "browInnerUp_R", "cheekRaiser_L")


@pytest.fixture
def model_file(tmp_path):
    """In the file's format: a grid of 100 vertices, the face, and a sphere of 80, an eyeball."""
    rng = np.random.default_rng(0)
    ball = rng.standard_normal((80, 3))
    ball = np.vstack([ball / np.linalg.norm(ball, axis=1, keepdims=True), np.eye(3), -np.eye(3)])[
        -80:
    ]
    x, y = np.meshgrid(np.arange(10.0), np.arange(10.0))
    face = np.stack([x.ravel(), y.ravel(), np.zeros(100)], 1)
    mean = np.vstack([face, ball + [3, 3, 8]]).astype(np.float32)
    a = (np.arange(9)[:, None] * 10 + np.arange(9)).ravel()
    tri = np.concatenate([np.stack([a, a + 1, a + 10], 1), np.stack([a + 1, a + 11, a + 10], 1)])
    landmarks = np.arange(68)
    landmarks[[61, 62, 63]], landmarks[[67, 66, 65]] = (40, 41, 42), (20, 21, 22)  # 2 cm apart
    path = tmp_path / "ict_facekit.npz"
    arrays = {
        "mean": mean,
        "ident": rng.standard_normal((100, 180, 3)).astype(np.float16),
        "expr": rng.standard_normal((len(EXPRESSIONS), 180, 3)).astype(np.float16),
        "expr_names": np.array(EXPRESSIONS),
        "tri": tri.astype(np.int32), "tri_uv": tri.astype(np.int32),
        "tri_mat": np.zeros(len(tri), np.int8), "uv": np.zeros((180, 2), np.float32),
        "materials": np.array(["M_Face"]), "landmarks68": landmarks.astype(np.int32),
        "part_names": np.array(["face", "eyeball_left"]),
        "part_ranges": np.array([[0, 100], [100, 180]], np.int32),
    }  # fmt: skip
    np.savez(path, **arrays)
    return path, arrays


def test_vertices_are_mean_plus_identity_plus_expression(model_file):
    path, arrays = model_file
    kit = FaceKit.load(path)
    identity = np.random.default_rng(1).standard_normal(100).astype(np.float32)
    w = weights(jawOpen=0.5, mouthSmileLeft=1.0, browInnerUp=0.25)
    ict = np.array([0.5, 1.0, 0.25, 0.25, 0.0])  # browInnerUp moves both sides, cheekRaiser none
    want = arrays["mean"] + np.tensordot(identity, arrays["ident"].astype(float), 1)
    want = want + np.tensordot(ict, arrays["expr"].astype(float), 1)
    np.testing.assert_allclose(kit.vertices(identity, w), want, atol=2e-3)
    many = np.linspace(0, 1, arkit.COUNT).astype(
        np.float32
    )  # the dense path agrees with the sparse
    many[[arkit.INDEX[n] for n in arkit.NAMES if n.startswith("eyeLook")]] = 0
    sparse = sum(many[i] * kit.expressions[i] for i in range(arkit.COUNT)).reshape(-1, 3)
    np.testing.assert_allclose(kit.deform(kit.mean, many), kit.mean + sparse, atol=1e-4)


def test_names_without_a_shape_move_nothing(model_file):
    kit = FaceKit.load(model_file[0])
    w = weights(tongueOut=1.0, cheekSquintLeft=1.0)
    np.testing.assert_array_equal(kit.deform(kit.mean, w), kit.mean)


def test_gaze_turns_the_eyeball_about_its_centre(model_file):
    kit = FaceKit.load(model_file[0])
    front = np.argmax(kit.mean[100:, 2]) + 100
    left = kit.deform(kit.mean, weights(eyeLookOutLeft=1.0))
    up = kit.deform(kit.mean, weights(eyeLookUpLeft=1.0))
    assert left[front, 0] > kit.mean[front, 0] + 0.3  # +x is the subject's left
    assert up[front, 1] > kit.mean[front, 1] + 0.3
    np.testing.assert_array_equal(left[:100], kit.mean[:100])
    centre = (kit.mean[100:].min(0) + kit.mean[100:].max(0)) / 2
    before, after = (np.linalg.norm(v[100:] - centre, axis=1) for v in (kit.mean, left))
    np.testing.assert_allclose(before, after, atol=1e-5)
    both = weights(eyeLookOutLeft=0.5, eyeLookInRight=0.5)
    assert gaze_angles(both, "Left") == pytest.approx(gaze_angles(both, "Right"))


def test_normals(model_file):
    pytest.importorskip("scipy")
    kit = FaceKit.load(model_file[0])
    np.testing.assert_allclose(kit.normals(kit.mean)[:100], np.tile([0, 0, 1], (100, 1)), atol=1e-6)


def test_bad_input_is_one_clear_line(model_file, tmp_path, monkeypatch):
    kit = FaceKit.load(model_file[0])
    with pytest.raises(RealTalkError, match="100 coefficients"):
        kit.vertices(np.zeros(7), np.zeros(52))
    with pytest.raises(RealTalkError, match="no face model"):
        FaceKit.load(tmp_path / "absent.npz")
    for content in broken(model_file[0].read_bytes()):
        (tmp_path / "broken.npz").write_bytes(content)
        with pytest.raises(RealTalkError, match="not a readable"):
            FaceKit.load(tmp_path / "broken.npz")
    monkeypatch.setenv(ENVIRONMENT, str(model_file[0]))
    assert find_facekit() == model_file[0]


def test_random_expressions_are_weights_and_repeat():
    pytest.importorskip("scipy", reason="training needs scipy")
    from realtalk_ros.training.synthetic import random_expressions

    for seed in range(200):
        w = random_expressions.random_expression(np.random.default_rng(seed))
        assert w.shape == (52,) and w.dtype == np.float32
        assert w.min() >= 0 and w.max() <= 1
        assert w[arkit.INDEX["mouthClose"]] <= w[arkit.INDEX["jawOpen"]] + 0.051
    again = random_expressions.random_expression(np.random.default_rng(199))
    np.testing.assert_array_equal(w, again)


def test_crop_and_projection_agree():
    """A landmark in the middle of the face square projects to the middle of the picture."""
    pytest.importorskip("scipy", reason="training needs scipy")
    from realtalk_ros.face_model.landmarks import face_square
    from realtalk_ros.training.synthetic.view import View

    rng = np.random.default_rng(0)
    points = rng.uniform(-6, 6, (68, 3)) + [0, 0, 8]
    points[36:48, 1] += 6
    view = View(yaw=0.2, pitch=-0.1, roll=0.05, distance=60.0)
    x, y, side = face_square(view.plane(points))
    framed = View(yaw=0.2, pitch=-0.1, roll=0.05, distance=60.0, crop=(x, y, side, 0.0))
    seen = framed.pixels(points, 256)
    middle = face_square(seen)
    np.testing.assert_allclose(middle, (128, 128, 256), atol=0.01)
    assert seen[36:48, 1].mean() < seen[48:68, 1].mean()  # y runs down: eyes above the mouth


def test_left_and_right_are_never_taken_for_each_other():
    """Each ICT shape of one side is its ARKit namesake's, and no one else's."""
    sided = [n for n in arkit.NAMES if n.endswith(("Left", "Right"))
             and n not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight")]  # fmt: skip
    ict = [n.removesuffix("Left") + "_L" if n.endswith("Left") else n.removesuffix("Right") + "_R"
           for n in sided]  # fmt: skip
    matrix = arkit_matrix(ict)
    for column, name in enumerate(sided):
        assert np.flatnonzero(matrix[:, column]).tolist() == [arkit.INDEX[name]]


def test_ict_names_map_to_both_sides():
    names = [
        "browInnerUp_L",
        "browInnerUp_R",
        "mouthSmile_L",
        "mouthSmile_R",
        "jawOpen",
        "PupilDilate_L",
    ]
    weights = np.zeros(52, np.float32)
    weights[[arkit.INDEX["browInnerUp"], arkit.INDEX["mouthSmileRight"]]] = [0.5, 0.25]
    assert (weights @ arkit_matrix(names)).tolist() == [0.5, 0.5, 0, 0.25, 0, 0]
