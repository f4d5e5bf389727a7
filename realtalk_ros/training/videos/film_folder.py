# SPDX-License-Identifier: Apache-2.0
"""A folder of films of talking people: which there are, who speaks, how late the sound is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.videos import talking_metrics
from realtalk_ros.training.videos.build import SUFFIXES
from realtalk_ros.training.videos.filmed_people import best_lag
from realtalk_ros.training.videos.lip_sync_check import PredictedExpression
from realtalk_ros.training.videos.mouth_track import MouthTrack


def find_videos(folder: Path) -> list[Path]:
    """Raises RealTalkError where there are none."""
    if not folder.is_dir():
        raise RealTalkError(f"{folder} is no folder: give the one that holds the videos")
    videos = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES
                    and p.is_file() and not p.name.startswith("."))  # fmt: skip
    if not videos:
        raise RealTalkError(f"no videos in {folder}: give a folder that holds some")
    return videos


def person_of(path: Path, folder: Path) -> str:
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else path.stem


def in_step(track: MouthTrack, predicted: PredictedExpression) -> MouthTrack:
    """Shifted by as much as the sound is late, which is as the network's mouth tells."""
    one = talking_metrics.curves(track, predicted.weights, predicted.mel)
    return replace(track, time=track.time + best_lag(one)[0]) if one else track
