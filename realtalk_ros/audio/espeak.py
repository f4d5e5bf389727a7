# SPDX-License-Identifier: Apache-2.0
"""Text to speech through espeak-ng.

It is a separate program under the GPL, version 3, and not part of this package. It is used if it is
installed: the system's libespeak-ng, else that of the wheel `espeakng-loader`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from realtalk_ros.audio import unicode_scripts
from realtalk_ros.audio.espeak_library import (
    PITCH,
    RANGE,
    RATE,
    WORD,
    load_espeak,
    synthesis_of,
    synthesize,
)
from realtalk_ros.audio.espeak_voices import Voice
from realtalk_ros.audio.pcm import to_float
from realtalk_ros.errors import RealTalkError

DEFAULT_VOICE = "en-us"
SPEED_RANGE, DEFAULT_SPEED = (80, 450), 165  # words a minute
PITCH_RANGE, DEFAULT_PITCH = (0, 99), 50
INTONATION_RANGE, DEFAULT_INTONATION = (0, 99), 50  # how far the pitch moves
MAX_TEXT = 200_000  # characters spoken at once; text_to_speech.py speaks sentence by sentence


class NothingToSay(RealTalkError):
    """The text has nothing that the voice can say."""


def check_words(text: str) -> None:
    """Raises NothingToSay for a text without a word, such as emoji or punctuation alone."""
    if not unicode_scripts.has_words(text):
        raise NothingToSay("there is no text to speak: give at least one word")


def check_numbers(words_per_minute: float, pitch: float) -> None:
    """Raises RealTalkError for a speed or pitch out of range."""
    for what, number, low, high in (
        ("words a minute", words_per_minute, *SPEED_RANGE),
        ("pitch", pitch, *PITCH_RANGE),
    ):
        if not low <= number <= high:  # NaN too
            raise RealTalkError(f"{what} {number:g}: give {low} to {high}")


def sample_rate() -> int:
    """Of all sound, Hz (22050). Raises RealTalkError if espeak-ng is not installed."""
    return load_espeak()[1]


def speak(
    text: str,
    voice: str | Voice = DEFAULT_VOICE,
    words_per_minute: int = DEFAULT_SPEED,
    pitch: int = DEFAULT_PITCH,
    intonation: int = DEFAULT_INTONATION,
) -> tuple[np.ndarray, list[tuple[int, float]]]:
    """Speaks a text. Returns samples at `sample_rate`, float32 (n,) in [-1, 1], and for each word
    its offset in the text and when it begins, s.

    voice: a name of espeak-ng, with a variant if wanted ("en-us", "de", "fr+f3").
    words_per_minute, pitch, intonation: in SPEED_RANGE, PITCH_RANGE and INTONATION_RANGE.
    Raises NothingToSay for a text without anything to say, RealTalkError for an unknown voice or a
    number out of range, or where espeak-ng is not installed.
    """
    cleaned, offsets = unicode_scripts.speakable(text)
    check_words(cleaned)
    if len(cleaned) > MAX_TEXT:
        raise RealTalkError(f"{len(cleaned)} characters are too long: give at most {MAX_TEXT}")
    check_numbers(words_per_minute, pitch)
    how = {RATE: int(words_per_minute), PITCH: int(pitch), RANGE: int(intonation)}
    pcm, words = _synthesize(voice, how, synthesis_of(cleaned))
    if not pcm.any():
        raise NothingToSay(f"espeak-ng finds nothing to say in {text[:40]!r}: give words")
    last = len(offsets) - 1
    return pcm, [(offsets[min(max(0, i), last)], s) for i, s in words]


def spell(character: str, voice: str | Voice, words_per_minute: int, pitch: int) -> np.ndarray:
    """Speaks the name of one character (with its accents), such as "dot": samples as of `speak`."""
    cleaned = unicode_scripts.speakable(character)[0].strip()
    # espeak_Char would add "capital" to letters, and the names of some scripts.
    if not cleaned or cleaned[0].isalnum():
        return speak(cleaned, voice, words_per_minute, pitch)[0]
    check_numbers(words_per_minute, pitch)
    pcm, _ = _synthesize(
        voice, {RATE: int(words_per_minute), PITCH: int(pitch), RANGE: DEFAULT_INTONATION},
        lambda library: library.espeak_Char(ctypes.c_wchar(cleaned[0])),
    )  # fmt: skip
    if not pcm.any():
        raise NothingToSay(f"espeak-ng has no name for {character[:1]!r}: leave it out")
    return pcm


def _synthesize(
    voice: str | Voice, settings: dict[int, int], synthesis: Callable[[ctypes.CDLL], int]
) -> tuple[np.ndarray, list[tuple[int, float]]]:
    """Samples, float32 (n,), and the offset and time, s, of each word."""
    pcm, events = synthesize(voice, settings, synthesis)
    words = [(e.text_position - 1, e.audio_position / 1000) for e in events if e.type == WORD]
    return to_float(pcm), words


def check_voice(voice: str | Voice) -> None:
    """Raises RealTalkError for a voice that espeak-ng does not have, or whose data are missing."""
    try:
        speak("ready", voice)
    except NothingToSay as error:
        name = voice if isinstance(voice, str) else voice.language
        raise RealTalkError(
            f"espeak-ng says nothing with its voice {name!r}, whose data are missing: use another"
        ) from error
