# SPDX-License-Identifier: Apache-2.0
"""Sound that waits for its face, and comes with it."""

import numpy as np
import pytest

from realtalk_ros.playout.audio_playout import LATE, SLICE, AudioPlayout
from realtalk_ros.stream_types import Chunk, ScheduledChunk

RATE = 16000


def scheduled(utterance, start, seconds=0.1, value=0.5, last=False):
    pcm = np.full(round(seconds * RATE), value, np.float32)
    return ScheduledChunk(pcm, RATE, start, utterance, last)


def play(sound, confirm, start, end, tick=0.005):
    """(when, chunk) of what is handed out between two times."""
    out = []
    for now in np.arange(start, end, tick):
        if confirm is not None and now >= confirm:
            sound.confirm(now + 0.2)
        out += [(now, c) for c in sound.take(now)]
    return out


def test_sound_waits_for_its_face_then_comes_slice_by_slice_whole():
    sound, pcm = AudioPlayout(), np.arange(RATE, dtype=np.float32)
    for i in range(0, RATE, 320):
        part, last = pcm[i : i + 320], i + 320 >= RATE
        sound.push(ScheduledChunk(part, RATE, 5.007 + i / RATE, "a", last))
    assert play(sound, None, 4.8, 5.05) == []  # no expression has come
    got = play(sound, 5.05, 5.05, 6.2)
    assert (np.concatenate([c.pcm for _, c in got]) == pcm).all()
    assert [c.last for _, c in got] == [False] * (len(got) - 1) + [True]
    assert max(c.seconds for _, c in got[1:]) <= SLICE + 1e-9
    assert len(got) <= 1 / SLICE + 1  # each slice in one piece, wherever the chunks begin
    for now, c in got[5:]:
        assert -SLICE - 1e-6 <= now - c.start <= 0.006


def test_sound_that_is_too_late_is_left_out_not_kept():
    sound = AudioPlayout()
    sound.push(scheduled("a", 5.0, 1.0))
    sound.confirm(5.0)
    got = sound.take(5.5)
    assert got[0].start == pytest.approx(5.5)  # a player that plays what comes stays in time
    assert sound.late == pytest.approx(0.5)
    got = sound.take(5.5 + LATE - SLICE)
    assert got[0].start == pytest.approx(5.5 + SLICE) and sound.late == pytest.approx(0.5)


def test_a_word_whose_face_comes_after_the_sound_of_the_next_one_is_heard():
    """One that is shorter than the look-ahead has a face when what follows it, or its end, comes.
    So has the next one."""
    sound, got = AudioPlayout(), []
    for k in range(5):
        sound.push(scheduled("a", 5.0 + k, 0.05))
        if k:
            assert sound.unexpressed == 5.0 + k - 1
            sound.confirm(5.0 + k - 1)
        got += play(sound, None, 4.5 + k - 1, 4.5 + k)
    assert sum(c.seconds for _, c in got) == pytest.approx(4 * 0.05) and sound.late == 0
    assert sound.unexpressed == 9.0


def test_what_begins_earlier_replaces_what_waits_from_there_on():
    sound = AudioPlayout()
    sound.push(scheduled("a", 5.0, 1.0, value=0.1))
    sound.confirm(5.0)
    sound.push(scheduled("b", 5.5, 0.2, value=0.9))
    sound.confirm(5.5)
    got = play(sound, None, 4.9, 6.2)
    heard = np.concatenate([c.pcm for _, c in got])
    assert len(heard) == round(0.7 * RATE)
    assert (heard[: RATE // 2] < 0.5).all() and (heard[RATE // 2 :] > 0.5).all()


def test_cleared_sound_is_gone():
    sound = AudioPlayout()
    sound.push(scheduled("a", 5.0, 1.0))
    sound.clear()
    sound.confirm(5.0)
    assert play(sound, None, 5.0, 6.5) == [] and len(sound) == 0


def test_an_end_without_sound_comes_after_the_sound_before_it_and_cuts_nothing():
    playout = AudioPlayout()
    end = Chunk(np.zeros(0, np.float32), RATE, None, "a", True)
    for at in (10.0, 10.1):
        playout.push(scheduled("a", at))
    playout.push(end.scheduled(10.05))
    playout.push(scheduled("b", 10.2))
    playout.confirm(10.2)
    heard = [piece for k in range(30) for piece in playout.take(10.0 + k * SLICE)]
    lasts = [k for k, piece in enumerate(heard) if piece.last]
    assert len(lasts) == 1 and heard[lasts[0]].utterance == "a"
    assert {piece.utterance for piece in heard[: lasts[0]]} == {"a"}
    assert sum(piece.seconds for piece in heard) == pytest.approx(0.3)


@pytest.mark.parametrize("alone", [True, False], ids=["last alone", "last with sound"])
def test_an_utterance_that_another_cuts_ends_there_and_delays_nothing(alone):
    playout = AudioPlayout()
    for at in (10.0, 10.1, 10.2, 10.3):
        playout.push(scheduled("a", at, last=not alone and at == 10.3))
    if alone:
        playout.push(scheduled("a", 10.4, 0.0, last=True))
    playout.push(scheduled("b", 10.15, 0.3))
    playout.confirm(10.15)
    heard = [piece for k in range(30) for piece in playout.take(10.0 + k * SLICE)]
    first = [piece.utterance for piece in heard].index("b")
    assert [k for k, piece in enumerate(heard) if piece.last] == [first - 1]
    assert sum(piece.seconds for piece in heard[:first]) == pytest.approx(0.15)
    assert sum(piece.seconds for piece in heard[first:]) == pytest.approx(0.3)
    assert heard[first].start == pytest.approx(10.15) and not playout.late
