# SPDX-License-Identifier: Apache-2.0
"""Chunks to timed expressions and pictures, with the shipped networks on real speech."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import realtalk_ros
from bundled_faces import bundled_face
from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.audio.resampler import Resampler
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.behaviour.face_pipeline import FacePipeline
from realtalk_ros.errors import AudioError, NetworkError
from realtalk_ros.expression.onnx_model import ExpressionModel, ExpressionStream
from realtalk_ros.expression.pipeline import ExpressionPipeline
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering import helper
from realtalk_ros.stream_types import Chunk

SAMPLE = Path(realtalk_ros.__file__).parent / "data" / "speech_sample.wav"
JAW = arkit.INDEX["jawOpen"]


@pytest.fixture(scope="module")
def model():
    return ExpressionModel()


@pytest.fixture(scope="module")
def prior(model):
    avatar = Avatar.load("default")
    return model.prior(avatar.identity, avatar.reference_expressions)


@pytest.fixture(scope="module")
def speech():
    pcm, rate = read_audio(SAMPLE)
    return pcm[: 4 * rate], rate


@pytest.fixture
def pipeline(model, prior):
    return ExpressionPipeline(model, prior, 25)


def cut(speech, seconds, start=0.0, utterance="a"):
    pcm, rate = speech
    step = round(seconds * rate)
    return [
        Chunk(pcm[i : i + step], rate, start + i / rate, utterance, i + step >= len(pcm))
        for i in range(0, len(pcm), step)
    ]


def run(pipeline, chunks):
    return [frame for chunk in chunks for frame in pipeline.push(chunk)]


def curve(frames):
    return np.array([frame.weights for frame in frames])


@pytest.mark.parametrize("phase", [0.0, 0.0004, 0.013, 0.0399])
def test_no_frame_waits_longer_than_the_network_looks_ahead(pipeline, speech, phase):
    """Wherever an utterance begins between two frames."""
    begin = 1.7e9 + phase
    for chunk in cut((speech[0][: speech[1]], speech[1]), 0.001, begin)[:-1]:
        for frame in pipeline.push(chunk):
            after = chunk.start + chunk.seconds - frame.time  # of audio, s
            assert frame.time > begin - 1e-4
            assert after < pipeline.model.look_ahead + 0.002
    assert frame.time > begin + 0.8 - pipeline.model.look_ahead


@pytest.mark.parametrize("seconds", [0.01, 0.02, 0.1, 1.0])
def test_chunking_changes_nothing(pipeline, speech, seconds):
    whole = run(pipeline, cut(speech, 4.0))
    parts = run(pipeline, cut(speech, seconds))
    assert [f.time for f in parts] == [f.time for f in whole]
    np.testing.assert_allclose(curve(parts), curve(whole), atol=1e-4)


@pytest.mark.parametrize("fps, runs", [(25, 0.5), (30, 0.65), (50, 1.0)])
def test_the_network_runs_only_when_a_frame_is_due(model, prior, speech, monkeypatch, fps, runs):
    """On chunks of 20 ms, a step each: two steps in one run cost little more than one."""
    steps = []
    push = ExpressionStream.push

    def counted(stream, *args):
        frames = push(stream, *args)
        steps.append(len(frames))
        return frames

    monkeypatch.setattr(ExpressionStream, "push", counted)
    pipeline = ExpressionPipeline(model, prior, fps)
    shown = [len(pipeline.push(chunk)) for chunk in cut(speech, 0.02)[:-1]]
    assert np.count_nonzero(steps) < runs * len(shown)
    assert np.count_nonzero(shown) > 0.9 * min(1, fps / 50) * len(shown)


def test_frames_lie_on_one_grid_and_cover_the_speech(pipeline, speech):
    frames = run(pipeline, cut(speech, 0.1, start=1000.013))
    steps = np.array([f.time for f in frames]) * 25
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert (np.diff(np.rint(steps)) == 1).all()
    assert frames[0].time < 1000.06 and frames[-1].time > 1004.0
    assert [f.sequence for f in frames] == list(range(len(frames)))


def test_nothing_is_left_of_a_chunk_that_came_before_but_the_end_of_its_utterance(pipeline, speech):
    pcm, rate = speech
    pipeline.push(Chunk(pcm[:rate], rate, 10.0, "a"))
    again = Chunk(pcm[rate // 2 : rate], rate, 10.5, "a")
    assert pipeline.schedule(again) == ([], None)
    assert pipeline.schedule(Chunk(pcm[:0], rate, None, "a")) == ([], None)
    ended, last = pipeline.schedule(replace(again, last=True))
    assert not ended and last.last and not len(last.pcm)
    assert last.start == pytest.approx(11.0)
    assert pipeline.feed(last) and pipeline.end is None  # the rest of what was said
    assert pipeline.schedule(Chunk(pcm[:0], rate, None, "a", last=True)) == ([], None)


def test_fifty_frames_a_second_pass_through_the_same_curve(model, prior, speech):
    slow = run(ExpressionPipeline(model, prior, 25), cut(speech, 0.1))
    fast = run(ExpressionPipeline(model, prior, 50), cut(speech, 0.1))
    np.testing.assert_allclose(
        curve(fast)[::2][: len(slow)], curve(slow)[: len(fast[::2])], atol=1e-5
    )


def test_the_mouth_opens_in_speech_and_rests_after_it(pipeline, speech):
    frames = run(pipeline, cut(speech, 0.1))
    jaw = curve(frames)[:, JAW]
    assert jaw.max() > 0.15 and jaw[-1] < 0.05
    assert max(f.speech for f in frames) > 0.8 and frames[-1].speech < 0.5


def test_silence_stays_shut(pipeline):
    frames = run(pipeline, cut((np.zeros(32000, np.float32), 16000), 0.02))
    assert curve(frames)[:, list(arkit.MOUTH)].max() < 0.05


def test_repeated_and_late_chunks_change_nothing(pipeline, speech):
    good = cut(speech, 0.1)
    whole = run(pipeline, good)
    confused = [*good[:10], good[3], good[9], *good[10:20], good[12], *good[20:]]
    got = run(pipeline, confused)
    assert pipeline.counts["dropped_chunks"] == 3
    np.testing.assert_allclose(curve(got), curve(whole), atol=1e-4)


def test_jitter_of_stamps_changes_nothing(pipeline, speech):
    whole = run(pipeline, cut(speech, 0.1))
    noise = np.random.default_rng(0).uniform(-0.04, 0.04, 100)
    jittered = [
        replace(c, start=c.start + noise[k] * (k > 0)) for k, c in enumerate(cut(speech, 0.1))
    ]
    got = run(pipeline, jittered)
    assert [f.time for f in got] == [f.time for f in whole]
    np.testing.assert_allclose(curve(got), curve(whole), atol=1e-4)


def test_a_lost_chunk_is_silence_and_time_goes_on(pipeline, speech):
    chunks = cut(speech, 0.1)
    frames = run(pipeline, chunks[:10] + chunks[12:])
    assert pipeline.counts == {"gaps": 1, "dropped_chunks": 0, "reanchored": 0}
    assert (np.diff([round(f.time * 25) for f in frames]) == 1).all()


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_jump_of_an_hour_starts_a_new_segment(pipeline, speech, jump):
    chunks = cut(speech, 0.1, start=5000.0)
    frames = run(pipeline, chunks[:20] + [replace(c, start=c.start + jump) for c in chunks[20:]])
    assert pipeline.counts["reanchored"] == 1
    times = np.array([f.time for f in frames])
    assert times.min() >= min(5000, 5002 + jump) - 0.05
    assert np.count_nonzero(np.abs(np.diff(times)) > 1) == 1


def test_chunks_without_stamps_follow_each_other(pipeline, speech):
    frames = []
    for chunk in cut(speech, 0.1):
        frames += pipeline.push(replace(chunk, start=None), now=77.0)
    assert abs(frames[0].time - 77.0) < 0.05 and abs(frames[-1].time - 81.3) < 0.1


def test_a_new_utterance_ends_the_old_one(pipeline, speech):
    first, second = cut(speech, 0.5), cut(speech, 0.5, start=10.0, utterance="b")
    frames = run(pipeline, first[:2] + second)
    assert [f.utterance for f in frames] == sorted(f.utterance for f in frames)
    a = [f for f in frames if f.utterance == "a"]
    assert 1.0 < a[-1].time < 1.5


@pytest.mark.parametrize("jump", [-7.0, 100.0])
def test_an_utterance_goes_on_after_the_clock_was_set(model, prior, speech, jump):
    """At 30 fps, where frames lie between those of the network."""
    chunks = cut(speech, 0.1, 100.0)
    pipeline, unmoved = (ExpressionPipeline(model, prior, 30) for _ in range(2))
    before = run(pipeline, chunks[:15])
    pipeline.shift(jump)
    after = run(pipeline, [replace(c, start=c.start + jump) for c in chunks[15:]])
    wanted = run(unmoved, chunks)
    np.testing.assert_allclose(curve(before + after), curve(wanted), atol=1e-5)
    times = [f.time for f in before] + [f.time - jump for f in after]
    np.testing.assert_allclose(times, [f.time for f in wanted], atol=1e-6)


def test_reset_forgets(pipeline, speech):
    pipeline.push(cut(speech, 1.0)[0])
    pipeline.reset()
    assert pipeline.flush() == [] and pipeline.end is None


@pytest.mark.parametrize("rate", [0, -1, 100, 10**7])
def test_an_impossible_rate_is_refused_and_harms_nothing(pipeline, speech, rate):
    chunks = cut(speech, 1.0)
    frames = run(pipeline, chunks[:2])
    with pytest.raises(AudioError, match="rate"):
        pipeline.push(Chunk(np.zeros(100, np.float32), rate, 2.0, "a"))
    frames += run(pipeline, chunks[2:])
    np.testing.assert_allclose(curve(frames), curve(run(pipeline, chunks)), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_any_sample_rate_speaks(pipeline, rate):
    t = np.arange(rate) / rate
    vowel = sum(np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 20)) * 0.1
    frames = run(pipeline, cut((vowel.astype(np.float32), rate), 0.1))
    assert len(frames) >= 25 and np.isfinite(curve(frames)).all()


@pytest.mark.parametrize("rates", [(8000, 48000), (48000, 16000), (16000, 44100, 8000, 16000)])
def test_a_sample_rate_that_changes_in_an_utterance_changes_nothing_else(pipeline, speech, rates):
    """As of a connection that is set up anew. The lips do not shut, and no frame comes twice."""
    pcm, rate = speech
    # Below 4 kHz, which all these rates have.
    low = Resampler(8000, rate)
    narrow = np.concatenate([low.push(resampled(pcm, rate, 8000)), low.flush()])[: len(pcm)]
    whole = run(pipeline, cut((narrow, rate), 0.1))
    chunks, at = [], 0.0
    for part, other in zip(np.array_split(narrow, len(rates)), rates, strict=True):
        piece = resampled(part, rate, other)
        chunks += cut((piece, other), 0.1, at)
        at += len(piece) / other
    chunks = [replace(chunk, last=chunk is chunks[-1]) for chunk in chunks]
    changed = run(pipeline, chunks)
    assert np.allclose(np.diff([frame.time for frame in changed]), 1 / 25)
    assert abs(len(changed) - len(whole)) <= 1 and pipeline.counts["reanchored"] == 0
    count = min(map(len, (whole, changed)))
    assert np.abs(curve(changed)[:count, JAW] - curve(whole)[:count, JAW]).max() < 0.1


def resampled(pcm, rate, other):
    resampler = Resampler(rate, other)
    return np.concatenate([resampler.push(pcm), resampler.flush()])


def test_an_end_without_sound_may_be_of_any_sample_rate(pipeline, speech):
    chunks = cut((speech[0][: speech[1]], speech[1]), 0.1)[:-1]
    frames = run(pipeline, chunks)
    end = Chunk(np.zeros(0, np.float32), 4000, chunks[-1].start + 0.1, "a", last=True)
    ended, scheduled = pipeline.schedule(end)
    assert ended == [] and scheduled.last
    assert len(frames + pipeline.feed(scheduled)) > len(frames) and pipeline.end is None


def test_empty_chunks_are_nothing(pipeline):
    assert pipeline.push(Chunk(np.zeros(0, np.float32), 16000, 1.0)) == []
    assert pipeline.push(Chunk(np.zeros(0, np.float32), 16000, 1.0, last=True)) == []


def test_pictures_follow_the_expressions(model, speech):
    renderer = bundled_face("kenji", 256)  # no broad smile at rest
    face = FacePipeline(model, renderer, fps=25)
    frames = [f for chunk in cut((speech[0][:16000], speech[1]), 0.1) for f in face.push(chunk)]
    times, weights, images = zip(*frames, strict=True)
    assert len(times) >= 25 and images[0].shape == (256, 256, 3)
    assert (np.array(weights) >= 0).all() and (np.array(weights) <= 1).all()


@pytest.fixture
def face(model):
    return FacePipeline(model, bundled_face("default", 128), fps=25)


def threads_of_runs(monkeypatch, work=lambda: None) -> list[str]:
    """Notes the threads in which the transformer runs from now on; calls `work` in them, too."""
    names, run_steps = [], ExpressionStream._run_steps

    def noted(self, mel):
        names.append(threading.current_thread().name)
        work()
        return run_steps(self, mel)

    monkeypatch.setattr(ExpressionStream, "_run_steps", noted)
    return names


@pytest.mark.parametrize("drawn", [True, False], ids=["drawn", "not drawn"])
def test_found_beside_the_frames_before_they_are_the_same_expressions(
    face, pipeline, speech, monkeypatch, drawn
):
    chunks = cut(speech, 0.04)[:50]
    wanted = run(pipeline, chunks) + pipeline.flush()
    names, found = threads_of_runs(monkeypatch), []
    for expression in face.expressions(chunks):
        found.append(expression)
        if drawn:
            face.render(expression)
    np.testing.assert_array_equal(curve(found), curve(wanted))
    assert [e.sequence for e in found] == [e.sequence for e in wanted]
    beside = [name for name in names if name.startswith("render helper")]
    assert len(beside) > 30 if drawn else not beside


def test_an_utterance_that_is_left_early_leaves_nothing_behind(face, pipeline, speech):
    chunks, taken = cut(speech, 0.04), []
    expressions = face.expressions(taken.append(chunk) or chunk for chunk in chunks)
    for expression in expressions:
        if len(taken) == 20:
            break
        face.render(expression)
    expressions.close()
    assert not helper._waiting and face.expression.end is None
    again = list(face.expressions(chunks[:30]))
    wanted = run(pipeline, chunks[:30]) + pipeline.flush()
    np.testing.assert_array_equal(curve(again), curve(wanted))


@pytest.mark.parametrize("drawn", [True, False], ids=["there", "here"])
def test_a_network_that_fails_beside_a_frame_is_no_secret(face, speech, monkeypatch, drawn):
    def fail():
        if len(names) > 8:
            raise NetworkError("the device is lost")

    names = threads_of_runs(monkeypatch, fail)
    with pytest.raises(NetworkError, match="the device is lost"):
        for expression in face.expressions(cut(speech, 0.04)):
            if drawn:
                face.render(expression)
    assert len(names) == 9 and names[-1].startswith("render helper") == drawn
    assert face.expression.end is None  # as after `reset`
