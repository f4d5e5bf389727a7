# SPDX-License-Identifier: Apache-2.0
"""Whether a machine keeps up with speech."""

from __future__ import annotations

import pytest

from realtalk_ros.playout.computing_load import ComputingLoad


@pytest.mark.parametrize("rest", [1 / 48000, 0.001, 0.05])
def test_what_is_left_for_a_last_chunk_says_nothing_of_the_machine(rest):
    """Chunks of 50 ms, of which each takes 15 ms to process, as the last one does."""
    load, said = ComputingLoad(), []
    for _ in range(100):
        said += [load.add(0.015, seconds) for seconds in (*[0.05] * 20, rest)]
    assert not any(said) and not load.is_too_much
    assert load.value == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("seconds", [0.02, 0.2, 20.0])
def test_a_machine_that_does_not_keep_up_is_told_once(seconds):
    load = ComputingLoad()
    said = [load.add(1.2 * seconds, seconds) for _ in range(round(40 / seconds))]
    assert sum(said) == 1 and load.is_too_much
    for _ in range(round(40 / seconds)):
        load.add(0.3 * seconds, seconds)
    assert not load.is_too_much
