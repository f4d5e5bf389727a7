# SPDX-License-Identifier: Apache-2.0
"""Turn-taking, without ROS."""

import numpy as np
import pytest

from realtalk_ros.errors import AudioError
from realtalk_ros.playout.audio_playout import AudioPlayout
from realtalk_ros.playout.scheduling import ChunkFinding
from realtalk_ros.playout.sender_identity import SenderIdentifier
from realtalk_ros.playout.turn_taking import TurnTaking
from realtalk_ros.stream_types import Chunk

RATE = 16000


def chunk(utterance, start, seconds=0.1, last=False, value=0.5):
    pcm = np.full(round(seconds * RATE), value, np.float32)
    return Chunk(pcm, RATE, start, utterance, last)


def say(turns, utterance, start, seconds, now=None, step=0.1, last=True):
    for i in range(round(seconds / step)):
        at = start + i * step
        end = last and i == round(seconds / step) - 1
        turns.put(chunk(utterance, at, step, end), at if now is None else now)


def drain(turns, now, ahead=1000.0):
    out = []
    while (piece := turns.take(now, ahead)) is not None:
        out.append(piece)
    return out


def test_a_minute_is_handed_out_in_pieces_that_add_up():
    turns, pcm = TurnTaking(limit=70), np.arange(60 * 8000, dtype=np.float32)
    turns.put(Chunk(pcm, 8000, 100.0, "a", last=True), now=99.0)
    with pytest.raises(AudioError, match="70 s"):
        turns.put(Chunk(pcm, 8000, 160.0, "a"), now=99.0)
    assert turns.take(98.0, 1.0) is None
    taken = drain(turns, 99.0)
    assert max(c.seconds for c in taken) <= 0.2 and [c.last for c in taken].index(True) == 299
    assert (np.concatenate([c.pcm for c in taken]) == pcm).all() and turns.seconds == 0


def test_queue_puts_the_new_one_after_the_old_one_with_its_pauses_kept():
    turns = TurnTaking("queue")
    say(turns, "a", 10.0, 2.0, now=9.5)
    say(turns, "b", 10.5, 1.0, now=9.5)
    say(turns, "c", 10.6, 0.5, now=9.5)
    taken = drain(turns, 9.5)
    assert [c.utterance for c in taken] == ["a"] * 20 + ["b"] * 10 + ["c"] * 5
    starts = np.array([c.start for c in taken])
    np.testing.assert_allclose(starts, 10.0 + 0.1 * np.arange(35), atol=1e-6)


def test_queue_waits_for_a_live_speaker_who_has_not_said_his_last():
    turns, heard = TurnTaking("queue"), []
    for i in range(20):  # both talk at once, live
        now = 10 + 0.1 * i
        turns.put(chunk("a", now, last=i == 9), now) if i < 10 else None
        turns.put(chunk("b", now, last=i == 19), now)
        heard += drain(turns, now, 1.0)
    heard += drain(turns, 12.0, 100.0)
    assert [c.utterance for c in heard] == ["a"] * 10 + ["b"] * 20
    assert (np.diff([c.start for c in heard]) > 0.09).all()


@pytest.mark.parametrize("policy, stamps", [("queue", True), ("queue", False), ("replace", True)])
def test_who_always_speaks_under_one_id_waits_for_the_other_voice(policy, stamps):
    """He sends his second utterance while his first is spoken, and another voice is next."""
    turns = TurnTaking(policy)
    for sent, sender, start, value in ((10.0, "", 10.3, 0.1), (10.1, "b", 12.3, 0.2),
                                       (10.5, "", 14.3, 0.3)):  # fmt: skip
        for k in range(20):
            part = chunk(sender, start + 0.1 * k if stamps else None, last=k == 19, value=value)
            turns.put(part, sent, sent, sender)
    said = [(float(c.pcm[0]), c.start) for c in drain(turns, 10.6)]
    assert [v for v, _ in said] == pytest.approx([0.1] * 20 + [0.2] * 20 + [0.3] * 20)
    begin = 10.3 if stamps else 10.0
    assert [s for _, s in said] == pytest.approx([begin + 0.1 * k for k in range(60)])
    assert turns.counts["mixed_senders"] == 0


def test_replace_ends_the_live_speaker_and_nothing_of_him_comes_any_more():
    turns = TurnTaking("replace")
    say(turns, "a", 10.0, 1.0, last=False)
    assert turns.put(chunk("b", 11.0), 11.02).ended == ["a"]
    turns.put(chunk("a", 11.0), 11.12)
    assert {c.utterance for c in drain(turns, 11.2)} == {"b"}
    assert turns.counts["interrupted_chunks"] == 1


def test_replace_by_one_that_begins_later_cuts_the_old_one_there():
    turns = TurnTaking("replace")
    say(turns, "a", 10.0, 3.0, now=9.5)
    assert turns.put(chunk("b", 11.05), 9.5).ended == []
    taken = drain(turns, 9.5)
    assert [c.utterance for c in taken] == ["a"] * 11 + ["b"]


def test_one_that_follows_the_last_word_of_another_replaces_nothing():
    turns = TurnTaking("replace")
    say(turns, "a", 10.0, 1.0, now=9.5)
    assert turns.put(chunk("b", 11.0), 9.5).ended == []
    assert len([c for c in drain(turns, 9.5) if c.utterance == "a"]) == 10


@pytest.mark.parametrize("early", [1e-9, 0.05])
def test_one_whose_stamp_is_rounded_follows_the_one_before(early):
    """Sentences that are sent one by one: the end of each is heard, live, too."""
    turns = TurnTaking("replace")
    say(turns, "a", 10.0, 1.0, now=9.9)
    assert len(drain(turns, 9.9, ahead=0.95)) == 9  # all but the end
    assert turns.put(chunk("b", 11.0 - early, last=True), 10.9).ended == []
    taken = drain(turns, 10.9)
    assert [c.utterance for c in taken] == ["a", "b"]
    assert taken[-1].start == pytest.approx(11.0)


@pytest.mark.parametrize("stamps", [True, False])
@pytest.mark.parametrize("reset", [True, False])
def test_chunks_that_each_end_the_one_before_are_said(stamps, reset):
    """Each has an id of its own, or `reset`, and next to nothing is heard."""

    def found(k, **how):
        at = 10.0 + 0.1 * k
        if reset:
            turns.interrupt(at)
            turns.accept_again("a", "1")
        new = chunk("a" if reset else f"a{k}", at if stamps else None, **how)
        return ChunkFinding.FRAGMENT in turns.put(new, at, sender="1").findings

    turns = TurnTaking("replace")
    assert [found(k) for k in range(8)] == [False] * 5 + [True] * 3
    assert turns.counts["fragmented_utterances"] == 3
    found(8, last=True)  # ends the last fragment
    assert not any(found(k, last=True) for k in range(9, 20))
    for whole in ({"last": True}, {"seconds": 1.5}):  # what is interrupted again and again
        turns = TurnTaking("replace")
        assert not any(found(3 * k, **whole) for k in range(20))
    turns = TurnTaking("replace")
    for k in range(20):  # an answer of two chunks, again and again
        assert not found(k)
        turns.put(chunk("a" if reset else f"a{k}", None), 10.05 + 0.1 * k, sender="1")


