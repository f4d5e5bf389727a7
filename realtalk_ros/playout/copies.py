# SPDX-License-Identifier: Apache-2.0
"""Copies of an utterance's chunks, such as a relay sends: they are known by their stamps and their
sound."""

from __future__ import annotations

import math

from realtalk_ros.stream_types import Chunk

COPIED_WITHIN = 0.3  # s after a chunk, in which a copy of it comes at least
MAX_CHUNKS = 10_000  # remembered of an utterance

_Fingerprint = tuple["float | None", int]  # a chunk's stamp, and a hash of its sound


class Copies:
    """Of the chunks of one utterance. Times are media time in seconds."""

    def __init__(self) -> None:
        self._sent: dict[_Fingerprint, float] = {}  # of chunks with sound and a stamp: when
        self._first: _Fingerprint | None = None  # of these
        self._last_came = False  # `last` came, and nothing since
        self._last_sent = -math.inf  # when the newest chunk was sent, whatever is in it

    def add(self, chunk: Chunk, sent: float) -> bool:
        """Copies of a chunk that was sent at `sent` will be known, if it has sound and a stamp, or
        says `last`. True where the utterance begins again with it, as a bag's that is played in a
        loop: those before it are forgotten."""
        self._last_came, self._last_sent = chunk.last, sent
        if chunk.start is None or not len(chunk.pcm):
            return False
        fingerprint = _fingerprint(chunk)
        if begins_again := fingerprint == self._first:
            self._sent.clear()
        self._first = self._first or fingerprint
        self._sent[fingerprint] = sent
        if len(self._sent) > MAX_CHUNKS:
            self._sent.pop(next(iter(self._sent)))
        return begins_again

    def include(self, chunk: Chunk, sent: float, received: float) -> bool:
        """Whether a chunk that was sent at `sent` is one, where the utterance has had `received` s
        of sound."""
        if not len(chunk.pcm):
            return chunk.last and self._last_came and sent - self._last_sent <= COPIED_WITHIN
        # A burst may be over before the copies of its chunks come.
        within = max(COPIED_WITHIN, received / 2)
        if chunk.start is None or sent - self._last_sent > within:
            return False
        return sent - self._sent.get(_fingerprint(chunk), -math.inf) <= within

    def shift(self, seconds: float) -> None:
        """The clock jumped."""
        self._last_sent += seconds
        self._sent.clear()  # simulated time that went back brings the same stamps again


def _fingerprint(chunk: Chunk) -> _Fingerprint:
    return chunk.start, hash(chunk.pcm.tobytes())
