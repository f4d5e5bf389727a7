# SPDX-License-Identifier: Apache-2.0
"""`realtalk data mouths DIR`: training data for the expression network from mouths of real people.

DIR holds videos of talking people; a folder in it is a person. What the mouth does is tracked
(mouth_track.py) and put into the weights that the installed network gives for the sound
(mouth_targets.py). Clips whose mouth does not follow their sound, or not in time, are left out.

`--speech DIR` adds recordings of speech in which nobody was filmed, silence, noise and music
(relabelled_speech.py).

    OUT/speech/*.npz     as `realtalk data videos` writes it, and condition_mask (2,), reference
                         (50, 52): what of the person the network is given. Those of an earlier run
                         are removed
    OUT/tracks/*.npz     the mouths, so that no video is tracked twice
    OUT/report.json      what was used, what was left out, and why

`realtalk train expression --installed --no-average --videos OUT` trains on it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from realtalk_ros.enroll import face_detector, native_output
from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.expression.metrics import correlation
from realtalk_ros.training.expression.video_dataset import FILMED, STILL
from realtalk_ros.training.speech_data.corpora import AUDIO_SUFFIXES, read_recording
from realtalk_ros.training.videos import before_speech, mouth_targets
from realtalk_ros.training.videos.filmed_people import (
    FilmedPerson,
    Stretch,
    clip_lag,
    usual_lag,
)
from realtalk_ros.training.videos.mouth_track import MouthTrack
from realtalk_ros.training.videos.relabelled_speech import SPEECH, Relabeller
from realtalk_ros.training.videos.teacher import OWN_WINDOW, UNKNOWN, Teacher, write_stretches
from realtalk_ros.training.videos.tracked_videos import for_each_video, show_left_out
from realtalk_ros.training.videos.video_files import find_videos, person_of

WINDOW_SECONDS = 6.0  # of footage, from which a person's own window is given


class Builder:
    """Makes the data of filmed people in `out`."""

    def __init__(self, out: Path, timing: Path | None = None) -> None:
        """timing: of the ONNX files of a network that tells lags better than the installed one."""
        self.out, self.teacher = out, Teacher()
        self.timer = Teacher(timing) if timing else None
        self.report: dict = {"people": {}, "left_out": {}, "notes": {}}
        self.report |= {"speech_minutes": 0.0, "aligned": 0.0}

    def find_people(
        self, folder: Path, landmarker: Path | None, hold_out: int
    ) -> list[FilmedPerson]:
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
        results = for_each_video(used, folder, tracks, landmarker, follow)
        self.report |= {"left_out": results.left_out, "notes": results.notes}
        return [
            FilmedPerson(
                name,
                [(stretch, track) for stretch, track, _ in clips],
                [lag for *_, lag in clips],
            )
            for name, clips in results.by_person(folder).items()
        ]

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
            path = self.out / "speech" / f"{FILMED}{person.name}.npz"
            write_stretches(path, stretches, made, known)
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


def remove_old(out: Path) -> None:
    """Files of an earlier run in `out`, in which there may be people who are held out now."""
    for begins in (FILMED, SPEECH, STILL):
        for old in (out / "speech").glob(f"{begins}*.npz"):
            old.unlink()


def find_recordings(folder: Path) -> list[Path]:
    """Raises RealTalkError where there are none."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES]
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
    add("--out", type=Path, default=Path("runs/mouths"), help="folder to write")
    add("--speech", type=Path, nargs="+", default=[], metavar="DIR",
        help="recordings of speech to relabel, equally much of each folder")  # fmt: skip
    add("--speech-minutes", type=float, default=60.0, help="of those, in all")
    add("--hold-out", type=int, default=0, metavar="N",
        help="keep the last N videos of each person who has more")  # fmt: skip
    add("--timing", type=Path, metavar="MODELS", help="find how late each video's sound is by the "
        "network in this folder, which --videos trained before")  # fmt: skip
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """`realtalk data mouths`. Raises RealTalkError where there is nothing to learn from."""
    recordings = [find_recordings(folder) for folder in args.speech]
    if args.hold_out < 0:
        raise RealTalkError(f"--hold-out {args.hold_out}: give 0 or more videos")
    builder = Builder(args.out, args.timing)
    with native_output.hidden(args.verbose):
        people = builder.find_people(args.folder, args.landmarker, args.hold_out)
    remove_old(args.out)
    regression = builder.write_people(people)
    if recordings:
        most = max(map(len, recordings))
        paths = [path for found in recordings for path in evenly(found, most)]
        relabeller = Relabeller(args.out, builder.teacher, builder.report)
        relabeller.write_speech(paths, args.speech_minutes, regression)
        relabeller.write_stillness()
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
    show_left_out(report)
