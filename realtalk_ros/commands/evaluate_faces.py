# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate faces`: how avatars speak, blink and load, as docs/faces.md has it.

Each avatar speaks the bundled clip, again and again, with head motion and blinks. MediaPipe, which
knows nothing of the renderer, looks for the face anew in every frame (extra `enroll`).

    frames       how many
    found        share of them with one face
    opening_r    correlation of the gap between the inner lips (their middles) that MediaPipe finds
                 with the one that the weights ask of the face model in the picture, 0 where the
                 lips press; pixels of an image of SIZE
    slope        of the regression line of these two: found over asked
    true_slope   the same of pictures whose gap is exact: the avatar's template and references, if
                 they were rendered from the face model. It is MediaPipe's own scale for this face
    opening      slope / true_slope: what is left for the renderer to answer for
    lid_darkness, lid_colour, jitter            as `realtalk evaluate avatars` has them
    load_seconds                                reading and encoding, the networks' files, too
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from realtalk_ros import onnx_session
from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.avatar_names import bundled_names
from realtalk_ros.avatar.provenance import SYNTHETIC
from realtalk_ros.behaviour.face_pipeline import FacePipeline
from realtalk_ros.commands.avatar_metrics import (
    BLINK,
    REST,
    jitter,
    lid_differences,
)
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.enroll import face_detector, native_output
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.fit import require_scipy
from realtalk_ros.enroll.mediapipe_points import LIP_MIDDLES, distance
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.face_model.landmarks import INNER_LOWER_LIP, INNER_UPPER_LIP
from realtalk_ros.output.figure_columns import heads, line
from realtalk_ros.rendering.common.template_landmarks import template_landmarks
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.stream_types import Chunk

