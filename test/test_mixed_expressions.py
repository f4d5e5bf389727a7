# SPDX-License-Identifier: Apache-2.0
"""Expressions of two nodes at once."""

import pytest

from realtalk_ros.playout.mixed_expressions import RETURNS, WITHIN, MixedExpressions


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


@pytest.mark.parametrize("seconds, mixed", [(WITHIN - 0.1, True), (WITHIN + 0.1, False)])
def test_two_nodes_are_found_when_they_have_returned_often_within_a_while(seconds, mixed):
    detector, apart = MixedExpressions(), seconds / (RETURNS - 1)
    found = [detector.update("ab"[k % 2], k * apart) for k in range(2 + RETURNS)]
    assert found == [*[False] * (1 + RETURNS), mixed]
