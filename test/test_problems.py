# SPDX-License-Identifier: Apache-2.0
"""What a node logs of messages that may hold anything."""

from realtalk_ros.audio.pcm import decode_pcm
from realtalk_ros.behaviour.emotion import parse_emotion
from realtalk_ros.errors import RealTalkError
from realtalk_ros.nodes.problems import MAX_CAUSES, Problems


def test_a_message_that_holds_a_book_makes_a_line():
    logged = []
    problems = Problems(logged.append)
    for bad in (lambda: parse_emotion("x" * 10**6), lambda: decode_pcm(b"", "x" * 10**6, 1)):
        try:
            bad()
        except RealTalkError as error:
            problems.add(str(error))
    assert [line[:20] for line in logged] == ["no emotion 'xxxxxxxx", "unknown audio encodi"]
    assert max(map(len, logged)) < 1100 and "choose one of happy" in logged[0]


def test_causes_are_logged_once_and_limited():
    logged = []
    problems = Problems(logged.append)
    for number in range(200):
        problems.add(f"cause {'ab'[number % 2] * number}")
        problems.add("5 samples of 'this'")
        problems.add("6 samples of 'that'")
    assert problems.counts["# samples of #"] == 400
    assert len(logged) == len(problems.counts) == MAX_CAUSES + 1 and sum(problems.counts.values())


def test_an_error_in_this_package_is_logged_once_by_its_place_and_counted():
    logged = []
    problems = Problems(logged.append)
    assert not problems.fresh
    for number in range(3):
        try:
            [][number]
        except IndexError as error:
            problems.exception(error)
    (cause,) = problems.counts
    assert cause.startswith("IndexError in test_problems.py:") and problems.counts[cause] == 3
    assert len(logged) == 1 and "please report it" in logged[0] and "[][number]" in logged[0]
    assert problems.fresh