SIZE = 512  # pixels, height of the images
# Figure: column of the table, and its format.
COLUMNS = {
    "frames": ("frames", "6.0f"),
    "found": ("found", "6.3f"),
    "opening_r": ("r", "6.3f"),
    "slope": ("slope", "6.2f"),
    "true_slope": ("true", "6.2f"),
    "opening": ("opening", "8.2f"),
    "lid_darkness": ("lid dark", "9.1f"),
    "lid_colour": ("lid col", "8.1f"),
    "jitter": ("jitter", "7.2f"),
    "load_seconds": ("load s", "7.2f"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "avatars",
        metavar="NAME_OR_DIR",
        nargs="*",
        help="bundled avatars' names, or avatar folders (default: all bundled ones)",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of speech (default: 60)")
    parser.add_argument("--fps", type=float, default=10.0, help="frames a second (default: 10)")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    require_scipy()
    if not (1 <= args.seconds <= 3600 and 1 <= args.fps <= 120):
        raise RealTalkError("give --seconds from 1 to 3600 and --fps from 1 to 120")
    names = args.avatars or bundled_names()
    for name in names:
        Avatar.check(name)  # raises before the first minute is spent
    report: dict[str, dict[str, float]] = {}
    with native_output.hidden(args.verbose), FaceDetector(args.landmarker) as detector:
        for name in tqdm(names, desc="faces", disable=None):
            report[name] = measure(name, detector, args.seconds, args.fps)
    print(json.dumps(report, indent=2) if args.json else table(report))


def measure(
    name: str | Path, detector: FaceDetector, seconds: float, fps: float
) -> dict[str, float]:
    """The figures of the module's docstring; those that cannot be had are left out."""
    onnx_session.forget_sessions()
    began = time.perf_counter()
    avatar = Avatar.load(name)
    renderer = FaceRenderer(avatar, SIZE)
    figures = {"load_seconds": time.perf_counter() - began, "jitter": jitter(renderer)}
    lips = _Lips(avatar, detector)
    frames = [lips.gaps(image, weights) for weights, image in speak(renderer, seconds, fps)]
    seen = [gaps for gaps in frames if gaps is not None]
    figures |= {"frames": len(frames), "found": len(seen) / len(frames)}
    figures |= line_through(seen, "slope", "opening_r")
    if avatar.provenance.source_type == SYNTHETIC and avatar.reference_landmarks is not None:
        figures |= line_through(lips.true_gaps(avatar.reference_landmarks), "true_slope")
    if "slope" in figures and figures.get("true_slope", 0) > 0:
        figures["opening"] = figures["slope"] / figures["true_slope"]
    rest, shut = (renderer.render(w, renderer.template_count // 2) for w in (REST, BLINK))
    at_rest = detector.find(rest)
    if len(at_rest) == 1:
        figures |= lid_differences(shut, rest, at_rest[0].points)
    return figures


def speak(
    renderer: FaceRenderer, seconds: float, fps: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weights (52,) and image of each frame, while the bundled clip is said over and over."""
    clip, rate = read_audio(SAMPLE_CLIP)
    speech = Chunk(np.resize(clip, round(seconds * rate)), rate, last=True)
    pipeline = FacePipeline(ExpressionModel(), renderer, fps)
    for part in (pipeline.push(speech), pipeline.flush()):
        for _, weights, image in part:
            yield weights, image


class _Lips:
    """The gap between an avatar's inner lips, pixels of an image of SIZE."""

    def __init__(self, avatar: Avatar, detector: FaceDetector):
        self._avatar, self._detector = avatar, detector
        self._geometry = Geometry(
            avatar.identity, template_landmarks(avatar), resting_weights=avatar.resting_weights
        )
        self._key = len(avatar.templates) // 2
        self._side = avatar.crop[2] * SIZE / avatar.size[1]  # of the face's square

    def gaps(self, image: np.ndarray, weights: np.ndarray) -> tuple[float, float] | None:
        """(asked, found) of an image with weights (52,); None where no one face is found."""
        found = self._found(image)
        points = self._geometry.target_landmarks(weights, self._key) * self._side
        return None if found is None else (opened(points), found)

    def true_gaps(self, landmarks: np.ndarray) -> list[tuple[float, float]]:
        """(exact, found) of the template and the references, whose `landmarks` (K, 68, 2) are of
        CROP_SIZE pixels."""
        avatar = self._avatar
        template, (x, y, side) = avatar.templates[self._key], avatar.crop
        gaps = [self.gaps(self._resized(template), REST)]
        for reference, points in zip(avatar.more_references, landmarks, strict=True):
            picture = template.copy()
            picture[y : y + side, x : x + side] = cv2.resize(
                reference, (side, side), interpolation=cv2.INTER_AREA
            )
            found = self._found(self._resized(picture))
            exact = opened(points * self._side / CROP_SIZE)
            gaps.append(None if found is None else (exact, found))
        return [both for both in gaps if both is not None]

    def _found(self, image: np.ndarray) -> float | None:
        faces = self._detector.find(image)
        return float(distance(faces[0].points, LIP_MIDDLES)) if len(faces) == 1 else None

    def _resized(self, picture: np.ndarray) -> np.ndarray:
        width, height = self._avatar.size
        size = round(width * SIZE / height), SIZE
        return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def opened(landmarks: np.ndarray) -> float:
    """The gap between the inner lips of landmarks (68, 2), 0 where they press."""
    return float(max(0.0, landmarks[INNER_LOWER_LIP, 1] - landmarks[INNER_UPPER_LIP, 1]))


def line_through(
    gaps: Iterable[tuple[float, float]], slope: str, correlation: str = ""
) -> dict[str, float]:
    """By these names the slope of the regression line through (asked, found), and how well they
    correlate; nothing where all are alike."""
    asked, found = np.array(list(gaps)).reshape(-1, 2).T
    if len(asked) < 3 or min(np.std(asked), np.std(found)) < 1e-6:
        return {}
    figures = {slope: float(np.polyfit(asked, found, 1)[0])}
    if correlation:
        figures[correlation] = float(np.corrcoef(asked, found)[0, 1])
    return figures


def table(report: dict[str, dict[str, Any]]) -> str:
    """One line for each avatar; "-" for what is not known."""
    width = max(len("face"), *(len(name) for name in report))
    rows = [f"{name:{width}} {line(COLUMNS, figures)}" for name, figures in report.items()]
    return "\n".join([f"{'face':{width}} {heads(COLUMNS)}", *rows])
