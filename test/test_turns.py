"""Who speaks when, and the sound that goes with the face: without ROS."""

import numpy as np
import pytest

from realtalk_ros.errors import AudioError
from realtalk_ros.pipeline import Chunk
from realtalk_ros.sound import LATE, SLICE, Sound
from realtalk_ros.turns import Turns

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
    turns, pcm = Turns(limit=70), np.arange(60 * 8000, dtype=np.float32)
    turns.put(Chunk(pcm, 8000, 100.0, "a", last=True), now=99.0)
    with pytest.raises(AudioError, match="70 s"):
        turns.put(Chunk(pcm, 8000, 160.0, "a"), now=99.0)
    assert turns.take(98.0, 1.0) is None
    taken = drain(turns, 99.0)
    assert max(c.seconds for c in taken) <= 0.2 and [c.last for c in taken].index(True) == 299
    assert (np.concatenate([c.pcm for c in taken]) == pcm).all() and turns.seconds == 0


def test_queue_puts_the_new_one_after_the_old_one_with_its_pauses_kept():
    turns = Turns("queue")
    say(turns, "a", 10.0, 2.0, now=9.5)
    say(turns, "b", 10.5, 1.0, now=9.5)
    say(turns, "c", 10.6, 0.5, now=9.5)
    taken = drain(turns, 9.5)
    assert [c.utterance for c in taken] == ["a"] * 20 + ["b"] * 10 + ["c"] * 5
    starts = np.array([c.start for c in taken])
    np.testing.assert_allclose(starts, 10.0 + 0.1 * np.arange(35), atol=1e-6)


def test_queue_waits_for_a_live_speaker_who_has_not_said_his_last():
    turns, heard = Turns("queue"), []
    for i in range(20):  # both talk at once, live
        now = 10 + 0.1 * i
        turns.put(chunk("a", now, last=i == 9), now) if i < 10 else None
        turns.put(chunk("b", now, last=i == 19), now)
        heard += drain(turns, now, 1.0)
    heard += drain(turns, 12.0, 100.0)
    assert [c.utterance for c in heard] == ["a"] * 10 + ["b"] * 20
    assert (np.diff([c.start for c in heard]) > 0.09).all()


def test_replace_ends_the_live_speaker_and_nothing_of_him_comes_any_more():
    turns = Turns("replace")
    say(turns, "a", 10.0, 1.0, last=False)
    assert turns.put(chunk("b", 11.0), 11.02) == ["a"]
    turns.put(chunk("a", 11.1), 11.12)
    assert {c.utterance for c in drain(turns, 11.2)} == {"b"}
    assert turns.counts["interrupted_chunks"] == 1


def test_replace_by_one_that_begins_later_cuts_the_old_one_there():
    turns = Turns("replace")
    say(turns, "a", 10.0, 3.0, now=9.5)
    assert turns.put(chunk("b", 11.05), 9.5) == []
    taken = drain(turns, 9.5)
    assert [c.utterance for c in taken] == ["a"] * 11 + ["b"]


def test_one_that_follows_the_last_word_of_another_replaces_nothing():
    turns = Turns("replace")
    say(turns, "a", 10.0, 1.0, now=9.5)
    assert turns.put(chunk("b", 11.0), 9.5) == []
    assert len([c for c in drain(turns, 9.5) if c.utterance == "a"]) == 10


def test_interrupted_is_not_heard_again_until_its_sender_has_ended_it():
    turns = Turns()
    say(turns, "a", 10.0, 1.0, last=False)
    assert turns.interrupt(11.0) == ["a"] and drain(turns, 11.0) == []
    turns.put(chunk("a", 11.1), 11.1)
    turns.put(chunk("a", 11.2, last=True), 11.2)
    assert drain(turns, 11.3) == []
    turns.put(chunk("a", 12.0), 12.0)  # the same name, a new utterance
    assert len(drain(turns, 12.1)) == 1


def test_senders_without_ids_are_heard_again_after_a_pause():
    turns = Turns()
    turns.put(chunk("", 10.0), 10.0)
    turns.interrupt(10.1)
    for k in range(5):
        turns.put(chunk("", 10.2 + 0.1 * k), 10.2 + 0.1 * k)
    assert drain(turns, 11.0) == []
    turns.put(chunk("", 11.8), 11.8)
    assert len(drain(turns, 11.9)) == 1


@pytest.mark.parametrize("off", [-3600.0, 3600.0, -1.7e9])
def test_stamps_of_another_clock_keep_their_pauses(off):
    turns = Turns()
    for at in (0.0, 0.1, 0.2, 0.7, 0.8):
        turns.put(chunk("a", 10 + off + at, last=at == 0.8), 10 + at)
    starts = [c.start for c in drain(turns, 11.0)]
    np.testing.assert_allclose(starts, [10.0, 10.1, 10.2, 10.7, 10.8], atol=1e-5)
    assert turns.counts["foreign_stamps"] == 1


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_takes_what_waits_along(jump):
    turns = Turns()
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
    turns, taken = Turns(), []
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


# The sound


def play(sound, confirm, start, end, tick=0.005):
    """(when, chunk) of what is handed out between two times."""
    out = []
    for now in np.arange(start, end, tick):
        if confirm is not None and now >= confirm:
            sound.confirm(now + 0.2)
        out += [(now, c) for c in sound.take(now)]
    return out


def test_sound_waits_for_its_face_then_comes_slice_by_slice_whole():
    sound, pcm = Sound(), np.arange(RATE, dtype=np.float32)
    for i in range(0, RATE, 1600):
        sound.push(Chunk(pcm[i : i + 1600], RATE, 5 + i / RATE, "a", i + 1600 >= RATE))
    assert play(sound, None, 4.8, 5.05) == []  # no expression has come
    got = play(sound, 5.05, 5.05, 6.2)
    assert (np.concatenate([c.pcm for _, c in got]) == pcm).all()
    assert [c.last for _, c in got] == [False] * (len(got) - 1) + [True]
    assert max(c.seconds for _, c in got[1:]) <= SLICE + 1e-9
    for now, c in got[5:]:
        assert -SLICE - 1e-6 <= now - c.start <= 0.006


def test_sound_that_is_too_late_is_left_out_not_kept():
    sound = Sound()
    sound.push(chunk("a", 5.0, 1.0))
    sound.confirm(5.0)
    got = sound.take(5.5)
    assert got[0].start >= 5.5 - LATE - SLICE - 1e-6
    assert sound.late == pytest.approx(0.5 - LATE, abs=2 * SLICE)


def test_what_begins_earlier_replaces_what_waits_from_there_on():
    sound = Sound()
    sound.push(chunk("a", 5.0, 1.0, value=0.1))
    sound.confirm(5.0)
    sound.push(chunk("b", 5.5, 0.2, value=0.9))
    sound.confirm(5.5)
    got = play(sound, None, 4.9, 6.2)
    heard = np.concatenate([c.pcm for _, c in got])
    assert len(heard) == round(0.7 * RATE)
    assert (heard[: RATE // 2] < 0.5).all() and (heard[RATE // 2 :] > 0.5).all()


def test_cleared_sound_is_gone():
    sound = Sound()
    sound.push(chunk("a", 5.0, 1.0))
    sound.clear()
    sound.confirm(5.0)
    assert play(sound, None, 5.0, 6.5) == [] and len(sound) == 0
