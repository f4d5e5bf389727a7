# SPDX-License-Identifier: Apache-2.0
"""Senders whose speech comes late, through turn-taking, network and playout, without ROS."""

import itertools

import numpy as np
import pytest

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.avatar.avatar import AVATAR_DIR, Avatar
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.pipeline import ExpressionPipeline
from realtalk_ros.playout.face_playout import FacePlayout
from realtalk_ros.playout.scheduling import jitter_of
from realtalk_ros.playout.turn_taking import TurnTaking
from realtalk_ros.stream_types import Chunk

FPS, STEP = 25.0, 0.005  # frames a second; s between two looks at what is due
AHEAD, HELD_UNTIL, COST = 1.0, 0.3, 0.02  # s, as in expression_node; s that computing takes


@pytest.fixture(scope="module")
def network():
    person, model = Avatar.load("default"), ExpressionModel()
    return model, model.prior(person.identity, person.reference_expressions)


def heard(network, sent, seconds, latency=0.0):
    """What is played of chunks that come at certain times, `sent`: (when, chunk)."""
    return heard_and_seen(network, sent, seconds, latency)[0]


def heard_and_seen(network, sent, seconds, latency=0.0):
    """As `heard`, and the frames: (when, DueFrame)."""
    now, out, waiting, computed = 0.0, [], sorted(sent, key=lambda item: item[0]), []
    shown = []
    turns, pipeline = TurnTaking(), ExpressionPipeline(*network, FPS, prepare=True)
    turns.jitter = jitter_of(pipeline.model.look_ahead)
    face = FacePlayout(FPS, lambda: now, lambda: 0.0)
    face.set_lead(COST, at_once=True)
    face.set_playback_latency(latency)
    for now in np.arange(0.0, seconds, STEP):
        while waiting and waiting[0][0] <= now:
            turns.put(waiting.pop(0)[1], now)
        expressions = []
        while (chunk := turns.take(now, AHEAD)) is not None:
            ended, scheduled = pipeline.schedule(chunk, now)
            expressions += ended + pipeline.feed(scheduled, now + HELD_UNTIL)
            if scheduled is not None:
                face.push_audio(scheduled, 0.0)
        expressions += pipeline.take_due(now + HELD_UNTIL)
        if pipeline.end is not None and not turns.utterances:
            expressions += pipeline.flush()
        computed += [(now + COST, expression) for expression in expressions]
        while computed and computed[0][0] <= now:
            face.push_expression(computed.pop(0)[1], 0.0)
        frame, _ = face.next_frame()
        if frame is not None:
            shown.append((now, frame))
        face.play_audio(lambda chunks: out.extend(chunk.pcm for chunk in chunks))
    return np.concatenate(out), shown


@pytest.mark.parametrize("gap", [0.05, 0.1, 0.2, 0.4])
def test_no_word_is_lost_of_a_voice_that_comes_a_little_late_again_and_again(network, gap):
    """Each second of speech comes at once, when the one before has been over for `gap`, as of a
    voice service behind a slow network."""
    pcm, rate = read_audio(AVATAR_DIR.parent / "data/speech_sample.wav")
    said = [part + 1e-3 for part in np.split(pcm[: 4 * rate], 4)]  # no sample is zero
    sent = [(0.5 + k * (1 + gap), Chunk(part, rate, utterance="a")) for k, part in enumerate(said)]
    sent.append((sent[-1][0], Chunk(pcm[:0], rate, utterance="a", last=True)))
    played = heard(network, sent, 7.0)
    assert np.count_nonzero(np.abs(played) > 1e-6) > 3.98 * rate


@pytest.mark.parametrize("stall", [0.15, 0.24])
@pytest.mark.parametrize("stays", [True, False], ids=["stays late", "catches up"])
def test_no_word_of_live_speech_is_lost_at_a_first_stall(stall, stays):
    """With a short look-ahead the face has less delay, which makes up for less."""
    model = ExpressionModel(look_ahead=0.06)
    pcm, rate = read_audio(AVATAR_DIR.parent / "data/speech_sample.wav")
    sent = []
    for k, part in enumerate(np.split(pcm[: 3 * rate] + 1e-3, 60)):
        at = 0.55 + 0.05 * k  # when it has been said
        if at > 2.0:
            at = at + stall if stays else max(at, 2.0 + stall)
        sent.append((at, Chunk(part, rate, utterance="a", last=k == 59)))
    person = Avatar.load("default")
    prior = model.prior(person.identity, person.reference_expressions)
    played = heard((model, prior), sent, 5.5)
    assert np.count_nonzero(np.abs(played) > 1e-6) > 2.98 * rate


@pytest.mark.parametrize("stamps", [True, False])
@pytest.mark.parametrize("latency", [0.0, 0.2])
@pytest.mark.parametrize("short", [1, 20, 60])
def test_no_word_is_lost_of_live_speech_in_chunks_of_very_different_length(short, latency, stamps):
    """A long chunk after each of several `short` ones, all sent when they have been said."""
    model = ExpressionModel(look_ahead=0.06)
    person = Avatar.load("default")
    prior = model.prior(person.identity, person.reference_expressions)
    pcm, rate = read_audio(AVATAR_DIR.parent / "data/speech_sample.wav")
    pcm, sent, said = pcm[: 3 * rate] + 1e-3, [], 0
    for seconds in itertools.cycle([0.01] * short + [0.24]):
        part, start = pcm[said : said + round(seconds * rate)], 0.5 + said / rate
        said += len(part)
        chunk = Chunk(part, rate, start if stamps else None, "a", last=said == len(pcm))
        sent.append((0.5 + said / rate, chunk))
        if chunk.last:
            break
    played = heard((model, prior), sent, 5.5, latency)
    assert np.count_nonzero(np.abs(played) > 1e-6) > 2.98 * rate


@pytest.mark.parametrize("late", [0.5, 1.8])
@pytest.mark.parametrize("begins", [0.0, 1.5], ids=["from the beginning", "in mid-speech"])
def test_the_face_moves_with_the_sound_of_speech_that_is_sent_after_its_time(network, late, begins):
    """As behind a slow network: what was shown of that time already cannot be shown again."""
    pcm, rate = read_audio(AVATAR_DIR.parent / "data/speech_sample.wav")
    sent = []
    for k, part in enumerate(np.split(pcm[: 3 * rate] + 1e-3, 60)):
        chunk = Chunk(part, rate, 0.5 + 0.05 * k, "a", last=k == 59)
        sent.append((0.55 + 0.05 * k + (late if 0.05 * k >= begins else 0.0), chunk))
    played, shown = heard_and_seen(network, sent, 7.0)
    assert np.count_nonzero(np.abs(played) > 1e-6) > 2.98 * rate
    assert max(np.diff([when for when, _ in shown])) < 0.2  # it never stands still
    assert sum(bool(frame.utterance) for _, frame in shown) > 0.85 * 3.3 * FPS
