# SPDX-License-Identifier: Apache-2.0
"""Frames and sound of a face together, by a clock that the tests move."""

import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from realtalk_ros.playout import face_playout
from realtalk_ros.playout.face_playout import FacePlayout
from realtalk_ros.playout.quality_monitor import QualityMonitor
from realtalk_ros.stream_types import ScheduledChunk, TimedExpression

RATE, FPS = 16000, 25
CHUNK = 0.02  # s
LOOK_AHEAD = 0.16  # s
BEGIN = 100.0  # s, when speech that is sent ahead is to be played


class Simulation:
    """A sender in real time, and what becomes of its speech."""

    def __init__(self, fps=FPS, tick=1e-6):
        """The clock moves every `tick` s."""
        self.now, self.fps = BEGIN - 1, fps
        clock = lambda: math.floor(self.now / tick + 1e-3) * tick  # noqa: E731
        self.playout = FacePlayout(fps, clock, lambda: 0.0)
        self.shown, self.heard = [], []  # when, DueFrame; when, ScheduledChunk; of one utterance

    def step(self):
        frame, _ = self.playout.next_frame()
        if frame is not None:
            self.shown.append((self.now, frame))
        self.playout.play_audio(lambda chunks: self.heard.extend((self.now, c) for c in chunks))
        self.now += 0.01

    def talk(self, seconds, lead, changes=(), face_first=False, begin=BEGIN, chunk=CHUNK):
        """Speaks at `begin`, s, each chunk sent `lead` s before the end of it is played. `changes`
        of the playback latency: (s after the beginning, s)."""
        self.shown, self.heard, self.now = [], [], begin - 1
        pcm = np.arange(round(seconds * RATE), dtype=np.float32)
        arrivals = []
        for i in range(0, len(pcm), round(chunk * RATE)):
            part, start = pcm[i : i + round(chunk * RATE)], begin + i / RATE
            sound = ScheduledChunk(part, RATE, start, "a", i + len(part) == len(pcm))
            come = start + chunk - lead
            if face_first:
                come = max(come, begin + LOOK_AHEAD - lead)
            arrivals.append((come, 1, lambda s=sound: self.playout.push_audio(s, 0.0)))
        for k in range(math.ceil(begin * self.fps), math.floor((begin + seconds) * self.fps)):
            time = k / self.fps
            frame = TimedExpression(
                time, "a", k, np.full(52, 0.5, np.float32), np.zeros(3, np.float32), 1.0
            )
            chunks = math.ceil((time + LOOK_AHEAD - begin) / chunk - 1e-6)
            come = begin + min(chunks * chunk, seconds) - lead
            arrivals.append(
                (come, 0 if face_first else 2, lambda e=frame: self.playout.push_expression(e, 0.0))
            )
        for when, value in changes:
            set_latency = lambda v=value: self.playout.set_playback_latency(v)  # noqa: E731
            arrivals.append((begin + when, 3, set_latency))
        arrivals.sort(key=lambda arrival: arrival[:2])
        while self.now < begin + seconds + 4:
            while arrivals and arrivals[0][0] <= self.now + 1e-9:
                arrivals.pop(0)[2]()
            self.step()
        return pcm

    def off(self, begin, end):
        """By how much sound came before its frame, s, of what was spoken between two times."""
        frames = {f.frame: when for when, f in self.shown if begin <= f.time - BEGIN < end}
        sound = [(when, round(c.start * FPS)) for when, c in self.heard]
        return [frames[k] - when for when, k in sound if k in frames]


def assert_whole(simulation, pcm):
    """Each sample came once, in its order; so did the frames."""
    np.testing.assert_array_equal(np.concatenate([c.pcm for _, c in simulation.heard]), pcm)
    assert simulation.heard[-1][1].last
    assert (np.diff([f.frame for _, f in simulation.shown]) > 0).all()


@pytest.mark.parametrize("value", [0.08, 0.3, 0.9])
@pytest.mark.parametrize("lead", [0.0, 0.3, 1.0])
def test_sound_goes_on_without_a_gap_where_it_is_to_be_earlier(lead, value):
    simulation = Simulation()
    pcm = simulation.talk(4.0, lead, [(1.5, value)])
    assert_whole(simulation, pcm)
    assert np.median(simulation.off(0.5, 1.0)) == pytest.approx(0.0, abs=0.03)
    assert np.median(simulation.off(2.6, 4.0)) == pytest.approx(value, abs=0.03)
    assert np.diff([when for when, _ in simulation.heard]).max() < 0.05
    assert {f.frame for _, f in simulation.shown} >= set(range(2500, 2600))


