# SPDX-License-Identifier: Apache-2.0
"""`realtalk track`: ARKit weights per frame from a video of a real person, as Live Link Face's CSV.

MediaPipe finds landmarks, the 3D face model is fitted to them (fit.py): the person's shape from
frames spread over the video, then every frame's weights and head pose. Rows of frames in which no
face was seen, or more than one, are left out; their timecodes are missing. A video that shows one
person after another is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from realtalk_ros.enroll import face_detector, missing_pictures, native_output
from realtalk_ros.enroll.mesh_tracker import follow
from realtalk_ros.enroll.one_person import check_one_person
from realtalk_ros.face_model import arkit
from realtalk_ros.output.live_link import live_link_csv
from realtalk_ros.paths import output_path, summary_output
from realtalk_ros.whole_files import check_can_write, check_is_no_input


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("video", metavar="VIDEO", type=Path, help="somebody's face, any format")
    parser.add_argument(
        "--csv",
        metavar="OUT.csv",
        type=output_path,
        required=True,
        help="file to write; - is standard output",
    )
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    check_can_write(args.csv, "--csv", straight=True)
    check_is_no_input(args.csv, "--csv", [args.video])
    summary = summary_output(args.csv)
    with native_output.hidden(args.verbose):
        track = follow(args.video, args.landmarker)
    notes = check_one_person(args.video, track.apart)
    notes += missing_pictures.notes(args.video, track.time)
    seen = np.flatnonzero(track.faces == 1)
    fps = frame_rate(track.time)
    with live_link_csv(args.csv, fps) as csv:
        for k in seen:
            csv.write(float(track.time[k] - track.time[0]), track.weights[k], track.rotation[k])
    for note in notes:
        print(f"note: {note}", file=summary)
    opening = track.weights[seen, arkit.INDEX["jawOpen"]]
    print(
        f"{args.csv}: {len(seen)} of {len(track)} frames at {fps:.6g} frames/s, jawOpen "
        f"{opening.min():.2f} to {opening.max():.2f}",
        file=summary,
    )


def frame_rate(time: np.ndarray) -> float:
    """Frames/s of frames at `time` (N,) s."""
    return float(1 / np.median(np.diff(time))) if len(time) > 1 else 25.0
