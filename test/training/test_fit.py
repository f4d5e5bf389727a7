# SPDX-License-Identifier: Apache-2.0
"""The 3D face model fitted to landmarks that it made itself, so that the truth is known."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy")

from realtalk_ros.enroll import fit, mediapipe_points
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, bundled_arrays, landmarks
from realtalk_ros.face_model.arkit import weights

PEOPLE = np.random.default_rng(3).normal(0, 0.8, (4, 100))


def pose(k=0):
    return fit.Pose(0.1 - 0.05 * k, -0.2 + 0.1 * k, 0.08 * k, 300 + 9 * k, 240.0, 12.0)


def seen(identity, expressions, noise=0.0, seed=0):
    """(n, P, 2) landmarks of one person, noise in pixels, and the poses."""
    model, rng = fit.mesh_model(), np.random.default_rng(seed)
    poses = [pose(k % 4) for k in range(len(expressions))]
    found = [p.project(model.shape(identity, w)) for p, w in zip(poses, expressions, strict=True)]
    found = np.stack(found)
    return found + rng.normal(0, noise, found.shape), poses


def opening(expressions):
    p = landmarks.load().points(np.asarray(expressions, np.float32))
    return np.mean([p[:, a, 1] - p[:, b, 1] for a, b in ((61, 67), (62, 66), (63, 65))], 0)


def test_the_table_names_each_landmark_and_vertex_once():
    assert (
        len(mediapipe_points.LANDMARK)
        == len(mediapipe_points.VERTEX)
        == len(mediapipe_points.SIGMA)
        == 154
    )
    assert (
        len(set(mediapipe_points.LANDMARK.tolist())) == 154
        and mediapipe_points.LANDMARK.max() < 478
    )
    model = fit.mesh_model()
    assert model.mean.shape == (154, 3) and model.expressions.shape == (52, 154, 3)
    # The subject's left is +x, and MediaPipe's right eye corner is landmark 33.
    rows = {int(number): k for k, number in enumerate(model.index)}
    assert model.mean[rows[33], 0] < -2 < 2 < model.mean[rows[263], 0]
    # Left irises go left when their eye looks out, right ones when theirs looks in.
    moves = model.expressions[[arkit.INDEX["eyeLookOutLeft"], arkit.INDEX["eyeLookInRight"]]]
    assert moves[0, rows[473], 0] > 0.3 and moves[1, rows[468], 0] > 0.3


def test_pose_expression_and_person_come_back():
    expressions = [weights(), weights(jawOpen=0.6), weights(mouthSmile=0.7), weights(eyeBlink=1),
                   weights(mouthPucker=0.8), weights(jawOpen=0.3, mouthFunnel=0.5)]  # fmt: skip
    for person in PEOPLE:
        found, poses = seen(person, expressions, noise=0.7)
        who = fit.fit(fit.mesh_model(), found)
        for got, true in zip(who.poses, poses, strict=True):
            turned = np.subtract(got.vector()[:3], true.vector()[:3])
            assert np.degrees(np.abs(turned)).max() < 5
        assert (who.error < 0.012).all()
        assert abs(who.weights[1][arkit.INDEX["jawOpen"]] - 0.6) < 0.15
        assert who.weights[0][list(arkit.MOUTH)].max() < 0.3
        assert who.weights[2][arkit.INDEX["mouthSmileLeft"]] > 0.4
        assert who.weights[3][arkit.INDEX["eyeBlinkRight"]] > 0.5
        assert who.weights[4][arkit.INDEX["mouthPucker"]] > 0.4
        # Nearer to the person than the mean face is.
        shape = landmarks.load().identity_modes
        true, got = (np.tensordot(i, shape, 1)[17:] for i in (person, who.identity))
        got, true = got - got.mean(0), true - true.mean(0)
        assert np.linalg.norm(got - true) < 0.85 * np.linalg.norm(true)


def test_a_video_is_followed_frame_by_frame():
    t = np.arange(60) / 25
    jaw = 0.3 - 0.3 * np.cos(2 * np.pi * 1.7 * t)
    expressions = [weights(jawOpen=j) for j in jaw]
    found, _ = seen(PEOPLE[0], expressions, noise=1.0)
    found[30:] += 150  # a cut: the head is somewhere else
    who = fit.fit(fit.mesh_model(), found[::6])
    fitter = fit.Fitter(fit.mesh_model(), who.identity)
    got = np.stack([fitter.fit(one)[0] for one in found])
    assert np.corrcoef(opening(got), opening(expressions))[0, 1] > 0.97


def test_what_a_face_never_stops_doing_is_its_shape():
    t = np.arange(300)
    given = np.stack([weights(mouthSmile=0.3, jawOpen=0.25 + 0.25 * np.sin(k / 4)) for k in t])
    got = fit.settle(given)
    assert got[:, arkit.INDEX["mouthSmileLeft"]].max() < 1e-6
    assert np.ptp(got[:, arkit.INDEX["jawOpen"]]) > 0.4
    assert (fit.settle(given[:50]) == given[:50]).all()  # too short to tell


def test_eight_points_tell_where_a_head_is():
    model, true = fit.eight_model(), replace(pose(), yaw=0.15)
    who = fit.fit(model, true.project(model.shape(np.zeros(100), weights()))[None])
    off = who.poses[0].vector() - true.vector()
    assert np.degrees(np.abs(off[:3])).max() < 6 and np.abs(off[3:5]).max() < 8
    assert not who.weights.any()


@pytest.mark.parametrize("found", [
    np.full((1, 154, 2), np.nan), np.zeros((1, 154, 2)), np.zeros((154, 2)), np.zeros((1, 8, 2)),
])  # fmt: skip
def test_what_is_no_face_is_refused(found):
    with pytest.raises(RealTalkError) as error:
        fit.fit(fit.mesh_model(), found)
    assert "\n" not in str(error.value)


def test_the_shipped_points_are_those_of_the_face_model():
    from realtalk_ros.training.common.facekit import FaceKit, find_facekit
    from realtalk_ros.training.synthetic.facekit_import import fit_arrays

    try:
        find_facekit()
    except RealTalkError:
        pytest.skip("no ICT-FaceKit here")
    made = fit_arrays(FaceKit.load())
    with np.load(bundled_arrays.FOLDER / "fit.npz", allow_pickle=False) as shipped:
        assert set(shipped.files) == set(made)
        for name, array in made.items():
            assert (shipped[name] == array).all()