@pytest.mark.parametrize("lead", [0.0, 0.3, 1.0])
def test_a_playback_latency_that_is_taken_back_leaves_no_delay_and_loses_no_sound(lead):
    simulation = Simulation()
    changes = [(1.0 + 0.2 * k, 0.9 if k % 2 == 0 else 0.0) for k in range(40)]
    pcm = simulation.talk(14.0, lead, changes)
    assert_whole(simulation, pcm)
    delays = [f.due - f.time for _, f in simulation.shown if f.utterance]
    assert max(delays) < 0.9 + 0.25 and delays[-1] == pytest.approx(delays[10], abs=0.05)


@pytest.mark.parametrize("face_first", [False, True])
@pytest.mark.parametrize("lead", [0.0, 0.3])
def test_the_first_speech_is_heard_whole_though_its_face_came_before_it(lead, face_first):
    simulation = Simulation()
    simulation.playout.set_playback_latency(0.8)
    pcm = simulation.talk(3.0, lead, face_first=face_first)
    assert_whole(simulation, pcm)
    assert np.median(simulation.off(0.5, 3.0)) == pytest.approx(0.8, abs=0.03)


def test_speech_that_is_sent_ahead_is_heard_whole_after_speech_that_came_late():
    simulation = Simulation()
    simulation.playout.set_playback_latency(0.12)
    simulation.talk(1.0, -1.9)
    assert simulation.playout.status()["delay_ms"] > 1500
    pcm = simulation.talk(1.0, 0.3, begin=BEGIN + 10)
    assert_whole(simulation, pcm)


@pytest.mark.parametrize("fps", [12, 25, 50])
@pytest.mark.parametrize("phase", [0.0, 0.01, 0.03])
def test_the_first_words_of_live_speech_have_lips_after_speech_that_was_sent_ahead(phase, fps):
    """That had left no delay, and live speech needs one."""
    simulation = Simulation(fps)
    simulation.talk(1.0, 1.0)
    assert simulation.playout.status()["delay_ms"] == 0
    begin = BEGIN + 10 + phase
    pcm = simulation.talk(2.0, 0.0, begin=begin)
    assert_whole(simulation, pcm)
    lips = [(when, f.time) for when, f in simulation.shown if f.utterance]
    # Frames of the time before the first chunk came, at the end of its sound, are shown already.
    assert lips[0][1] - begin < CHUNK + 2 / fps
    assert lips[0][0] - simulation.heard[0][0] < CHUNK + 2 / fps + 0.01


@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("chunk", [0.05, 0.1, 0.128, 0.2])
def test_a_face_that_speaks_is_not_idle_in_between_where_live_speech_comes_in_long_chunks(
    chunk, stamped
):
    """Its first expression does not show how late those after it come."""
    simulation = Simulation()
    pcm = simulation.talk(4.0, 0.0 if stamped else chunk, chunk=chunk)
    assert_whole(simulation, pcm)
    spoken = [bool(f.utterance) for _, f in simulation.shown]
    first, last = spoken.index(True), len(spoken) - spoken[::-1].index(True)
    assert all(spoken[first:last])


@pytest.mark.parametrize("chunk", [0.02, 0.05, 0.1, 0.128])
def test_live_speech_without_stamps_is_heard_without_a_gap(chunk):
    simulation = Simulation()
    assert_whole(simulation, simulation.talk(4.0, chunk, chunk=chunk))
    assert np.diff([when for when, _ in simulation.heard]).max() < 0.035


def test_the_face_of_a_voice_that_is_gone_relaxes():
    """It waits for 0.2 s; what is late where sound has ended is no speech."""
    simulation = Simulation()
    simulation.talk(1.0, 0.3)
    last = max(f.time for _, f in simulation.shown if f.utterance)
    assert last < BEGIN + 1.0
    assert min(f.weights[0] for _, f in simulation.shown if last < f.time < last + 0.35) < 0.05


@pytest.mark.parametrize("latency", [0.0, 0.5])
def test_neither_face_nor_sound_waits_for_ever_for_expressions_that_do_not_come(latency):
    simulation = Simulation()
    simulation.playout.set_playback_latency(latency)
    sound = ScheduledChunk(np.ones(RATE, np.float32), RATE, BEGIN, "a")
    simulation.playout.push_audio(sound, 0.0)
    while simulation.now < BEGIN + 6:
        simulation.step()
    assert np.diff([when for when, _ in simulation.shown]).max() < 1.2
    assert simulation.playout.status()["queued_sound"] == 0
    assert_whole(simulation, simulation.talk(1.0, 0.3, begin=BEGIN + 10))


