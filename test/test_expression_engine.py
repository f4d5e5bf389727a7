# SPDX-License-Identifier: Apache-2.0
"""Chunks in, expressions out, whatever becomes of the network."""

from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.errors import NetworkError
from realtalk_ros.expression.pipeline import ExpressionPipeline
from realtalk_ros.nodes.expression_engine import ExpressionEngine, ModelSettings
from realtalk_ros.nodes.problems import Problems
from realtalk_ros.stream_types import Chunk

SETTINGS = ModelSettings(avatar="default", device="cpu", model_dir="", threads=1, look_ahead=0.16)


def spoken(engine):
    """Expressions by utterance, of one that a second one follows."""
    pcm, rate = read_audio(SAMPLE_CLIP)
    found = {"first": 0, "second": 0}
    for utterance in found:
        chunk = Chunk(pcm[: rate // 2], rate, utterance=utterance)
        for expression in engine.process(chunk, now=0.0)[1]:
            found[expression.utterance] += 1
    return found


def test_the_end_of_an_utterance_is_kept_where_the_network_fails_in_the_next(monkeypatch):
    engine = ExpressionEngine(lambda: SETTINGS, Problems(lambda _: None))
    engine.setup(25.0)
    whole = spoken(engine)
    engine.reset()
    feed, failures = ExpressionPipeline.feed, [NetworkError("the GPU is lost")]

    def failing(pipeline, scheduled, *due):
        if failures and scheduled.utterance == "second":
            raise failures.pop()
        return feed(pipeline, scheduled, *due)

    monkeypatch.setattr(ExpressionPipeline, "feed", failing)
    assert spoken(engine) == whole
    assert engine.fallbacks == 1
