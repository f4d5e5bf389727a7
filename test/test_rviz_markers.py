# SPDX-License-Identifier: Apache-2.0
"""Landmarks and weights for RViz, and the RViz config that shows them."""

import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from realtalk_ros.face_model import arkit
from realtalk_ros.output.rviz_markers import LINES, FaceLines, line, weights_text
from ros_domains import domain_of

DOMAIN = domain_of(__file__)
RVIZ = Path(__file__).parents[1] / "config/realtalk.rviz"
AT_REST, STRAIGHT = np.zeros(52, np.float32), np.zeros(3)


def weights(**values):
    out = AT_REST.copy()
    for name, value in values.items():
        out[arkit.INDEX[name]] = value
    return out


def test_the_face_looks_along_x_and_its_left_is_y():
    points = FaceLines().points(AT_REST, STRAIGHT)
    nose, chin, right_eye, left_eye = points[30], points[8], points[36], points[45]
    assert nose[0] == points[:, 0].max() and chin[2] == points[:, 2].min()
    assert left_eye[1] - right_eye[1] == pytest.approx(0.09, abs=0.03)  # metres
    assert nose[2] > chin[2] + 0.03
    joined = [line(points, name) for name in LINES]
    assert sum(len(p) for p in joined) == 68 + sum(closed for _, closed in LINES.values())


def test_weights_and_rotation_move_it_as_their_names_say():
    face = FaceLines()
    rest = face.points(AT_REST, STRAIGHT)
    opened = face.points(weights(jawOpen=1), STRAIGHT)
    gap = (opened - rest)[[62, 66], 2]
    assert gap[0] - gap[1] > 0.01  # inner lips part by more than a centimetre
    nose = 30
    pitch, yaw, _roll = (face.points(AT_REST, r)[nose] - rest[nose] for r in np.eye(3) * 0.2)
    assert pitch[2] < -0.005 and yaw[1] > 0.005  # down, to the left
    brow = 21
    assert (face.points(AT_REST, np.array([0, 0, 0.2])) - rest)[brow, 1] > 0.002  # to the left


def test_the_largest_weights_are_told_first():
    assert weights_text(weights(jawOpen=0.5, mouthFunnel=0.25, browInnerUp=0.01)) == (
        "jawOpen 0.50\nmouthFunnel 0.25"
    )
    assert weights_text(AT_REST) == "at rest"


def test_the_rviz_config_shows_what_is_published():
    """Classes and properties as in the configs that RViz (jazzy) brings; RViz itself is not run."""
    config = yaml.safe_load(RVIZ.read_text())
    assert set(config) == {"Panels", "Visualization Manager", "Window Geometry"}
    manager = config["Visualization Manager"]
    displays = {d["Class"].split("/")[1]: d for d in manager["Displays"]}
    assert set(displays) == {"Image", "MarkerArray", "Axes"}
    qos = {"Value", "Depth", "History Policy", "Reliability Policy", "Durability Policy"}
    for name, topic in (("Image", "face/image_raw"), ("MarkerArray", "face/markers")):
        assert displays[name]["Topic"]["Value"] == f"/realtalk/{topic}"
        assert set(displays[name]["Topic"]) == qos and displays[name]["Enabled"]
    assert set(displays["MarkerArray"]["Namespaces"]) == {"face", "lips", "landmarks", "weights"}
    assert manager["Global Options"]["Fixed Frame"] == "realtalk/face"
    assert displays["Axes"]["Reference Frame"] == "<Fixed Frame>"


def test_markers_follow_what_is_said():
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
    from visualization_msgs.msg import Marker, MarkerArray

    from realtalk_ros.msg import FaceExpression
    from ros_graph import Client, start, stop

    process = start("markers_node", DOMAIN)
    client = Client(DOMAIN, images=False)
    arrays = []
    client.node.create_subscription(MarkerArray, "face/markers", arrays.append, 10)
    publisher = client.node.create_publisher(FaceExpression, "expression", 100)
    try:
        client.wait_ready("markers_node")
        client.wait(
            lambda: publisher.get_subscription_count() > 1 and len(arrays) > 3, 15, "arrays"
        )
        nan = FaceExpression(utterance_id="x")
        nan.weights[3] = float("nan")
        nan.header.stamp = client.node.get_clock().now().to_msg()
        publisher.publish(nan)
        begin = time.time() + 0.3
        for k in range(50):
            message = FaceExpression(utterance_id="a", sequence=k, speech_probability=1.0)
            message.weights[FaceExpression.JAW_OPEN] = 0.8
            at = round((begin + k / 25) * 25) / 25
            message.header.stamp.sec, message.header.stamp.nanosec = int(at), int(at % 1 * 1e9)
            publisher.publish(message)

        def text():
            return next(m.text for m in arrays[-1].markers if m.type == Marker.TEXT_VIEW_FACING)

        client.wait(lambda: text().startswith("jawOpen 0.8"), 10, "open jaw")
        for marker in arrays[-1].markers:
            assert marker.header.frame_id == "realtalk/face" and marker.pose.orientation.w == 1.0
        kinds = [m.type for m in arrays[-1].markers]
        assert kinds.count(Marker.LINE_STRIP) == len(LINES)
        dots = next(m for m in arrays[-1].markers if m.type == Marker.SPHERE_LIST)
        assert len(dots.points) == 68
        client.wait(lambda: text() == "at rest", 10, "rest")
        client.wait(
            lambda: any("NaN" in k for k in client.diagnostics["markers_node"][2]), 5, "NaN"
        )
        assert process.poll() is None
    finally:
        stop(process)
        client.close()
    assert process.returncode == 0
