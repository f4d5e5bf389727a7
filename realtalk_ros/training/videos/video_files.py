# SPDX-License-Identifier: Apache-2.0
"""A folder of videos of people: which there are, who is in each, and where results of one are."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from realtalk_ros.errors import RealTalkError

TRACKS = 2  # version of the tracks: earlier ones do not tell of two people in one video
SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .flv .wmv .ogv .3gp".split()
)


def find_videos(folder: Path) -> list[Path]:
    """Those in a folder and in folders below it. Raises RealTalkError where there are none."""
    if not folder.is_dir():
        raise RealTalkError(f"{folder} is no folder: give the one that holds the videos")
    videos = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES
                    and p.is_file() and not p.name.startswith("."))  # fmt: skip
    if not videos:
        raise RealTalkError(f"no videos in {folder}: give a folder that holds some")
    return videos


def person_of(path: Path, folder: Path) -> str:
    """Name of who is in a video: a folder in `folder` is a person, a video in it is one, too."""
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else path.stem


def file_stamp(path: Path) -> list[int]:
    """Size and time of a file, by which a changed one is recognised."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def file_key(name: str) -> str:
    """A unique file name for a video's results: its own without special characters, and a hash."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(name).stem)[:40]
    return f"{stem}_{hashlib.sha1(name.encode()).hexdigest()[:8]}"


def track_path(cache: Path, name: str, path: Path) -> Path:
    """Where in `cache` the track of the video `path`, called `name`, is kept: elsewhere once it has
    changed, or an earlier version has made it."""
    stamp = "_".join(map(str, [*file_stamp(path), TRACKS]))
    return cache / f"{file_key(name)}_{stamp}.npz"
