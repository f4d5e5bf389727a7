# SPDX-License-Identifier: Apache-2.0
"""ROS domains of the tests, so that two files that run at once do not hear each other; nor do two
runs, of one user or of two: conftest.py keeps a file's domains while its tests run."""

from pathlib import Path

from realtalk_ros.commands.node_processes import DOMAINS as OF_COMMANDS

OTHERS = range(1, 10)  # of the files whose tests start no process, one each
EACH = 2  # domains of a file whose tests do


def domain_of(file: str) -> int:
    """The first of the domains that this test file alone has: this one and the next."""
    folder, calls = Path(__file__).parent, f"{domain_of.__name__}(__file__)"
    files = sorted(path.name for path in folder.glob("test_*.py") if calls in path.read_text())
    first = OTHERS.stop + EACH * files.index(Path(file).name)
    assert first + EACH <= OF_COMMANDS.start, "there are no domains for so many files"
    return first
