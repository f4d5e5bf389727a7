# SPDX-License-Identifier: Apache-2.0
"""Text to speech through espeak-ng's C library."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.audio import unicode_scripts
from realtalk_ros.audio.espeak_voices import Voice, Voices
from realtalk_ros.errors import RealTalkError

DEFAULT_VOICE = "en-us"
MIN_SPEED, MAX_SPEED = 80, 450  # words a minute
MIN_PITCH, MAX_PITCH = 0, 99
MAX_TEXT = 200_000  # characters spoken at once; text_to_speech.py speaks sentence by sentence


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),  # 0 ends the list, 1 is a word
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


class NothingToSay(RealTalkError):
    """The text has nothing that the voice can say."""


def check_words(text: str) -> None:
    """Raises NothingToSay for a text without a word, such as emoji or punctuation alone."""
    if not unicode_scripts.has_words(text):
        raise NothingToSay("there is no text to speak: give at least one word")


def check_numbers(words_per_minute: float, pitch: float) -> None:
    """Raises RealTalkError for a speed or pitch out of range."""
    for what, number, low, high in (
        ("words a minute", words_per_minute, MIN_SPEED, MAX_SPEED),
        ("pitch", pitch, MIN_PITCH, MAX_PITCH),
    ):
        if not low <= number <= high:  # NaN too
            raise RealTalkError(f"{what} {number:g}: give {low} to {high}")


class Espeak:
    """Speaks texts.

    espeak-ng is a separate program under the GPL, version 3, and not part of this package. It is
    used if it is installed: the system's libespeak-ng, else that of the wheel `espeakng-loader`.
    """

    # speak_lib.h of espeak-ng 1.51
    _SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT
    # espeakINITIALIZE_DONT_EXIT: missing data are an error, they do not end the process
    _DONT_EXIT = 0x8000
    # espeakINITIALIZE: also events of phonemes, in IPA (training/speech_data/tts_engines.py)
    _PHONEMES = 1 | 2
    _UTF8 = 1  # espeakCHARS_UTF8
    _RATE, _PITCH = 1, 3  # espeak_PARAMETER
    _CALLBACK = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
    )

    def __init__(self) -> None:
        """Raises RealTalkError if espeak-ng is not installed."""
        self._library, self.sample_rate = load_espeak()
        self._parts: list[bytes] = []
        self._words: list[tuple[int, float]] = []
        self._callback = self._CALLBACK(self._collect)  # kept: the library has only its address

    def speak(
        self,
        text: str,
        voice: str | Voice = DEFAULT_VOICE,
        words_per_minute: int = 165,
        pitch: int = 50,
    ) -> tuple[np.ndarray, int]:
        """Speaks a text. Returns samples, float32 (n,) in [-1, 1], and their rate in Hz (22050).

        voice: a name of espeak-ng, with a variant if wanted ("en-us", "de", "fr+f3").
        words_per_minute: 80 to 450. pitch: 0 to 99.
        Raises NothingToSay for a text without anything to say, RealTalkError for an unknown voice
        or a number out of range.
        """
        return self.speak_words(text, voice, words_per_minute, pitch)[:2]

    def speak_words(
        self,
        text: str,
        voice: str | Voice = DEFAULT_VOICE,
        words_per_minute: int = 165,
        pitch: int = 50,
    ) -> tuple[np.ndarray, int, list[tuple[int, float]]]:
        """As `speak`; also returns, for each word, its offset in the text and when it begins, s."""
        cleaned, offsets = unicode_scripts.speakable(text)
        check_words(cleaned)
        if len(cleaned) > MAX_TEXT:
            raise RealTalkError(f"{len(cleaned)} characters are too long: give at most {MAX_TEXT}")
        data = cleaned.encode() + b"\0"
        pcm, words = self._synthesize(
            voice, words_per_minute, pitch,
            lambda: self._library.espeak_Synth(
                data, ctypes.c_size_t(len(data)), 0, 1, 0, self._UTF8, None, None
            ),
        )  # fmt: skip
        if not pcm.any():
            raise NothingToSay(f"espeak-ng finds nothing to say in {text[:40]!r}: give words")
        last = len(offsets) - 1
        return pcm, self.sample_rate, [(offsets[min(max(0, i), last)], s) for i, s in words]

    def spell(
        self, character: str, voice: str | Voice, words_per_minute: int = 165, pitch: int = 50
    ) -> np.ndarray:
        """Speaks the name of one character (with its accents), such as "dot": float32 (n,)."""
        cleaned = unicode_scripts.speakable(character)[0].strip()
        # espeak_Char would add "capital" to letters, and the names of some scripts.
        if not cleaned or cleaned[0].isalnum():
            return self.speak_words(cleaned, voice, words_per_minute, pitch)[0]
        pcm, _ = self._synthesize(
            voice, words_per_minute, pitch,
            lambda: self._library.espeak_Char(ctypes.c_wchar(cleaned[0])),
        )  # fmt: skip
        if not pcm.any():
            raise NothingToSay(f"espeak-ng has no name for {character[:1]!r}: leave it out")
        return pcm

    def _synthesize(
        self,
        voice: str | Voice,
        words_per_minute: float,
        pitch: float,
        synthesis: Callable[[], int],
    ) -> tuple[np.ndarray, list[tuple[int, float]]]:
        """Samples, float32 (n,), and the offset and time, s, of each word."""
        check_numbers(words_per_minute, pitch)
        with _ESPEAK_LOCK:  # the library holds one global state
            set_voice(self._library, voice)
            self._library.espeak_SetParameter(self._RATE, int(words_per_minute), 0)
            self._library.espeak_SetParameter(self._PITCH, int(pitch), 0)
            self._library.espeak_SetSynthCallback(self._callback)
            self._parts, self._words = [], []
            status = synthesis()
            self._library.espeak_Synchronize()
            pcm, self._parts = np.frombuffer(b"".join(self._parts), np.int16), []
            words, self._words = self._words, []
        if status != 0:
            raise RealTalkError(f"espeak-ng failed with status {status}: try a shorter text")
        return pcm.astype(np.float32) / 32768.0, words

    def _collect(self, samples: Any, count: int, events: Any) -> int:
        """Keeps samples and words: the library's callback, a t_espeak_callback of speak_lib.h."""
        if samples and count > 0:
            self._parts.append(ctypes.string_at(samples, 2 * count))
        i = 0
        while events and events[i].type:
            if events[i].type == 1:
                self._words.append((events[i].text_position - 1, events[i].audio_position / 1000))
            i += 1
        return 0  # go on


