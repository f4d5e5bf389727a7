# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate avatars`: enrols every photograph of a folder, and measures the avatars.

Nothing is kept but what `--json` prints and the sheet. avatar_metrics.py defines the
figures; needs the extra `enroll`, and `evaluate` for the identity distances.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from realtalk_ros.commands.avatar_metrics import HIGHER_IS_BETTER, AvatarMetrics
from realtalk_ros.enroll import face_detector, native_output
from realtalk_ros.enroll.avatar_writer import temporary_avatar
from realtalk_ros.enroll.face_detector import DetectedFace, FaceDetector
from realtalk_ros.enroll.face_embedding import FaceEmbedding
from realtalk_ros.enroll.fit import require_scipy
from realtalk_ros.enroll.mediapipe_points import EYE_CORNERS, distance
from realtalk_ros.enroll.photo_checks import find_face, photographs, read_picture
from realtalk_ros.enroll.photo_to_avatar import from_picture
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output import contact_sheet
from realtalk_ros.output.console import warn
from realtalk_ros.output.figure_columns import heads, line
from realtalk_ros.rendering.face_renderer import FaceRenderer

SHOWN = ("rest", "ah", "m", "smile", "blink")  # beside the photograph, on the sheet
# Figure: column of the table, and its format.
COLUMNS = {
    "seconds": ("s", "6.1f"),
    "found": ("found", "6.2f"),
    "opening": ("opening", "8.2f"),
    "detail_mouth": ("mouth", "6.2f"),
    "detail_chin": ("chin", "6.2f"),
    "detail_eyes": ("eyes", "6.2f"),
    "identity_rest": ("id rest", "8.2f"),
    "identity_speaking": ("id speak", "9.2f"),
    "lid_darkness": ("lid dark", "9.1f"),
    "lid_colour": ("lid col", "8.1f"),
    "jitter": ("jitter", "7.2f"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="photographs, PNG or JPEG")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.add_argument(
        "--sheet",
        metavar="FILE",
        type=Path,
        help="write a PNG or JPEG of each photograph beside its avatar in some expressions",
    )
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    require_scipy()
    paths = photographs(args.folder)
    if args.sheet is not None:
        contact_sheet.check_path(args.sheet)
    embedding, lacking = FaceEmbedding.if_installed()
    rows: dict[str, dict[str, Any]] = {}
    pictures: dict[str, list[np.ndarray]] = {}
    with native_output.hidden(args.verbose), FaceDetector(args.landmarker) as detector:
        metrics = AvatarMetrics(detector, embedding)
        for path in tqdm(paths, desc="photographs", disable=None):
            try:
                rows[path.name], pictures[path.name] = evaluate(path, detector, metrics, args)
            except RealTalkError as error:
                rows[path.name] = {"refused": str(error)}
    report = {"photographs": rows, **summary(rows)}
    print(json.dumps(report, indent=2) if args.json else table(report))
    if lacking:
        warn("evaluate avatars", lacking)
    if args.sheet is not None and pictures:
        sheet = contact_sheet.table(pictures.items(), ("photo", *SHOWN))
        contact_sheet.save(args.sheet, sheet)


def evaluate(
    path: Path, detector: FaceDetector, metrics: AvatarMetrics, args: argparse.Namespace
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Figures and cells of the sheet. Raises RealTalkError for a photograph that is refused."""
    began = time.monotonic()
    made = from_picture(read_picture(path), path.name, args.landmarker)
    avatar = temporary_avatar(made, path)
    seconds = time.monotonic() - began
    renderer = FaceRenderer(avatar, avatar.size[1])
    picture, face = find_face(detector, read_picture(path), path.name)
    figures: dict[str, Any] = {"seconds": seconds, **metrics.measure(renderer, picture, face)}
    if made.notes:
        figures["notes"] = made.notes
    photograph = beside(picture, face, renderer, detector)
    return figures, [photograph, *contact_sheet.faces(renderer, SHOWN)]


def beside(
    picture: np.ndarray, face: DetectedFace, renderer: FaceRenderer, detector: FaceDetector
) -> np.ndarray:
    """The photograph as a cell of the sheet, its eyes as large and where the avatar has them."""
    x, y, side = contact_sheet.face_square(renderer)
    found = detector.find(renderer.render(contact_sheet.EXPRESSIONS["rest"], 0))
    own, shown = face.points, (found[0] if found else face).points
    scale = float(distance(own, EYE_CORNERS) / distance(shown, EYE_CORNERS))
    middle, shown_middle = (points[list(EYE_CORNERS)].mean(0) for points in (own, shown))
    left, top = (middle + scale * ((x, y) - shown_middle)).tolist()
    return contact_sheet.cell(picture, (left, top, scale * side))


def summary(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How many were enrolled; mean and worst of each figure."""
    made = [row for row in rows.values() if "refused" not in row]
    mean, worst = {}, {}
    for name in COLUMNS:
        values = [row[name] for row in made if name in row]
        if values:
            mean[name] = float(np.mean(values))
            worst[name] = min(values) if name in HIGHER_IS_BETTER else max(values)
    return {"enrolled": len(made), "refused": len(rows) - len(made), "mean": mean, "worst": worst}


def table(report: dict[str, Any]) -> str:
    rows = report["photographs"]
    width = max(len("photograph"), *(len(name) for name in rows))
    lines = [f"{'photograph':{width}} {heads(COLUMNS)}"]
    for name, row in (*rows.items(), ("mean", report["mean"]), ("worst", report["worst"])):
        lines.append(f"{name:{width}} " + (row.get("refused") or line(COLUMNS, row)))
        lines += [f"{'':{width}} note: {note}" for note in row.get("notes", ())]
    lines.append(f"{report['enrolled']} enrolled, {report['refused']} refused")
    return "\n".join(lines)