def test_words_that_are_utterances_of_their_own_are_heard_without_a_warning():
    """Each follows the one before, though none says `last`."""
    turns = TurnTaking("replace")
    for k in range(20):
        assert turns.put(chunk(f"a{k}", 10.0 + 0.5 * k, 0.5), 9.0).findings == []
    assert sum(piece.seconds for piece in drain(turns, 9.0)) == pytest.approx(10)


@pytest.mark.parametrize("policy", ["queue", "replace"])
@pytest.mark.parametrize("stamps", [True, False])
@pytest.mark.parametrize("name, last", [("a{}", False), ("a{}", True), ("a", True)])
def test_chunks_that_are_utterances_of_their_own_are_said(policy, stamps, name, last):
    """All are played, one after the other, and the network begins anew at each."""
    turns, step = TurnTaking(policy), 0.02

    def found(k, seconds=step, pause=0.0, **how):
        at = 10.0 + k * (seconds + pause)
        new = chunk(name.format(k), at + 0.3 if stamps else None, seconds, **{"last": last, **how})
        findings = turns.put(new, at, sender="1").findings
        turns.take(at, 1.0)
        return {ChunkFinding.SINGLE, ChunkFinding.FRAGMENT} & set(findings)

    assert [bool(found(k)) for k in range(8)] == [False] * 5 + [True] * 3
    for how in ({"seconds": 0.4}, {"pause": 0.4}):  # words
        turns = TurnTaking(policy)
        assert not any(found(k, last=True, **how) for k in range(12))
    turns, name = TurnTaking(policy), "a"
    assert not any(found(k, last=False) for k in range(100))


def test_chunks_of_a_few_samples_are_joined_while_they_wait_and_said():
    """Each piece costs a run of the front end, and a message to the renderer."""
    turns, pcm, found = TurnTaking(), np.linspace(-1, 1, RATE, dtype=np.float32), []
    for k in range(1000):
        part = Chunk(pcm[16 * k : 16 * k + 16], RATE, None, "tiny", k == 999)
        found.append(turns.put(part, 10.0, sender="1").findings)
    pieces = drain(turns, 10.0)
    np.testing.assert_array_equal(np.concatenate([piece.pcm for piece in pieces]), pcm)
    assert len(pieces) == 50 and [piece.last for piece in pieces] == [False] * 49 + [True]
    assert [ChunkFinding.TINY in f for f in found] == [False] * 500 + [True] * 500
    for seconds, stamp in ((0.005, None), (0.02, None), (0.1, None), (0.005, 10.0)):
        turns = TurnTaking()
        for k in range(600):
            start = None if stamp is None else stamp + k * seconds
            assert not turns.put(chunk("a", start, seconds), 10.0, sender="1").findings


@pytest.mark.parametrize("pause, played", [(25.0, 35.3), (31.0, 10.3), (100.0, 10.3)])
def test_a_stamp_that_is_far_ahead_of_its_utterance_keeps_nobody_waiting(pause, played):
    """That of its last chunk: none comes after it that could show that it is wrong."""
    turns = TurnTaking("queue")
    say(turns, "a", 10.0, 0.3, last=False)
    result = turns.put(chunk("a", 10.3 + pause, last=True), 10.3)
    assert result.findings == ([ChunkFinding.FOREIGN] if pause > 30 else [])
    turns.put(chunk("b", None, last=True), 10.35)
    starts = [(c.utterance, pytest.approx(c.start)) for c in drain(turns, 10.35)]
    assert starts[-2:] == [("a", played), ("b", played + 0.1)]


@pytest.mark.parametrize("seconds", [1.0, 60.0])
def test_an_utterance_that_waits_for_its_time_keeps_nobody_waiting(seconds):
    """As one of a machine whose clock is ahead. What is spoken at its time comes before it."""
    turns, heard = TurnTaking("queue"), []
    say(turns, "a", 10.0, 1.0, now=9.9)
    say(turns, "later", 60.0, 1.0, now=9.9)
    for k in range(round(seconds)):
        turns.put(chunk("b", None, 1.0, last=k == round(seconds) - 1), 10.0 + k)
        heard += drain(turns, 10.0 + k, 1.0)
    heard += drain(turns, 10.0 + seconds)
    begins = {name: next(c.start for c in heard if c.utterance == name) for name in "ab"}
    assert begins == {"a": 10.0, "b": pytest.approx(11.0)}
    later = [c.start for c in heard if c.utterance == "later"]
    np.testing.assert_allclose(later, max(60.0, 11.0 + seconds) + 0.1 * np.arange(10), atol=1e-6)
    assert heard[-1].last and sum(c.seconds for c in heard) == pytest.approx(2.0 + seconds)


@pytest.mark.parametrize("policy", ["replace", "queue"])
@pytest.mark.parametrize("name", ["", "a"])
def test_utterances_of_one_id_are_heard_when_their_stamps_say_with_long_pauses_between_them(
    policy, name
):
    """Each ends with `last`, so no stamp is far ahead of its own utterance."""
    turns = TurnTaking(policy)
    for begin in (15.0, 60.0, 100.0):
        result = turns.put(chunk(name, begin, 1.0, last=True), 10.0)
        assert not result.findings and not result.ended
    out = [c for now in np.arange(10, 102, 0.1) for c in drain(turns, now)]
    assert [c.start for c in out[::5]] == pytest.approx([15.0, 60.0, 100.0])


def test_what_was_interrupted_takes_no_memory():
    turns = TurnTaking()
    for k in range(70):
        turns.put(chunk(f"a{k}", 10.0 + k, 60.0, last=True), 10.0 + k)
        turns.interrupt(10.5 + k)
    remembered = turns._interrupted._turns.values()
    samples = [len(turn.last_pcm if turn.last_pcm.base is None else turn.last_pcm.base)
               for turn in remembered]  # fmt: skip
    assert len(samples) == 64 and max(samples) <= 1000


def test_interrupted_is_not_heard_again_until_its_sender_has_ended_it():
    turns = TurnTaking()
    say(turns, "a", 10.0, 1.0, last=False)
    assert turns.interrupt(11.0) == ["a"] and drain(turns, 11.0) == []
    turns.put(chunk("a", 11.0), 11.1)
    turns.put(chunk("a", 11.1, last=True), 11.2)
    assert drain(turns, 11.3) == []
    turns.put(chunk("a", 12.0), 12.0)  # the same name, a new utterance
    assert len(drain(turns, 12.1)) == 1


@pytest.mark.parametrize("how", ["interrupt", "reset", "replace"])
@pytest.mark.parametrize("stamps", [True, False])
def test_a_stalled_network_brings_no_old_speech_back_into_the_answer(how, stamps):
    """The sender streams on for a while, as it learns of the interrupt late or never."""

    def put(name, at):
        result = turns.put(chunk(name, at if stamps else None, value=value), at, sender="1")
        heard.extend(piece.utterance for piece in drain(turns, at))
        return result

    turns, heard, value = TurnTaking("replace"), [], 0.5
    for k in range(10):
        put("old", 10.0 + 0.1 * k)
    value = -0.5  # the waveform does not go on after a stall
    if how != "replace":
        turns.interrupt(11.0)
    if how == "reset":
        turns.accept_again("new", "1")
        put("old", 11.9)
    for k in range(30):
        assert put("new", 12.2 + 0.1 * k).ended == (["old"] if not k and how == "replace" else [])
        if k in (4, 5, 20, 21):
            assert put("old", 12.22 + 0.1 * k).ended == []
    assert heard == ["old"] * 10 + ["new"] * 30
    assert turns.counts["interrupted_chunks"] == 4 + (how == "reset")
    put("old", 17.0)  # after a pause it speaks again
    assert heard[-1] == "old"


