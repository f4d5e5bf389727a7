# SPDX-License-Identifier: Apache-2.0
"""espeak-ng's C library: found, initialised once in a process, and called by one thread at a time.

The numbers are those of speak_lib.h of espeak-ng 1.51.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.audio.espeak_voices import Voice, Voices
from realtalk_ros.errors import RealTalkError

LOCK = threading.RLock()  # the library holds one global state
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
END, WORD, PHONEME = 0, 1, 7  # espeak_EVENT_TYPE
UTF8 = 1  # espeakCHARS_UTF8
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT
# espeakINITIALIZE_DONT_EXIT: missing data are an error, they do not end the process
_DONT_EXIT = 0x8000
# espeakINITIALIZE: also events of phonemes, in IPA (training/speech_data/tts_engines.py)
_PHONEMES = 1 | 2


class Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),  # the IPA of a phoneme
    ]


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(Event)
)  # t_espeak_callback


def synthesize(
    voice: str | Voice, settings: dict[int, int], synthesis: Callable[[ctypes.CDLL], int]
) -> tuple[np.ndarray, list[Event]]:
    """Runs a synthesis of the library, which returns its status, with a voice and settings (by
    espeak_PARAMETER). Returns samples, int16 (n,), and what happens in them. Raises RealTalkError.
    """
    library, _ = load_espeak()
    parts: list[bytes] = []
    events: list[Event] = []

    @_CALLBACK
    def collect(samples: int | None, count: int, found: ctypes.Array[Event]) -> int:
        if samples and count > 0:
            parts.append(ctypes.string_at(samples, 2 * count))
        i = 0
        while found and found[i].type != END:
            events.append(Event.from_buffer_copy(found[i]))
            i += 1
        return 0  # go on

    with LOCK:
        set_voice(library, voice)
        for parameter, value in settings.items():
            library.espeak_SetParameter(parameter, value, 0)
        library.espeak_SetSynthCallback(collect)
        status = synthesis(library)
        library.espeak_Synchronize()
    if status != 0:
        raise RealTalkError(f"espeak-ng failed with status {status}: try a shorter text")
    return np.frombuffer(b"".join(parts), np.int16), events


def synthesis_of(text: str) -> Callable[[ctypes.CDLL], int]:
    """What `synthesize` runs to speak a text."""
    data = text.encode() + b"\0"
    size = ctypes.c_size_t(len(data))
    return lambda library: library.espeak_Synth(data, size, 0, 1, 0, UTF8, None, None)


@lru_cache(maxsize=1)
def voices() -> Voices:
    """The voices of the installed espeak-ng. Raises RealTalkError if it is not installed."""
    with LOCK:
        return Voices(load_espeak()[0])


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
    """The library, initialised once in a process, and its sample rate, Hz. Raises RealTalkError if
    it is not installed."""
    for library_path, data_path in _library_paths():
        try:
            library = ctypes.CDLL(library_path)
        except OSError:
            continue
        options = _PHONEMES | _DONT_EXIT
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data_path, options)
        if rate > 0:
            return library, rate
    raise RealTalkError(
        "espeak-ng is not installed, so text cannot be spoken: "
        f"{install_hints.how_to_install('espeakng_loader')}"
    )
