# SPDX-License-Identifier: Apache-2.0
"""Messages between the web display's server and its pages.

Binary messages to a page, little-endian: uint8 kind (1: JPEG, 2: 48 kHz mono s16 samples, 3: drop
the sound that was not played yet), 7 bytes of padding, float64 media time [s], payload. Text
messages are JSON: `state`, `refused` (a command, with the reason) and `beat` (nothing else was sent
for 0.5 s) to a page; `say`, `interrupt` and `avatar` from an operator's page.
"""

import json
import re
import struct
from collections.abc import Collection
from typing import Any

import numpy as np

from realtalk_ros.audio.pcm import encode_pcm
from realtalk_ros.audio.resampler import Resampler

RATE = 48000  # Hz, of the sound sent to pages
JPEG, SOUND, FORGET = 1, 2, 3
JOINT = 0.01  # s: sound that starts this near to the end of the last chunk continues it
MAX_TEXT = 4000  # characters an operator may have said at once
MAX_MESSAGE = 65536  # bytes: a text of that length in JSON's longest form
BEAT = json.dumps({"type": "beat"})


def binary_message(kind: int, time: float, payload: bytes = b"") -> bytes:
    """A message of one kind for media time `time` [s]."""
    return struct.pack("<B7xd", kind, time) + payload


def state_message(**state: Any) -> str:
    """What a page shows beside the face."""
    return json.dumps({"type": "state", **state})


def refusal(reason: str) -> str:
    """Tells a page why its command was not taken."""
    return json.dumps({"type": "refused", "reason": reason})


class CommandError(ValueError):
    """A command that is not taken; the text is the reason that its page shows."""


def parse_command(text: str, avatars: Collection[str]) -> tuple[str, Any]:
    """A page's text message -> ("say", text), ("interrupt", True) or ("avatar", name).

    Raises CommandError if it is none of these; `avatars` are the names that may be chosen.
    """
    try:
        ((name, value),) = json.loads(text).items()
    except (ValueError, AttributeError, RecursionError):
        raise CommandError("a command is a JSON object with one entry") from None
    if name == "say" and isinstance(value, str):
        if not 0 < len(value.strip()) <= MAX_TEXT:
            raise CommandError(f"a text has 1 to {MAX_TEXT} characters")
        if re.search("[\0\ud800-\udfff]", value):
            raise CommandError("a text has no character 0 and no half of a pair")
    elif not (name == "interrupt" and value is True) and (name != "avatar" or value not in avatars):
        raise CommandError("a command is say, interrupt or avatar (one of the list)")
    return name, value


class PageAudio:
    """Sound of any rate -> 48 kHz, without seams within a stretch; times by sample count."""

    def __init__(self) -> None:
        self._rate = 0  # Hz, of the input
        self._end = 0.0  # media time [s] at which the input so far ends
        self._start = 0.0  # media time [s] at which the stretch begins
        self._sent = 0  # samples of the stretch that were returned
        self._resampler: Resampler | None = None

    def push(self, time: float, rate: int, pcm: np.ndarray) -> list[tuple[float, bytes]]:
        """(n,) float32 mono, heard from media time `time` [s] on -> [(media time, s16 bytes)]."""
        pieces = []
        if self._resampler is None or rate != self._rate or abs(time - self._end) > JOINT:
            pieces += self.flush()
            self._rate, self._start, self._end, self._sent = rate, time, time, 0
            self._resampler = Resampler(rate, RATE)
        self._end += len(pcm) / rate
        return pieces + self._take(self._resampler.push(pcm))

    def flush(self) -> list[tuple[float, bytes]]:
        """The rest of the stretch, which ends here."""
        resampler, self._resampler = self._resampler, None
        return self._take(resampler.flush()) if resampler is not None else []

    def _take(self, pcm: np.ndarray) -> list[tuple[float, bytes]]:
        if not len(pcm):
            return []
        time = self._start + self._sent / RATE
        self._sent += len(pcm)
        return [(time, encode_pcm(pcm))]