@pytest.mark.parametrize("lead", [0.0, 0.3])
@pytest.mark.parametrize("fps", [2, 5, 8])
def test_sound_that_waits_for_the_first_frame_of_a_slow_face_is_whole(fps, lead):
    simulation = Simulation(fps)
    assert_whole(simulation, simulation.talk(2.0, lead, begin=BEGIN + 0.01))


def test_a_playback_latency_that_is_set_in_silence_delays_no_face():
    simulation = Simulation()
    simulation.talk(1.0, 0.3)
    delay = simulation.playout.status()["delay_ms"]
    simulation.playout.set_playback_latency(0.5)
    assert simulation.playout.status()["delay_ms"] == delay


def test_an_end_without_sound_delays_no_face():
    """It is stamped with the time at which it is known."""
    simulation = Simulation()
    simulation.playout.set_playback_latency(0.3)
    simulation.talk(1.0, lead=1.0)
    before = simulation.playout.status()["delay_ms"]
    end = ScheduledChunk(np.zeros(0, np.float32), RATE, simulation.now, "a", last=True)
    simulation.playout.push_audio(end, 0.0)
    assert simulation.playout.status()["delay_ms"] == before < 300


@pytest.mark.parametrize("when", [-0.9, -0.7, -0.5])
def test_no_face_is_shown_before_its_time_where_the_playback_latency_is_taken_back(when):
    """While the delay of the speech before falls."""
    simulation = Simulation()
    simulation.playout.set_playback_latency(0.5)
    simulation.talk(1.0, -0.6)
    pcm = simulation.talk(2.0, 1.0, [(when, 0.0)], begin=BEGIN + 10)
    assert_whole(simulation, pcm)
    assert min(f.due - f.time for _, f in simulation.shown) >= 0
    assert simulation.playout.status()["delay_ms"] == 0


def test_no_sound_is_lost_where_the_playback_latency_falls_with_the_delay_and_is_raised_again():
    simulation = Simulation()
    simulation.playout.set_playback_latency(0.5)
    pcm = simulation.talk(2.0, 1.0, [(-0.69, 0.3), (0.14, 0.1), (0.22, 1.0)])
    assert_whole(simulation, pcm)


