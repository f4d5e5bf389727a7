# SPDX-License-Identifier: Apache-2.0
"""What may be given to the launch file and to `realtalk up`, and when a node is started again."""

import signal
from pathlib import Path

import pytest
import yaml

from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes import launch_arguments
from realtalk_ros.nodes.params_file import read_params_file, value_for
from realtalk_ros.nodes.respawn import FIRST, LONGEST, MISCONFIGURED, WELL, Respawn

CONFIG = Path(__file__).parents[1] / "config"


def test_only_what_is_given_becomes_a_parameter():
    given = {"avatar": "12", "fps": "30", "size": "", "device": None, "autostart": "False",
             "use_sim_time": "true", "policy": "queue"}  # fmt: skip
    assert launch_arguments.parameters(given) == {
        "avatar": "12", "fps": 30.0, "autostart": False, "use_sim_time": True, "policy": "queue"
    }  # fmt: skip
    assert isinstance(launch_arguments.parameters(given)["fps"], float)


@pytest.mark.parametrize("name, text", [
    ("fps", "abc"), ("fps", "1000"), ("fps", "nan"), ("fps", "0"), ("size", "1e9"),
    ("size", "20"), ("size", "512.0"), ("device", "gpu"), ("policy", "no"), ("autostart", "yes"),
    ("use_sim_time", "1"),
])  # fmt: skip
def test_what_no_node_would_take_is_one_line(name, text):
    with pytest.raises(RealTalkError, match=f"^{name} is .*, not '{text}'$"):
        launch_arguments.parameters({name: text})


def test_a_name_that_no_one_reads_is_told_with_the_nearest():
    given = ["avatr:=ines", "fps:=20", "launch-prefix:=nice", "xyz:=", "avatr:=kenji"]
    assert launch_arguments.unknown(given, ["avatar", "fps"]) == [
        "no argument is called 'avatr', so it changes nothing: did you mean avatar?",
        "no argument is called 'xyz', so it changes nothing: --show-args lists those there are",
    ]


def test_ranges_are_those_of_the_nodes():
    pytest.importorskip("rclpy")
    import rclpy

    from realtalk_ros.nodes.renderer_node import RendererNode

    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = RendererNode(context=context)
        fps = node.describe_parameter("fps").floating_point_range[0]
        size = node.describe_parameter("size").integer_range[0]
        node.destroy_node()
    finally:
        rclpy.shutdown(context=context)
    assert (fps.from_value, fps.to_value) == launch_arguments.FPS_RANGE
    assert (size.from_value, size.to_value) == launch_arguments.SIZE_RANGE


@pytest.mark.parametrize("text, above, whole, frame", [
    ("realtalk", "", "/realtalk", "realtalk/face"),
    ("/robot1/head/", "/fleet", "/robot1/head", "robot1/head/face"),
    ("head", "/robot1", "/robot1/head", "robot1/head/face"),
    ("", "", "/", "face"),
    ("", "/robot1", "/robot1", "robot1/face"),
])  # fmt: skip
def test_namespace_and_the_frame_in_it(text, above, whole, frame):
    assert launch_arguments.namespace(text, above) == whole
    assert launch_arguments.face_frame(whole) == frame
    assert launch_arguments.face_frame(whole, "robot/head") == "robot/head"


@pytest.mark.parametrize("text", ["my robot", "1a", "a//b", "a-b", "a/2", "ä", "~", "{x}"])
def test_a_namespace_that_ros_does_not_take(text):
    with pytest.raises(RealTalkError, match="letters, digits"):
        launch_arguments.namespace(text)


def test_arguments_of_up_win_over_the_files_own_section_of_a_node(tmp_path):
    pytest.importorskip("rclpy")
    import rclpy

    from realtalk_ros.commands import up

    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({
        "/robot/renderer_node": {"ros__parameters": {"fps": 20.0, "jpeg_quality": 50}},
        "/**": {"ros__parameters": {"fps": 15.0, "autostart": False}},
    }))  # fmt: skip
    rclpy.init(args=["--ros-args", "--params-file", str(file), "-r", "__ns:=/robot"])
    try:
        nodes = up.make_nodes([], launch_arguments.parameters({"fps": "30", "size": "128"}))
        expression, renderer = nodes
        assert (expression.fps, renderer.fps, renderer.size) == (30.0, 30.0, 128)
        assert renderer.jpeg_quality == 50 and not expression.autostart
        for node in nodes:
            node.destroy_node()
    finally:
        rclpy.shutdown()


def test_rviz_shows_the_frame_of_the_default_namespace():
    """The launch file names another namespace's with rviz2's -f; nothing else may name a frame."""
    parameters = read_params_file(CONFIG / "realtalk.yaml")
    frame_id = value_for(parameters, "/realtalk/markers_node", "frame_id", None)
    shown = yaml.safe_load((CONFIG / "realtalk.rviz").read_text())["Visualization Manager"]
    assert shown["Global Options"]["Fixed Frame"] == launch_arguments.face_frame(
        "/realtalk", frame_id
    )
    frames = [d.get("Reference Frame", "<Fixed Frame>") for d in shown["Displays"]]
    frames.append(shown["Views"]["Current"]["Target Frame"])
    assert set(frames) == {"<Fixed Frame>"}


def test_deaths_in_a_row_are_answered_ever_later():
    policy = Respawn()
    waits = [policy.after(-signal.SIGSEGV, 1.0) for _ in range(9)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert waits[0] == FIRST and waits[-1] == LONGEST
    assert [policy.after(1, WELL), policy.after(1, 1.0)] == [FIRST, 2 * FIRST]  # it ran well


@pytest.mark.parametrize("code", [
    0, MISCONFIGURED, -signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM
])  # fmt: skip
def test_who_was_told_to_end_or_cannot_run_is_left_alone(code):
    assert Respawn().after(code, 100.0) is None


def test_who_was_killed_is_started_again():
    assert Respawn().after(-signal.SIGKILL, 100.0) == FIRST
