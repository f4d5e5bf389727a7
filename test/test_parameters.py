# SPDX-License-Identifier: Apache-2.0
"""Setting parameters of a node: whatever goes wrong, there is an answer."""

import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from realtalk_ros.avatar.avatar_names import AVATAR_DIR
from realtalk_ros.commands import up
from realtalk_ros.nodes.expression_node import ExpressionNode
from realtalk_ros.nodes.renderer_node import RendererNode


@pytest.fixture(params=[ExpressionNode, RendererNode])
def node(request):
    """Not configured, so that nothing is loaded."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = request.param(context=context, parameter_overrides=[Parameter("autostart", value=False)])
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def answer(node, *parameters):
    """What the service set_parameters answers: [(whether it was successful, why not)]."""
    service = next(s for s in node.services if s.srv_name.endswith("/set_parameters"))
    request = SetParameters.Request(parameters=[p.to_parameter_msg() for p in parameters])
    results = service.callback(request, SetParameters.Response()).results
    return [(result.successful, result.reason) for result in results]


@pytest.mark.parametrize("place", ["x" * 300, "priv/models", "nowhere"])
def test_a_folder_of_models_that_cannot_be_one_is_refused(node, priv, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    ((successful, reason),) = answer(node, Parameter("model_dir", value=place))
    assert not successful and "give a folder with all networks" in reason
    assert node.model_dir == "" and not node.problems.counts


def test_an_unexpected_error_is_an_answer_too(node, monkeypatch):
    def fails(*_):
        raise OSError(36, "File name too long")

    parameters = [Parameter("fps", value=20.0), Parameter("avatar", value="kenji")]
    with monkeypatch.context() as changed:
        changed.setattr(node, "check_parameter", fails)
        for successful, reason in answer(node, *parameters):
            assert not successful and "File name too long" in reason
    assert (node.fps, node.avatar) == (25.0, "default") and node.problems.counts

    done = []
    monkeypatch.setattr(
        node, "change_parameter", lambda name, _: done.append(name) or name != "fps" or fails()
    )
    assert [successful for successful, _ in answer(node, *parameters)] == [True, True]
    assert done == ["fps", "avatar"] and (node.fps, node.avatar) == (20.0, "kenji")


def test_a_parameter_that_a_node_does_not_have_is_named(node):
    near, far = Parameter("avtar", value="mira"), Parameter("nothing_like_it", value=1)
    (answered,) = answer(node, near)
    assert answered == (False, f"{node.get_name()} has no parameter avtar: did you mean avatar?")
    assert answer(node, far) == [(False, f"{node.get_name()} has no parameter nothing_like_it")]


def test_a_path_may_begin_at_home(node, monkeypatch, tmp_path):
    """No shell makes ~ of NAME:=~/file the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(AVATAR_DIR / "kenji", tmp_path / "ann")
    assert answer(node, Parameter("avatar", value="~/ann")) == [(True, "")]
    assert node.avatar == node.get_parameter("avatar").value == f"{tmp_path}/ann"
    given = [Parameter("avatar", value="~/ann"), Parameter("autostart", value=False)]
    again = type(node)(context=node.context, parameter_overrides=given)
    assert again.avatar == f"{tmp_path}/ann"
    again.destroy_node()
    assert up.read_face("lab=~/ann") == ("/lab", f"{tmp_path}/ann")


def test_what_a_running_node_was_configured_with_may_be_set_again(node, monkeypatch):
    """As `ros2 param load` does with what `ros2 param dump` wrote."""
    monkeypatch.setattr(type(node), "state", "active")
    assert answer(node, Parameter("threads", value=1)) == [(True, "")]
    ((successful, reason),) = answer(node, Parameter("threads", value=2))
    assert not successful and "clean it up first" in reason and node.threads == 1


@pytest.mark.parametrize("command, home", [
    ("up", None), ("soak --minutes 0.01", "/proc/nowhere")])  # fmt: skip
def test_where_ros_cannot_log_it_says_what_to_do(command, home):
    env = {k: v for k, v in os.environ.items() if k not in ("HOME", "ROS_HOME", "ROS_LOG_DIR")}
    ran = subprocess.run(
        [sys.executable, "-m", "realtalk_ros.cli", *command.split()],
        capture_output=True,
        text=True,
        env=env if home is None else {**env, "HOME": home},
    )
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert "set HOME, or ROS_LOG_DIR" in ran.stderr.splitlines()[-1]
