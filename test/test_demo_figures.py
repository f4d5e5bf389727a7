# SPDX-License-Identifier: Apache-2.0
"""The figures of `realtalk demo`, of recordings whose times are known."""

import re

import numpy as np
import pytest

from realtalk_ros.commands.demo_figures import Figures, lip_offset
from realtalk_ros.errors import RealTalkError

FPS, RATE = 25.0, 16000


def stats(late=lambda k: 0.2, shown=lambda k: True):
    """Of 10 s of speech from 100 s on in chunks of 20 ms, published as they are spoken."""
    audio = [(100 + k * 0.02, 0.02, 100 + k * 0.02) for k in range(500)]
    images = [(100 + k / FPS, 100 + k / FPS + late(k)) for k in range(-10, 270) if shown(k)]
    return {"fps": FPS, "audio": audio, "images": images}


def test_frames_and_latency_are_those_of_the_speech():
    figures = Figures.of(stats(late=lambda k: 0.4 if k % 10 == 0 else 0.2))
    assert (figures.expected, figures.published) == (251, 251)
    assert figures.fps == pytest.approx(25, abs=0.1)
    assert figures.latency_ms == (pytest.approx(200, abs=21), pytest.approx(400, abs=21))
    figures = Figures.of(stats(shown=lambda k: k % 5))
    assert (figures.expected, figures.published) == (251, 200)
    assert re.search(r"frames dropped +51\n", figures.table({}))


def test_frames_that_a_recording_lacks_because_it_ended_early_are_dropped_ones():
    """As where no sound came for so long that the recorder took the speech for ended."""
    figures = Figures.of(stats(), seconds=24.0)
    assert (figures.expected, figures.published) == (601, 270)
    figures = Figures.of(stats(), seconds=10.01)
    assert (figures.expected, figures.published) == (251, 251)


@pytest.mark.parametrize("name", ["audio", "images"])
def test_a_recording_of_nothing_is_said(name):
    with pytest.raises(RealTalkError, match="see what the nodes say"):
        Figures.of({**stats(), name: []})


@pytest.mark.parametrize("behind", [-0.1, 0.0, 0.05, 0.2])
def test_lips_that_follow_the_sound_are_found_to(behind):
    """Syllables of random lengths; lips open as the sound gets loud, `behind` s later."""
    rng = np.random.default_rng(1)
    edges = np.cumsum(rng.uniform(0.1, 0.4, 80))
    levels = rng.uniform(0.05, 1, 81)

    def loudness(time):
        steps = levels[np.searchsorted(edges, time)]
        return np.convolve(np.pad(steps, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")

    seconds = 15.0
    noise = rng.normal(0, 0.2, round(seconds * RATE))
    sound = (loudness(np.arange(len(noise)) / RATE) * noise).astype(np.float32)
    opening = np.log10(loudness(np.arange(round(seconds * FPS)) / FPS - behind) ** 2)
    assert lip_offset(opening, sound, RATE, FPS) == pytest.approx(behind * 1e3, abs=15)


def test_lips_that_have_nothing_to_do_with_the_sound_have_no_offset():
    rng = np.random.default_rng(2)
    sound = rng.normal(0, 0.1, 30 * RATE).astype(np.float32)
    assert np.isnan(lip_offset(rng.normal(size=750), sound, RATE, FPS))
