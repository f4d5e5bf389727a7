# SPDX-License-Identifier: Apache-2.0
"""`realtalk data speech`: training and test sets of speech with phone times.

Synthetic speech of espeak-ng, flite and Festival has exact times. Real recordings are aligned to
their texts in rounds. pocketsphinx's English model aligns a few. These and synthetic speech train a
phone recogniser, which aligns all of them; the alignments that can be trusted train the next
recogniser, and so on. Everything is cached as log-mel, and an interrupted run can be continued.
Which speakers are held out: HELD_OUT_* in corpora.py (people) and synthetic_speech.py (voices).
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.errors import AudioError, RealTalkError
from realtalk_ros.training.common.json_lines import appended, read_rows
from realtalk_ros.training.speech_data import synthetic_speech as synthetic
from realtalk_ros.training.speech_data.alignment import (
    Alignment,
    align_recording,
    align_recordings,
    select_trusted,
)
from realtalk_ros.training.speech_data.corpora import (
    HELD_OUT_REAL,
    Recording,
    noises,
    read_recording,
    recordings,
    sentences,
)
from realtalk_ros.training.speech_data.dataset import Speech, SpeechDataset
from realtalk_ros.training.speech_data.fetch import fetch
from realtalk_ros.training.speech_data.pocketsphinx_aligner import PocketsphinxAligner
from realtalk_ros.training.speech_data.tts_engines import espeak
from realtalk_ros.training.speech_data.waveform_augment import add_noise, augment, telephone

FIRST_RECORDINGS = 170  # of each Asterisk language, aligned by pocketsphinx
AUGMENTED_COPIES = 1  # of each training utterance, beside the clean one
# Share of each kind of speech in a batch of a phone recogniser, and how many utterances a new head
# of the installed network is fitted to for each share.
RECOGNISER_SHARES = {"espeak": 1, "flite": 1, "festival": 2}
REAL_SHARE, HEAD_UTTERANCES = 4, 260
# Corpora, each in a shard of its own.
REAL_SHARDS = (
    "asterisk", "tuxpaint", "fillets", "menardi", "steelsky", "amazonqueen", "drascula",
    "speechocean", "picovoice", "kathleen", "nathalie", "flemishguy", "librispeech", "commonvoice",
)  # fmt: skip
# Held-out sources with a test set of their own. On learners of English, aligners disagree about
# every other closure by more than a frame.
TEST_SETS = {
    "language": {"tuxpaint/el", "kerstin/de"},
    "learner": {"speechocean/en/held_out"},
    "reader": {"librispeech/en/held_out"},
}
TEST_SECONDS, TEST_MINUTES = 180.0, 8.0  # of a synthetic and of a real test set
TEST_NOISE_DB = 10.0  # SNR


def first_alignments(root: Path, work: Path) -> Iterator[Speech]:
    """What pocketsphinx aligns of the Asterisk prompts.

    Its English model knows the other languages only through espeak-ng's spelling. Resumable:
    recordings that cannot be aligned are null in the cache.
    """
    by_language: dict[str, list[Recording]] = {}
    for recording in recordings(root):
        corpus, language = recording.source.split("/")[:2]
        if corpus == "asterisk":
            by_language.setdefault(language, []).append(recording)
    for language, found in by_language.items():
        cache = work / f"align_{language}.jsonl"
        done = read_rows(cache, "path")
        random.Random(1).shuffle(found)
        cached = [recording for recording in found if str(recording.path) in done]
        others = [recording for recording in found if str(recording.path) not in done]
        chosen = cached + others[: max(0, FIRST_RECORDINGS - len(cached))]
        yield from _align_first(tqdm(chosen, f"first {language}", unit="clip"), done, cache)


def _align_first(
    chosen: Iterable[Recording], done: dict[str, dict], cache: Path
) -> Iterator[Speech]:
    aligner = None
    with appended(cache) as write:
        for recording in chosen:
            path, pcm = str(recording.path), read_recording(recording.path)
            if (row := done.get(path)) is None:
                aligner = aligner or PocketsphinxAligner(espeak())
                speech = align_recording(
                    aligner, pcm, recording.text, recording.voice, recording.source
                )
                row = {"path": path, "segments": speech and speech.segments}
                write(row)
            if row["segments"]:
                yield Speech(pcm, [tuple(s) for s in row["segments"]], recording.source)


def load_sounds(root: Path) -> list[np.ndarray]:
    """The sound effects under `root`, at most 10 s of each."""
    sounds = []
    for path in noises(root):
        try:
            x = read_recording(path)[: 10 * SAMPLE_RATE]
        except AudioError:  # a few are damaged
            continue
        if len(x) > 800 and np.abs(x).max() > 1e-3:
            sounds.append(x)
    return sounds


def real_speech(alignments: Iterable[Alignment]) -> Iterator[Speech]:
    for a in alignments:
        yield Speech(read_recording(a.recording.path), a.segments, a.recording.source)


class Builder:
    """Makes what is missing in `work` from the packages under `root`."""

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

        An existing file is left alone, unless it is older than the file `after`.
        """
        path = self.work / f"{name}.npz"
        if not path.is_file() or (after and path.stat().st_mtime < after.stat().st_mtime):
            rng = np.random.default_rng(5)

            def with_copies() -> Iterator[Speech]:
                for speech in items():
                    yield speech
                    for _ in range(copies):
                        yield augment(speech, rng, self.sounds)

            SpeechDataset.of(tqdm(with_copies(), name, unit="utt")).save(path)
        return path

    def synthetic(self) -> None:
        """Shards and test sets of the synthesis engines."""
        for name, speech, voices, seed in (
            ("festival", synthetic.festival_speech, synthetic.FESTIVAL_TRAINING, 14),
            ("espeak", synthetic.espeak_speech, synthetic.ESPEAK_VOICES, 13),
            ("flite", synthetic.flite_speech, synthetic.FLITE_VOICES, 12),
        ):
            items = partial(speech, self.seconds, voices, self.texts, seed)
            self.shard(f"train_{name}", items, AUGMENTED_COPIES)
        still = partial(synthetic.stillness, self.seconds / 4, 11, self.sounds)
        self.shard("train_still", still)
        for name, speech, voices, seed in (
            ("engine", synthetic.festival_speech, synthetic.HELD_OUT_FESTIVAL, 94),
            ("synthetic_voice", synthetic.flite_speech, synthetic.HELD_OUT_FLITE, 91),
            ("language", synthetic.espeak_speech, synthetic.HELD_OUT_ESPEAK, 92),
        ):
            items = partial(speech, TEST_SECONDS, voices, self.texts, seed)
            self.shard(f"test_unseen_{name}", items)

    def align(
        self, minutes: float, rounds: int, pretrained: bool = False
    ) -> tuple[list[Alignment], Path]:
        """Trusted alignments of all real recordings, and the cache that they are from.

        Each round trains a recogniser for `minutes`; pretrained: the first one is the installed
        network's. Held-out speakers are aligned, but train no recogniser.
        """
        from realtalk_ros.training.expression.pretrained_recogniser import PretrainedRecogniser
        from realtalk_ros.training.speech_data.phone_recogniser import (
            PhoneRecogniser,
            train_recogniser,
        )

        found = list(recordings(self.root))
        first = partial(first_alignments, self.root, self.work)
        labelled = partial(self.shard, "first_clips", first)
        trusted: list[Alignment] = []
        for turn in range(1, rounds + 1):
            path, cache = self.work / f"recogniser_{turn}.pt", self.work / f"aligned_{turn}.jsonl"
            if turn == 1 and pretrained:
                cache = self.work / "aligned_installed.jsonl"
                recogniser = PretrainedRecogniser(self._datasets(labelled(), HEAD_UTTERANCES))
            else:
                if not path.is_file():
                    train_recogniser(self._datasets(labelled()), path, minutes)
                recogniser = PhoneRecogniser.load(path)
            trusted = select_trusted(align_recordings(found, recogniser, cache))
            training = [a for a in trusted if a.recording.source not in HELD_OUT_REAL]
            labelled = partial(self.shard, f"trusted_{turn}", partial(real_speech, training))
        return trusted, cache

    def _datasets(self, real: Path, scale: int = 1) -> dict[str, tuple[int, SpeechDataset]]:
        """Name -> (share times scale, speech) that a recogniser learns from."""
        datasets = {
            name: (share * scale, SpeechDataset.load(self.work / f"train_{name}.npz"))
            for name, share in RECOGNISER_SHARES.items()
        }
        return datasets | {"real": (REAL_SHARE * scale, SpeechDataset.load(real))}

    def real(self, trusted: list[Alignment], cache: Path) -> None:
        """Shards of the real recordings, and test sets of people who are not in them."""
        shard = partial(self.shard, after=cache)
        for corpus in REAL_SHARDS:
            training = [
                a
                for a in trusted
                if a.recording.source.startswith(corpus + "/")
                and a.recording.source not in HELD_OUT_REAL
            ]
            if training:
                items = partial(real_speech, training)
                shard(f"train_real_{corpus}", items, AUGMENTED_COPIES)
        speakers = HELD_OUT_REAL.difference(*TEST_SETS.values())
        unseen = select_minutes(trusted, speakers, TEST_MINUTES)
        shard("test_unseen_real_speaker", partial(real_speech, unseen))
        for name, sources in TEST_SETS.items():
            chosen = select_minutes(trusted, sources, TEST_MINUTES)
            shard(f"test_unseen_real_{name}", partial(real_speech, chosen))
        rng = np.random.default_rng(95)
        shard(
            "test_real_noisy",
            lambda: (add_noise(speech, TEST_NOISE_DB, rng) for speech in real_speech(unseen)),
        )
        shard(
            "test_real_telephone",
            lambda: (Speech(telephone(s.pcm), s.segments, s.source) for s in real_speech(unseen)),
        )


