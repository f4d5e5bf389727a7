"""Speech synthesis engines that tell when each phone is spoken (training side).

espeak-ng tells phoneme starts, flite segment ends; both exactly.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

import numpy as np
from scipy import signal

from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression import phones as ph
from realtalk_ros.expression.speech_set import (
    LEVEL_HOP,
    RATE,
    Speech,
    between,
    finish,
    level_db,
)  # fmt: skip


class _EspeakEvent(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    class Id(ctypes.Union):
        _fields_ = [
            ("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8),
        ]  # fmt: skip

    _fields_ = [
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int), ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", Id),
    ]  # fmt: skip


@lru_cache(maxsize=1)
def espeak() -> Espeak:
    """The one engine of this process: the library holds global state and initialises once."""
    return Espeak()


class Espeak:
    """espeak-ng through its C library, with a phoneme event at the start of every phoneme.

    Use `espeak()`.
    """

    _EVENT_END, _EVENT_PHONEME = 0, 7
    _RATE, _PITCH, _RANGE = 1, 3, 4
    _CALLBACK = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_EspeakEvent)
    )

    def __init__(self) -> None:
        try:
            self._library, data = ctypes.CDLL("libespeak-ng.so.1"), None
        except OSError:
            try:
                import espeakng_loader
            except ImportError as error:
                raise RealTalkError(
                    "espeak-ng is missing: pip install 'realtalk_ros[train]' or apt-get install "
                    "libespeak-ng1"
                ) from error
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
            data = espeakng_loader.get_data_path().encode()
        # Synchronous; phoneme events, in IPA; do not exit where data is missing.
        self.rate = self._library.espeak_Initialize(2, 0, data, 1 | 2 | 0x8000)
        if self.rate <= 0:
            raise RealTalkError("espeak-ng could not be initialised: reinstall it with its data")
        self._parts: list[bytes] = []
        self._events: list[tuple[str, int]] = []
        self._callback = self._CALLBACK(self._collect)  # the library keeps only its address
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, wav: int | None, count: int, events) -> int:
        if wav and count > 0:
            self._parts.append(ctypes.string_at(wav, 2 * count))
        i = 0
        while events[i].type != self._EVENT_END:
            if events[i].type == self._EVENT_PHONEME:
                offset = ctypes.addressof(events[i]) + _EspeakEvent.id.offset
                name = ctypes.string_at(offset, 8).split(b"\0")[0].decode("utf-8", "ignore")
                self._events.append((name, events[i].sample))
            i += 1
        return 0

    def events(
        self, text: str, voice: str, words_per_minute: int = 175, pitch: int = 50, swing: int = 50
    ) -> tuple[np.ndarray, list[tuple[str, int, int]]]:
        """int16 PCM at `self.rate`, and (IPA, first sample, end sample) of every event."""
        library = self._library
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RealTalkError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in (
            (self._RATE, words_per_minute), (self._PITCH, pitch), (self._RANGE, swing),
        ):  # fmt: skip
            library.espeak_SetParameter(parameter, int(value), 0)
        self._parts, self._events = [], []
        data = text.encode("utf-8") + b"\0"
        library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 1, 0, 1, None, None)
        library.espeak_Synchronize()
        pcm = np.frombuffer(b"".join(self._parts), "<i2")
        ends = [start for _, start in self._events[1:]] + [len(pcm)]
        return pcm, [(n, s, e) for (n, s), e in zip(self._events, ends, strict=True)]

    def pronounce(self, word: str, voice: str) -> list[str]:
        return [p for name, _, _ in self.events(word, voice, 200)[1] for p in ph.from_ipa(name)]

    def speak(self, text: str, voice: str, *args: int) -> Speech:
        pcm, events = self.events(text, voice, *args)
        scale = 1 / self.rate
        level = level_db(pcm, self.rate)
        peak = float(np.percentile(level, 95)) if len(level) else 0.0
        segments: list[list] = [[ph.SIL, 0.0, events[0][1] * scale]] if events else []
        for name, start, end in events:
            names = ph.from_ipa(name)
            s, e = start * scale, end * scale
            if e <= s:
                continue
            if names:
                for i, phone in enumerate(names):
                    step = (e - s) / len(names)
                    segments.append([phone, s + i * step, s + (i + 1) * step])
            elif not name and between(level, s, e).mean() < peak - 25:
                segments.append([ph.SIL, s, e])
            elif segments:
                segments[-1][2] = e
        _move_stops_to_closure(segments, level, peak)
        return finish(to_16k(pcm, self.rate), segments, f"espeak/{voice}")


def _move_stops_to_closure(segments: list[list], level: np.ndarray, peak: float) -> None:
    """espeak-ng's event of a voiceless stop fires at the burst; the closure is the quiet before it.

    The start goes back to where the level fell 18 dB under the neighbour's, at most 120 ms.
    """
    for before, here in zip(segments, segments[1:], strict=False):
        if here[0] not in ph.STOPS or before[0] in ph.STOPS:
            continue
        s0, s1 = before[1], here[1]
        silent = before[0] == ph.SIL
        limit = max(s0 + (0 if silent else 0.35 * (s1 - s0)), s1 - 0.12)
        reference = peak if silent else between(level, s0, s1).max()
        k = int(s1 / LEVEL_HOP) - 1
        while k > 0 and k * LEVEL_HOP > limit and level[min(k, len(level) - 1)] < reference - 18:
            k -= 1
        boundary = max((k + 1) * LEVEL_HOP, s0)
        if boundary < s1:
            here[1] = before[2] = boundary


def to_16k(pcm: np.ndarray, rate: int) -> np.ndarray:
    x = pcm.astype(np.float32) / 32768
    if rate == RATE:
        return x
    g = np.gcd(RATE, rate)
    return signal.resample_poly(x, RATE // g, rate // g).astype(np.float32)


class Flite:
    """CMU Flite (Debian libflite1) through its C library; voices kal, kal16, awb, rms, slt."""

    _NAMES = {
        "PAU": ph.SIL, "SSIL": ph.SIL, "H#": ph.SIL, "AX": "AH", "AXR": "ER", "DX": "D",
        "IX": "IH", "NX": "N", "EL": "L", "EM": "M", "EN": "N", "HV": "HH",
    }  # fmt: skip

    class _Wave(ctypes.Structure):
        _fields_ = [
            ("type", ctypes.c_char_p), ("sample_rate", ctypes.c_int),
            ("num_samples", ctypes.c_int), ("num_channels", ctypes.c_int),
            ("samples", ctypes.POINTER(ctypes.c_short)),
        ]  # fmt: skip

    class _Voice(ctypes.Structure):
        _fields_ = [("name", ctypes.c_char_p), ("features", ctypes.c_void_p)]

    def __init__(self) -> None:
        try:
            self._flite = ctypes.CDLL("libflite.so.1", ctypes.RTLD_GLOBAL)
            for part in ("cmulex", "usenglish"):
                ctypes.CDLL(f"libflite_{part}.so.1", ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise RealTalkError("flite is missing: apt-get install libflite1") from error
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        for name, result, arguments in (
            ("flite_synth_text", pointer, [text, pointer]),
            ("utt_wave", ctypes.POINTER(self._Wave), [pointer]),
            ("utt_relation", pointer, [pointer, text]),
            ("relation_head", pointer, [pointer]),
            ("item_next", pointer, [pointer]),
            ("item_feat_string", text, [pointer, text]),
            ("item_feat_float", ctypes.c_float, [pointer, text]),
            ("delete_utterance", None, [pointer]),
            ("feat_set_float", None, [pointer, text, ctypes.c_float]),
        ):
            function = getattr(self._flite, name)
            function.restype, function.argtypes = result, arguments
        self._flite.flite_init()
        self._voices: dict[str, ctypes._Pointer] = {}

    def speak(self, text: str, voice: str, stretch: float = 1.0, f0: float | None = None) -> Speech:
        if voice not in self._voices:
            library = ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1")
            register = getattr(library, f"register_cmu_us_{voice}")
            register.restype = ctypes.POINTER(self._Voice)
            register.argtypes = [ctypes.c_void_p]
            self._voices[voice] = register(None)
        flite, loaded = self._flite, self._voices[voice]
        features = loaded.contents.features
        flite.feat_set_float(features, b"duration_stretch", stretch)
        if f0:
            flite.feat_set_float(features, b"int_f0_target_mean", f0)
        utterance = flite.flite_synth_text(text.encode("ascii", "ignore"), loaded)
        try:
            wave = flite.utt_wave(utterance).contents
            pcm = np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).copy()
            segments, at = [], 0.0
            item = flite.relation_head(flite.utt_relation(utterance, b"Segment"))
            while item:
                end = flite.item_feat_float(item, b"end")
                name = flite.item_feat_string(item, b"name").decode().upper()
                segments.append((self._NAMES.get(name, name), at, end))
                at, item = end, flite.item_next(item)
            return finish(to_16k(pcm, wave.sample_rate), segments, f"flite/{voice}")
        finally:
            flite.delete_utterance(utterance)
