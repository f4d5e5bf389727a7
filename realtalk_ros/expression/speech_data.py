"""Makes the training and test sets of the expression network.

Synthetic speech: espeak-ng and flite (exact phone times). Real speech: the Asterisk prompts of
Debian, aligned to their transcripts by pocketsphinx's English model; for other languages espeak-ng
says how a word sounds. Everything is cached as log-mel.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression import phones as ph
from realtalk_ros.expression.align import Aligner, align_clip
from realtalk_ros.expression.augment import augment, noise
from realtalk_ros.expression.corpora import ASTERISK, asterisk_clips, librivox_clips, read_g722
from realtalk_ros.expression.engines import Flite, espeak, to_16k
from realtalk_ros.expression.speech_set import RATE, Speech, SpeechSet
from realtalk_ros.expression.texts import SENTENCES, pseudo_sentence


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
        pool = texts.get(voice[:2], []) + (SENTENCES if voice.startswith("en") else [])
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
    pool = _transcripts(root).get("en", []) + SENTENCES * 3
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
        pcm = pcm if rate == RATE else to_16k(pcm * 32768, rate)
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
