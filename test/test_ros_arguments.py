# SPDX-License-Identifier: Apache-2.0
"""What a node's program makes of its arguments."""

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="ROS 2 is not installed")
pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")

from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes import ros_arguments, spin
from realtalk_ros.nodes.ros_arguments import check_values

NODES = sorted(path.stem for path in Path(ros_arguments.__file__).parent.glob("*_node.py"))
FILE = "/**: {ros__parameters: {fps: FPS, size: 512, qos_overrides: {depth: 2}}}"


@pytest.mark.parametrize("fps, given, refused", [
    ("7", ["-p", "fps:=12.5"], "fps is given as 7 and then as 12.5"),
    ("7.0", ["-p", "fps:=12.5"], None), ("25.0", ["-p", "fps:=30"], None),
    ("7", ["-p", "fps:=9"], None), ("7", ["-p", "renderer_node:fps:=12.5"], None),
    ("7", ["--", "-p", "fps:=12.5"], None), ("25.0", ["-p", "fps:=abc"], "then as 'abc'"),
    ("25", ["--param", "size:=1e2"], "size is given as 512"), ("7", ["-p", "fps:=[a"], None),
    ("7", ["--params-file", "missing.yaml"], None), ("7", ["-p"], None),
    ("''", ["-p", "fps:=2026-11-30"], None), ("''", ["-p", "fps:=12:30"], None),
    ("1", ["-p", "fps:=1.e0"], "fps is given as 1"), ("1", ["-p", "fps:='1'"], "then as '1'"),
    ("on", ["-p", "fps:=2"], "given as True"),
])  # fmt: skip
def test_the_value_that_is_given_last_wins_or_is_refused(tmp_path, fps, given, refused):
    file = tmp_path / "face.yaml"
    file.write_text(FILE.replace("FPS", fps))
    args = ["node", "-p", "fps:=x", "--ros-args", "--params-file", str(file), *given]
    if refused is None:
        check_values(args)
        return
    with pytest.raises(RealTalkError, match=refused):
        check_values(args)


@pytest.mark.parametrize("section, given, said", [
    ("renderer_node", [], "/renderer_node"), ("/renderer_node", [], "/renderer_node"),
    ("/robot/renderer_node", [], "/robot/renderer_node"), ("robot: {renderer_node", [], "/robot"),
    ("/face/renderer_node", [], None), ("/**/renderer_node", [], None), ("/**", [], None),
    ("face: {renderer_node", [], None), ("/*/renderer_node", [], None), ("other", [], None),
    ("/**", ["-p", "renderer_node:fps:=9"], "/renderer_node"), ("/**", ["-p", "fps:=9"], None),
])  # fmt: skip
def test_parameters_that_ros_ignores_for_their_namespace_are_named(tmp_path, section, given, said):
    file = tmp_path / "face.yaml"
    end = "}" * section.count("{")
    file.write_text(f"{section}: {{ros__parameters: {{fps: 7}}}}{end}")
    args = ["node", "--ros-args", "--params-file", str(file), *given]
    lines = ros_arguments.ignored(args, ["/face/expression_node", "/face/renderer_node"])
    assert len(lines) == (said is not None)
    for line in lines:
        assert f"parameters for {said}" in line and "write /face/renderer_node or /**/" in line


def test_a_file_may_serve_several_faces(tmp_path):
    file = tmp_path / "faces.yaml"
    file.write_text("".join(f"/{n}/renderer_node: {{ros__parameters: {{fps: 7}}}}\n" for n in "ab"))
    args = ["node", "--ros-args", "--params-file", str(file)]
    assert not ros_arguments.ignored(args, ["/a/renderer_node"])
    assert not ros_arguments.ignored(args, ["/c/renderer_node", "/b/renderer_node"])
    assert ros_arguments.ignored(args, ["/c/renderer_node"])
    file.write_text(file.read_text() + "/**: {ros__parameters: {size: 128}}\n")
    assert not ros_arguments.ignored(args, ["/c/renderer_node"])
    file.write_text(file.read_text() + "/renderer_node: {ros__parameters: {size: 64}}\n")
    assert not ros_arguments.ignored(args, ["/a/renderer_node"])


def test_a_section_that_is_ignored_is_named_under_a_launch_file_too(tmp_path):
    """launch_ros gives its arguments in a file of its own, by the node's name."""
    own, launched = tmp_path / "face.yaml", tmp_path / "launch_params_x1"
    launched.write_text("/face/renderer_node: {ros__parameters: {fps: 25.0}}\n")
    args = ["node", "--ros-args", "--params-file", str(own), "--params-file", str(launched)]
    for section, said in (("/robot/renderer_node", "write /face/renderer_node"),
                          ("/face/render_node", "did you mean renderer_node?"),
                          ("/**/rendererNode", "did you mean renderer_node?")):  # fmt: skip
        own.write_text(f"{section}: {{ros__parameters: {{fps: 7.0}}}}\n")
        (line,) = ros_arguments.ignored(args, ["/face/renderer_node"])
        assert f"parameters for {section} are ignored" in line and said in line
    for section in ("/face/renderer_node", "/**", "/face/expression_node", "/face/markers_node"):
        own.write_text(f"{section}: {{ros__parameters: {{fps: 7.0}}}}\n")
        assert not ros_arguments.ignored(args, ["/face/renderer_node"])


def test_a_program_may_have_no_arguments():
    check_values([])


