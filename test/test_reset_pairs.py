# SPDX-License-Identifier: Apache-2.0
"""The two messages of each interrupt, of which one may overtake the other."""

import pytest

from realtalk_ros.playout.reset_pairs import MAX_APART, ResetPairs


@pytest.fixture
def pairs():
    return ResetPairs()


def test_an_interrupt_that_came_with_the_expressions_is_no_news_with_the_audio(pairs):
    pairs.on_expressions(10.0)
    assert not pairs.on_audio(10.2)
    assert pairs.on_audio(10.3)  # another one


def test_expressions_are_old_from_an_interrupt_with_the_audio_to_that_with_them(pairs):
    assert not pairs.expressions_are_old(10.0)
    for when in (10.0, 10.1):
        assert pairs.on_audio(when)
    pairs.on_expressions(10.2)
    assert pairs.expressions_are_old(10.2)  # they were sent before the second
    pairs.on_expressions(10.3)
    assert not pairs.expressions_are_old(10.3)


def test_a_message_that_never_comes_is_not_waited_for(pairs):
    assert pairs.on_audio(10.0)
    assert pairs.expressions_are_old(10 + MAX_APART - 0.1)
    assert not pairs.expressions_are_old(10 + MAX_APART + 0.1)
    pairs.on_expressions(10 + MAX_APART + 0.1)  # of another interrupt, then
    assert not pairs.on_audio(10 + MAX_APART + 0.2)
