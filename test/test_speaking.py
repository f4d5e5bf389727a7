# SPDX-License-Identifier: Apache-2.0
"""When a face is shown speaking."""

import pytest

from realtalk_ros.playout.speaking import CLOSING, HOLD, SpeakingState


@pytest.fixture
def speaking():
    """A face that spoke at 10 s."""
    state = SpeakingState()
    assert not state.update(9.9, 0.4) and not state.state
    assert state.update(10.0, 0.6) and state.state
    return state


def test_a_face_speaks_until_a_while_after_the_last_speech(speaking):
    assert not speaking.update(10 + HOLD - 0.01, 0.0) and speaking.state
    assert speaking.update(10 + HOLD + 0.01, 0.0) and not speaking.state


def test_a_face_does_not_speak_before_its_speech_where_the_clock_is_set_back(speaking):
    assert speaking.update(9.0, 0.0) and not speaking.state


def test_after_an_interrupt_a_face_speaks_until_its_mouth_is_shut(speaking):
    speaking.cut(10.1)
    assert not speaking.update(10.1 + CLOSING - 0.01, 0.0) and speaking.state
    assert speaking.update(10.1 + CLOSING + 0.01, 0.0) and not speaking.state


def test_an_interrupt_in_silence_lets_no_face_speak_longer(speaking):
    speaking.cut(10 + HOLD - 0.01)
    assert speaking.update(10 + HOLD + 0.01, 0.0) and not speaking.state


def test_a_face_speaks_on_when_the_clock_is_set(speaking):
    speaking.shift(3600.0)
    assert not speaking.update(3610 + HOLD - 0.01, 0.0) and speaking.state