@pytest.mark.parametrize("rule, advice", [
    ("background:=#20242a", "gives no value"), ("background:=", "gives no value"),
    ("mark:=Robot #1", "only 'Robot' would be taken"),
    ("mark:=C# is #1", "only 'C# is' would be taken")])  # fmt: skip
def test_a_value_that_yaml_takes_for_a_comment_is_refused(rule, advice):
    args = ["node", "--ros-args", "-p", rule]
    with pytest.raises(RealTalkError, match=advice) as refused:
        check_values(args)
    # What it says to write is what was meant.
    shell = str(refused.value).partition("as in ")[2]
    check_values(["node", "--ros-args", *shlex.split(shell)])
    meant = rule.partition(":=")[2]
    assert yaml.safe_load(shlex.split(shell)[1].partition(":=")[2]) == meant


@pytest.mark.parametrize(
    "text", ["it's: $HOME!", 'say "yes": no', "Hello: world", "*wow*", "[a] b"]
)
def test_text_that_is_no_yaml_is_written_in_quotes(text):
    said = ros_arguments.explain(["node", "--ros-args", "-p", f"text:={text}"])
    shell = subprocess.run(["sh", "-c", f"printf %s {said.partition('as in -p ')[2]}"],
                           capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert yaml.safe_load(shell.partition(":=")[2]) == text


@pytest.mark.parametrize("given, said", [
    (["-p", "fps:=12.5"], "fps is given as 7"),  # where the file sets it
    (["-p", "size:=512.0"], "size is a whole number from 64 to 2048, not 512.0"),
    (["-p", "size:=10"], "size is a whole number from 64 to 2048, not 10"),
    (["-p", "head_gain:=3.0"], "head_gain is a number from 0 to 2, not 3.0"),
    (["-p", "adapt_quality:=1"], "adapt_quality is true or false, not 1"),
    (["-p", "mark:=no"], "mark is text, and YAML takes this value for False"),
    (["-p", "size=256"], "-p size=256 is no parameter: write -p NAME:=VALUE"),
    (["-p", "fps"], "-p fps is no parameter: write -p NAME:=VALUE"),
    (["-p", "emotion:=happy", "0.5"], "ROS 2 has no argument '0.5': a value with spaces"),
    (["-p", "mark:=a: b"], "-p mark:=a: b: the value is YAML, which this is not"),
    (["-r", "__ns:=lab"], "-r __ns:=lab: a namespace begins with a slash"),
    (["-r", "audio"], "-r audio is no remapping: write -r FROM:=TO"),
    (["--params-file", "no.yaml"], "cannot read the parameter file no.yaml: No such file"),
    (["-p", "avatar:=\udcef"], "'avatar:=\\udcef' is no text in UTF-8"),
    (["-p"], "Couldn't parse trailing -p flag"),
    (["--log-level", "loud"], "Couldn't parse log level"),
])  # fmt: skip
def test_a_node_says_what_is_wrong_in_one_line(tmp_path, capfd, monkeypatch, given, said):
    monkeypatch.setattr(spin, "use_fastdds_profile", lambda images: None)
    file = tmp_path / "face.yaml"
    file.write_text("/**: {ros__parameters: {fps: 7}}")
    args = ["renderer_node", "--ros-args", "--params-file", str(file), *given]
    assert import_module("realtalk_ros.nodes.renderer_node").main(args) == 2
    (line,) = [x for x in capfd.readouterr().err.splitlines() if not x.startswith("[")]
    assert line.startswith("realtalk_ros: ") and said in line and "/project/" not in line


def test_a_domain_beyond_the_ports_is_refused(monkeypatch):
    monkeypatch.setenv(ros_arguments.DOMAIN, "233")
    with pytest.raises(RealTalkError, match="from 0 to 232, not 233"):
        ros_arguments.require_domain()
    monkeypatch.setenv(ros_arguments.DOMAIN, "232")
    ros_arguments.require_domain()
    done = run("speech_node", env={**os.environ, ros_arguments.DOMAIN: "500"})
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def run(node, *args, env=None):
    command = [sys.executable, "-m", f"realtalk_ros.nodes.{node}", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)


def test_help_tells_the_parameters_and_starts_nothing():
    done = run("speech_node", "--help", "--ros-args", "-p", "lead:=2.0", "-p", "text:=hello")
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("usage: speech_node [--ros-args")
    assert "  lead:=2.0\n      How long before" in done.stdout and "(0 to 30)" in done.stdout
    assert done.stdout.rstrip().endswith("false: wait for a manager")


@pytest.mark.parametrize("node", NODES)
def test_help_is_for_users_and_names_no_classes_or_files(capsys, monkeypatch, node):
    # Both change the environment, which tests that come later have, too.
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    monkeypatch.setattr(spin, "use_fastdds_profile", lambda images: None)
    assert import_module(f"realtalk_ros.nodes.{node}").main([node, "--help"]) == 0
    about = capsys.readouterr().out.split("\n\n")[1].replace("AudioChunk", "")
    assert about and not re.search(r"\.py|thin\s+shell|[a-z][A-Z]", about)


def test_arguments_that_ros_would_ignore_are_told():
    done = run("speech_node", "--text", "hello")
    assert "ignored: --text hello; a parameter is given as --ros-args -p" in done.stderr
    assert "there is no text to speak" in done.stderr and done.returncode == 2
