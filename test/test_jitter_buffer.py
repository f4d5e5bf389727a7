# SPDX-License-Identifier: Apache-2.0
"""The jitter buffer: what is shown when."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from realtalk_ros.playout.clock import ClockJumpDetector
from realtalk_ros.playout.jitter_buffer import JitterBuffer
from realtalk_ros.playout.speaking import SpeakingState
from realtalk_ros.stream_types import TimedExpression

FPS = 25


def expression(time, value=0.5, utterance="a"):
    return TimedExpression(time, utterance, 0, np.full(52, value, np.float32), np.zeros(3), 1.0)


def play(buffer, arrivals, start, stop, rate=100):
    """Runs a clock from start to stop. `arrivals`: (when, expression). Returns (now, DueFrame)."""
    waiting, shown = sorted(arrivals, key=lambda item: item[0]), []
    for i in range(round((stop - start) * rate)):
        now = start + i / rate
        while waiting and waiting[0][0] <= now + 1e-9:
            buffer.push(waiting.pop(0)[1], now)
        if frame := buffer.tick(now):
            shown.append((now, frame))
    return shown


def test_speech_sent_early_is_shown_at_its_time():
    buffer = JitterBuffer(FPS)
    frames = [expression(10 + k / FPS, k / 100) for k in range(50)]
    shown = play(buffer, [(9.5, f) for f in frames], 9.0, 13.0)
    spoken = [(now, s) for now, s in shown if s.utterance]
    assert len(spoken) == 50 and buffer.late == 0
    for (now, s), frame in zip(spoken, frames, strict=True):
        assert abs(s.frame / FPS - frame.time) < 1e-9
        assert now - frame.time < 0.011  # at once, to the resolution of this test's clock
        assert s.weights[0] == pytest.approx(frame.weights[0])


def test_live_speech_has_one_constant_delay_and_loses_nothing():
    buffer = JitterBuffer(FPS)
    late = [0.15 + 0.02 * (k % 2) for k in range(100)]
    frames = [(10 + k / FPS + late[k], expression(10 + k / FPS)) for k in range(100)]
    shown = play(buffer, frames, 9.0, 15.0)
    spoken = [(now, s) for now, s in shown if s.utterance]
    delays = [now - s.frame / FPS for now, s in spoken]
    assert len(spoken) == 100 and max(delays) - min(delays) < 0.011


def test_the_delay_before_any_speech_is_no_more_than_a_guess():
    """With a look-ahead of 0.1 s the first utterance is shown as early as those after it."""
    buffer = JitterBuffer(FPS)
    delays = []
    for begin, utterance in ((10, "a"), (15, "b")):
        times = begin + np.arange(50) / FPS
        arrivals = [(t + 0.12, expression(t, utterance=utterance)) for t in times]
        shown = play(buffer, arrivals, begin - 1, begin + 4)
        delays += [now - s.frame / FPS for now, s in shown if s.utterance]
    assert len(delays) >= 98 and buffer.late <= 2 and np.percentile(delays, 95) < 0.15


def test_frames_are_shown_steadily_and_never_twice():
    buffer = JitterBuffer(FPS)
    speech = [(10.3 + k / FPS, expression(10 + k / FPS)) for k in range(25)]
    numbers = [s.frame for _, s in play(buffer, speech, 5.0, 15.0)]
    assert all(b > a for a, b in itertools.pairwise(numbers))
    assert len(numbers) >= 0.97 * 10 * FPS


@pytest.mark.parametrize("ahead", [0.0, 0.5])
@pytest.mark.parametrize("rate", [8, 9.5, 15, 24])
def test_the_face_of_a_node_that_sends_fewer_expressions_than_frames_does_not_flicker(rate, ahead):
    buffer = JitterBuffer(FPS)
    late = [0.02 * (k % 2) for k in range(60)]
    sent = [(10 + k / rate + late[k], expression(10 + k / rate + ahead)) for k in range(60)]
    shown = play(buffer, sent, 9.0, 10 + 60 / rate + 3)
    begin = next(now for now, s in shown if s.weights[0] == 0.5)
    assert all(s.weights[0] == 0.5 for now, s in shown if begin < now < 10 + 59 / rate + ahead)
    assert shown[-1][1].weights[0] == 0  # it is over


def test_a_face_that_keeps_its_expression_goes_on_where_the_clock_goes_back():
    buffer = JitterBuffer(FPS)
    play(buffer, [(99.9, expression(100 + k / FPS)) for k in range(25)], 99.0, 101.1)
    shown = play(buffer, [], 50.0, 51.0)
    assert shown and shown[-1][1].weights[0] == 0


@pytest.mark.parametrize("jump", [-60.0, -2.0, 60.0])
def test_a_face_that_keeps_its_expression_does_so_as_long_where_the_clock_is_set(jump):
    buffer = JitterBuffer(FPS)
    play(buffer, [(99.9, expression(100 + k / FPS)) for k in range(25)], 99.0, 101.05)
    buffer.shift(jump)
    shown = play(buffer, [], 101.05 + jump, 102.05 + jump)
    kept = [s for _, s in shown if s.weights[0] == 0.5]
    assert 0 < len(kept) < 0.3 * FPS and shown[-1][1].weights[0] == 0


@pytest.mark.parametrize("rates", [(20, 25, 12, 30), (29.97, 59.94), (25 / 1.5, 37.5, 25 / 1.5)])
@pytest.mark.parametrize("every", [0.01, 0.07, 1.0])
def test_frames_are_never_shown_twice_while_the_frame_rate_changes(rates, every):
    buffer, times, change = JitterBuffer(FPS), [], 0.0
    for i in range(2000):
        now = 1000 + i / 200
        if now >= change:
            buffer.fps, change = float(rates[i % len(rates)]), now + every
        if frame := buffer.tick(now):
            times.append(frame.time)
    assert min(np.diff(times)) > 1e-6 and len(times) > 100


@pytest.mark.parametrize("fps", [19, 25, 35, 38, 75])
def test_frames_are_never_shown_twice_by_the_time_of_day(fps):
    buffer, times = JitterBuffer(fps), []
    for i in range(4000):
        if frame := buffer.tick(1.8e9 + i / 200):
            times.append(frame.time)
    assert min(np.diff(times)) > 0.5 / fps and len(times) > 19 * fps


def test_late_frames_are_dropped_and_counted_and_the_delay_adapts():
    buffer = JitterBuffer(FPS)
    # The first is on time, then everything is half a second late.
    frames = [(10 + k / FPS + (0.1 if k < 3 else 0.5), expression(10 + k / FPS)) for k in range(75)]
    shown = [s for _, s in play(buffer, frames, 9.0, 15.0) if s.utterance]
    assert buffer.late >= 3
    assert len(shown) >= 75 - buffer.late - 12
    assert buffer.delay.seconds >= 0.5


def test_interrupt_drops_all_and_the_mouth_closes_soon():
    buffer = JitterBuffer(FPS)
    play(buffer, [(9.5, expression(10 + k / FPS, 1.0)) for k in range(100)], 9.0, 11.0)
    buffer.reset()
    after = [s for _, s in play(buffer, [], 11.0, 11.4)]
    assert not any(s.utterance for s in after)
    assert after[0].weights.max() > 0.2  # it relaxes, it does not snap
    assert next(s for s in after if s.frame > (11.0 + 0.15) * FPS).weights.max() < 0.2


def test_a_delay_that_grew_while_somebody_spoke_falls_when_it_is_not_needed():
    """A load for 3 s, in an utterance that never pauses."""
    buffer = JitterBuffer(FPS)
    late = [0.6 if 50 <= k < 125 else 0.15 for k in range(300)]
    frames = [(10 + k / FPS + late[k], expression(10 + k / FPS)) for k in range(300)]
    shown = [(now, s) for now, s in play(buffer, frames, 9.0, 24.0) if s.utterance]
    delays = {round(s.frame / FPS - 10, 2): now - s.frame / FPS for now, s in shown}
    assert delays[1.0] < 0.2 and delays[4.6] > 0.6
    assert max(d for when, d in delays.items() if when > 7.0) < 0.21


@pytest.mark.parametrize("behind", [0.15, 1.0])
def test_a_process_that_stalled_shows_what_follows_at_the_old_delay(behind):
    buffer, shown, now = JitterBuffer(FPS), [], 9.0
    waiting = [(10 + k / FPS + behind, expression(10 + k / FPS)) for k in range(300)]
    while now < 24.0:
        if 13.0 <= now < 17.0:
            now = 17.0  # nothing runs
        while waiting and waiting[0][0] <= now:
            sent, frame = waiting.pop(0)
            buffer.push(frame, now, sent)
        if frame := buffer.tick(now):
            shown.append((now, frame))
        now += 0.005
    delays = [now - s.frame / FPS for now, s in shown if s.utterance]
    assert max(delays) - min(delays) < 0.03
    numbers = [s.frame for now, s in shown if now > 17.1 and s.utterance]
    assert np.diff(numbers).max() == 1


@pytest.mark.parametrize("at_once", [True, False])
def test_pauses_of_live_speech_are_shortened_and_nothing_of_what_came_early(at_once):
    """The first frames come late."""
    buffer = JitterBuffer(FPS)
    pause = range(80, 105)
    frames = [expression(10 + k / FPS) for k in range(150)]
    frames = [replace(f, speech=0.0) if k in pause else f for k, f in enumerate(frames)]
    step = 0.005 if at_once else 1 / FPS
    arrivals = [(10.2 + max(0.4, step * k), f) for k, f in enumerate(frames)]
    shown = [s for _, s in play(buffer, arrivals, 9.0, 18.0) if s.utterance]
    lost = set(range(15, 150)) - {s.frame - 250 for s in shown}  # before, the face was idle
    assert lost <= set(pause) and bool(lost) != at_once
    assert (buffer.delay.seconds < 0.3) != at_once


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_jumps_goes_on(jump):
    buffer = JitterBuffer(FPS)
    play(buffer, [], 5000.0, 5001.0)
    frames = [expression(5002 + jump + k / FPS) for k in range(25)]
    shown = play(buffer, [(5001.5 + jump, f) for f in frames], 5001.0 + jump, 5004.0 + jump)
    assert len([s for _, s in shown if s.utterance]) == 25
    assert all(s.skipped == 0 for _, s in shown[:1])


def test_a_stamp_an_hour_back_does_not_stop_the_face():
    buffer = JitterBuffer(FPS)
    old = [(10.0, expression(10 - 3600 + k / FPS)) for k in range(10)]
    good = [(10.1, expression(10.6 + k / FPS, utterance="b")) for k in range(25)]
    shown = [s for _, s in play(buffer, old + good, 9.0, 12.0) if s.utterance]
    assert buffer.late == 10 and [s.utterance for s in shown] == ["b"] * 25


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_a_clock_that_jumps_takes_the_running_speech_along(jump):
    buffer = JitterBuffer(FPS)
    before = play(buffer, [(9.5, expression(10 + k / FPS)) for k in range(100)], 9.0, 11.0)
    buffer.shift(jump)
    after = play(buffer, [], 11.0 + jump, 14.5 + jump)
    spoken = [s for _, s in before + after if s.utterance]
    assert len(spoken) in (99, 100, 101) and buffer.late == 0


def test_from_live_to_early_speech_no_frame_is_left_out():
    buffer = JitterBuffer(FPS)
    live = [(10.15 + k / FPS, expression(10 + k / FPS)) for k in range(50)]
    early = [(15 - 0.36 + k / FPS, expression(15 + k / FPS, utterance="b")) for k in range(50)]
    shown = play(buffer, live + early, 9.0, 18.0)
    numbers = [s.frame for _, s in shown]
    assert np.diff(numbers).max() == 1
    assert max(now - s.due for now, s in shown if s.utterance == "b") < 0.02
    assert buffer.delay.seconds == 0


def test_frames_are_handed_out_early_enough_to_be_rendered():
    buffer = JitterBuffer(FPS)
    buffer.delay.lead = 0.02
    frames = [(9.5, expression(10 + k / FPS)) for k in range(50)]
    for now, s in play(buffer, frames, 9.0, 13.0):
        if s.utterance and s.frame > 10.2 * FPS:
            assert -0.001 < s.due - now < 0.0301 and s.due == pytest.approx(s.frame / FPS)


@pytest.mark.parametrize("names", [("a", "b"), ("", "b"), ("a", "")])
def test_another_utterance_takes_over_without_a_jump(names):
    buffer = JitterBuffer(FPS)
    first = [(9.5, expression(10 + k / FPS, 1.0, names[0])) for k in range(25)]
    second = [(9.6, expression(11 + k / FPS, 0.0, names[1])) for k in range(25)]
    shown = [s for _, s in play(buffer, first + second, 9.0, 12.5) if s.utterance is not None]
    assert max(abs(np.diff([s.weights[0] for s in shown]))) < 0.4


@pytest.mark.parametrize(
    "clock, simulated, jumps",
    [([0, 1, 2, 3], False, 0), ([0, 1, 3601, 3602], False, 3600), ([0, 1, -3599], False, -3601),
     ([0, 10, 20], True, 18), ([0, 1, 0.5], True, -0.5), ([0, 1, 1, 2], True, 0)],
)  # fmt: skip
def test_jumps_of_a_clock_are_told_from_its_running(clock, simulated, jumps):
    detector = ClockJumpDetector()
    found = sum(detector.update(now, i, simulated) for i, now in enumerate(clock))
    assert found == pytest.approx(jumps, abs=1.01)


def test_speaking_follows_what_is_shown():
    speaking, changes = SpeakingState(), []
    for k in range(50):
        if speaking.update(k / FPS, 0.9 if 5 <= k < 20 else 0.1):
            changes.append((k, speaking.state))
    assert changes == [(5, True), (27, False)]
