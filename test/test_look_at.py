# SPDX-License-Identifier: Apache-2.0
"""Points to look at that are given in other frames than the face's."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from geometry_msgs.msg import Quaternion, Vector3

from realtalk_ros.nodes.look_at import transformed


def test_points_of_other_frames_are_turned_and_moved():
    half = np.sqrt(0.5)
    quarter_turn = Quaternion(x=0.0, y=0.0, z=half, w=half)  # about z, counterclockwise
    moved = transformed((1.0, 0.0, 0.0), quarter_turn, Vector3(x=0.0, y=0.0, z=2.0))
    np.testing.assert_allclose(moved, (0.0, 1.0, 2.0), atol=1e-9)
