"""Runs the launch file's own test where launch_testing is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip(
    "launch_testing", reason="launch_testing is not on PyPI: it comes with ROS 2 from apt"
)
pytest.importorskip("launch_ros", reason="launch_ros comes with ROS 2 from apt")

from ament_index_python.packages import get_package_share_directory


def test_launch_file():
    try:
        get_package_share_directory("realtalk_ros")
    except (LookupError, OSError):  # OSError: AMENT_PREFIX_PATH is not set
        pytest.skip("realtalk_ros is not built with colcon and sourced, or installed")
    file = Path(__file__).parent / "launch/realtalk_launch.py"
    command = [sys.executable, "-m", "launch_testing.launch_test", str(file)]
    assert subprocess.run(command, timeout=120).returncode == 0
