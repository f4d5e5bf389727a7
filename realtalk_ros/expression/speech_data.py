"""Speech with phone times, from engines and real recordings anyone can install (training side).

Synthetic speech: espeak-ng (exact phoneme events) and flite (exact segment ends). Real speech: the
Asterisk prompts of Debian, aligned to their transcripts by pocketsphinx's English model; for other
languages espeak-ng says how a word sounds. Everything ends as `Speech` and is cached as log-mel.
"""

from __future__ import annotations

import ctypes
import gzip
import json
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import signal
from tqdm import tqdm

from realtalk_ros import audio
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression import phones as ph

RATE = audio.SAMPLE_RATE
Segment = tuple[str, float, float]  # phone, start s, end s


@dataclass
class Speech:
    pcm: np.ndarray  # (n,) float32 at 16 kHz
    segments: list[Segment]  # contiguous from 0 to the end
    source: str  # corpus or engine, and voice: what held-out sets are split by


# ---------------------------------------------------------------- texts

_SENTENCES = """
My mother bought a big bunch of purple balloons for the baby.
Please put the paper back in the box before five.
Five very fine voices have filled the vast valley.
We would wonder why the woman wore wool in warm weather.
Show me the shiny shoes she chose for the church.
The quick brown fox jumps over the lazy dog.
People who move to the moon must remember to bring milk.
Good morning, how are you today, and what may I do for you?
The robot opened the door and walked slowly into the kitchen.
I think that three thousand thin threads are enough.
He saw the sea and said so to his sister Susan.
Bob paid Pam a penny for a pumpkin pie and a map.
Our boat floats over the old stone bridge at noon.
Yes, you may use the yellow yacht this year.
Could you look at the book which I took from the hook?
It has been a long night, and everyone wants to sleep.
Far away from the farm a family of foxes found food.
Maybe tomorrow we may meet my uncle by the lamp.
Turn left at the corner, then go straight for two hundred meters.
The temperature will reach twenty five degrees by afternoon.
Who knew that blue glue could do such damage to a shoe?
Wait a moment, I am looking for your appointment.
A happy puppy jumped up and grabbed the apple.
They have never seen such a heavy stove above the cave.
George and Jane enjoyed the orange juice on the large bridge.
Leave the light on until we all arrive.
Nobody knows when the next train to the mountains will come.
Boys and girls enjoy noisy toys.
How now, brown cow, standing on the ground outside the house?
Each cheap chair matches the kitchen.
""".strip().splitlines()

# Open syllables spoken by any voice: labials in all contexts, which ordinary text has too few of.
_ONSETS = "p b m f v w t d s z k g l n r sh ch pl br fr sp st sm".split()
_NUCLEI = "a e i o u ai ou oi ee oo".split()
_CODAS = ["", "", "", "p", "m", "b", "f", "v", "n", "s", "t", "l", "k"]


