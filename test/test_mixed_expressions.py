# SPDX-License-Identifier: Apache-2.0
"""Expressions of two nodes at once."""

import pytest

from realtalk_ros.playout.mixed_expressions import MixedExpressions


@pytest.mark.parametrize(
    "said, mixed",
    [("a" * 60, False), ("a" * 30 + "b" * 30, False), ("abcdefghijklmnopq", False),
     ("abababab", True), ("aabaabaabaab", True), (["", "x"] * 6, True)],
)  # fmt: skip
def test_expressions_of_two_nodes_at_once_are_told_from_those_of_one(said, mixed):
    for apart in (0.04, 1.0):  # s
        detector = MixedExpressions()
        found = [detector.update(name, k * apart) for k, name in enumerate(said)]
        assert any(found) == (mixed and apart < 1.0)
