# SPDX-License-Identifier: Apache-2.0
"""Videos of talking people with the tracks of their mouths: what can be done with each, and how
late the sound is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from tqdm import tqdm

from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.one_person import check_one_person
from realtalk_ros.errors import RealTalkError, one_line
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.training.videos import talking_metrics
from realtalk_ros.training.videos.filmed_people import LAGS
from realtalk_ros.training.videos.mouth_track import MouthTrack, known_track
from realtalk_ros.training.videos.video_files import person_of, track_path

T = TypeVar("T")


class VideoResults(NamedTuple, Generic[T]):
    """What was made of each video; and by its name in the folder, why others are left out, and
    notes on them."""

    used: dict[Path, T]
    left_out: dict[str, str]
    notes: dict[str, str]

    def by_person(self, folder: Path) -> dict[str, list[T]]:
        """What was made of each person's videos; `folder` is theirs."""
        people: dict[str, list[T]] = {}
        for path, made in self.used.items():
            people.setdefault(person_of(path, folder), []).append(made)
        return people


def in_step(track: MouthTrack, predicted: PredictedExpression) -> MouthTrack:
    """Shifted by as much as the sound is late, which is as the network's mouth tells."""
    one = talking_metrics.curves(track, predicted.weights, predicted.mel)
    return (
        replace(track, time=track.time + talking_metrics.best_lag(one, LAGS)[0]) if one else track
    )


def for_each_video(
    videos: list[Path],
    folder: Path,
    cache: Path,
    landmarker: Path | None,
    use: Callable[[Path, MouthTrack], T],
) -> VideoResults[T]:
    """What `use` makes of each video and its mouth's track. Videos are left out that have no track,
    or show one person after another, or for which `use` raises RealTalkError. Tracks in `cache` are
    not made again. Raises RealTalkError if no video can be used, and where a track is to be made
    and MediaPipe or its model is missing."""
    names = {path: str(path.relative_to(folder)) for path in videos}
    if not all(track_path(cache, name, path).is_file() for path, name in names.items()):
        FaceDetector(landmarker, video=True).close()
    used: dict[Path, T] = {}
    left_out: dict[str, str] = {}
    notes: dict[str, str] = {}
    for path, name in tqdm(names.items(), "videos", unit="video", disable=None):
        try:
            track = known_track(path, name, cache, landmarker)
            found = check_one_person(path, track.apart)
            used[path] = use(path, track)
            if found:
                notes[name] = "; ".join(found)
        except RealTalkError as error:
            left_out[name] = one_line(error).removeprefix(f"{path} ")
    if not used:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        raise RealTalkError(f"no video in {folder} can be used: {reasons}")
    return VideoResults(used, left_out, notes)


def show_left_out(report: dict) -> None:
    """A line for each video that a report leaves out, or has a note on."""
    for name, note in report["notes"].items():
        print(f"{name}: note: {note}")
    for name, why in report["left_out"].items():
        print(f"{name}: left out: {why}")