def pseudo_sentence(rng: random.Random) -> str:
    def word() -> str:
        syllables = rng.choice((1, 1, 2, 2, 3))
        return "".join(rng.choice(_ONSETS) + rng.choice(_NUCLEI) for _ in range(syllables)) + (
            rng.choice(_CODAS)
        )

    words = [word() for _ in range(rng.randint(4, 9))]
    if rng.random() < 0.5:
        words[len(words) // 2] += ","
    return " ".join(words) + "."


def english_sentences() -> list[str]:
    return list(_SENTENCES)


# ---------------------------------------------------------------- espeak-ng


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
        level = _level_db(pcm, self.rate)
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
            elif not name and _between(level, s, e).mean() < peak - 25:
                segments.append([ph.SIL, s, e])
            elif segments:
                segments[-1][2] = e
        _move_stops_to_closure(segments, level, peak)
        return _finish(_to_16k(pcm, self.rate), segments, f"espeak/{voice}")


_LEVEL_HOP = 0.005  # s


def _level_db(pcm: np.ndarray, rate: int) -> np.ndarray:
    hop = int(rate * _LEVEL_HOP)
    blocks = pcm[: len(pcm) // hop * hop].astype(np.float64).reshape(-1, hop)
    return 10 * np.log10((blocks**2).mean(axis=1) + 0.1)


def _between(level: np.ndarray, start: float, end: float) -> np.ndarray:
    i = min(int(start / _LEVEL_HOP), len(level) - 1)
    return level[i : max(int(end / _LEVEL_HOP), i + 1)]


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
        reference = peak if silent else _between(level, s0, s1).max()
        k = int(s1 / _LEVEL_HOP) - 1
        while k > 0 and k * _LEVEL_HOP > limit and level[min(k, len(level) - 1)] < reference - 18:
            k -= 1
        boundary = max((k + 1) * _LEVEL_HOP, s0)
        if boundary < s1:
            here[1] = before[2] = boundary


def _to_16k(pcm: np.ndarray, rate: int) -> np.ndarray:
    x = pcm.astype(np.float32) / 32768
    if rate == RATE:
        return x
    g = np.gcd(RATE, rate)
    return signal.resample_poly(x, RATE // g, rate // g).astype(np.float32)


def _finish(pcm: np.ndarray, segments: Iterable, source: str) -> Speech:
    """Contiguous, positive segments from 0 to the end of the PCM; neighbouring silences merged."""
    end = len(pcm) / RATE
    out: list[Segment] = []
    at = 0.0
    for phone, s, e in segments:
        if s > at + 1e-4:
            out.append((ph.SIL, at, s))
        s, e = max(s, at), min(e, end)
        if e <= s:
            continue
        if phone == ph.SIL and out and out[-1][0] == ph.SIL:
            out[-1] = (ph.SIL, out[-1][1], e)
        else:
            out.append((phone, s, e))
        at = e
    if end > at:
        out.append((ph.SIL, at, end))
    return Speech(pcm, out, source)


# ---------------------------------------------------------------- flite


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
            return _finish(_to_16k(pcm, wave.sample_rate), segments, f"flite/{voice}")
        finally:
            flite.delete_utterance(utterance)


# ---------------------------------------------------------------- real recordings


class Aligner:
    """Forced alignment with pocketsphinx's bundled en-US acoustic model, for any language.

    A word that its dictionary lacks, and every word of another language, is spelled by espeak-ng;
    the model then hears it with the nearest English phones.
    """

    _TO_ENGLISH = {"UE": "UW", "OE": "ER"}
    _PAD = int(0.2 * RATE)  # silence at both ends: the model wants some

    def __init__(self, espeak: Espeak) -> None:
        import pocketsphinx

        self._decoder = pocketsphinx.Decoder(
            samprate=RATE, bestpath=False, loglevel="FATAL", backtrace=False,
            beam=1e-80, wbeam=1e-60, pbeam=1e-80,
        )  # fmt: skip
        self._espeak = espeak
        self._spelled: dict[tuple[str, str], str | None] = {}
        self._phones: dict[str, list[str]] = {}

    def _word(self, word: str, voice: str) -> str | None:
        """The decoder's name of a word, or None for one that has no sound."""
        if voice.startswith("en") and self._decoder.lookup_word(word) is not None:
            return word
        key = (word, voice)
        if key not in self._spelled:
            spelled = self._espeak.pronounce(word, voice)
            self._spelled[key] = None
            if spelled:
                name = f"x{len(self._spelled)}x"
                english = " ".join(self._TO_ENGLISH.get(p, p) for p in spelled)
                self._decoder.add_word(name, english, True)
                self._spelled[key] = name
                self._phones[name] = spelled
        return self._spelled[key]

    def align(self, pcm: np.ndarray, text: str, voice: str) -> tuple[list[Segment], float] | None:
        """Segments and the mean acoustic score a frame; None where the decoder found no path."""
        text = re.sub(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>", " ", text.lower().replace("’", "'"))
        words = [self._word(w, voice) for w in re.findall(r"[^\W_]+(?:'[^\W\d_]+)*", text)]
        words = [w for w in words if w]
        if not words:
            return None
        loud = pcm * (0.2 / max(float(np.abs(pcm).max()), 1e-4))
        padded = np.concatenate([np.zeros(self._PAD), loud * 3, np.zeros(self._PAD)])
        # A little noise: digital silence has no meaningful cepstrum.
        padded += np.random.default_rng(0).normal(0, 2e-4, len(padded))
        raw = (np.clip(padded, -1, 1) * 32767).astype("<i2").tobytes()
        decoder = self._decoder
        decoder.set_align_text(" ".join(words))
        self._decode(raw)
        if decoder.hyp() is None:
            return None
        try:
            decoder.set_alignment()
        except RuntimeError:
            return None
        self._decode(raw)
        alignment = decoder.get_alignment()
        if alignment is None:
            return None
        segments, score, frames = [], 0.0, 0
        offset = self._PAD / RATE
        for word in alignment:
            found = list(word)
            known = self._phones.get(word.name)
            for i, phone in enumerate(found):
                name = phone.name if phone.name in ph.PHONE_INDEX else ph.SIL
                if known and len(known) == len(found):
                    name = known[i]  # espeak-ng's own phone: rounding that English lacks
                start = phone.start / 100 - offset
                segments.append((name, start, start + phone.duration / 100))
                if name != ph.SIL:
                    score += phone.score
                    frames += phone.duration
        segments = [(p, max(s, 0.0), e) for p, s, e in segments if e > 0]
        return segments, score / max(frames, 1)

    def _decode(self, raw: bytes) -> None:
        self._decoder.start_utt()
        self._decoder.process_raw(raw, full_utt=True)
        self._decoder.end_utt()


def trustworthy(speech: Speech) -> bool:
    """Whether an alignment is consistent with its sound: loud vowels, quiet silences, few stubs."""
    level = _level_db(speech.pcm * 32768, RATE)
    peak = np.percentile(level, 95)
    spoken = [s for s in speech.segments if s[0] != ph.SIL]
    if len(spoken) < 3 or len(level) < 20:
        return False
    vowels = [_between(level, s, e).mean() for p, s, e in spoken if p in ph.VOWELS]
    silences = [_between(level, s, e).mean() for p, s, e in speech.segments
                if p == ph.SIL and e - s > 0.1]  # fmt: skip
    stubs = np.mean([e - s <= 0.031 for _, s, e in spoken])
    longest = max(e - s for _, s, e in spoken)
    quiet_vowels = np.mean([v < peak - 22 for v in vowels]) if vowels else 1.0
    loud_silences = np.mean([v > peak - 12 for v in silences]) if silences else 0.0
    return bool(quiet_vowels < 0.2 and loud_silences < 0.34 and stubs < 0.5 and longest < 0.8)


# Debian packages with real speech: name -> (language of espeak-ng, transcript package).
ASTERISK = {f"asterisk-core-sounds-{code}-g722": code for code in ("en", "es", "fr", "it", "ru")}
_ESPEAK_NAME = {"en": "en-us", "es": "es-419"}


def asterisk_clips(root: Path) -> Iterator[tuple[str, str, str, Path]]:
    """(source, espeak voice, text, path) of every Asterisk prompt unpacked under `root`."""
    for package, code in ASTERISK.items():
        listing = (
            root
            / package.removesuffix("-g722")
            / (f"usr/share/doc/asterisk-core-sounds-{code}/core-sounds-{code}.txt.gz")
        )
        if not listing.is_file():
            continue
        texts = {}
        for line in gzip.decompress(listing.read_bytes()).decode("utf-8", "ignore").splitlines():
            name, colon, text = line.partition(":")
            if colon and not line.startswith(";") and re.search(r"\w", text):
                texts[name.strip()] = text.strip()
        for path in sorted((root / package).rglob("*.g722")):
            base = next((p for p in path.parents if p.parent.name == "sounds"), path.parent)
            name = str(path.relative_to(base).with_suffix(""))
            text = texts.get(name) or texts.get(path.stem)
            if text and not text.startswith(("[", "(")):
                yield f"asterisk/{code}", _ESPEAK_NAME.get(code, code), text, path


def read_g722(path: Path) -> np.ndarray:
    import av

    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768 if frames else np.zeros(0, np.float32)


def librivox_clips(root: Path) -> Iterator[tuple[str, Path]]:
    """(text, WAV path) of the five held-out clips of Debian's pocketsphinx-testdata."""
    for listing in sorted(root.rglob("librivox/transcription")):
        for line in listing.read_text().splitlines():
            text, _, name = line.rpartition("(")
            path = listing.parent / (name.rstrip(") ") + ".wav")
            if path.is_file():
                yield re.sub(r"</?s>", "", text).strip(), path


def align_clip(aligner: Aligner, pcm: np.ndarray, text: str, voice: str, source: str):
    """Speech with aligned segments, or None where the alignment cannot be trusted."""
    result = aligner.align(pcm, text, voice) if len(pcm) > RATE // 4 else None
    if result is None or result[1] < _WORST_SCORE:
        return None
    speech = _finish(pcm, result[0], source)
    return speech if trustworthy(speech) else None


_WORST_SCORE = -45.0  # a frame; wrong text has a median of about that, right text -31 (measured)


def align_corpus(root: Path, cache: Path, code: str, limit: int | None = None) -> list[dict]:
    """Aligns one Asterisk language; resumable: `cache` gets a JSON line a clip, bad ones null."""
    clips = [c for c in asterisk_clips(root) if c[0] == f"asterisk/{code}"]
    random.Random(1).shuffle(clips)
    clips = clips[:limit]
    done = {}
    if cache.is_file():
        for line in cache.read_text().splitlines():
            try:
                row = json.loads(line)
            except json.JSONDecodeError:  # cut off by an interrupt: done again
                continue
            done[row["path"]] = row
    missing = [c for c in clips if str(c[3]) not in done]
    if missing:
        cache.parent.mkdir(parents=True, exist_ok=True)
        aligner = Aligner(espeak())
        with open(cache, "a") as file:
            for source, voice, text, path in tqdm(missing, f"align {code}", unit="clip"):
                speech = align_clip(aligner, read_g722(path), text, voice, source)
                row = {"path": str(path), "segments": speech.segments if speech else None}
                done[str(path)] = row
                file.write(json.dumps(row) + "\n")
                file.flush()
    return [done[str(c[3])] for c in clips]


# ---------------------------------------------------------------- augmentation


def _coloured_noise(n: int, exponent: float, rng: np.random.Generator) -> np.ndarray:
    """(n,) noise of unit power, its spectrum falling as 1 / f^exponent (0 white, 2 brown)."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    frequency = np.maximum(np.arange(len(spectrum)) / n, 30 / RATE)
    x = np.fft.irfft(spectrum * frequency ** (-exponent / 2), n)
    return x / max(x.std(), 1e-9)


def _music(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) chords of decaying harmonic tones, unit power: what must not move the lips."""
    t = np.arange(n) / RATE
    out = np.zeros(n)
    at = 0.0
    while at < n / RATE:
        length = rng.uniform(0.15, 1.2)
        here = (t >= at) & (t < at + length)
        local = t[here] - at
        for _ in range(rng.integers(1, 4)):
            pitch = 110 * 2 ** (rng.integers(0, 36) / 12)
            for harmonic in range(1, rng.integers(2, 9)):
                if pitch * harmonic < RATE / 2:
                    out[here] += np.sin(2 * np.pi * pitch * harmonic * local) * np.exp(
                        -local * rng.uniform(1, 6)
                    ) / harmonic  # fmt: skip
        at += length
    return out / max(out.std(), 1e-9)


def noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) float32 non-speech sound of unit power: steady, swelling, hum, music or clicks."""
    kind = rng.choice(5, p=[0.4, 0.2, 0.1, 0.2, 0.1])
    x = _coloured_noise(n, rng.uniform(0, 2), rng)
    t = np.arange(n) / RATE
    if kind == 1:  # swells, as of traffic or breath
        x *= 0.1 + np.abs(np.sin(2 * np.pi * rng.uniform(0.2, 3) * t + rng.uniform(0, 6)))
    elif kind == 2:
        mains = rng.choice([50, 60, 100, 120])
        x = 0.3 * x + sum(np.sin(2 * np.pi * mains * k * t) / k for k in range(1, 8))
    elif kind == 3:
        x = _music(n, rng) + 0.1 * x
    elif kind == 4:
        clicks = np.zeros(n)
        clicks[rng.integers(0, n, max(1, int(n / RATE * rng.uniform(1, 6))))] = 1
        ring = np.exp(-np.arange(800) / rng.uniform(20, 200)) * rng.standard_normal(800)
        x = 0.02 * x + 4 * np.convolve(clicks, ring)[:n]
    return (x / max(x.std(), 1e-9)).astype(np.float32)


def augment(speech: Speech, rng: np.random.Generator) -> Speech:
    """The same words from another throat, microphone, room and line; times follow the speed."""
    x, segments = speech.pcm.astype(np.float64), speech.segments
    if rng.random() < 0.7:  # played faster or slower: pitch, formants and rate change together
        rate = int(RATE * rng.uniform(0.87, 1.15))
        x = _resample(x, rate)
        scale = rate / RATE
        segments = [(p, s * scale, e * scale) for p, s, e in segments]
    lead, tail = (int(RATE * rng.uniform(0.05, 0.7)) for _ in range(2))
    x = np.concatenate([np.zeros(lead), x, np.zeros(tail)])
    shift = lead / RATE
    segments = [(ph.SIL, 0.0, shift)] + [(p, s + shift, e + shift) for p, s, e in segments]
    power = max(float(np.sqrt((x**2).mean())), 1e-6)
    x /= power
    if rng.random() < 0.5:  # microphone: a random smooth response, up to about 10 dB
        knots = rng.normal(0, 5, 8)
        spectrum = np.fft.rfft(x)
        curve = np.interp(np.linspace(0, 7, len(spectrum)), np.arange(8), knots)
        x = np.fft.irfft(spectrum * 10 ** (curve / 20), len(x))
    if rng.random() < 0.4:  # room: direct sound, then decaying noise
        length = int(RATE * rng.uniform(0.1, 0.6))
        tail_response = rng.standard_normal(length) * np.exp(-6.9 * np.arange(length) / length)
        response = tail_response * rng.uniform(0.02, 0.12)
        response[0] = 1
        x = signal.fftconvolve(x, response)[: len(x)]
    if rng.random() < 0.7:
        x = x + noise(len(x), rng) * 10 ** (-rng.uniform(5, 40) / 20)
    if rng.random() < 0.35:  # line
        low, high = rng.uniform(50, 300), rng.uniform(3300, 7500)
        sos = signal.butter(4, [low, high], "bandpass", fs=RATE, output="sos")
        x = signal.sosfilt(sos, x)
    x *= 10 ** (rng.uniform(-38, -12) / 20)
    if rng.random() < 0.1:
        x = np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)  # mu-law, 8 bits
        x = np.round(np.clip(x, -1, 1) * 127) / 127
        x = np.sign(x) * (256 ** np.abs(x) - 1) / 255
    x = x + rng.standard_normal(len(x)) * 10 ** (-rng.uniform(65, 95) / 20)
    pcm = np.clip(x, -1, 1).astype(np.float32)
    return _finish(pcm, segments, speech.source)


def _resample(x: np.ndarray, rate: int) -> np.ndarray:
    """Speed change: n samples become about n * rate / RATE, through libsoxr."""
    import soxr

    return soxr.resample(x, RATE, rate, quality="HQ")


# ---------------------------------------------------------------- the cached data set


@dataclass
class SpeechSet:
    """Utterances as log-mel with phone times. Indexing gives (mel (m, 80) f16, phones, source)."""

    mel: np.ndarray  # (sum m, 80) float16
    mel_starts: np.ndarray  # (n + 1,)
    phone: np.ndarray  # (sum p,) int16, index into PHONES
    times: np.ndarray  # (sum p, 2) float32 s
    phone_starts: np.ndarray  # (n + 1,)
    source: np.ndarray  # (n,) str

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> tuple[np.ndarray, list[Segment], str]:
        a, b = self.phone_starts[i : i + 2]
        segments = [
            (ph.PHONES[p], float(s), float(e))
            for p, (s, e) in zip(self.phone[a:b], self.times[a:b], strict=True)
        ]
        return self.mel[self.mel_starts[i] : self.mel_starts[i + 1]], segments, str(self.source[i])

    def __iter__(self) -> Iterator[tuple[np.ndarray, list[Segment], str]]:
        return (self[i] for i in range(len(self)))

    @property
    def hours(self) -> float:
        return len(self.mel) / audio.MEL_RATE / 3600

    @classmethod
    def of(cls, items: Iterable[Speech]) -> SpeechSet:
        mels, phones, times, sources, mel_n, phone_n = [], [], [], [], [0], [0]
        for item in items:
            mel = audio.log_mel(item.pcm, RATE).astype(np.float16)
            mels.append(mel)
            phones += [ph.PHONE_INDEX[p] for p, _, _ in item.segments]
            times += [(s, e) for _, s, e in item.segments]
            sources.append(item.source)
            mel_n.append(mel_n[-1] + len(mel))
            phone_n.append(len(phones))
        return cls(
            np.concatenate(mels) if mels else np.zeros((0, audio.N_MELS), np.float16),
            np.array(mel_n), np.array(phones, np.int16),
            np.array(times, np.float32).reshape(-1, 2), np.array(phone_n), np.array(sources),
        )  # fmt: skip

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part.npz")
        np.savez(partial, **self.__dict__)
        partial.replace(path)

    @classmethod
    def load(cls, *paths: Path) -> SpeechSet:
        """One or several shards, joined."""
        shards = []
        for path in paths:
            with np.load(path, allow_pickle=False) as data:
                shards.append(cls(**{name: data[name] for name in data.files}))
        if len(shards) == 1:
            return shards[0]

        def starts(name: str) -> np.ndarray:
            ends = np.cumsum([0] + [getattr(s, name)[-1] for s in shards])
            parts = [getattr(s, name)[:-1] + e for s, e in zip(shards, ends[:-1], strict=True)]
            return np.append(np.concatenate(parts), ends[-1])

        joined = {n: np.concatenate([getattr(s, n) for s in shards])
                  for n in ("mel", "phone", "times", "source")}  # fmt: skip
        return cls(**joined, mel_starts=starts("mel_starts"), phone_starts=starts("phone_starts"))


# What is never trained on: a flite voice, an espeak-ng language, and the LibriVox reader.
HELD_OUT_FLITE, HELD_OUT_ESPEAK = "rms", "de"
ESPEAK_VOICES = "en-us en-gb-x-rp en-us es-419 fr it ru pt-br nl sv cs pl tr".split()
ESPEAK_VARIANTS = "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5".split()
FLITE_VOICES = "kal16 awb slt kal slt awb".split()


def _transcripts(root: Path) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for source, _, text, _ in asterisk_clips(root):
        texts.setdefault(source[-2:], []).append(text)
    return texts


def espeak_speech(seconds: float, voices: list[str], root: Path, seed: int) -> Iterator[Speech]:
    engine, rng, texts, total = espeak(), random.Random(seed), _transcripts(root), 0.0
    while total < seconds:
        voice = rng.choice(voices)
        pool = texts.get(voice[:2], []) + (_SENTENCES if voice.startswith("en") else [])
        text = rng.choice(pool) if pool and rng.random() < 0.6 else pseudo_sentence(rng)
        speech = engine.speak(
            text[:300], f"{voice}+{rng.choice(ESPEAK_VARIANTS)}",
            int(rng.triangular(110, 320, 175)), rng.randint(15, 85), rng.randint(20, 90),
        )  # fmt: skip
        speech.source = f"espeak/{voice}"
        if len(speech.segments) > 4:
            total += len(speech.pcm) / RATE
            yield speech


def flite_speech(seconds: float, voices: list[str], root: Path, seed: int) -> Iterator[Speech]:
    engine, rng, total = Flite(), random.Random(seed), 0.0
    pool = _transcripts(root).get("en", []) + _SENTENCES * 3
    while total < seconds:
        voice = rng.choice(voices)
        text = rng.choice(pool) if rng.random() < 0.75 else pseudo_sentence(rng)
        f0 = rng.uniform(80, 220) if voice.startswith("kal") else None
        speech = engine.speak(text[:300], voice, rng.uniform(0.75, 1.3), f0)
        if len(speech.segments) > 4:
            total += len(speech.pcm) / RATE
            yield speech


def real_speech(root: Path, out: Path, limit: int | None) -> Iterator[Speech]:
    for code in ASTERISK.values():
        for row in align_corpus(root, out / f"align_{code}.jsonl", code, limit):
            if row["segments"]:
                pcm = read_g722(Path(row["path"]))
                segments = [tuple(s) for s in row["segments"]]
                yield Speech(pcm, segments, f"asterisk/{code}")


def stillness(seconds: float, seed: int) -> Iterator[Speech]:
    """Silence and every kind of noise at every level: nobody speaks."""
    rng = np.random.default_rng(seed)
    for _ in range(int(seconds / 6)):
        n = int(RATE * rng.uniform(4, 8))
        level = 0.0 if rng.random() < 0.1 else 10 ** (-rng.uniform(12, 75) / 20)
        pcm = np.clip(noise(n, rng) * level, -1, 1).astype(np.float32)
        yield Speech(pcm, [(ph.SIL, 0.0, n / RATE)], "noise")


def held_out(root: Path) -> dict[str, SpeechSet]:
    """The three test sets (clean): unseen flite voice, unseen espeak-ng language, unseen reader."""
    from realtalk_ros.speech import read_audio

    aligner = Aligner(espeak())
    reader = []
    for text, path in librivox_clips(root):
        pcm, rate = read_audio(path)
        pcm = pcm if rate == RATE else _to_16k(pcm * 32768, rate)
        if speech := align_clip(aligner, pcm, text, "en-us", "librivox"):
            reader.append(speech)
    return {
        "unseen synthetic voice": SpeechSet.of(flite_speech(120, [HELD_OUT_FLITE], root, 91)),
        "unseen language": SpeechSet.of(espeak_speech(120, [HELD_OUT_ESPEAK], root, 92)),
        "unseen real speaker": SpeechSet.of(reader),
    }


def build(root: Path, out: Path, hours: float = 1.5, limit: int | None = None) -> list[Path]:
    """Makes what is missing of the training shards in `out`; returns their paths.

    root: folder with the unpacked Debian packages; hours: of each synthetic engine; limit: real
    clips a language. Raises RealTalkError where a source is missing.
    """
    if not any(asterisk_clips(root)):
        raise RealTalkError(
            f"no recordings under {root}: unpack Debian's asterisk-core-sounds-* there "
            "(see models/expression.md)"
        )
    seconds = hours * 3600
    jobs = {
        "still": lambda: stillness(900, 11),
        "flite": lambda: flite_speech(seconds, FLITE_VOICES, root, 12),
        "espeak": lambda: espeak_speech(seconds, ESPEAK_VOICES, root, 13),
        "real": lambda: real_speech(root, out, limit),
    }
    paths = []
    for name, source in jobs.items():
        copies = {"still": 0, "real": 3}.get(name, 1)
        path = out / f"train_{name}.npz"
        paths.append(path)
        if path.is_file():
            continue
        rng = np.random.default_rng(5)

        def items(source=source, copies=copies, rng=rng) -> Iterator[Speech]:
            for speech in source():
                if copies != 1:
                    yield speech
                for _ in range(copies):
                    yield augment(speech, rng)

        SpeechSet.of(tqdm(items(), name, unit="utt")).save(path)
    return paths