@pytest.mark.parametrize("how", ["replace", "reset"])
@pytest.mark.parametrize("stamps", [True, False])
def test_a_voice_with_one_id_for_all_it_says_is_heard_after_another_sender(how, stamps):
    """It pauses for 0.6 s between sentences, and never says `last`."""
    turns, senders, heard = TurnTaking("replace"), SenderIdentifier(), []

    def put(name, number, at):
        sender = senders.identify(name, number, at, 0.1)
        turns.put(chunk(name, at if stamps else None), at, sender=sender)
        heard.extend(piece.utterance for piece in drain(turns, at))

    for k in range(10):
        put("voice", 1000 + k, 10.0 + 0.1 * k)
    if how == "reset":
        turns.interrupt(11.0)
        turns.accept_again("", senders.identify("", 7, 11.0, 0.0))
    else:
        for k in range(5):
            put("alert", 7 + k, 11.0 + 0.1 * k)
    for k in range(30):
        put("voice", 1010 + k, 12.0 + 0.1 * k + 0.6 * (k // 10))
    assert heard == ["voice"] * 10 + ["alert"] * (5 if how == "replace" else 0) + ["voice"] * 30


def test_a_publisher_keeps_its_name_in_its_next_utterance():
    senders = SenderIdentifier()

    def name(utterance, number):
        return senders.identify(utterance, number, 10.0, 0.1)

    first, other = name("a", 100), name("b", 200)
    assert first != other
    assert [name("a", 101), name("c", 102), name("a", 103), name("c", 110)] == [first] * 4
    assert [name("d", 119), name("e", 5)] == ["3", "4"]  # of none of them
    # Two that use one id are told apart.
    assert [name("c", 300), name("c", 400), name("a", 401)] == [first, first, "5"]


@pytest.mark.parametrize("last, at, named", [
    (False, 13.0, ["a"]), (True, 13.0, []), (False, 31.0, [])])  # fmt: skip
def test_an_interrupt_names_who_has_paused_and_not_ended(last, at, named):
    """Else a sender that thinks between two sentences would go on."""
    turns = TurnTaking()
    say(turns, "a", 10.0, 1.0, now=9.9, last=last)
    assert len(drain(turns, 9.95)) == 10
    for now in (12.0, 12.1, 12.2, 12.3):
        assert drain(turns, now) == []
    assert turns.utterances == [] and turns.interrupt(at) == named
    assert turns.interrupt(at) == []


@pytest.mark.parametrize("at, named", [(10.2, ["a", "b"]), (10.6, ["a", "b"]), (10.8, ["b"])])
def test_an_interrupt_names_who_is_still_heard_while_the_next_is_prepared(at, named):
    turns = TurnTaking("queue")
    say(turns, "a", 10.0, 0.5, now=9.9)
    say(turns, "b", 10.0, 2.0, now=9.9)
    assert {piece.utterance for piece in drain(turns, 10.0, ahead=1.0)} == {"a", "b"}
    turns.shift(5.0)
    assert turns.interrupt(at + 5) == named and turns.interrupt(at + 5) == []


def ended_at(turns, times):
    """Which utterances end without sound, and when they are known to."""
    found = {}
    for now in times:
        drain(turns, now)
        found |= dict.fromkeys(turns.take_ended(now), now)
    return found


def test_an_utterance_whose_sender_dies_ends_after_ten_seconds():
    """Once, and not while it may go on."""
    turns = TurnTaking()
    say(turns, "a", 10.0, 1.0, now=9.9, last=False)
    assert ended_at(turns, np.arange(10, 20, 0.1)) == {}
    say(turns, "a", 20.0, 1.0, now=19.9, last=False)
    found = ended_at(turns, np.arange(20, 60, 0.1))
    assert list(found) == ["a"] and 31.0 < found["a"] < 31.6


@pytest.mark.parametrize("policy", ["replace", "queue"])
def test_an_utterance_whose_sender_dies_ends_before_another_begins(policy):
    turns = TurnTaking(policy)
    say(turns, "a", 10.0, 1.0, now=9.9, last=False)
    assert ended_at(turns, np.arange(10, 12, 0.1)) == {}
    say(turns, "b", 15.0, 1.0, now=13.0)
    assert turns.take(14.9, 0.05) is None and turns.take_ended(14.9) == []
    assert turns.take(15.0, 0.05).utterance == "b" and turns.take_ended(15.0) == ["a"]
    assert ended_at(turns, np.arange(15, 60, 0.1)) == {}


def test_a_last_chunk_without_sound_is_passed_on_long_after_the_sound():
    """And once more than never: of an utterance that had no sound at all."""
    turns = TurnTaking()
    say(turns, "a", 10.0, 1.0, now=9.9, last=False)
    assert ended_at(turns, np.arange(10, 12, 0.1)) == {}
    turns.put(Chunk(np.zeros(0, np.float32), RATE, None, "a", True), 12.1)
    assert turns.take_ended(12.2) == ["a"]
    turns.put(Chunk(np.zeros(0, np.float32), RATE, None, "silent", True), 13.0)
    assert turns.take_ended(13.0) == ["silent"] and turns.take_ended(13.1) == []
    # While another speaks, it waits: players may not tell utterances apart.
    say(turns, "b", 14.0, 2.0, now=13.9)
    assert turns.take(14.0, 0.05) is not None
    turns.put(Chunk(np.zeros(0, np.float32), RATE, None, "silent", True), 14.1)
    found = ended_at(turns, np.arange(14.1, 20, 0.1))
    assert list(found) == ["silent"] and found["silent"] > 15.9


def test_an_utterance_whose_end_was_replaced_ends_nevertheless():
    turns = TurnTaking()
    say(turns, "a", 10.0, 2.0, now=9.9)
    say(turns, "b", 10.95, 1.0, now=10.0)
    heard = [(piece.utterance, turns.take_ended(10.0)) for piece in iter_taken(turns, 10.0, 1.3)]
    assert heard == [("a", [])] * 10 + [("b", ["a"])] + [("b", [])] * 3


def iter_taken(turns, now, ahead):
    while (piece := turns.take(now, ahead)) is not None:
        yield piece


def test_an_interrupt_leaves_no_end_over():
    """It names those that it ends."""
    turns = TurnTaking()
    say(turns, "a", 10.0, 1.0, now=9.9, last=False)
    assert ended_at(turns, np.arange(10, 12, 0.1)) == {}
    assert turns.interrupt(13.0) == ["a"]
    assert ended_at(turns, np.arange(13, 40, 0.1)) == {}


@pytest.mark.parametrize("after", [0.05, 0.5, 40.0])
def test_the_end_of_what_was_interrupted_is_not_passed_on(after):
    """It may come under the name of the answer."""
    turns = TurnTaking()
    say(turns, "a", 10.0, 1.0, last=False)
    drain(turns, 10.95)
    assert turns.interrupt(11.0) == ["a"]
    turns.put(chunk("a", None, 0.0, last=True), 11.0 + after)
    assert ended_at(turns, 11.0 + after + np.arange(0, 20, 0.1)) == {}
    say(turns, "a", 100.0, 1.0, now=99.9)  # the answer
    assert sum(piece.seconds for piece in drain(turns, 100.0)) == pytest.approx(1)


def end(utterance):
    return Chunk(np.zeros(0, np.float32), RATE, None, utterance, last=True)


@pytest.mark.parametrize("how", ["another begins", "ten seconds pass", "interrupt"])
def test_the_last_of_a_sender_that_seemed_dead_is_not_passed_on_again(how):
    turns, now = TurnTaking(), 13.0
    say(turns, "a", 10.0, 1.0, now=9.9, last=False)
    assert ended_at(turns, np.arange(10, 12, 0.1)) == {}
    if how == "another begins":
        say(turns, "b", 12.0, 0.5, now=12.0)
        assert list(ended_at(turns, [12.0])) == ["a"]
    elif how == "ten seconds pass":
        now = 23.0
        assert list(ended_at(turns, np.arange(12, 23, 0.1))) == ["a"]
    else:
        assert turns.interrupt(12.0) == ["a"]
    turns.put(end("a"), now)
    assert ended_at(turns, now + np.arange(0, 20, 0.1)) == {}
    # An utterance of the same name that has no sound ends as any other.
    turns.put(end("a"), now + 20)
    assert list(ended_at(turns, [now + 20])) == ["a"]


@pytest.mark.parametrize("reset", [True, False])
def test_who_goes_on_after_it_seemed_dead_ends_again(reset):
    turns = TurnTaking()
    say(turns, "a", 10.0, 1.0, now=9.9, last=False)
    assert list(ended_at(turns, np.arange(10, 23, 0.1))) == ["a"]
    if reset:  # its answer is empty
        turns.interrupt(23.0)
        turns.accept_again("a")
    else:
        say(turns, "a", 23.0, 1.0, last=False)
    turns.put(end("a"), 24.0)
    lasts = [piece.utterance for piece in drain(turns, 24.0) if piece.last]
    assert [*lasts, *turns.take_ended(24.0)] == ["a"]


def test_an_end_that_is_known_late_does_not_hold_up_who_waited_for_it():
    """As with `policy: queue` of a sender that never says `last`."""
    turns, playout, heard = TurnTaking("queue"), AudioPlayout(), []
    say(turns, "a", 10.0, 0.5, now=9.9, last=False)
    say(turns, "b", 10.0, 0.5, now=9.9)
    for now in np.arange(9.9, 12, 0.01):
        while (piece := turns.take(now, 1.0)) is not None:
            for name in turns.take_ended(now):
                playout.push(chunk(name, None, 0.0, last=True).scheduled(now))
            playout.push(piece)
            playout.confirm(piece.start)
        heard += playout.take(now - 0.2)
    sound = {name: sum(c.seconds for c in heard if c.utterance == name) for name in "ab"}
    assert sound == pytest.approx({"a": 0.5, "b": 0.5}) and not playout.late
    assert [piece.utterance for piece in heard if piece.last] == ["a", "b"]


def test_senders_without_ids_are_heard_again_after_a_pause():
    turns = TurnTaking()
    turns.put(chunk("", 10.0), 10.0)
    turns.interrupt(10.05)
    for k in range(5):
        turns.put(chunk("", 10.1 + 0.1 * k), 10.1 + 0.1 * k)
    assert drain(turns, 11.0) == []
    turns.put(chunk("", 11.8), 11.8)
    assert len(drain(turns, 11.9)) == 1


@pytest.mark.parametrize("off", [-3600.0, 3600.0, -1.7e9])
def test_stamps_of_another_clock_keep_their_pauses(off):
    turns, taken = TurnTaking(), []
    for at in (0.0, 0.1, 0.2, 0.7, 0.8):
        turns.put(chunk("a", 10 + off + at, last=at == 0.8), 10 + at)
        taken += drain(turns, 10 + at)
    starts = [c.start for c in taken]
    np.testing.assert_allclose(starts, [10.0, 10.1, 10.2, 10.7, 10.8], atol=1e-5)
    assert turns.counts["foreign_stamps"] == 1


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_takes_what_waits_along(jump):
    turns = TurnTaking()
    say(turns, "a", 10.0, 2.0, now=9.5)
    first = drain(turns, 9.5, 0.6)
    turns.shift(jump)
    rest = drain(turns, 9.6 + jump)
    assert len(first) + len(rest) == 20
    assert rest[0].start == pytest.approx(first[-1].start + 0.1 + jump)


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("off", [-0.3, -0.02, 0.0, 0.02])
def test_sound_that_overtakes_the_news_of_a_jump_is_neither_lost_nor_torn(jump, ahead, off):
    """The sender stamps by the new time from chunk 7 on; this node hears of it `ahead` chunks
    later, and takes the jump for `off` less than it was."""
    turns, taken = TurnTaking(), []
    for i in range(15):
        now = 9.7 + 0.1 * i
        if i == 7 + ahead:
            turns.shift(jump - off)
        now += jump - off if i >= 7 + ahead else 0.0
        turns.put(chunk("a", 10.0 + 0.1 * i + (jump if i >= 7 else 0.0), last=i == 14), now)
        taken += drain(turns, now, 0.25)
    taken += drain(turns, now)
    assert len(taken) == 15
    steps = np.diff([c.start for c in taken])
    steps = np.delete(steps, np.abs(steps).argmax())  # the jump itself
    assert (steps > 0.0999).all() and (steps < 0.1 + max(0.0, off) + 1e-6).all()


@pytest.mark.parametrize("jump", [-100.0, -7.0, -0.7, 0.7, 1.9, 7.0, 100.0])
@pytest.mark.parametrize("counted", [15, 8])  # chunks; then it stamps by the new time
@pytest.mark.parametrize("off", [-0.02, 0.0, 0.02])
def test_a_sender_that_counts_on_from_the_old_time_is_heard_without_a_pause(jump, counted, off):
    turns, taken = TurnTaking(), []
    for i in range(15):
        now = 9.9 + 0.1 * i + (jump - off if i >= 7 else 0.0)
        if i == 7:
            turns.shift(jump - off)
        stamp = 10.0 + 0.1 * i + (jump if i >= counted else 0.0)
        turns.put(chunk("a", stamp, last=i == 14), now)
        taken += drain(turns, now, 0.25)
    assert len(taken) == 15
    steps = np.diff([c.start for c in taken])
    steps[6] -= jump - off
    np.testing.assert_allclose(steps, 0.1, atol=0.03)


# Senders' habits


def heard(turns, arrivals, ahead=1.0, rate=50):
    """Puts (when it is taken, when it was sent, Chunk) in their order, taking all the while; what
    comes out, with when that was."""
    waiting, out = sorted(arrivals, key=lambda a: a[0]), []
    now, end = waiting[0][0], waiting[-1][0] + 70
    while now < end and (waiting or turns.utterances):
        while waiting and waiting[0][0] <= now + 1e-9:
            _, sent, part = waiting.pop(0)
            turns.put(part, now, sent)
        while (piece := turns.take(now, ahead)) is not None:
            out.append((now, piece))
        now += 1 / rate
    return out


def numbered(seconds, step, utterance="", first=0):
    """Chunks whose samples tell their place, in s: 0.001 x."""
    whole = (first + np.arange(round(seconds * RATE)) / RATE).astype(np.float32) * 1e-3
    n = round(step * RATE)
    return [Chunk(whole[i : i + n], RATE, None, utterance) for i in range(0, len(whole), n)]


def stamped(chunk, start):
    return Chunk(chunk.pcm, chunk.sample_rate, start, chunk.utterance, chunk.last)


def place(pieces):
    """(when it is heard, place in the speech) of every piece, s."""
    return np.array([(c.start, c.pcm[0] * 1e3) for _, c in pieces if len(c.pcm)])


@pytest.mark.parametrize("behind", [-0.3, 0.0, 0.3, 1.0, 1.9])
@pytest.mark.parametrize("stop", [0.8, 1.5, 4.0])
@pytest.mark.parametrize("stamps", [True, False])
def test_after_a_stall_the_rest_comes_at_the_old_delay(behind, stop, stamps):
    """A sender in real time, whose clock is `behind`; this process stands still for `stop` s."""
    arrivals = []
    for k, part in enumerate(numbered(12, 0.02)):
        sent = 10 + 0.02 * (k + 1)
        taken = max(sent, 14 + stop) if sent > 14 else sent
        arrivals.append((taken, sent, stamped(part, 10 + 0.02 * k - behind) if stamps else part))
    turns = TurnTaking()
    times = place(heard(turns, arrivals))
    delay = times[:, 0] - times[:, 1] - times[0, 0]
    assert abs(delay).max() < 0.03  # nothing is shifted
    back = 14 + stop - 10
    assert (np.diff(times[times[:, 1] > back, 1]) < 0.021).all()  # complete
    lost = np.diff(times[:, 1]).max()
    assert lost < stop + 0.05
    assert turns.skipped == pytest.approx(lost - 0.02, abs=0.03)


def test_a_sender_whose_clock_is_behind_is_one_utterance_to_its_end():
    turns = TurnTaking()
    arrivals = [(10 + 0.02 * k, 10 + 0.02 * k, stamped(part, 8.1 + 0.02 * k))
                for k, part in enumerate(numbered(4, 0.02))]  # fmt: skip
    for when, sent, part in arrivals:
        turns.put(part, when, sent)
        assert turns.take(when, 1.0) is not None and turns.take(when, 1.0) is None
        assert turns.utterances == [""]  # or the network would begin anew with every chunk
    assert turns.skipped == 0


@pytest.mark.parametrize("speed", [1.0, 1.1, 1.5, 3.0, 10.0, 1e4])
def test_stamps_of_when_it_was_sent_lose_nothing_however_fast_it_comes(speed):
    turns = TurnTaking()
    arrivals = [(10 + 0.2 * k / speed,) * 2 + (stamped(part, 10 + 0.2 * k / speed),)
                for k, part in enumerate(numbered(8, 0.2))]  # fmt: skip
    times = place(heard(turns, arrivals))
    assert len(times) == 40 and (np.diff(times[:, 1]) > 0).all()
    assert (np.diff(times[:, 0]) > 0.199).all()
    assert (turns.counts["overlapping_stamps"] > 0) == (speed > 1)


@pytest.mark.parametrize("stamp", [None, 10.0])
def test_a_burst_with_no_stamps_or_always_the_same_is_heard_in_its_order(stamp):
    arrivals = [(10.0, 10.0, stamped(part, stamp)) for part in numbered(10, 0.02)]
    times = place(heard(TurnTaking(), arrivals))
    assert len(times) == 500
    np.testing.assert_allclose(times[:, 0] - 10, times[:, 1], atol=1e-3)


def test_a_burst_sent_while_the_node_stood_still_is_heard_whole():
    arrivals = [(13.0, 10.0, part) for part in numbered(2, 0.02)]
    turns = TurnTaking()
    assert len(heard(turns, arrivals)) == 100 and turns.skipped == 0


@pytest.mark.parametrize("behind", [0.6, 1.0, 1.9])
def test_a_burst_whose_time_has_passed_is_heard_whole_though_its_first_chunk_came_alone(behind):
    """A voice that stamps by a clock which is `behind`, and sends a sentence at once."""
    arrivals = [(10.0 + 0.03 * (k > 0),) * 2 + (stamped(part, 10 - behind + 0.1 * k),)
                for k, part in enumerate(numbered(1.2, 0.1))]  # fmt: skip
    turns = TurnTaking()
    assert len(heard(turns, arrivals)) == 12 and turns.skipped == 0


def test_a_chunk_that_is_sent_twice_is_heard_once():
    parts = [stamped(p, 10 + 0.1 * k) for k, p in enumerate(numbered(2, 0.1))]
    confused = [*parts[:10], parts[3], parts[9], *parts[10:]]
    turns = TurnTaking()
    times = place(heard(turns, [(9.9, 9.9, p) for p in confused]))
    assert len(times) == 20 and turns.counts["repeated_chunks"] == 2


@pytest.mark.parametrize("later", [0.005, 0.06, 0.2])
def test_copies_that_a_relay_sends_are_not_heard(later):
    arrivals = []
    for k, part in enumerate(numbered(2, 0.1)):
        when, part = 9.8 + 0.1 * k, stamped(part, 10 + 0.1 * k)
        arrivals += [(when, when, part), (when + later, when + later, part)]
    turns = TurnTaking()
    assert len(heard(turns, arrivals)) == 20 and turns.counts["repeated_chunks"] == 20


def test_copies_that_come_after_a_whole_burst_are_not_heard():
    """As by another path of a network."""
    parts = [stamped(part, 10 + 0.02 * k) for k, part in enumerate(numbered(4, 0.02))]
    copies = [(10.02, 10.02, part) for k, part in enumerate(parts) if k % 3 == 0]
    turns = TurnTaking()
    times = place(heard(turns, [(9.9, 9.9, part) for part in parts] + copies))
    assert len(times) == 200 and (np.diff(times[:, 1]) > 0).all()
    assert turns.counts["repeated_chunks"] == len(copies)


@pytest.mark.parametrize("policy", ["replace", "queue"])
@pytest.mark.parametrize("stamp", [None, 10.0, 11.7, 12.0, 12.3, 60.0, 5000.0])
def test_an_empty_chunk_ends_its_utterance_whatever_its_stamp_says(policy, stamp):
    arrivals = [(9.7 + 0.1 * k,) * 2 + (chunk("a", 10 + 0.1 * k),) for k in range(20)]
    arrivals.append((11.7, 11.7, Chunk(np.zeros(0, np.float32), RATE, stamp, "a", True)))
    arrivals += [(12.7 + 0.1 * k,) * 2 + (chunk("b", 13 + 0.1 * k),) for k in range(10)]
    turns = TurnTaking(policy)
    out = [c for _, c in heard(turns, arrivals)]
    assert [c.last for c in out[:21]] == [False] * 20 + [True]
    assert out[20].start == pytest.approx(12.0)
    assert [c.start for c in out[21:]] == pytest.approx([13 + 0.1 * k for k in range(10)])


@pytest.mark.parametrize("pause", [0.0, 0.1, 1.0])
def test_a_bag_that_is_played_again_is_heard_again(pause):
    """Its stamps, and simulated time, begin anew."""
    turns, said = TurnTaking(), []
    parts = [stamped(p, 10.3 + 0.1 * k) for k, p in enumerate(numbered(1, 0.1))]
    for _ in range(3):
        for k in range(11):
            if k < 10:
                turns.put(parts[k], 10 + 0.1 * k)
            said += drain(turns, 10 + 0.1 * k, 1.0)
        turns.shift(-1.0 - pause)
    assert sum(c.seconds for c in said) == pytest.approx(3.0)


@pytest.mark.parametrize("length", [0.6, 3.0])
@pytest.mark.parametrize("pause", [0.02, 0.4, 1.0])
@pytest.mark.parametrize("lead", [0.0, 0.3])
@pytest.mark.parametrize("of", [10.0, -86400.0])
def test_a_bag_is_heard_each_time_it_is_played_by_the_clock_on_the_wall(of, lead, pause, length):
    """Its stamps are the same each time."""
    parts = [stamped(p, of + 0.1 * k) for k, p in enumerate(numbered(length, 0.1))]
    arrivals = []
    for again in range(3):
        begin = 10.0 + again * (length + pause)
        arrivals += [(begin + 0.1 * k - lead,) * 2 + (part,) for k, part in enumerate(parts)]
    assert sum(c.seconds for _, c in heard(TurnTaking(), arrivals)) == pytest.approx(3 * length)


def test_a_clock_that_drifts_does_not_let_the_sound_fall_behind():
    """The sender's sound is 0.5 % longer than its stamps say."""
    arrivals = [(10 + 0.0199 * k,) * 2 + (stamped(part, 10 + 0.0199 * k),)
                for k, part in enumerate(numbered(60, 0.02))]  # fmt: skip
    turns = TurnTaking(limit=1000)
    out = heard(turns, arrivals)
    assert max(now - c.start for now, c in out) < 0.1
    assert max(c.start - now for now, c in out) < 0.1


def live(stamps, seconds=0.1, lead=0.3):
    """{chunk: s by which it is played later than `lead` after it was sent}: of a live sender whose
    chunk k, of `seconds`, is stamped `stamps[k]` s later than it should be; of those played."""
    turns, late = TurnTaking(), {}
    for k, off in enumerate(stamps):
        sent = 100 + k * seconds
        part = Chunk(np.full(round(seconds * RATE), k, np.float32), RATE, sent + lead + off, "a")
        turns.put(part, sent)
        ends = 200.0 if k == len(stamps) - 1 else 0.0
        for now in np.arange(sent, sent + seconds + ends, seconds / 2):
            late |= {int(p.pcm[0]): p.start - 100 - p.pcm[0] * seconds - lead
                     for p in drain(turns, now, ahead=1.0)}  # fmt: skip
    assert turns.utterances == []
    return late


@pytest.mark.parametrize("at", [20, 200])  # before and after it is known to send in real time
@pytest.mark.parametrize("wrong", [1.5, 50.0, 110.0, 130.0, -1.0, -5.0, -50.0, -130.0])
@pytest.mark.parametrize("count", [1, 4])
def test_a_wrong_stamp_does_not_delay_all_that_follows(at, wrong, count):
    late = live([wrong if at <= k < at + count else 0.0 for k in range(300)])
    assert len(late) >= 300 - count  # none but those
    assert max(late[k] for k in late if k >= at + count) < 0.061


@pytest.mark.parametrize("rate", [0.95, 0.9, 0.7, 0.5])
def test_a_voice_that_is_slower_than_real_time_is_heard_with_pauses(rate):
    """It counts samples in its stamps, as if it were in time: all that follows is late."""
    turns, total, now = TurnTaking(), 0.0, 10.0
    for k in range(600):
        while now < 10 + 0.1 * k / rate:
            now += 0.05
            total += sum(piece.seconds for piece in drain(turns, now, ahead=1.0))
        turns.put(chunk("a", 10.3 + 0.1 * k, last=k == 599), now)
    total += sum(piece.seconds for piece in drain(turns, now, ahead=1.0))
    assert total == pytest.approx(60, abs=1.2) and turns.skipped == pytest.approx(60 - total)
    assert turns.counts["late_senders"] > 1


@pytest.mark.parametrize("back", [1.0, 1.9])
def test_a_sender_whose_clock_is_set_back_is_heard_again(back):
    late = live([0.0 if k < 200 else -back for k in range(600)])
    assert max(np.diff(sorted(late))) <= 14  # chunks in a row that are not played
    assert len(late) > 600 - 10 * back - 14 and max(late.values()) < 0.061


@pytest.mark.parametrize("back", [0.1, 0.3, 1.0, 1.9])
@pytest.mark.parametrize("seconds, lead", [(0.02, 0.0), (0.1, 0.0), (0.1, 0.3)])
@pytest.mark.parametrize("at", [5.0, 20.0])
@pytest.mark.parametrize("known", [True, False], ids=["when it was sent", "by its clock alone"])
def test_a_clock_that_is_set_back_in_a_sound_that_goes_on_costs_nothing(
    back, seconds, lead, at, known
):
    """As by NTP. The samples' count says that nothing is missing, nor said again."""
    turns, rng, pieces, count = TurnTaking(), np.random.default_rng(0), [], round(30 / seconds)
    tone = np.sin(np.arange(30 * RATE) * 0.05).astype(np.float32)
    for k, pcm in enumerate(np.split(tone, count)):
        sent = 100 + k * seconds + rng.uniform(0, seconds / 3)
        stamp = 100 + k * seconds + lead - (back if k * seconds > at else 0.0)
        off = 0.0 if known or not at < k * seconds < at + 6 else back  # as subscriptions.py has it
        turns.put(Chunk(pcm, RATE, stamp, "a", k == count - 1), sent, sent - off)
        pieces += drain(turns, sent, ahead=1.0)
    assert (np.concatenate([piece.pcm for piece in pieces]) == tone).all()
    assert np.diff([piece.start for piece in pieces]) == pytest.approx(seconds)
    assert not any(turns.counts.values())


def test_sound_that_comes_again_in_the_same_rhythm_is_no_clock_that_was_set_back():
    """It does not go on where the sound before it ended."""
    turns, pieces = TurnTaking(), []
    tone = np.split(np.sin(np.arange(3 * RATE) * 0.05).astype(np.float32), 30)
    for k, n in enumerate([*range(20), 12, *range(20, 30)]):
        pcm = tone[n] + np.float32(1e-3 * (k == 20))  # no copy to the bit
        turns.put(Chunk(pcm, RATE, 100 + 0.1 * n, "a", n == 29), 100 + 0.1 * k)
        pieces += drain(turns, 100 + 0.1 * k, ahead=1.0)
    assert (np.concatenate([piece.pcm for piece in pieces]) == np.concatenate(tone)).all()


def test_chunks_that_others_overtook_are_no_clock_that_was_set_back():
    """Or each of them would delay all that follows."""
    turns, pieces = TurnTaking(), []
    tone = np.split(np.sin(np.arange(6 * RATE) * (np.pi / 80)).astype(np.float32), 60)
    order = np.arange(60)
    order[10:50:4], order[11:50:4] = np.arange(11, 50, 4), np.arange(10, 50, 4)
    for k, n in enumerate(order):
        sent = 100 + 0.1 * k - 0.09 * (n < k)
        turns.put(Chunk(tone[n], RATE, 100 + 0.1 * n, "a", n == 59), sent)
        pieces += drain(turns, sent, ahead=1.0)
    assert pieces[-1].start == pytest.approx(105.9)


def played(sent, seconds=0.1):
    """(turns, lead, seconds played): of chunks without stamps, sent at these times."""
    turns, lead, total = TurnTaking(), [], 0.0
    for k, when in enumerate(sent):
        turns.put(chunk("a", None, seconds, value=k % 977 / 1000), when)
        lead.append(turns._turns[-1].end - when - seconds)
        for now in np.arange(when, sent[k + 1] if k + 1 < len(sent) else when + 12.0, 0.1):
            total += sum(piece.seconds for piece in drain(turns, now, ahead=1.0))
    return turns, np.array(lead), total


def test_a_sample_clock_that_is_fast_does_not_let_the_sound_fall_behind():
    sent = np.arange(9000) * 0.1 / 1.002 + np.random.default_rng(0).uniform(0, 0.005, 9000)
    turns, lead, total = played(sent)
    assert lead.max() < 0.45 and turns.utterances == []
    assert 900 * (1 - 0.002) - 0.05 <= total <= 900 * (1 - 0.002) + 0.5
    assert turns.counts["trimmed_chunks"] == pytest.approx((900 - total) / 0.1, abs=1)


@pytest.mark.parametrize(
    "sent",
    [
        np.maximum(np.arange(6000) * 0.1 / 1.05, np.arange(6000) * 0.1 - 10.0),  # a reserve of 10 s
        np.arange(6000) // 30 * 3.0 + np.arange(6000) % 30 * 1e-3,  # each sentence at once
        np.maximum.accumulate(  # a reserve of 0.5 to 2 s
            np.arange(6000) * 0.1 + np.random.default_rng(0).uniform(-2, -0.5, 60).repeat(100)
        ),
    ],
    ids=["reserve", "sentences", "changing reserve"],
)
def test_speech_that_is_sent_ahead_is_no_clock_that_is_fast(sent):
    turns, _, total = played(sent + 10)
    assert total == pytest.approx(600) and turns.counts["trimmed_chunks"] == 0


def test_two_voices_under_one_id_are_not_mixed():
    for policy in ("replace", "queue"):
        turns, taken = TurnTaking(policy), []
        for k in range(100):
            now = 10 + 0.02 * k
            for sender, value in (("a", 0.1), ("b", 0.9)):
                if sender == "a" or k >= 10:
                    turns.put(chunk("", now, 0.02, value=value, last=k == 99), now, None, sender)
            taken += drain(turns, now, 0.1)
        taken += drain(turns, 12.0)
        values = [float(c.pcm[0]) for c in taken if len(c.pcm)][10:]
        if policy == "replace":
            assert all(v > 0.5 for v in values)
        else:
            assert values == sorted(values) and values[-1] > 0.5
        assert turns.counts["mixed_senders"] > 0


def test_a_sender_that_is_started_anew_goes_on():
    turns = TurnTaking()
    say(turns, "", 10.0, 1.0, last=False)
    turns.put(chunk("", 11.6), 11.6, None, "another")
    assert len(turns.utterances) <= 2 and turns.counts["mixed_senders"] == 0


@pytest.mark.parametrize("policy", ["replace", "queue"])
def test_speech_that_waits_for_its_time_swallows_no_other_sender_under_its_id(policy):
    turns = TurnTaking(policy)
    for k in range(10):
        turns.put(chunk("", 15 + 0.1 * k, value=0.1, last=k == 9), 10.0, None, "ahead")
    out = []
    for k in range(10):
        turns.put(chunk("", 12 + 0.1 * k, value=0.9, last=k == 9), 12.0 + 0.1 * k, None, "now")
        out += drain(turns, 12.0 + 0.1 * k, 1.0)
    out += [c for now in np.arange(13.0, 20.0, 0.1) for c in drain(turns, now, 1.0)]
    said = [c for c in out if len(c.pcm) and c.pcm[0] > 0.5]
    assert sum(c.seconds for c in said) == pytest.approx(1.0)
    assert said[0].start == pytest.approx(12.0)


def test_a_chunk_says_what_was_found_of_it():
    turns = TurnTaking()
    first = chunk("a", 10.0)

    def found(*arguments):
        return turns.put(*arguments).findings

    assert found(first, 10.0) == found(chunk("a", 10.1), 10.1) == []
    assert found(first, 10.1) == [ChunkFinding.REPEATED]
    assert found(chunk("a", 10.12), 10.12) == [ChunkFinding.OVERLAPPING]
    assert found(chunk("a", 5000.0), 10.2) == [ChunkFinding.FOREIGN]
    assert found(chunk("a", 10.3), 10.3, 10.3, "another") == [ChunkFinding.MIXED]
    turns.interrupt(10.4)
    assert found(chunk("a", 10.4), 10.41, 10.41, "another") == [ChunkFinding.INTERRUPTED]
    drifting = TurnTaking()  # its audio is 0.5 % longer than its stamps say
    findings = [
        finding
        for k in range(900)
        for finding in drifting.put(chunk("a", 0.0199 * k, 0.02), 0.0199 * k).findings
    ]
    assert findings and set(findings) == {ChunkFinding.TRIMMED}
    for taking in (turns, drifting):
        counted = [finding for finding in ChunkFinding for _ in range(taking.counts[finding.value])]
        assert len(counted) == (len(findings) if taking is drifting else 5)


# Interrupts


@pytest.mark.parametrize("after", [0.1, 0.13, 0.3, 1.0, 5.0, 15.0, 29.0])
@pytest.mark.parametrize("name", ["same", ""])
@pytest.mark.parametrize("step", [0.02, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("kind", ["stamped", "unstamped", "now", "burst"])
def test_the_answer_after_an_interrupt_is_heard_and_nothing_of_the_old(after, name, step, kind):
    """The sender hears of the interrupt only after 60 ms, keeps its id and never says `last`."""
    turns = TurnTaking()
    stop = 12.013
    arrivals = []

    def sent(begin, k):
        return begin if kind == "burst" else begin + step * k

    def stamp(part, begin, k):
        return stamped(part, {"stamped": begin + 0.3 + step * k, "unstamped": None, "burst": None,
                              "now": sent(begin, k)}[kind])  # fmt: skip

    for k, part in enumerate(numbered(20, step, name)):
        when = sent(10.0, k)
        if kind == "burst" or when < stop + 0.06:
            arrivals.append((when, "old", stamp(part, 10.0, k)))
    answer = stop + after if kind == "burst" else max(stop + after, stop + 0.06 + 0.06)
    for k, part in enumerate(numbered(3, step, name, first=100)):
        arrivals.append((sent(answer, k), "new", stamp(part, answer, k)))
    arrivals.sort(key=lambda a: a[0])
    got, now, interrupted = [], 10.0, False
    while now < answer + 5:
        if not interrupted and now >= stop:
            turns.interrupt(now)
            got, interrupted = [], True
        while arrivals and arrivals[0][0] <= now:
            turns.put(arrivals.pop(0)[2], now)
        while (piece := turns.take(now, 1.0)) is not None:
            got.append(piece)
        now += 0.001
    values = [float(c.pcm[0]) * 1e3 for c in got if len(c.pcm)]
    assert min(values) >= 100  # nothing of the old one
    assert sum(c.seconds for c in got) >= 2.9


@pytest.mark.parametrize("stamps", [True, False])
@pytest.mark.parametrize("answers", [True, False])
def test_an_answer_in_the_rhythm_of_what_was_interrupted_is_heard(answers, stamps):
    """Chunks of 0.1 s under one id; the interrupt comes 10 ms after one of them."""
    turns, got = TurnTaking(), []
    old = 0.3 * np.sin(2 * np.pi * 150 * (np.arange(48_000) + 7) / 16_000)
    answer = 0.6 * np.cos(2 * np.pi * 220 * np.arange(16_000) / 16_000)
    said = np.concatenate([old[:32_000], answer if answers else old[32_000:]]).astype(np.float32)
    for k in range(30):
        now = 10 + 0.1 * k + (0.01 if k >= 20 else 0.0)
        if k == 20:
            turns.interrupt(now - 0.1)
            got.clear()
        pcm = said[1600 * k : 1600 * (k + 1)]
        turns.put(Chunk(pcm, 16_000, now if stamps else None, "same", False), now)
        got += drain(turns, now)
    assert sum(c.seconds for c in got) == pytest.approx(1.0 if answers else 0.0)


@pytest.mark.parametrize("step", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("after", [0.001, 0.01, 0.09])
@pytest.mark.parametrize("stamps", [True, False])
def test_what_was_interrupted_after_its_first_chunk_is_not_heard_again(stamps, after, step):
    """Its sender does not learn of the interrupt, and its next chunk comes in its rhythm."""
    turns, heard_again = TurnTaking(), []
    said = (0.3 * np.sin(2 * np.pi * 150 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    for k, part in enumerate(np.split(said, round(2 / step))):
        now = 10 + step * k
        turns.put(Chunk(part, RATE, now if stamps else None, "a"), now)
        heard_again += drain(turns, now)
        if k == 0:
            assert turns.interrupt(now + after) == ["a"]
            heard_again.clear()
    assert heard_again == []


@pytest.mark.parametrize("pause", [0.5, 0.8, 0.95])
def test_an_answer_is_heard_that_comes_when_an_interrupted_sentence_would_have_been_over(pause):
    """Under its id, and as quiet as its end."""
    turns = TurnTaking()
    turns.put(Chunk(np.zeros(round(0.9 * RATE), np.float32), RATE, None, "a"), 10.0)
    turns.interrupt(10.3)
    for _ in range(2):
        turns.put(Chunk(np.zeros(RATE, np.float32), RATE, None, "a"), 10 + pause)
    assert turns.seconds == pytest.approx(2.0)


@pytest.mark.parametrize("stamps", ["none", "sending time", "samples"])
@pytest.mark.parametrize("rest", [0.03, 0.07, 0.13, 0.19])
def test_the_rest_of_what_was_interrupted_is_not_heard_though_it_is_less_than_a_chunk(rest, stamps):
    """It would replace the answer of another sender, too."""
    turns, sent, begin = TurnTaking(), 10.0, 0
    said = (0.3 * np.sin(2 * np.pi * 150 * np.arange(2 * RATE) / RATE)).astype(np.float32)
    for k in range(8):
        seconds = rest if k == 7 else 0.2
        part = said[begin : begin + round(seconds * RATE)]
        sent += seconds
        stamp = {"none": None, "sending time": sent, "samples": 10 + begin / RATE}[stamps]
        result = turns.put(Chunk(part, RATE, stamp, "a", k == 7), sent, sent, "1")
        if k == 4:
            turns.interrupt(sent + 0.02)
            turns.put(chunk("b", None, 2.0), sent + 0.03, sent + 0.03, "2")
        if k > 4:
            assert result.findings == [ChunkFinding.INTERRUPTED] and turns.utterances == ["b"]
        begin += len(part)
    turns.put(chunk("a", None, last=True), 11.7, 11.7, "1")  # the answer
    assert turns.utterances == ["a"]


@pytest.mark.parametrize(
    "step, answer, pause", [(0.2, 0.1, 0.2), (0.5, 0.4, 0.55), (0.5, 0.1, 0.3)]
)
def test_a_short_answer_in_one_chunk_is_heard_though_it_says_last(step, answer, pause):
    """It is stamped as what it answers was, and begins as quietly as that ended."""
    turns = TurnTaking()
    for k in range(4):
        part = np.zeros(round(step * RATE), np.float32)
        turns.put(Chunk(part, RATE, 10 + step * k, "a"), 10 + step * (k + 1))
    now = 10 + 4 * step
    turns.interrupt(now + 0.01)
    now += pause
    turns.put(Chunk(np.zeros(round(answer * RATE), np.float32), RATE, now + 0.3, "a", True), now)
    assert turns.seconds == pytest.approx(answer)


@pytest.mark.parametrize("names", [("a", "a"), ("", ""), ("a", "b")])
def test_who_begins_a_little_later_under_the_id_that_another_speaks_under_ends_that_at_once(names):
    """What was handed out already could not be told from his: some of that would be left out."""
    turns = TurnTaking("replace")
    turns.put(chunk(names[0], 10.0, 5.0), 9.9, 9.9, "1")
    drain(turns, 9.9, ahead=1.0)
    result = turns.put(chunk(names[1], 10.5, 1.0), 10.0, 10.0, "2")
    assert result.ended == ([names[0]] if names[0] == names[1] else [])
    out = drain(turns, 10.0, ahead=3.0)
    assert sum(c.seconds for c in out if c.start >= 10.5) == pytest.approx(1.0)


@pytest.mark.parametrize("names", [("b", "b"), ("b", "c")])
def test_who_begins_under_the_id_of_one_that_waits_does_not_end_what_is_spoken_before_that(names):
    turns = TurnTaking("replace")
    turns.put(chunk("a", 10.0, 5.0, last=True), 10.0, 10.0, "1")
    out = drain(turns, 10.0, ahead=1.0)
    turns.put(chunk(names[0], 15.0, 3.0), 10.0, 10.0, "2")
    assert turns.put(chunk(names[1], 16.0, 2.0), 10.1, 10.1, "3").ended == []
    out += [c for now in np.arange(10.1, 18, 0.1) for c in drain(turns, now, ahead=1.0)]
    heard = {name: sum(c.seconds for c in out if c.utterance == name) for name in ("a", *names)}
    assert heard["a"] == pytest.approx(5.0)
    assert sum(heard.values()) == pytest.approx(8.0)


@pytest.mark.parametrize("names", [("a", "a"), ("", ""), ("a", "b")])
def test_who_begins_much_later_under_the_id_that_another_speaks_under_lets_him_speak_until_then(
    names,
):
    """Of that nothing is handed out so early. It ends to the sample: none is said twice."""
    turns = TurnTaking("replace")
    turns.put(chunk(names[0], 10.0, 8.0, value=0.1), 10.0, 10.0, "1")
    out = drain(turns, 10.0, ahead=1.0)
    result = turns.put(chunk(names[1], 13.03, 1.0, value=0.2), 10.1, 10.1, "2")
    assert result.ended == []
    out += [c for now in np.arange(10.1, 14, 0.1) for c in drain(turns, now, ahead=1.0)]
    first, second = (
        sum(len(c.pcm) for c in out if c.pcm[0] == np.float32(value)) for value in (0.1, 0.2)
    )
    assert (first, second) == (round(3.03 * RATE), RATE)


def test_a_sender_that_never_heard_of_the_interrupt_is_not_heard():
    turns, got = TurnTaking(), []
    for k, part in enumerate(numbered(20, 0.02)):
        now = 10 + 0.02 * k + 0.004 * (k % 3)  # he wakes up a little late at times
        if k == 100:
            turns.interrupt(now)
            got.clear()
        turns.put(part, now)
        got += drain(turns, now)
    assert got == []
