# SPDX-License-Identifier: Apache-2.0
"""Marks tests by what they need, and says which were skipped. run.sh runs them by these marks.

realtalk_ros must be imported before onnxruntime is, which some tests import themselves: the first
lines of realtalk_ros/__init__.py say why.
"""

import io
import itertools
import os
import pathlib
import re
import sys
import time
from collections import Counter
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

import realtalk_ros  # noqa: F401
from realtalk_ros.commands.node_processes import OTHER_MACHINES, own_domain
from realtalk_ros.errors import RealTalkError
from ros_domains import OTHERS

# Nodes of tests meet no robot: neither in the network nor, most likely, on this machine.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
for name in OTHER_MACHINES:
    os.environ.pop(name, None)
# What programs print comes as it does to users, whose shells do not set this.
os.environ.pop("PYTHONUNBUFFERED", None)

# What a test file names that runs ROS nodes or servers, and so mostly waits for real time to pass.
GRAPH = re.compile("ros_graph|ROS_DOMAIN_ID|chromium")


def pytest_ignore_collect(collection_path, config):
    """Files of which run.sh's -m leaves nothing are not imported: that takes seconds."""
    graphs = {"graph": True, "not graph": False}.get(config.option.markexpr)
    is_left = graphs is None or not collection_path.match("test_*.py")
    return None if is_left or runs_a_graph(collection_path) == graphs else True


def pytest_collection_modifyitems(items):
    for item in items:
        if runs_a_graph(item.path):
            item.add_marker("graph")


@pytest.fixture
def priv(tmp_path, monkeypatch):
    """A folder that nobody may enter: not even root, who else may enter all of them."""
    folder = tmp_path / "priv"
    folder.mkdir()

    def guarded(function, itself=False):
        def call(path, *args, **kwargs):
            if isinstance(path, (str, os.PathLike)):
                place = os.path.abspath(path)
                if place.startswith(f"{folder}{os.sep}") or (itself and place == str(folder)):
                    raise PermissionError(13, "Permission denied", str(path))
            return function(path, *args, **kwargs)

        return call

    for name in ("stat", "lstat", "open", "mkdir", "unlink", "access"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name), itself=True))
        if python_3_10 := getattr(pathlib, "_NormalAccessor", None):  # it keeps functions of os
            monkeypatch.setattr(python_3_10, name, staticmethod(getattr(os, name)))
    monkeypatch.setattr(Path, "stat", os.stat)
    for module in (io, __import__("builtins")):
        monkeypatch.setattr(module, "open", guarded(open))
    return folder


@pytest.fixture(scope="module", autouse=True)
def ros_domain(request):
    """A file's ROS domains are those of no other run of tests: it waits for one that has them."""
    domains = [request.module.DOMAIN] if hasattr(request.module, "DOMAIN") else OTHERS
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for tried in itertools.count():
            try:
                domain = stack.enter_context(own_domain(domains))
                break
            except RealTalkError:
                if not tried:
                    waits = f"\n{request.path.name} waits for other tests to end"
                    with capture.global_and_fixture_disabled():
                        print(waits, file=sys.stderr)
                time.sleep(0.1)
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        yield


@cache
def runs_a_graph(path: Path) -> bool:
    return bool(GRAPH.search(path.read_text(encoding="utf-8")))


def pytest_terminal_summary(terminalreporter):
    """Prints one line of what was skipped; REALTALK_TEST_REPORT names a file for not_run.py."""
    skipped = {
        report.nodeid: str(report.longrepr[-1]).removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", ())
    }
    reasons = Counter(skipped.values()).most_common()
    if reasons:
        text = "; ".join(f"{reason} ({count})" for reason, count in reasons)
        terminalreporter.write_line(f"skipped {len(skipped)}: {text}")
    if file := os.environ.get("REALTALK_TEST_REPORT"):
        ran = [r for word in ("passed", "failed") for r in terminalreporter.stats.get(word, ())]
        with open(file, "a", encoding="utf-8") as report:
            report.writelines(f"{r.nodeid}\tran\n" for r in ran)
            report.writelines(f"{test}\t{reason}\n" for test, reason in skipped.items())
