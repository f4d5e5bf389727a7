"""`realtalk data speech`: training and test sets of speech with phone times (T).

Synthetic speech of espeak-ng, flite and Festival has exact times. Real recordings are aligned to
their texts: a few by pocketsphinx's English model; a recogniser trained on these and on synthetic
speech then aligns them all, what it is sure of trains the next recogniser, and so on. Everything is
cached as log-mel; a run goes on where the last one was interrupted.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realtalk_ros.errors import AudioError, RealTalkError
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.alignment import (
    Aligner,
    Alignment,
    align_clip,
    align_clips,
    trusted,
)
from realtalk_ros.training.speech_data.corpora import (
    HELD_OUT_REAL,
    PACKAGES,
    REPOSITORIES,
    Clip,
    clips,
    noises,
    read_clip,
    sentences,
)
from realtalk_ros.training.speech_data.dataset import RATE, Speech, SpeechSet
from realtalk_ros.training.speech_data.prompts import SENTENCES, pseudo_sentence, utterance
from realtalk_ros.training.speech_data.tts_engines import FESTIVAL_VOICES, Festival, Flite, espeak
from realtalk_ros.training.speech_data.waveform_augment import (
    Sounds,
    add_noise,
    augment,
    noise,
    telephone,
)

# espeak-ng's voices and the languages of the texts that they read. German and Greek are held out.
ESPEAK_VOICES = {
    "en-us": "en", "en-gb-x-rp": "en", "es-419": "es", "es": "es", "fr": "fr", "it": "it",
    "ru": "ru", "pt-br": "pt_BR", "nl": "nl", "sv": "sv", "cs": "cs", "pl": "pl", "bg": "bg",
    "tr": "tr", "hu": "hu", "fi": "fi", "ro": "ro", "uk": "uk", "hi": "hi", "cmn": "zh_CN",
    "vi": "vi", "ko": "ko", "ar": "ar", "id": "id",
}  # fmt: skip
ESPEAK_VARIANTS = "m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2".split()
HELD_OUT_ESPEAK = {"de": "de"}
# slt is the speaker of the held-out engine, rms the held-out voice.
FLITE_VOICES = ("kal16", "awb", "kal", "awb")
HELD_OUT_FLITE = ("rms",)
HELD_OUT_FESTIVAL = ("cmu_us_slt_arctic_hts", "upc_ca_ona_hts")  # the statistical engine, HTS
FESTIVAL_TRAINING = tuple(v for v in FESTIVAL_VOICES if v not in HELD_OUT_FESTIVAL)

FIRST_CLIPS = 170  # of each Asterisk language, aligned by pocketsphinx
REAL_COPIES = 1  # augmented, beside the clean one
# Which corpora go into one shard.
REAL_SHARDS = (
    "asterisk", "tuxpaint", "fillets", "menardi", "steelsky", "amazonqueen", "drascula",
    "speechocean", "picovoice", "kathleen", "nathalie", "flemishguy", "librispeech", "commonvoice",
)  # fmt: skip

Texts = dict[str, list[str]]


def espeak_speech(
    seconds: float, voices: dict[str, str], texts: Texts, seed: int
) -> Iterator[Speech]:
    engine, rng, total = espeak(), random.Random(seed), 0.0
    names = [v for v, language in voices.items() if texts.get(language)]
    while names and total < seconds:
        voice = rng.choice(names)
        pool = texts[voices[voice]]
        text = utterance(pool, rng) if rng.random() < 0.8 else pseudo_sentence(rng)
        speech = engine.speak(
            text, f"{voice}+{rng.choice(ESPEAK_VARIANTS)}",
            int(rng.triangular(110, 320, 175)), rng.randint(15, 85), rng.randint(20, 90),
        )  # fmt: skip
        speech.source = f"espeak/{voice}"
        if len(speech.segments) > 4:
            total += len(speech.pcm) / RATE
            yield speech


def flite_speech(
    seconds: float, voices: tuple[str, ...], texts: Texts, seed: int
) -> Iterator[Speech]:
    engine, rng, total = Flite(), random.Random(seed), 0.0
    pool = texts.get("en", []) + SENTENCES * 3
    while total < seconds:
        voice = rng.choice(voices)
        text = utterance(pool, rng) if rng.random() < 0.8 else pseudo_sentence(rng)
        f0 = rng.uniform(80, 220) if voice.startswith("kal") else None
        speech = engine.speak(text, voice, rng.uniform(0.75, 1.3), f0)
        if len(speech.segments) > 4:
            total += len(speech.pcm) / RATE
            yield speech


def festival_speech(
    seconds: float, voices: tuple[str, ...], texts: Texts, seed: int
) -> Iterator[Speech]:
    """The voices in turn, each reading in its language at several speeds."""
    engine, rng, total = Festival(), random.Random(seed), 0.0
    while total < seconds:
        for voice in voices:
            pool = texts.get(FESTIVAL_VOICES[voice].language)
            if not pool:
                raise RealTalkError(f"no texts for festival's voice {voice}: give --packages")
            batch = [utterance(pool, rng) for _ in range(20)]
            for speech in engine.speak(batch, voice, rng.uniform(0.75, 1.35)):
                total += len(speech.pcm) / RATE
                yield speech
            if total >= seconds:
                return


def stillness(seconds: float, seed: int, sounds: Sounds = ()) -> Iterator[Speech]:
    """Silence and every kind of noise at every level: nobody speaks."""
    rng = np.random.default_rng(seed)
    for _ in range(int(seconds / 6)):
        n = int(RATE * rng.uniform(4, 8))
        level = 0.0 if rng.random() < 0.1 else 10 ** (-rng.uniform(12, 75) / 20)
        pcm = np.clip(noise(n, rng, sounds) * level, -1, 1).astype(np.float32)
        yield Speech(pcm, [(ph.SIL, 0.0, n / RATE)], "noise")


def first_clips(root: Path, work: Path) -> Iterator[Speech]:
    """What pocketsphinx aligns of the Asterisk prompts; resumable, bad ones are null in the cache.

    Its English model knows the other languages only through espeak-ng's spelling.
    """
    by_language: dict[str, list[Clip]] = {}
    for clip in clips(root):
        corpus, language = clip.source.split("/")[:2]
        if corpus == "asterisk":
            by_language.setdefault(language, []).append(clip)
    for language, found in by_language.items():
        cache = work / f"align_{language}.jsonl"
        done = _rows(cache)
        random.Random(1).shuffle(found)
        found = [c for c in found if str(c.path) in done] or found[:FIRST_CLIPS]
        with open(cache, "a") as file:
            aligner = None
            for clip in tqdm(found, f"first {language}", unit="clip"):
                pcm = read_clip(clip.path)
                if (row := done.get(str(clip.path))) is None:
                    aligner = aligner or Aligner(espeak())
                    speech = align_clip(aligner, pcm, clip.text, clip.voice, clip.source)
                    row = {"path": str(clip.path), "segments": speech and speech.segments}
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                if row["segments"]:
                    yield Speech(pcm, [tuple(s) for s in row["segments"]], clip.source)


def _rows(cache: Path) -> dict[str, dict]:
    """The lines of a cache by their path; one cut off by an interrupt is left out."""
    rows = {}
    for line in cache.read_text().splitlines() if cache.is_file() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[row["path"]] = row
    return rows


def load_sounds(root: Path, seconds: float = 10.0) -> list[np.ndarray]:
    """The sound effects under `root`, at most `seconds` of each."""
    sounds = []
    for path in noises(root):
        try:
            x = read_clip(path)[: int(seconds * RATE)]
        except AudioError:  # a few are damaged
            continue
        if len(x) > 800 and np.abs(x).max() > 1e-3:
            sounds.append(x)
    return sounds


def real_speech(alignments: Iterable[Alignment]) -> Iterator[Speech]:
    for a in alignments:
        yield Speech(read_clip(a.clip.path), a.segments, a.clip.source)


def fetch(root: Path) -> None:
    """Downloads the Debian packages and repositories that `root` lacks. Raises RealTalkError."""
    for name, address in REPOSITORIES.items():
        if (root / name).is_dir():
            continue
        partial = root / f"{name}.part"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            address, _, commit = address.partition("@")
            depth = [] if commit else ["--depth", "1"]
            subprocess.run(["git", "clone", "-q", *depth, address, partial], check=True)
            if commit:
                subprocess.run(["git", "-C", partial, "checkout", "-q", commit], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise RealTalkError(
                f"git cannot clone {address}: clone it into {root / name} yourself, or make that "
                "an empty folder to go without"
            ) from error
        partial.rename(root / name)
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise RealTalkError("--fetch needs Debian's apt-get and dpkg-deb: unpack the packages of "
                            "docs/data.md yourself and give --packages")  # fmt: skip
    downloads = root / "dl"
    downloads.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        if (root / package).is_dir():
            continue
        got = subprocess.run(["apt-get", "download", package], cwd=downloads, capture_output=True)
        files = sorted(downloads.glob(f"{package}_*.deb"))
        if got.returncode or not files:
            raise RealTalkError(f"apt-get cannot download {package}: run apt-get update, or unpack "
                                f"it into {root / package} yourself")  # fmt: skip
        unpacked = root / f"{package}.part"
        if subprocess.run(["dpkg-deb", "-x", files[-1], unpacked]).returncode:
            raise RealTalkError(f"{files[-1]} cannot be unpacked: delete it and run --fetch again")
        unpacked.rename(root / package)


class Builder:
    """Makes what is missing in `work` out of the packages under `root`."""

    def __init__(self, root: Path, work: Path, hours: float):
        self.root, self.work, self.seconds = root, work, hours * 3600
        self.texts = sentences(root)
        self.sounds = load_sounds(root)
        if not self.texts or not self.sounds:
            raise RealTalkError(f"no Debian packages under {root}: give --packages the folder that "
                                "holds them, or --fetch to fill it")  # fmt: skip

    def shard(
        self,
        name: str,
        items: Callable[[], Iterable[Speech]],
        copies: int = 0,
        after: Path | None = None,
    ) -> Path:
        """`<name>.npz` of the items, and `copies` augmented ones of each.

        What is there is left alone, unless it is older than the file `after`.
        """
        path = self.work / f"{name}.npz"
        if not path.is_file() or (after and path.stat().st_mtime < after.stat().st_mtime):
            rng = np.random.default_rng(5)

            def everything() -> Iterator[Speech]:
                for speech in items():
                    yield speech
                    for _ in range(copies):
                        yield augment(speech, rng, self.sounds)

            SpeechSet.of(tqdm(everything(), name, unit="utt")).save(path)
        return path

    def synthetic(self) -> None:
        for name, speech, voices, seed in (
            ("festival", festival_speech, FESTIVAL_TRAINING, 14),
            ("espeak", espeak_speech, ESPEAK_VOICES, 13),
            ("flite", flite_speech, FLITE_VOICES, 12),
        ):
            self.shard(f"train_{name}", partial(speech, self.seconds, voices, self.texts, seed), 1)
        self.shard("train_still", partial(stillness, self.seconds / 4, 11, self.sounds))
        for name, speech, voices, seed in (
            ("engine", festival_speech, HELD_OUT_FESTIVAL, 94),
            ("synthetic_voice", flite_speech, HELD_OUT_FLITE, 91),
            ("language", espeak_speech, HELD_OUT_ESPEAK, 92),
        ):
            self.shard(f"test_unseen_{name}", partial(speech, 180, voices, self.texts, seed))

    def bootstrap(
        self, minutes: float, rounds: int, installed: bool = False
    ) -> tuple[list[Alignment], Path]:
        """Trusted alignments of all real clips and the file that they are out of.

        Each round trains a recogniser for `minutes`; installed: the first one is what the installed
        network hears. Held-out speakers are aligned, but no recogniser hears them.
        """
        from realtalk_ros.training.expression.pretrained_recogniser import InstalledHearing
        from realtalk_ros.training.speech_data.phone_recogniser import Recogniser, train_recogniser

        everything = list(clips(self.root))
        teaching = partial(self.shard, "first_clips", partial(first_clips, self.root, self.work))
        kept: list[Alignment] = []
        for turn in range(1, rounds + 1):
            path, cache = self.work / f"recogniser_{turn}.pt", self.work / f"aligned_{turn}.jsonl"
            if turn == 1 and installed:
                cache = self.work / "aligned_installed.jsonl"
                recogniser = InstalledHearing(self._teachers(teaching(), 260))
            else:
                if not path.is_file():
                    train_recogniser(self._teachers(teaching()), path, minutes)
                recogniser = Recogniser.load(path)
            kept = trusted(align_clips(everything, recogniser, cache))
            training = [a for a in kept if a.clip.source not in HELD_OUT_REAL]
            teaching = partial(self.shard, f"trusted_{turn}", partial(real_speech, training))
        return kept, cache

    def _teachers(self, real: Path, each: int = 1) -> dict[str, tuple[int, SpeechSet]]:
        """Name -> (share, speech) of what teaches a recogniser."""
        found = {"espeak": 1, "flite": 1, "festival": 2}
        sets = {name: (share * each, SpeechSet.load(self.work / f"train_{name}.npz"))
                for name, share in found.items()}  # fmt: skip
        return sets | {"real": (4 * each, SpeechSet.load(real))}

    def real(self, kept: list[Alignment], cache: Path) -> None:
        """Shards of the real recordings and the test sets of people who are not in them."""
        shard = partial(self.shard, after=cache)
        for corpus in REAL_SHARDS:
            mine = [a for a in kept if a.clip.source.startswith(corpus + "/")
                    and a.clip.source not in HELD_OUT_REAL]  # fmt: skip
            if mine:
                shard(f"train_real_{corpus}", partial(real_speech, mine), REAL_COPIES)
        # Of those who learn English, aligners disagree on every other closure by more than a frame:
        # a set of their own.
        apart = {
            "language": {"tuxpaint/el", "kerstin/de"},
            "learner": {"speechocean/en/held_out"},
            "reader": {"librispeech/en/held_out"},
        }
        unseen = _minutes(kept, HELD_OUT_REAL.difference(*apart.values()), 8.0)
        shard("test_unseen_real_speaker", partial(real_speech, unseen))
        for name, sources in apart.items():
            some = _minutes(kept, sources, 8.0)
            shard(f"test_unseen_real_{name}", partial(real_speech, some))
        rng = np.random.default_rng(95)
        shard("test_real_noisy", lambda: (add_noise(s, 10, rng) for s in real_speech(unseen)))
        shard("test_real_telephone",
              lambda: (Speech(telephone(s.pcm), s.segments, s.source)
                       for s in real_speech(unseen)))  # fmt: skip


def _minutes(kept: list[Alignment], sources: Iterable[str], minutes: float) -> list[Alignment]:
    """At most about so many minutes: all of the small sources, the rest of the larger ones."""
    out: list[Alignment] = []
    groups = [[a for a in kept if a.clip.source == source] for source in sorted(sources)]
    groups.sort(key=_seconds)
    for i, group in enumerate(groups):
        random.Random(3).shuffle(group)
        share = (60 * minutes - _seconds(out)) / (len(groups) - i)
        for a in group:
            if share <= 0:
                break
            share -= a.segments[-1][2]
            out.append(a)
    return out


def _seconds(alignments: Iterable[Alignment]) -> float:
    return sum(a.segments[-1][2] for a in alignments)


def report(root: Path, work: Path, kept: list[Alignment]) -> None:
    """Prints what is in the sets, and of the real recordings what was left out."""
    print(f"{'set':36} {'hours':>6}  utterances")
    for path in sorted((*work.glob("train_*.npz"), *work.glob("test_*.npz"))):
        data = SpeechSet.load(path)
        print(f"{path.stem:36} {data.hours:6.2f}  {len(data)}")
    if not kept:
        return
    offered = Counter(clip.source for clip in clips(root))
    held: dict[str, list[Alignment]] = {}
    for alignment in kept:
        held.setdefault(alignment.clip.source, []).append(alignment)
    print(f"\n{'real recordings':36} {'minutes':>7}  kept of clips")
    for source, count in offered.items():
        mine = held.get(source, [])
        role = "  held out" if source in HELD_OUT_REAL else ""
        print(f"{source:36} {_seconds(mine) / 60:7.1f}  {len(mine)}/{count}{role}")
    print("left out: too short, unreadable, inconsistent with the sound, or no better than what "
          "another text scores")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--packages",
        type=Path,
        default=Path("runs/packages"),
        metavar="DIR",
        help="folder of unpacked Debian packages (default: %(default)s)",
    )
    parser.add_argument(
        "--fetch",
        action="store_true",
        help="first download and unpack the packages that are not there",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("runs/speech"),
        metavar="DIR",
        help="where the sets go; delete a file there to have it made anew (default: %(default)s)",
    )
    parser.add_argument(
        "--hours",
        type=float,
        default=1.75,
        metavar="H",
        help="of speech of each synthetic engine (default: %(default)s)",
    )
    parser.add_argument("--synthetic-only", action="store_true", help="no real recordings")
    parser.add_argument(
        "--recogniser-minutes",
        type=float,
        default=20,
        metavar="M",
        help="training time of each recogniser (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=2,
        metavar="N",
        help="recognisers, each taught by the one before (default: %(default)s)",
    )
    parser.add_argument(
        "--installed",
        action="store_true",
        help="the first recogniser is what the installed network hears, not one of few clips",
    )


def run(args: argparse.Namespace) -> None:
    if args.hours <= 0 or args.recogniser_minutes <= 0 or args.rounds < 1:
        raise RealTalkError("--hours, --recogniser-minutes and --rounds must be above 0")
    if args.fetch:
        fetch(args.packages)
    builder = Builder(args.packages, args.work, args.hours)
    builder.synthetic()
    kept: list[Alignment] = []
    if not args.synthetic_only:
        kept, cache = builder.bootstrap(args.recogniser_minutes, args.rounds, args.installed)
        builder.real(kept, cache)
    report(args.packages, args.work, kept)
