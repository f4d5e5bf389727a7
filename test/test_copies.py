# SPDX-License-Identifier: Apache-2.0
"""Copies of chunks, as of a relay or of another path of a network, in turn-taking."""

import numpy as np
import pytest

from realtalk_ros.playout.turn_taking import TurnTaking
from realtalk_ros.stream_types import Chunk

RATE = 16000


def speech(utterance, start, seconds, step=0.1, seed=0):
    """Noise in chunks, stamped with `start` and the time since."""
    pcm = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)
    parts = np.split(pcm, round(seconds / step))
    return [Chunk(part, RATE, start + k * step, utterance) for k, part in enumerate(parts)]


def end(utterance):
    return Chunk(np.zeros(0, np.float32), RATE, None, utterance, last=True)


class Listener:
    """Puts chunks, and notes what comes out: seconds of sound, and whose ends."""

    def __init__(self, policy="replace"):
        self.turns, self.seconds, self.lasts, self.now = TurnTaking(policy), {}, [], 9.0

    def put(self, when, chunk, sender=""):
        self.listen(when)
        self.turns.put(chunk, when, None, sender)

    def listen(self, until):
        """Takes what comes out until then."""
        while self.now < until:
            self.now = min(until, self.now + 0.05)
            while (piece := self.turns.take(self.now, 1.0)) is not None:
                self.lasts += self.turns.take_ended(self.now)
                seconds = self.seconds.get(piece.utterance, 0.0) + piece.seconds
                self.seconds[piece.utterance] = seconds
                self.lasts += [piece.utterance] if piece.last else []
            self.lasts += self.turns.take_ended(self.now)


def with_copies(sent, later, relay):
    """What was `sent`, (when, chunk), and the same `later` s after that by the sender `relay`."""
    both = [(when, part, "") for when, part in sent]
    both += [(when + later, part, relay) for when, part in sent]
    return sorted(both, key=lambda item: item[0])


@pytest.mark.parametrize("policy", ["replace", "queue"])
@pytest.mark.parametrize("relay", ["", "another publisher"])
@pytest.mark.parametrize("alone", [True, False], ids=["last alone", "last with sound"])
@pytest.mark.parametrize("later", [0.005, 0.06, 0.2])
def test_copies_of_an_utterance_that_is_over_neither_sound_nor_end_it_again(
    policy, relay, alone, later
):
    """The next one waits already."""
    first, second = speech("a", 10.0, 0.5), speech("b", 10.5, 1.0, seed=1)
    if alone:
        first.append(end("a"))
    else:
        first[-1] = Chunk(first[-1].pcm, RATE, first[-1].start, "a", last=True)
    sent = [(9.9 + 0.1 * min(k, 4), part) for k, part in enumerate(first)]
    sent += [(10.3, part) for part in [*second, end("b")]]
    listener = Listener(policy)
    for when, part, sender in with_copies(sent, later, relay):
        listener.put(when, part, sender)
    listener.listen(30.0)
    assert listener.seconds == pytest.approx({"a": 0.5, "b": 1.0})
    assert listener.lasts == ["a", "b"]


@pytest.mark.parametrize("relay", ["", "another publisher"])
@pytest.mark.parametrize("step, later", [(0.02, 0.1), (0.1, 0.005), (0.1, 0.25)])
def test_copies_of_what_was_interrupted_do_not_bring_it_back(relay, step, later):
    """Nor is its end passed on. Its sender never hears of the interrupt."""
    sent = [(10 + step * (k + 1), part) for k, part in enumerate(speech("a", 10.0, 3.0, step))]
    sent.append((13.0, end("a")))
    listener, interrupted = Listener(), False
    for when, part, sender in with_copies(sent, later, relay):
        if when > 11.01 and not interrupted:
            listener.listen(11.01)
            listener.turns.interrupt(11.01)
            interrupted = True
        listener.put(when, part, sender)
    listener.listen(40.0)
    assert listener.seconds == pytest.approx({"a": 1.0}) and listener.lasts == []


def test_two_voices_under_one_id_both_end():
    """At nearly the same time."""
    listener = Listener("queue")
    for k, (first, second) in enumerate(
        zip(speech("", 10.0, 1.0), speech("", 10.0, 1.0, seed=1), strict=True)
    ):
        listener.put(10.0 + 0.1 * k, first, "first")
        listener.put(10.01 + 0.1 * k, second, "second")
    listener.put(11.0, end(""), "first")
    listener.put(11.01, end(""), "second")
    listener.listen(15.0)  # less than after which a sender seems dead
    assert listener.seconds == pytest.approx({"": 2.0}) and listener.lasts == ["", ""]


def test_what_is_over_takes_no_memory():
    turns = TurnTaking()
    for k in range(20):
        turns.put(Chunk(np.full(RATE, 0.1 * k, np.float32), RATE, 10 + k, f"{k}"), 10 + k)
        turns.interrupt(10.5 + k)
    assert turns._past and not any(len(turn.last_pcm) or turn.chunks for turn in turns._past)
