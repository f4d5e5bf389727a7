# SPDX-License-Identifier: Apache-2.0
"""Messages that come reliably and by best effort, each given once and in time."""

from types import SimpleNamespace

import pytest

from realtalk_ros.playout.message_merger import HOLD, MAX_KEYS, MAX_NAMES, MessageMerger, Received

MILLISECOND = 10**6  # ns


def sent(number, utterance="a", at=None):
    """The message of that number, sent every 20 ms."""
    when = 20 * MILLISECOND * (number if at is None else at)
    return Received(SimpleNamespace(utterance_id=utterance), number=number, sent=10**18 + when)


def numbers(messages):
    return [received.number for received in messages]


def test_what_comes_twice_is_given_once_whichever_comes_first():
    merger = MessageMerger()
    assert numbers(merger.reliable([sent(1), sent(2)])) == [1, 2]
    assert merger.best_effort([sent(1), sent(2), sent(3)], 5.0) == [] and merger.holds
    assert merger.overdue(5 + HOLD / 2) == []
    assert numbers(merger.reliable([sent(3)])) == [3] and not merger.holds
    assert merger.overdue(6.0) == []


def test_who_sends_by_best_effort_alone_is_waited_for_once():
    merger = MessageMerger()
    assert merger.best_effort([sent(1)], 5.0) == []
    (late,) = merger.overdue(5 + 2 * HOLD)
    assert late.number == 1 and late.waited == pytest.approx(2 * HOLD)
    assert numbers(merger.best_effort([sent(2), sent(3)], 5.2)) == [2, 3]
    # ... until the subscription is opened again.
    merger.forget_senders()
    assert merger.best_effort([sent(4)], 5.3) == []


def test_who_comes_reliably_in_time_again_is_waited_for_again():
    merger = MessageMerger()
    merger.best_effort([sent(1)], 0.0)
    assert numbers(merger.overdue(1.0)) == [1]
    assert numbers(merger.reliable([sent(2)])) == [2]
    assert merger.best_effort([sent(2), sent(3)], 1.0) == [] and merger.holds
    assert numbers(merger.reliable([sent(3)])) == [3]


@pytest.mark.parametrize("behind, given", [(29.0, False), (31.0, True)])
def test_what_is_half_a_minute_late_is_of_a_clock_that_was_set_back(behind, given):
    merger = MessageMerger()
    merger.best_effort([sent(2000)], 0.0)
    merger.overdue(1.0)
    assert bool(merger.reliable([sent(1, at=2000 - 50 * behind)])) == given


@pytest.mark.parametrize("hour", [180_000, -180_000])  # of messages
def test_where_the_clock_was_set_messages_stay_in_their_order(hour):
    merger = MessageMerger()
    merger.best_effort([sent(6, at=6 + hour)], 0.0)
    assert numbers(merger.overdue(1.0)) == [6]
    assert not merger.reliable([sent(5), sent(6, at=6 + hour)])  # sent before the clock was set
    assert numbers(merger.reliable([sent(7, at=7 + hour)])) == [7]


def test_an_utterance_that_goes_on_is_not_forgotten_for_newer_ones():
    merger = MessageMerger()
    for number in range(1, 3 * MAX_NAMES, 3):
        for k, name in enumerate(("long", f"u{number}")):
            merger.best_effort([sent(number + k, utterance=name)], float(number))
        merger.overdue(number + 2 * HOLD)
    assert merger.reliable([sent(10**4, "long", at=1)]) == []  # what follows it was given


def test_what_comes_reliably_too_late_is_left_out():
    """After what follows it, as the middleware sends it again."""
    merger = MessageMerger()
    merger.best_effort([sent(2)], 0.0)
    assert numbers(merger.overdue(1.0)) == [2]
    assert numbers(merger.reliable([sent(1), sent(2), sent(3)])) == [3]
    assert numbers(merger.reliable([sent(1, utterance="b")])) == [1]  # of another utterance
    assert numbers(merger.reliable([sent(4, at=-(10**6))])) == [4]  # the sender's clock was set
    merger.forget_order()
    assert numbers(merger.reliable([sent(5, at=1)])) == [5]


def test_hours_of_utterances_are_forgotten():
    merger = MessageMerger()
    for number in range(3 * MAX_NAMES):
        merger.best_effort([sent(number, utterance=f"u{number}")], float(number))
        merger.overdue(number + 2 * HOLD)
    late = [sent(k + 10**4, f"u{k}", at=k - 1) for k in range(3 * MAX_NAMES)]
    assert len(merger.reliable(late)) == 2 * MAX_NAMES  # of the others it is known that it is late


def test_days_of_utterances_and_of_senders_take_no_memory():
    """A best-effort sender is started again after every utterance."""
    merger, given = MessageMerger(), 0
    for k in range(MAX_KEYS):
        for number in (1, 2):
            now = k + number / 10
            given += len(merger.best_effort([sent(number, f"u{k}", at=50 * k + number)], now))
            given += len(merger.overdue(now + 2 * HOLD))
    assert given == 2 * MAX_KEYS
    kept = [value for value in vars(merger).values() if hasattr(value, "__len__")]
    assert sum(map(len, kept)) < MAX_KEYS + 1000  # of the last messages, and little more