_ESPEAK_LOCK = threading.RLock()


@lru_cache(maxsize=1)
def voices() -> Voices:
    """The voices of the installed espeak-ng. Raises RealTalkError if it is not installed."""
    with _ESPEAK_LOCK:
        return Voices(load_espeak()[0])


def check_voice(voice: str | Voice) -> None:
    """Raises RealTalkError for a voice that espeak-ng does not have, or whose data are missing."""
    try:
        Espeak().speak("ready", voice)
    except NothingToSay as error:
        name = voice if isinstance(voice, str) else voice.language
        raise RealTalkError(
            f"espeak-ng says nothing with its voice {name!r}, whose data are missing: use another"
        ) from error


def set_voice(library: ctypes.CDLL, voice: str | Voice) -> None:
    """Makes `library` speak with a voice of its list. Raises RealTalkError for another."""
    found = voices().find(voice) if isinstance(voice, str) else voice
    if library.espeak_SetVoiceByName(found.name.encode()) != 0:
        raise RealTalkError(
            f"espeak-ng cannot load its voice {found.name!r}: install espeak-ng-data anew, "
            "or use another voice"
        )


@lru_cache(maxsize=1)
def _library_paths() -> list[tuple[str, bytes | None]]:
    """Paths of the library and its data (None: the default), the system's first.

    Looked up once: after the wheel's library is loaded it answers to the system's name, and would
    look for its data where there are none.
    """
    paths: list[tuple[str, bytes | None]] = []
    try:
        ctypes.CDLL("libespeak-ng.so.1")
        paths.append(("libespeak-ng.so.1", None))
    except OSError:
        pass
    try:
        import espeakng_loader

        paths.append((espeakng_loader.get_library_path(), espeakng_loader.get_data_path().encode()))
    except (ImportError, OSError):
        pass
    return paths


@lru_cache(maxsize=1)
def load_espeak() -> tuple[ctypes.CDLL, int]:
    """The library, initialised once in a process, and its sample rate, Hz. Its state is global and
    shared: set the callback before every synthesis. Raises RealTalkError if it is not installed."""
    for library_path, data_path in _library_paths():
        try:
            library = ctypes.CDLL(library_path)
        except OSError:
            continue
        options = Espeak._PHONEMES | Espeak._DONT_EXIT
        rate = library.espeak_Initialize(Espeak._SYNCHRONOUS, 0, data_path, options)
        if rate > 0:
            return library, rate
    raise RealTalkError(
        "espeak-ng is not installed, so text cannot be spoken: "
        f"{install_hints.how_to_install('espeakng_loader')}"
    )
