# SPDX-License-Identifier: Apache-2.0
"""The figures of `realtalk soak`, of messages whose times are known."""

import pytest

from realtalk_ros.commands.soak_figures import Observations, drift, judge, table
from realtalk_ros.errors import RealTalkError

FPS, CHUNK = 25, 0.02
LATENCY = 0.2  # s, of live speech
LENGTH, TURN = 8.0, 11.0  # s of an utterance, and from one to the next
KNOWN = {"look_ahead_ms": 162.5}


def observed(seconds=66.0, behind=0.005, late=lambda k: 0.0, shown=lambda k: True):
    """A graph that plays sound when it is due, and shows images `behind` it. Of frame k: `late` is
    by how much more, and `shown` whether it comes at all."""
    seen = Observations()
    for turn in range(round(seconds / TURN)):
        start, live = turn * TURN + 1.0, turn % 2 == 0
        delay = LATENCY if live else 0.0
        seen.spoken.append((start, start + LENGTH, live))
        for k in range(round(LENGTH / CHUNK)):
            at = start + k * CHUNK
            seen.sent.append((at, at if live else at - 0.5, live))
            seen.sound.append((at, CHUNK, at + delay))
    for k in range(round(seconds * FPS)):
        live = round(k / FPS // TURN) % 2 == 0
        if shown(k):
            published = k / FPS + (LATENCY if live else 0.0) + behind + late(k)
            seen.images.append((k / FPS, published))
    seen.memory = [(float(k), 200.0) for k in range(round(seconds))]
    return seen


def good(seen):
    """The figures, and whether each row of the table is good."""
    figures = {**seen.figures(FPS), **KNOWN}
    return figures, [row[-1] for row in judge(figures)]


def test_what_keeps_its_word_is_good():
    figures, rows = good(observed())
    assert rows == [True] * 6 and "MISSED" not in table(figures)
    assert figures["frames"] == figures["frames_expected"] > 1000
    assert figures["offset_ms_p50"] == pytest.approx(5.0, abs=0.01)
    assert figures["live_latency_ms_p50"] == pytest.approx(205 + 10, abs=11)  # within a chunk
    assert figures["drift_ms_per_minute"] == pytest.approx(0.0, abs=0.01)
    assert figures["early_frames"] > 300 and figures["early_frames_late"] == 0


@pytest.mark.parametrize("row, changes", [
    (0, {"shown": lambda k: k % 50}), (1, {"behind": 0.03}), (1, {"behind": -0.03}),
    (3, {"late": lambda k: 0.05 if k % 10 == 0 else 0.0}),
    (4, {"late": lambda k: 0.05 if k == 400 else 0.0}),
])  # fmt: skip
def test_what_does_not_is_missed(row, changes):
    figures, rows = good(observed(**changes))
    assert not rows[row] and table(figures).count("MISSED") == rows.count(False)
    if row in (0, 4):
        assert rows.count(False) == 1


def test_memory_that_grows_is_missed():
    seen = observed()
    seen.memory = [(when, 200 + when / 5) for when, _ in seen.memory]
    figures, rows = good(seen)
    assert figures["memory_growth_mb"] == pytest.approx(0.9 * (66 - 13.2) / 5, abs=1.0)
    assert rows == [True] * 5 + [False]


def test_a_drift_is_told_from_the_difference_of_live_and_early_speech():
    levels = [(11.0 * k, (3.0 if k % 2 else -20.0) + 11.0 * k / 30, k % 2 == 0) for k in range(30)]
    assert drift(levels) == pytest.approx(2.0, abs=0.01)
    figures, rows = good(observed(late=lambda k: k / FPS * 1e-3 / 15))
    assert figures["drift_ms_per_minute"] == pytest.approx(4.0, abs=0.1)
    assert rows[2]  # a minute is too short to tell
    assert not judge({**figures, "seconds": 300.0})[2][-1]


@pytest.mark.parametrize("change, reason", [
    ({"sound": []}, "no images or no sound"), ({"images": []}, "no images or no sound"),
    ({"spoken": [(1.0, 9.0, True)]}, "let it run longer"),
])  # fmt: skip
def test_where_too_little_was_seen_it_says_so(change, reason):
    seen = observed()
    for name, value in change.items():
        setattr(seen, name, value)
    with pytest.raises(RealTalkError, match=reason):
        seen.figures(FPS)
