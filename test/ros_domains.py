# SPDX-License-Identifier: Apache-2.0
"""ROS domains of the tests, so that two files that run at once do not hear each other."""

from pathlib import Path

OTHERS = 1  # of the tests that start no process
EACH = 2  # domains of a file that does
COMMANDS = 60  # those of `realtalk demo` and `realtalk soak` begin here (node_processes.py)


def domain_of(file: str) -> int:
    """The first of the domains that this test file alone has: this one and the next."""
    folder, calls = Path(__file__).parent, f"{domain_of.__name__}(__file__)"
    files = sorted(path.name for path in folder.glob("test_*.py") if calls in path.read_text())
    first = OTHERS + 1 + EACH * files.index(Path(file).name)
    assert first + EACH <= COMMANDS, "there are no domains for so many files"
    return first
