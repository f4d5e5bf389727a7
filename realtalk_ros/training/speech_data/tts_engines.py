# SPDX-License-Identifier: Apache-2.0
"""Speech synthesis engines that report when each phone is spoken.

espeak-ng reports phoneme starts, flite and Festival segment ends; all exactly.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import signal
from scipy.io import wavfile

from realtalk_ros.audio import espeak_library
from realtalk_ros.audio.pcm import to_float
from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import (
    LEVEL_HOP,
    Segment,
    Speech,
    level_between,
    level_db,
    make_speech,
)


@lru_cache(maxsize=1)
def espeak() -> Espeak:
    """The one engine of this process: the library holds global state and initialises once."""
    return Espeak()


class Espeak:
    """espeak-ng through its C library, with a phoneme event at the start of every phoneme.

    Use `espeak()`.
    """

    def __init__(self) -> None:
        self.rate = espeak_library.load_espeak()[1]

    def events(
        self,
        text: str,
        voice: str,
        words_per_minute: int = 175,
        pitch: int = 50,
        pitch_range: int = 50,
    ) -> tuple[np.ndarray, list[tuple[str, int, int]]]:
        """int16 PCM at `self.rate`, and (IPA, first sample, end sample) of every event."""
        settings = {
            espeak_library.RATE: words_per_minute, espeak_library.PITCH: pitch,
            espeak_library.RANGE: pitch_range,
        }  # fmt: skip
        pcm, events = espeak_library.synthesize(voice, settings, espeak_library.synthesis_of(text))
        phonemes = [e for e in events if e.type == espeak_library.PHONEME]
        ends = [e.sample for e in phonemes[1:]] + [len(pcm)]
        names = [e.id.decode("utf-8", "ignore") for e in phonemes]
        return pcm, [(n, e.sample, end) for n, e, end in zip(names, phonemes, ends, strict=True)]

    def pronounce(self, word: str, voice: str) -> list[str]:
        """The phones of one word."""
        return [p for name, _, _ in self.events(word, voice, 200)[1] for p in ph.from_ipa(name)]

    def words(self, text: str, voice: str) -> list[list[str]]:
        """Phones of each word of a text read as a whole: with numbers spoken out, and liaison."""
        words = to_ipa(voice, text)
        phones = [[p for name in word for p in ph.from_ipa(name)] for word in words]
        return [word for word in phones if word]

    def speak(self, text: str, voice: str, **prosody: int) -> Speech:
        """prosody: see `events`."""
        pcm, events = self.events(text, voice, **prosody)
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
            elif not name and level_between(level, s, e).mean() < peak - 25:
                segments.append([ph.SIL, s, e])
            elif segments:
                segments[-1][2] = e
        _move_stops_to_closure(segments, level, peak)
        return make_speech(to_16k(pcm, self.rate), segments, f"espeak/{voice}")


def to_ipa(voice: str, text: str) -> list[list[str]]:
    """The phonemes of each word of a text, in IPA. Raises RealTalkError."""
    library, _ = espeak_library.load_espeak()
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    rest = ctypes.c_char_p(text.encode())
    words: list[str] = []
    with espeak_library.LOCK:
        espeak_library.set_voice(library, voice)
        while rest.value:  # a clause at a time
            # UTF-8 in; IPA out, "_" between phonemes.
            ipa = library.espeak_TextToPhonemes(
                ctypes.byref(rest), espeak_library.UTF8, 2 | ord("_") << 8
            )
            words += (ipa or b"").decode("utf-8", "ignore").split()
    return [word.split("_") for word in words]


def _move_stops_to_closure(segments: list[list], level: np.ndarray, peak: float) -> None:
    """espeak-ng reports a voiceless stop at its burst; the closure is the quiet before it.

    The start goes back to where the level fell 18 dB below the neighbour's, at most 120 ms.
    """
    for before, here in itertools.pairwise(segments):
        if here[0] not in ph.STOPS or before[0] in ph.STOPS:
            continue
        s0, s1 = before[1], here[1]
        silent = before[0] == ph.SIL
        limit = max(s0 + (0 if silent else 0.35 * (s1 - s0)), s1 - 0.12)
        reference = peak if silent else level_between(level, s0, s1).max()
        k = int(s1 / LEVEL_HOP) - 1
        while k > 0 and k * LEVEL_HOP > limit and level[min(k, len(level) - 1)] < reference - 18:
            k -= 1
        boundary = max((k + 1) * LEVEL_HOP, s0)
        if boundary < s1:
            here[1] = before[2] = boundary


def to_16k(pcm: np.ndarray, rate: int) -> np.ndarray:
    """(n,) int16 at `rate` -> float32 at 16 kHz."""
    x = to_float(pcm)
    if rate == SAMPLE_RATE:
        return x
    divisor = np.gcd(SAMPLE_RATE, rate)
    return signal.resample_poly(x, SAMPLE_RATE // divisor, rate // divisor).astype(np.float32)


# The phone set of American English voices of Flite and Festival in ours.
_RADIO = {
    **{phone.lower(): phone for phone in ph.PHONES}, "pau": ph.SIL, "h#": ph.SIL, "ssil": ph.SIL,
    "brth": ph.SIL, "ax": "AH", "axr": "ER", "dx": "D", "ix": "IH", "nx": "N", "el": "L",
    "em": "M", "en": "N", "hv": "HH",
}  # fmt: skip


class Flite:
    """CMU Flite (Debian libflite1) through its C library; voices kal, kal16, awb, rms, slt."""

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
        """stretch: durations are times this; f0: mean pitch in Hz, of voices that allow it."""
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
                name = flite.item_feat_string(item, b"name").decode().lower()
                segments.append((_RADIO[name], at, end))
                at, item = end, flite.item_next(item)
            return make_speech(to_16k(pcm, wave.sample_rate), segments, f"flite/{voice}")
        finally:
            flite.delete_utterance(utterance)


# Phone sets of Festival's other voices; stress and length marks are cut off first.
_SHARED = {
    "#": ph.SIL, "_": ph.SIL, "pau": ph.SIL, "a": "AA", "e": "EH", "i": "IY", "o": "AO", "u": "UW",
    "j": "Y", **{letter: letter.upper() for letter in "pbmfvtdkgnlrszwy"},
}  # fmt: skip
# The lower lip of an [m] before f touches the teeth: it looks like a v.
_ITALIAN = _SHARED | {
    "E": "EH", "O": "AO", "S": "SH", "Z": "ZH", "ts": "T S", "tS": "CH", "dz": "D Z", "dZ": "JH",
    "J": "N", "ng": "NG", "nf": "V", "L": "L",
}  # fmt: skip
_CATALAN = _ITALIAN | {"ax": "AH", "rr": "R"}
_CZECH = _SHARED | {
    "c": "T S", "c~": "CH", "ch": "HH", "d~": "D", "t~": "T", "n~": "N", "n*": "NG", "dz": "D Z",
    "dz~": "JH", "h": "HH", "r~": "ZH", "r~*": "SH", "s~": "SH", "z~": "ZH",
}  # fmt: skip
_FINNISH = _SHARED | {
    "y": "UE", "@": "AE", "7": "OE", "&": "AH", "T": "TH", "S": "SH", "h": "HH", "N": "NG",
    "L": "L",
}  # fmt: skip
_RUSSIAN = _SHARED | {
    **{2 * letter: letter.upper() for letter in "pbmfvtdkgnlrsz"}, "a": "AH", "i": "IH", "y": "IH",
    "u": "UH", "ii": "IY", "yy": "IH", "uu": "UW", "ee": "EH", "oo": "AO", "aa": "AA", "ae": "AH",
    "ay": "IH", "ur": "UH", "c": "T S", "ch": "CH", "sh": "SH", "sch": "SH", "zh": "ZH",
    "h": "HH", "hh": "HH",
}  # fmt: skip
_INDIAN = _SHARED | {
    "a": "AH", "aa": "AA", "@": "AA", "ih": "IH", "iy": "IY", "uh": "UH", "uw": "UW", "eh": "EH",
    "ee": "EY", "ay": "AY", "oh": "AO", "oo": "OW", "aw": "AO", "ch": "CH", "T": "T", "D": "D",
    "N": "N", "th": "T", "dh": "D", "L": "L", "R": "R", "sh": "SH", "j": "JH", "h": "HH",
    "ksh": "K SH", "sri": "SH R IY", "x": ph.SIL, "kh": "K", "gh": "G", "td": "D", "tth": "T",
    "ddh": "D", "bh": "B", "zh": "JH", "y": "Y",
}  # fmt: skip


@dataclass(frozen=True)
class FestivalVoice:
    """One voice of Festival."""

    language: str
    package: str  # Debian's
    encoding: str  # of the text that it reads
    phones: dict[str, str]


# The Marathi voice reads Hindi: one script, and no corpus has a Marathi text.
FESTIVAL_VOICES = {
    "kal_diphone": FestivalVoice("en", "festvox-kallpc16k", "ascii", _RADIO),
    "ked_diphone": FestivalVoice("en", "festvox-kdlpc16k", "ascii", _RADIO),
    "lp_diphone": FestivalVoice("it", "festvox-italp16k", "latin-1", _ITALIAN),
    "pc_diphone": FestivalVoice("it", "festvox-itapc16k", "latin-1", _ITALIAN),
    "czech_dita": FestivalVoice("cs", "festvox-czech-dita", "iso8859-2", _CZECH),
    "czech_machac": FestivalVoice("cs", "festvox-czech-machac", "iso8859-2", _CZECH),
    "czech_ph": FestivalVoice("cs", "festvox-czech-ph", "iso8859-2", _CZECH),
    "czech_krb": FestivalVoice("cs", "festvox-czech-krb", "iso8859-2", _CZECH),
    "suo_fi_lj_diphone": FestivalVoice("fi", "festvox-suopuhe-lj", "latin-1", _FINNISH),
    "hy_fi_mv_diphone": FestivalVoice("fi", "festvox-suopuhe-mv", "latin-1", _FINNISH),
    "msu_ru_nsh_clunits": FestivalVoice("ru", "festvox-ru", "utf-8", _RUSSIAN),
    "hindi_NSK_diphone": FestivalVoice("hi", "festvox-hi-nsk", "utf-8", _INDIAN),
    "marathi_NSK_diphone": FestivalVoice("hi", "festvox-mr-nsk", "utf-8", _INDIAN),
    "cmu_us_slt_arctic_hts": FestivalVoice("en", "festvox-us-slt-hts", "ascii", _RADIO),
    "upc_ca_ona_hts": FestivalVoice("ca", "festvox-ca-ona-hts", "latin-1", _CATALAN),
}


class Festival:
    """Festival as a batch program: it loads a voice once and reads many texts.

    Raises RealTalkError where the program is missing.
    """

    def __init__(self) -> None:
        self._program = shutil.which("festival")
        if self._program is None:
            raise RealTalkError("festival is missing: apt-get install festival festvox-kallpc16k")

    def speak(self, texts: Sequence[str], voice: str, stretch: float = 1.0) -> Iterator[Speech]:
        """Speech of every text that the voice can read, in order.

        stretch: durations are times this. Raises RealTalkError where the voice is not installed.
        """
        known = FESTIVAL_VOICES[voice]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            script = folder / "run.scm"
            script.write_bytes(
                _festival_script(texts, voice, stretch, folder).encode(known.encoding, "ignore")
            )
            command = [self._program, "-b", script]
            with contextlib.suppress(subprocess.TimeoutExpired):  # what it has finished is good
                subprocess.run(command, capture_output=True, timeout=600, check=False)
            if not (folder / "ready").exists():
                raise RealTalkError(f"festival has no voice {voice}: apt-get install "
                                    f"{known.package}")  # fmt: skip
            for i in range(len(texts)):
                wave, labels = folder / f"{i}.wav", folder / f"{i}.lab"
                if labels.is_file() and wave.is_file():
                    segments = _festival_segments(labels.read_text("latin-1"), known.phones)
                    if segments:
                        rate, pcm = wavfile.read(wave)
                        yield make_speech(to_16k(pcm, rate), segments, f"festival/{voice}")


def _festival_script(texts: Sequence[str], voice: str, stretch: float, folder: Path) -> str:
    """Festival commands that write <i>.wav and <i>.lab of each text."""
    lines = [f"(voice_{voice})", f"(Parameter.set 'Duration_Stretch {stretch:.3f})",
             f'(system "touch {folder}/ready")']  # fmt: skip
    for i, text in enumerate(texts):
        text = re.sub(r'["\\]', " ", text)
        lines.append(
            f'(unwind-protect (begin (set! u (utt.synth (Utterance Text "{text}")))'
            f'(utt.save.wave u "{folder}/{i}.wav" \'riff)'
            f'(utt.save.segs u "{folder}/{i}.lab")))'
        )
    return "\n".join(lines)


def _festival_segments(labels: str, phones: dict[str, str]) -> list[Segment]:
    """Of lines `end, number, phone`; [] where a phone is unknown."""
    segments, at = [], 0.0
    for line in labels.splitlines():
        fields = line.split()
        if len(fields) != 3:
            continue
        end, name = float(fields[0]), fields[2]
        names = (phones.get(name) or phones.get(name.rstrip("0123456789:")) or "").split()
        if not names:
            return []
        for i, phone in enumerate(names):
            step = (end - at) / len(names)
            segments.append((phone, at + i * step, at + (i + 1) * step))
        at = end
    return segments
