# SPDX-License-Identifier: Apache-2.0
"""A head that is rotated one way is seen so in pictures, tracks, markers and messages alike."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.behaviour.gaze import direction_angles
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.face_model.eye_rotation import gaze_angles
from realtalk_ros.face_model.rotations import (
    flip_roll,
    forward,
    rotation_matrix,
    swap_track_order,
)
from realtalk_ros.output.live_link import live_link_csv
from realtalk_ros.output.rviz_markers import FaceLines
from realtalk_ros.rendering.head.head_warp import HeadWarp
from realtalk_ros.rendering.head.moving_person import MovingPerson
from realtalk_ros.stream_types import TimedExpression

AT_REST = np.zeros(arkit.COUNT, np.float32)
ANGLE = 0.1  # rad
NOSE, CHIN, BROWS = 30, 8, [21, 22]
# Where the nose and the brows go in a picture, x right and y down, when the angle is positive. The
# brows, above the neck, go farther than the chin when the head rolls.
PITCH, YAW, ROLL = np.eye(3) * ANGLE
WAYS = [(PITCH, NOSE, (0, 1)), (YAW, NOSE, (1, 0)), (ROLL, BROWS, (1, 0))]


@pytest.fixture(params=WAYS, ids=["pitch", "yaw", "roll"])
def way(request):
    return request.param


def test_a_matrix_turns_landmarks_so(way):
    rotation, part, direction = way
    points = landmarks.load().points(AT_REST)
    moved = points @ rotation_matrix(*rotation).T - points
    moved = moved[:, :2] * (1, -1)  # x to the person's left is right in a picture, y is up
    assert np.mean(moved[part] @ direction) > 0.1


def test_forward_is_where_the_matrix_turns_z():
    pitch, yaw, roll = 0.2, -0.3, 0.4
    np.testing.assert_allclose(
        forward(pitch, yaw), rotation_matrix(pitch, yaw, roll)[:, 2], atol=1e-6
    )


def test_a_matrix_keeps_lengths():
    matrix = rotation_matrix(0.2, -0.3, 0.4)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    np.testing.assert_array_equal(rotation_matrix(), np.eye(3))


def test_a_picture_is_warped_so(way):
    """A dot at the brows and one at the nose."""
    rotation, part, direction = way
    avatar = Avatar.load("default")
    motion = HeadWarp(MovingPerson(avatar), avatar.templates)
    column, row = np.atleast_2d(avatar.landmarks[0, part]).mean(0).round().astype(int)
    image = np.zeros((512, 512, 3), np.uint8)
    image[row - 3 : row + 4, column - 3 : column + 4] = 255
    everywhere = slice(0, 512), slice(0, 512)
    at = motion.view(0, rotation).positions(everywhere)
    moved = cv2.remap(image, *at, cv2.INTER_LINEAR)
    rows, columns = np.nonzero(moved[..., 0] > 128)
    assert np.dot((columns.mean() - column, rows.mean() - row), direction) > 2


def test_a_fitted_pose_projects_so(way):
    """What a tracker fits to a picture."""
    fit = pytest.importorskip("realtalk_ros.enroll.fit", reason="fitting needs SciPy")
    rotation, part, direction = way
    points = landmarks.load().points(AT_REST).astype(np.float64)
    straight = fit.Pose(0, 0, 0, x=256, y=256, scale=14)
    pitch, yaw, roll = rotation
    turned = replace(straight, pitch=pitch, yaw=yaw, roll=roll)
    moved = turned.project(points) - straight.project(points)
    assert np.mean(moved[part] @ direction) > 2
    # A head that is only tilted is found at once, by similarity.
    if direction == (1, 0) and part == BROWS:
        model = fit.mesh_model()
        found = fit.Fitter(model, np.zeros(100)).begin(turned.project(model.mean))
        assert found.roll == pytest.approx(roll, abs=0.02)


def test_markers_in_rviz_turn_so(way):
    rotation, part, (right, down) = way
    face = FaceLines()
    moved = face.points(AT_REST, rotation) - face.points(AT_REST, np.zeros(3))
    picture = np.stack([moved[:, 1], -moved[:, 2]], 1)  # y to the person's left, z up; metres
    assert np.mean(picture[part] @ (right, down)) > 0.001


def test_eyes_turn_as_the_head_does():
    for name, rotation in (("LookDown", (0.1, 0)), ("LookUp", (-0.1, 0))):
        weights = AT_REST.copy()
        weights[arkit.INDEX[f"eye{name}Left"]] = 0.5
        assert np.dot(gaze_angles(weights, "Left"), rotation) > 0
    weights = AT_REST.copy()
    weights[[arkit.INDEX["eyeLookOutLeft"], arkit.INDEX["eyeLookInRight"]]] = 0.5
    assert gaze_angles(weights, "Left")[1] > 0 and gaze_angles(weights, "Right")[1] > 0
    pitch, yaw = direction_angles((1.0, 0.2, -0.3))  # to the face's left, and down
    assert pitch > 0 and yaw > 0


def test_files_keep_their_order_and_sign(tmp_path):
    """Tracks have yaw, pitch and roll to the right, Live Link's CSV yaw, pitch and roll to the
    left."""
    rotation = np.array([[0.1, 0.2, 0.3]], np.float32)
    zeros = np.zeros((1, landmarks.COUNT, 2), np.float32)
    track = Track(np.zeros(1), np.ones(1, np.int16), zeros, zeros, AT_REST[None],
                  rotation=rotation, identity=np.zeros(100, np.float32))  # fmt: skip
    track.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as data:
        np.testing.assert_array_equal(data["rotation"], np.float32([[0.2, 0.1, -0.3]]))
    np.testing.assert_array_equal(Track.load(tmp_path / "a.npz").rotation, rotation)
    with live_link_csv(tmp_path / "a.csv", 25) as csv:
        csv.write(0.0, AT_REST, rotation[0])
    header, row = (tmp_path / "a.csv").read_text().splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    head = [float(values[name]) for name in ("HeadYaw", "HeadPitch", "HeadRoll")]
    assert head == pytest.approx([0.2, 0.1, 0.3])
    for convert in (flip_roll, swap_track_order):
        np.testing.assert_array_equal(convert(convert(rotation)), rotation)


def test_messages_carry_the_rotation_as_it_is():
    """From the expression node's pipeline through the message to the renderer node's playout."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
    from realtalk_ros.nodes.expression_node import ExpressionNode
    from realtalk_ros.nodes.renderer_node import RendererNode
    from realtalk_ros.playout.other_clock import OtherClock

    rotation, sent, played = np.float32([0.1, 0.2, 0.3]), [], []
    sender = SimpleNamespace(
        set_stamp=lambda stamp, time: None,
        _expression=SimpleNamespace(publish=sent.append),
        counts={"frames": 0},
    )
    ExpressionNode._publish(sender, [TimedExpression(0.0, "a", 0, AT_REST, rotation, 0.0)])
    np.testing.assert_array_equal(sent[0].head_rotation, rotation)
    playout = SimpleNamespace(now=lambda: 0.0, push_expression=lambda *args: played.append(args[0]))
    receiver = SimpleNamespace(
        media_time=lambda stamp: None, playout=playout, _other_clock=OtherClock()
    )
    RendererNode._take_expression(receiver, sent[0], 0.0)
    np.testing.assert_array_equal(played[0].rotation, rotation)