@pytest.mark.parametrize("lead", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("tick", [0.025, 0.11, 0.15])
def test_no_sound_is_lost_where_a_simulation_s_clock_moves_in_large_steps(tick, lead, monkeypatch):
    simulation = Simulation(tick=tick)
    steady = SimpleNamespace(monotonic=lambda: simulation.now)
    monkeypatch.setattr(face_playout, "time", steady)
    assert_whole(simulation, simulation.talk(2.0, lead))


@pytest.mark.parametrize("jump", [-3600.0, -3.0, -0.6, 0.6, 3.0, 3600.0])
def test_what_is_under_way_while_the_clock_is_set_is_shown_and_heard_in_its_place(
    jump, monkeypatch
):
    """It is stamped by the time from before."""
    steady, offset, jumps, shown, heard = 0.0, 0.0, [], [], []
    monkeypatch.setattr(face_playout, "time", SimpleNamespace(monotonic=lambda: steady))
    playout = FacePlayout(
        FPS, lambda: BEGIN + steady + offset, lambda: jumps.pop() if jumps else 0.0
    )
    pcm = np.arange(2 * RATE, dtype=np.float32)
    for i in range(300):
        steady = 0.01 * i
        if i % 4 == 0 and i < 200:
            time = BEGIN + 0.48 + steady + offset
            if i == 80:
                jumps.append(jump)
                offset += jump
            part = pcm[160 * i : 160 * (i + 4)]
            assert playout.push_audio(ScheduledChunk(part, RATE, time, "a", i == 196), 0.0)
            weights = np.full(52, (i + 1) / 200, np.float32)
            frame = TimedExpression(time, "a", i, weights, np.zeros(3, np.float32), 1.0)
            playout.push_expression(frame, 0.0)
        frame, _ = playout.next_frame()
        shown += [frame] if frame and frame.utterance else []
        playout.play_audio(lambda chunks: heard.extend(c.pcm for c in chunks))
    np.testing.assert_array_equal(np.concatenate(heard), pcm)
    assert len(shown) == 50 and (np.diff([f.weights[0] for f in shown]) > 0).all()
    assert not playout.push_audio(sound_of("a", playout.now() + 601, 1.0), 0.0)  # not of now


def sound_of(utterance, start, seconds):
    return ScheduledChunk(np.full(round(seconds * RATE), 0.5, np.float32), RATE, start, utterance)


@pytest.mark.parametrize("face_first", [True, False])
def test_an_answer_whose_face_overtakes_the_news_of_the_interrupt_is_seen_and_heard(face_first):
    """Reset and expressions on one topic, reset and sound on another: either may come first."""
    now = 10.0
    playout = FacePlayout(25, lambda: now, lambda: 0.0)

    def face(utterance, start):
        for k in range(25):
            if not playout.expressions_are_old():
                weights, rotation = np.full(52, 0.1, np.float32), np.zeros(3, np.float32)
                frame = TimedExpression(start + k / 25, utterance, k, weights, rotation, 1.0)
                playout.push_expression(frame, 0.0)

    def sound(utterance, start):
        playout.push_audio(sound_of(utterance, start, 1.0), 0.0)

    def audio_reset():
        playout.interrupt_by_audio()
        playout.drop_audio(lambda: None)

    face("old", 10.0)
    sound("old", 10.0)
    if face_first:
        playout.interrupt_by_expressions()
        face("new", 10.1)
        audio_reset()
        sound("new", 10.1)
    else:
        audio_reset()
        sound("new", 10.1)
        face("old", 10.1)  # was on its way
        playout.interrupt_by_expressions()
        face("new", 10.1)
    seen, heard = set(), []
    while now < 12:
        frame, _ = playout.next_frame()
        seen |= {frame.utterance} if frame and frame.utterance else set()
        playout.play_audio(heard.extend)
        now += 0.01
    assert seen == {"new"} and sum(len(c.pcm) for c in heard) == RATE


class Guarded:
    """An object that is used while its owner's lock is held, or not at all."""

    def __init__(self, target, lock):
        vars(self).update(target=target, lock=lock)

    def __getattr__(self, name):
        assert self.lock.locked(), f"{name} of {type(self.target).__name__} without the lock"
        return getattr(self.target, name)

    def __setattr__(self, name, value):
        assert self.lock.locked(), f"{name} of {type(self.target).__name__} without the lock"
        setattr(self.target, name, value)

    def __len__(self):
        assert self.lock.locked(), f"len of {type(self.target).__name__} without the lock"
        return len(self.target)


def test_whoever_uses_a_playout_holds_its_lock(monkeypatch):
    lock = threading.Lock()
    locks = SimpleNamespace(Lock=lambda: lock, Event=threading.Event)
    monkeypatch.setattr(face_playout, "threading", locks)
    for name in ("JitterBuffer", "AudioPlayout", "SpeakingState"):
        kind = getattr(face_playout, name)
        guarded = lambda *args, kind=kind: Guarded(kind(*args), lock)  # noqa: E731
        monkeypatch.setattr(face_playout, name, guarded)
    now, jumps = 10.0, [5.0]
    playout = FacePlayout(25, lambda: now, lambda: jumps.pop() if jumps else 0.0)
    weights, rotation = np.full(52, 0.1, np.float32), np.zeros(3, np.float32)
    playout.push_expression(TimedExpression(10.0, "a", 0, weights, rotation, 1.0), 0.0)
    playout.push_audio(sound_of("a", 10.0, 0.1), 0.0)
    monitor = QualityMonitor(playout)
    monitor.set_render_time(0.02)
    assert playout.lead == pytest.approx(0.029)
    playout.set_fps(20.0)
    frame, _ = playout.next_frame()
    assert playout.show(frame) is False and playout.speaking is False
    monitor.statistics.add(
        generate=0.01, compose=0.01, publish=0.0, behind=0.0, missed=0, speech=True
    )
    assert monitor.update(adapt=True) is False
    assert playout.status()["fps"] == playout.fps == 20.0
    played = []
    playout.set_playback_latency(0.05)
    playout.play_audio(played.append)
    assert played and playout.shown_now() < playout.now()
    playout.interrupt_by_audio()
    playout.interrupt_by_expressions()
    assert not playout.is_dropped(frame)  # it is of no utterance
    assert playout.end_speaking() is False
    playout.drop_audio(lambda: None)
    playout.clear()
