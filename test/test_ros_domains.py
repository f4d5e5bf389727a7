# SPDX-License-Identifier: Apache-2.0
"""Commands and tests that run at once on one machine have ROS domains of their own."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from realtalk_ros.commands import node_processes
from realtalk_ros.errors import RealTalkError
from ros_domains import EACH, domain_of

DOMAIN = domain_of(__file__)
NOBODYS = range(1000, 1002)  # by their numbers, no ROS domains
KEEPS = f"""
from realtalk_ros.commands.node_processes import own_domain
with own_domain({NOBODYS}) as domain:
    print(domain, flush=True)
    input()
"""


@pytest.fixture
def other_process():
    """Keeps the first of NOBODYS."""
    command = [sys.executable, "-c", KEEPS]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with subprocess.Popen(command, **pipes) as process:
        assert int(process.stdout.readline()) == NOBODYS[0]
        yield process
        process.kill()


def test_no_two_processes_have_one_domain(other_process):
    with node_processes.own_domain(NOBODYS) as domain:
        assert domain == NOBODYS[1]
        with (
            pytest.raises(RealTalkError, match="no ROS domain"),
            node_processes.own_domain(NOBODYS),
        ):
            pass
    other_process.kill()  # whatever ends it
    other_process.wait()
    with node_processes.own_domain(NOBODYS) as domain:
        assert domain == NOBODYS[0]


def test_nodes_that_outlive_a_command_keep_its_domain(monkeypatch, tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    nodes = {}
    with node_processes.own_domain(NOBODYS):
        node_processes.start(nodes, "a_node")
    try:
        with node_processes.own_domain(NOBODYS) as domain:
            assert domain == NOBODYS[1]
    finally:
        node_processes.stop(nodes)
    with node_processes.own_domain(NOBODYS) as domain:
        assert domain == NOBODYS[0]


def test_a_machine_that_refuses_such_sockets_does_without(monkeypatch):
    def refuse(*_):
        raise PermissionError("not in this sandbox")

    refusing = SimpleNamespace(AF_UNIX=socket.AF_UNIX, socket=refuse)
    monkeypatch.setattr(node_processes, "socket", refusing)
    with node_processes.own_domain(NOBODYS) as domain:
        assert domain in NOBODYS


def test_a_command_s_graph_has_a_domain_that_nobody_else_has(monkeypatch):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, os.environ[name])  # are put back
    # conftest.py has the first of this file's domains.
    monkeypatch.setattr(node_processes, "DOMAINS", range(DOMAIN, DOMAIN + EACH))
    with node_processes.private_graph():
        assert os.environ["ROS_DOMAIN_ID"] == str(DOMAIN + 1)


def test_tests_wait_while_others_have_their_domain(other_process, tmp_path):
    for name in ("conftest.py", "ros_domains.py"):
        shutil.copy(Path(__file__).with_name(name), tmp_path)
    (tmp_path / "test_graph.py").write_text(f"DOMAIN = {NOBODYS[0]}\ndef test_that_passes(): ...\n")
    plain = ["-c", os.devnull, "-p", "no:launch_testing", "-p", "no:launch_ros"]
    command = [sys.executable, "-m", "pytest", *plain, str(tmp_path)]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with subprocess.Popen(command, **pipes) as process:
        waits = next(line for line in process.stderr if line.strip())
        assert waits == "test_graph.py waits for other tests to end\n"
        assert process.poll() is None
        other_process.communicate("\n")
        assert "1 passed" in process.stdout.read()
