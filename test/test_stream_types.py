# SPDX-License-Identifier: Apache-2.0
"""What passes between the stages."""

import numpy as np
import pytest

from realtalk_ros.stream_types import Chunk, ScheduledChunk

RATE = 16000


def test_a_chunk_is_not_scheduled_without_its_time():
    pcm = np.zeros(160, np.float32)
    with pytest.raises(TypeError, match="start"):
        ScheduledChunk(pcm, RATE)
    scheduled = Chunk(pcm, RATE, None, "a", last=True).scheduled(3.0)
    assert vars(scheduled) == {
        "pcm": pcm, "sample_rate": RATE, "start": 3.0, "utterance": "a", "last": True,
    }  # fmt: skip
    assert type(scheduled) is ScheduledChunk
