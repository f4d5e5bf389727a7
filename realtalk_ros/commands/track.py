# SPDX-License-Identifier: Apache-2.0
"""`realtalk track`: ARKit weights per frame from a video of a real person, as Live Link Face's CSV.

MediaPipe finds landmarks, the 3D face model is fitted to them (fit.py): the person's shape from
frames spread over the video, then every frame's weights and head pose. Rows of frames in which no
face was seen, or more than one, are left out; their timecodes are missing.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realtalk_ros import install_hints
from realtalk_ros.enroll import face_detector, native_output
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.enroll.mesh_tracker import MeshTracker
from realtalk_ros.enroll.video_reader import Clip
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=Path, help="somebody's face, any format")
    parser.add_argument("--csv", metavar="OUT.csv", type=Path, required=True, help="file to write")
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    if args.csv.is_dir() or not args.csv.parent.is_dir():
        raise RealTalkError(f"--csv {args.csv}: give a file name in a folder that exists")
    if args.csv.resolve() == args.video.resolve():
        raise RealTalkError(f"--csv {args.csv} is the input: give another name")
    with native_output.hidden(args.verbose):
        track = follow(args.video, args.landmarker)
    seen = np.flatnonzero(track.faces == 1)
    fps = frame_rate(track.time)
    with arkit.live_link_csv(args.csv, fps) as csv:
        for k in seen:
            csv.write(float(track.time[k] - track.time[0]), track.weights[k], track.rotation[k])
    opening = track.weights[seen, arkit.INDEX["jawOpen"]]
    print(
        f"{args.csv}: {len(seen)} of {len(track)} frames at {fps:.6g} frames/s, jawOpen "
        f"{opening.min():.2f} to {opening.max():.2f}"
    )


def follow(video: Path, landmarker: Path | None = None, seconds: float | None = None) -> Track:
    """Tracks a video, or its first `seconds`. Raises RealTalkError, also where no face is seen."""
    require_scipy()
    clip = open_video(video)
    total = min(clip.duration or 0, seconds or float("inf")) or None
    tracker = MeshTracker(landmarker)
    bar = tqdm(desc="seconds of video", total=total and round(total, 1), disable=None)

    def frames() -> Iterator[tuple[float, np.ndarray]]:
        first = None
        for at, image in clip.frames():
            first = at if first is None else first
            if seconds is not None and at - first > seconds:
                return
            bar.update(min(at - first, bar.total or np.inf) - bar.n)
            yield at, image

    with bar:
        try:
            track = tracker.track(frames())
        except RealTalkError as error:
            raise RealTalkError(f"{video}: {error}") from error
    if not len(track):
        raise RealTalkError(f"{video} has no pictures that can be decoded: is it damaged?")
    if not (track.faces == 1).any():
        if (track.faces > 1).any():
            raise RealTalkError(f"{video} shows more than one face: cut it to one person")
        raise RealTalkError(
            f"no face found in {video}: it must look at the camera, in light, and not be small"
        )
    return track


def open_video(path: Path) -> Clip:
    """Raises RealTalkError for what is no video, with its name."""
    if not path.is_file():
        raise RealTalkError(f"there is no file {path}")
    try:
        return Clip(path)
    except RealTalkError as error:
        raise RealTalkError(f"{path}: {error}") from error


def frame_rate(time: np.ndarray) -> float:
    """Frames/s of frames at `time` (N,) s."""
    return float(1 / np.median(np.diff(time))) if len(time) > 1 else 25.0


def require_scipy() -> None:
    if importlib.util.find_spec("scipy") is None:
        raise RealTalkError(f"fitting a face needs SciPy: {install_hints.how_to_install('scipy')}")