def select_minutes(
    alignments: list[Alignment], sources: Iterable[str], minutes: float
) -> list[Alignment]:
    """At most about so many minutes: all of the small sources, the rest of the larger ones."""
    out: list[Alignment] = []
    groups = [[a for a in alignments if a.recording.source == name] for name in sorted(sources)]
    groups.sort(key=_seconds)
    for i, group in enumerate(groups):
        random.Random(3).shuffle(group)
        share = (60 * minutes - _seconds(out)) / (len(groups) - i)
        for alignment in group:
            if share <= 0:
                break
            share -= alignment.seconds
            out.append(alignment)
    return out


def _seconds(alignments: Iterable[Alignment]) -> float:
    return sum(a.seconds for a in alignments)


def report(root: Path, work: Path, trusted: list[Alignment]) -> None:
    """Prints what is in the sets, and how much of the real recordings was left out."""
    print(f"{'set':36} {'hours':>6}  utterances")
    for path in sorted((*work.glob("train_*.npz"), *work.glob("test_*.npz"))):
        data = SpeechDataset.load(path)
        print(f"{path.stem:36} {data.hours:6.2f}  {len(data)}")
    if not trusted:
        return
    offered = Counter(recording.source for recording in recordings(root))
    kept: dict[str, list[Alignment]] = {}
    for alignment in trusted:
        kept.setdefault(alignment.recording.source, []).append(alignment)
    print(f"\n{'real recordings':36} {'minutes':>7}  kept of clips")
    for source, count in offered.items():
        of_source = kept.get(source, [])
        role = "  held out" if source in HELD_OUT_REAL else ""
        print(f"{source:36} {_seconds(of_source) / 60:7.1f}  {len(of_source)}/{count}{role}")
    print("left out: too short, unreadable, inconsistent with the sound, or no better than what "
          "another text scores")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--packages", type=Path, default=Path("runs/packages"), metavar="DIR",
        help="folder of unpacked Debian packages")  # fmt: skip
    add("--fetch", action="store_true",
        help="first download and unpack the packages that are not there")  # fmt: skip
    add("--work", type=Path, default=Path("runs/speech"), metavar="DIR", help="where the sets go; "
        "delete a file there to have it made anew")  # fmt: skip
    add("--hours", type=float, default=1.75, metavar="H",
        help="of speech of each synthetic engine")  # fmt: skip
    add("--synthetic-only", action="store_true", help="no real recordings")
    add("--recogniser-minutes", type=float, default=20, metavar="M",
        help="training time of each recogniser")  # fmt: skip
    add("--rounds", type=int, default=2, metavar="N", help="recognisers, each trained on the "
        "alignments of the one before")  # fmt: skip
    add("--installed", action="store_true", help="the first recogniser is the installed network, "
        "not one trained on a few recordings")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """`realtalk data speech`. Raises RealTalkError where packages or programs are missing."""
    if args.hours <= 0 or args.recogniser_minutes <= 0 or args.rounds < 1:
        raise RealTalkError("--hours, --recogniser-minutes and --rounds must be above 0")
    if args.fetch:
        fetch(args.packages)
    builder = Builder(args.packages, args.work, args.hours)
    builder.synthetic()
    trusted: list[Alignment] = []
    if not args.synthetic_only:
        trusted, cache = builder.align(args.recogniser_minutes, args.rounds, args.installed)
        builder.real(trusted, cache)
    report(args.packages, args.work, trusted)
