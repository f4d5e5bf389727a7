# SPDX-License-Identifier: Apache-2.0
"""`realtalk data mouths DIR`: training data for the expression network from mouths of real people.

DIR holds videos of talking people; a folder in it is a person. What the mouth does is tracked
(mouth_track.py) and put into the weights that the installed network gives for the sound
(mouth_targets.py). Clips whose mouth does not follow their sound, or not in time, are left out.

`--speech DIR` adds recordings of speech, in which nobody was filmed. They get the movement that a
regression on the filmed people predicts, and each a random person's identity and window of
expressions, or none, as the network is given one or none in its use. They keep it from forgetting
what it knows of other voices, languages and people. Where their words are known, the times of their
phones say where lips meet (lip_sounds.py). Silence and noise are among them.

    OUT/speech/*.npz     as `realtalk data videos` writes it, and condition_mask (2,), reference
                         (50, 52): what of the person the network is given
    OUT/tracks/*.npz     the mouths, so that no video is tracked twice
    OUT/report.json      what was used, what was left out, and why

`realtalk train expression --installed --no-average --videos OUT` trains on it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from realtalk_ros.audio.log_mel import log_mel
from realtalk_ros.contracts import (
    EXPRESSION_RATE,
    MEL_STEP,
    N_MELS,
    REFERENCE_SHAPE,
    SAMPLE_RATE,
)
from realtalk_ros.enroll import face_detector
from realtalk_ros.errors import AudioError, RealTalkError
from realtalk_ros.expression.onnx_model import SILENT_MEL
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.face_model.rotations import flip_roll
from realtalk_ros.training.common.array_files import write_arrays
from realtalk_ros.training.expression import checkpoint, coarticulation
from realtalk_ros.training.expression.metrics import correlation, is_labiodental
from realtalk_ros.training.speech_data.corpora import read_recording
from realtalk_ros.training.videos import before_speech, mouth_targets
from realtalk_ros.training.videos.evaluate_talking import Aligner
from realtalk_ros.training.videos.filmed_people import (
    FilmedPerson,
    Stretch,
    clip_lag,
    usual_lag,
)
from realtalk_ros.training.videos.lip_sounds import LipContacts, words_beside
from realtalk_ros.training.videos.mouth_track import MouthTrack
from realtalk_ros.training.videos.tracked_videos import for_each_video, show_left_out
from realtalk_ros.training.videos.video_files import find_videos, person_of

RECORDINGS = 12  # of one random person
UNKNOWN_SHARE = 0.5  # of the random people of whom the network is told nothing
GAIN_PEOPLE, GAIN_SENTENCES = 24, 4  # of which `usual_gain` is the mean
WINDOW_SECONDS = 6.0  # of footage, from which a person's own window is given
STILL_SECONDS = 1500.0  # with 240 a noise in a hundred moved the lips by 7 % of their range
MUSIC_SECONDS = 900.0  # without any, seven recordings of music in ten moved the lips
AUDIO = frozenset(".wav .flac .ogg .opus .mp3 .m4a".split())


class Teacher:
    """A network in torch: a whole recording at once takes a fifth of its time."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: of its ONNX files; None: the installed network."""
        net = checkpoint.load_onnx(folder) if folder else checkpoint.load_installed()
        self._net = net.eval()

    @torch.inference_mode()
    def follow(self, pcm: np.ndarray, person: Condition) -> Stretch:
        """pcm: 16 kHz."""
        mel = log_mel(pcm, SAMPLE_RATE)
        mel = mel[: len(mel) // MEL_STEP * MEL_STEP]
        look_ahead_steps = self._net.dims.look_ahead_steps
        silence = np.full((MEL_STEP * look_ahead_steps, N_MELS), SILENT_MEL, np.float32)
        inputs = torch.from_numpy(np.concatenate([mel, silence]))[None]
        given = (torch.from_numpy(part)[None] for part in person)
        out = self._net(inputs, self._net.encode_prior(*given))
        weights, rotation, speech = (
            out[name][0, look_ahead_steps:] for name in ("weights", "rotation", "speech")
        )
        return Stretch(mel, weights.numpy(), rotation.numpy(), speech.sigmoid().numpy())


class Condition(NamedTuple):
    """What the network is given of a person."""

    identity: np.ndarray  # (100,) float32
    reference: np.ndarray | None  # (50, 52) float32; None: any window of the person's movement
    mask: np.ndarray  # (2,) float32: which of them it is given, or may be given of any window


UNKNOWN = Condition(
    np.zeros(IDENTITY_SIZE, np.float32), np.zeros(REFERENCE_SHAPE, np.float32),
    np.zeros(2, np.float32),
)  # fmt: skip
# Any window of the footage may be given, and no identity, which nobody knows.
OWN_WINDOW = UNKNOWN._replace(reference=None, mask=np.array([0, 1], np.float32))


class Builder:
    """Makes the data in `out`."""

    def __init__(self, out: Path, timing: Path | None = None, seed: int = 0) -> None:
        """timing: of the ONNX files of a network that tells lags better than the installed one."""
        self.out, self.rng = out, np.random.default_rng(seed)
        self.teacher = Teacher()
        self.timer = Teacher(timing) if timing else None
        self._aligners: dict[str, Aligner] = {}
        self.report: dict = {"people": {}, "left_out": {}, "speech_minutes": 0.0, "aligned": 0.0}

    def film(self, folder: Path, landmarker: Path | None, hold_out: int) -> list[FilmedPerson]:
        """Every person's clips, but of those who have more the last `hold_out`, by name."""
        by_person: dict[str, list[Path]] = {}
        for path in find_videos(folder):
            by_person.setdefault(person_of(path, folder), []).append(path)
        used = [
            path
            for paths in by_person.values()
            for path in (paths[: len(paths) - hold_out] if len(paths) > hold_out else paths)
        ]

        def follow(path: Path, track: MouthTrack) -> tuple[Stretch, MouthTrack, float]:
            pcm = read_recording(path)
            stretch = self.teacher.follow(pcm, UNKNOWN)
            timed = self.timer.follow(pcm, UNKNOWN) if self.timer else stretch
            return stretch, track, clip_lag(track, timed)

        tracks = self.out / "tracks"
        clips, self.report["left_out"] = for_each_video(used, folder, tracks, landmarker, follow)
        people: dict[str, FilmedPerson] = {}
        for path, (stretch, track, lag) in clips.items():
            name = person_of(path, folder)
            person = people.setdefault(name, FilmedPerson(name))
            person.clips.append((stretch, track))
            person.lags.append(lag)
        return list(people.values())

    def write_people(self, people: list[FilmedPerson]) -> mouth_targets.MouthRegression:
        """Writes their files; returns what can be predicted of them.

        A person counts by the root of the footage, so that one of hours does not drown others of
        seconds. In footage of seconds the width is what the others' regression says: the mouth at
        rest is not known from it, and a mouth looks narrower in a head that turns.
        """
        usual = usual_lag(people)
        curves = {person.name: person.curves(usual) for person in people}
        long = [person for person in people if not person.is_short] or people
        by_long = self._regression(long, curves)
        for person in people:
            if person not in long:
                for (stretch, _), curve in zip(person.clips, curves[person.name], strict=True):
                    seen = mouth_targets.features(stretch.weights, stretch.speech)
                    curve[:, 1] = by_long.predict(seen)[:, 1]
        gaps = []
        for person in people:
            stretches = [stretch for stretch, _ in person.clips]
            pairs = list(zip(stretches, curves[person.name], strict=True))
            gaps.append([(curve[:, 0], stretch.speech) for stretch, curve in pairs])
            made = [mouth_targets.targets(s.weights, s.speech, curve) for s, curve in pairs]
            known = OWN_WINDOW if person.seconds >= WINDOW_SECONDS else UNKNOWN
            self.write(f"filmed_{person.name}", stretches, made, known)
            self.report["people"][person.name] = {
                "clips": len(made), "minutes": round(person.seconds / 60, 2),
                "lag_ms": round(1000 * float(np.median(person.lags))),
                "lag_sd_ms": round(1000 * float(np.std(person.lags))),
            }  # fmt: skip
        self.report["before_speech"] = before_speech.before_speech(gaps)
        self.report["between_phrases"] = before_speech.between_phrases(gaps)
        return self._regression(people, curves, report=True)

    def _regression(
        self, people: list[FilmedPerson], curves: dict[str, list[np.ndarray]], report: bool = False
    ) -> mouth_targets.MouthRegression:
        """From what the network makes of their sound to their curves, by name."""
        seen, wanted, heavy = [], [], []
        for person in people:
            for (stretch, _), curve in zip(person.clips, curves[person.name], strict=True):
                active = mouth_targets.activity(stretch.speech) > 0.5
                seen.append(mouth_targets.features(stretch.weights, stretch.speech)[active])
                wanted.append(curve[active])
                heavy.append(np.full(active.sum(), person.seconds**-0.5))
        regression = mouth_targets.MouthRegression.fit(seen, wanted, heavy)
        if report:
            predicted, real = regression.predict(np.concatenate(seen)), np.concatenate(wanted)
            self.report["regression"] = {
                name: {"r": round(correlation(real[:, k], predicted[:, k]), 3)}
                for k, name in enumerate(("gap", "width"))
            }
        return regression

    def write_speech(
        self, paths: list[Path], minutes: float, regression: mouth_targets.MouthRegression
    ) -> None:
        """Recordings of random people, `minutes` of them."""
        usual = self.usual_gain()
        self.report["usual_gain"] = round(usual, 3)
        order, number, steps = self.rng.permutation(len(paths)).tolist(), 0, 0
        bar = tqdm(total=round(minutes), desc="minutes of speech", disable=None)
        while order and steps < 60 * EXPRESSION_RATE * minutes:
            chosen, order = order[:RECORDINGS], order[RECORDINGS:]
            person = self.draw_person()
            stretches, neutral, contacts = [], [], []
            for k in chosen:
                try:
                    pcm = read_recording(paths[k])
                except AudioError:
                    continue
                if len(pcm) > SAMPLE_RATE:
                    stretches.append(self.teacher.follow(pcm, person))
                    known = person.mask.any()
                    other = self.teacher.follow(pcm, UNKNOWN) if known else stretches[-1]
                    neutral.append(other.weights)
                    contacts.append(self._contacts(paths[k], len(other.weights)))
            if not stretches:
                continue
            made = [
                mouth_targets.relabelled(
                    unknown,
                    s.weights,
                    s.speech,
                    regression,
                    usual if person.mask[1] else 1.0,
                    contacts=lips,
                )
                for unknown, s, lips in zip(neutral, stretches, contacts, strict=True)
            ]
            stretches = [
                replace(s, weights=lips.corrected(s.weights)) if lips else s
                for s, lips in zip(stretches, contacts, strict=True)
            ]
            self.write(f"speech_{number:04d}", stretches, made, person)
            number += 1
            steps += sum(map(len, made))
            bar.n = round(steps / EXPRESSION_RATE / 60)
            bar.refresh()
        bar.close()
        self.report["speech_minutes"] = round(steps / EXPRESSION_RATE / 60, 1)

    def _contacts(self, path: Path, steps: int) -> LipContacts | None:
        """What phones say of the lips, in a recording whose words are known and can be aligned."""
        if (spoken := words_beside(path)) is None:
            return None
        aligner = self._aligners.setdefault(spoken[0], Aligner(spoken[0]))
        try:
            segments = aligner.align(path, spoken[1])
        except RealTalkError as error:  # espeak-ng has no such voice
            segments, self.report["not_aligned"] = None, str(error)
        if segments is None:
            return None
        self.report["aligned"] += steps / EXPRESSION_RATE / 60
        return LipContacts.of(segments, steps)

    def write_stillness(self) -> None:
        """Silence, noise, music and hum, in which the face rests and nobody speaks, whatever the
        network took it for."""
        from realtalk_ros.training.speech_data import music
        from realtalk_ros.training.speech_data.synthetic_speech import stillness

        for name, sounds in {
            "still": stillness(STILL_SECONDS, 11),
            "still_music": music.recordings(MUSIC_SECONDS, 12),
        }.items():
            stretches = [
                replace(stretch, speech=np.zeros_like(stretch.speech))
                for stretch in (self.teacher.follow(sound.pcm, UNKNOWN) for sound in sounds)
            ]
            self.write(name, stretches, [np.zeros_like(s.weights) for s in stretches])

    def draw_person(self) -> Condition:
        """A random person, of whom the network knows nothing, something or all."""
        identity, style = coarticulation.random_speaker(self.rng)
        speech = self._sentences[int(self.rng.integers(len(self._sentences)))]
        frames = max(2 * REFERENCE_SHAPE[0], int(speech.segments[-1][2] * EXPRESSION_RATE))
        moved = coarticulation.animate(speech.segments, frames, style).weights
        start = int(self.rng.integers(max(1, frames - 2 * REFERENCE_SHAPE[0])))
        known = np.zeros(2, np.float32)
        if self.rng.random() > UNKNOWN_SHARE:
            known[:] = ((1, 1), (0, 1), (1, 0))[int(self.rng.integers(3))]
        window = coarticulation.reference_window(mouth_targets.as_filmed(moved), start)
        return Condition(identity, window.astype(np.float32), known)

    def usual_gain(self) -> float:
        """How many times as far the network moves the lips of random people whose window it knows
        as an unknown person's: more than once, it has learned windows of smaller movement."""
        pcm = np.concatenate([speech.pcm for speech in self._sentences[:GAIN_SENTENCES]])
        neutral = self.teacher.follow(pcm, UNKNOWN)
        active = mouth_targets.activity(neutral.speech) > 0.5
        gains = []
        for _ in range(GAIN_PEOPLE):
            person = self.draw_person()._replace(mask=np.array([0, 1], np.float32))
            own = self.teacher.follow(pcm, person).weights
            gains.append(mouth_targets.larger(neutral.weights, own, active))
        return float(np.exp(np.mean(np.log(gains))))

    @cached_property
    def _sentences(self) -> list:
        """Sentences with phone times, for windows of expressions."""
        from realtalk_ros.training.speech_data.prompts import SENTENCES
        from realtalk_ros.training.speech_data.tts_engines import espeak

        engine = espeak()
        return [engine.speak(text, "en-us") for text in SENTENCES[:40]]

    def write(
        self,
        name: str,
        stretches: list[Stretch],
        made: list[np.ndarray],
        person: Condition = UNKNOWN,
    ) -> None:
        def joined(part: str) -> np.ndarray:
            return np.concatenate([getattr(s, part) for s in stretches])

        write_arrays(
            self.out / "speech" / f"{name}.npz",
            mel=joined("mel").astype(np.float16),
            weights=np.concatenate(made).astype(np.float32),
            rotation=flip_roll(joined("rotation")),
            speech=joined("speech"),
            labiodental=is_labiodental(joined("weights")).astype(np.float16),
            starts=np.cumsum([0, *map(len, made)]),
            identity=person.identity,
            condition_mask=person.mask,
            **({} if person.reference is None else {"reference": person.reference}),
        )


def find_recordings(folder: Path) -> list[Path]:
    """Raises RealTalkError where there are none."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO and p.is_file())
    if not found:
        raise RealTalkError(f"no recordings in {folder}: give a folder that holds some")
    return found


def evenly(paths: list[Path], count: int) -> Iterator[Path]:
    """`count` of them, spread over the list."""
    for k in np.unique(np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)):
        yield paths[k]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk data mouths`."""
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="videos with sound; folders in it are people")
    add("--out", type=Path, default=Path("runs/mouths"), help="(%(default)s)")
    add("--speech", type=Path, nargs="+", default=[], metavar="DIR",
        help="recordings of speech to relabel, equally much of each folder")  # fmt: skip
    add("--speech-minutes", type=float, default=60.0, help="of those (%(default)g)")
    add("--hold-out", type=int, default=0, metavar="N",
        help="keep the last N videos of each person who has more (%(default)s)")  # fmt: skip
    add("--timing", type=Path, metavar="MODELS", help="find how late each video's sound is by the "
        "network in this folder, which --videos trained before")  # fmt: skip
    face_detector.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """`realtalk data mouths`. Raises RealTalkError where there is nothing to learn from."""
    recordings = [find_recordings(folder) for folder in args.speech]
    if args.hold_out < 0:
        raise RealTalkError(f"--hold-out {args.hold_out}: give 0 or more videos")
    builder = Builder(args.out, args.timing)
    people = builder.film(args.folder, args.landmarker, args.hold_out)
    regression = builder.write_people(people)
    if recordings:
        most = max(map(len, recordings))
        paths = [path for found in recordings for path in evenly(found, most)]
        builder.write_speech(paths, args.speech_minutes, regression)
        builder.write_stillness()
    (args.out / "report.json").write_text(json.dumps(builder.report, indent=1) + "\n")
    show(builder.report)


def show(report: dict) -> None:
    for name, row in report["people"].items():
        print(f"{name}: {row['clips']} clips, {row['minutes']:g} minutes")
    print(f"{report['speech_minutes']:g} minutes of other speech, {report['aligned']:.0f} of them "
          "with their phones")  # fmt: skip
    if "regression" in report:
        print("what their sound tells: " + ", ".join(
            f"{name} r {row['r']:.2f}" for name, row in report["regression"].items()))  # fmt: skip
    show_left_out(report["left_out"])
