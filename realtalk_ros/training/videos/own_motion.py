# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate talking --own-motion`: what it is worth to know the person who speaks.

The RealTalk paper (arXiv 2406.18284) gives its network a person's 3D face shape, and a window of
the expressions that this person made before. Here both are taken from the first half of a video:
the identity from the first frame that enrolment accepts, the window from the 2 s with most speech,
as mouth_targets.py puts the tracked mouth into weights. The network then speaks the second half
with each, and each time is measured there. Without both, once more, the mouth moves as much farther
as the first half says (enroll/mouth_motion.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.mouth_motion import mouth_motion
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.output.figure_columns import print_table
from realtalk_ros.training.expression.coarticulation import WINDOW_STEPS, reference_window
from realtalk_ros.training.videos import mouth_targets, talking_metrics
from realtalk_ros.training.videos.filmed_people import FilmedPerson, Stretch
from realtalk_ros.training.videos.mouth_track import MouthTrack
from realtalk_ros.training.videos.talking_picture import first_accepted, seen_frames
from realtalk_ros.training.videos.tracked_videos import for_each_video, in_step, show_left_out
from realtalk_ros.training.videos.video_files import find_videos

MOUTH_MOTION = "mouth motion"
# What the network knows of the person: its name, and whether it is given identity and window.
KNOWN = {
    "nothing": (False, False), "identity": (True, False), "window": (False, True),
    "both": (True, True), MOUTH_MOTION: (False, False),
}  # fmt: skip
COLUMNS = {
    "people": ("people", "6.0f"), "aperture_r": ("aperture", "8.2f"), "width_r": ("width", "5.2f"),
    "range": ("range", "5.2f"), "range_spread": ("spread", "6.2f"), "p95": ("p95", "5.2f"),
    "distance": ("distance", "8.3f"),
}  # fmt: skip
SHORTEST = 2.5  # s of half a video


# Identity and window, None where unknown -> what the network makes of a video's sound.
Speaker = Callable[[np.ndarray | None, np.ndarray | None], PredictedExpression]


def speaker_of(path: Path, model: ExpressionModel) -> Speaker:
    """Of a video. Raises AudioError."""
    sound = read_audio(path)
    return lambda *known: PredictedExpression.of(*sound, model, model.prior(*known))


def measure(
    path: Path,
    track: MouthTrack,
    speaker: Speaker,
    unknown: PredictedExpression,
    landmarker: Path | None,
) -> dict[str, dict]:
    """KNOWN -> `measure_clip` of the second half of a video, and `distance`: mean of how far the
    apertures are apart. `unknown` is what `speaker` says of nobody known. Raises RealTalkError
    where a half is short, or enrolment accepts no frame."""
    half = float(track.time[-1]) / 2
    if half < SHORTEST:
        raise RealTalkError(f"less than {2 * SHORTEST:g} s: no window of the person's own motion")
    with FaceDetector(landmarker, video=True) as detector:
        _, avatar = first_accepted(path, seen_frames(path, detector), landmarker)
    first = between(track, 0, half)
    window, seen = window_of(first, unknown), first.part(first.confidence > 0)
    own = mouth_motion(seen.time, seen.aperture, unknown)
    later, rows = between(track, half, np.inf), {}
    for name, (knows_identity, knows_window) in KNOWN.items():
        known = avatar.identity if knows_identity else None, window if knows_window else None
        predicted = speaker(*known) if any(KNOWN[name]) else unknown
        farther = own if name == MOUTH_MOTION and own is not None else 1.0
        one = talking_metrics.curves(later, farther * predicted.prepared, predicted.mel)
        if one is None:
            raise RealTalkError("one face, facing the camera, is not seen for a second")
        apart = float(np.abs(one.made_at()[0] - one.real[0]).mean())
        rows[name] = talking_metrics.measure_clip(one) | {"distance": apart}
    return rows


def between(track: MouthTrack, start: float, end: float) -> MouthTrack:
    """The frames from `start` s to before `end`."""
    inside = (track.time >= start) & (track.time < end)
    return track.part(inside)


def window_of(track: MouthTrack, predicted: PredictedExpression) -> np.ndarray:
    """(50, 52) at 25 Hz: the 2 s with most speech. Raises RealTalkError for too few frames."""
    time = track.time[track.confidence > 0]
    if len(time) < talking_metrics.MIN_FRAMES:
        raise RealTalkError("one face, facing the camera, is not seen for a second")
    stretch = Stretch(predicted.mel, predicted.weights, predicted.rotation, predicted.speech)
    (curves,) = FilmedPerson("", [(stretch, track)], [0.0]).curves(0.0)
    made = mouth_targets.targets(predicted.weights, predicted.speech, curves)
    first, last = (round(EXPRESSION_RATE * float(at)) for at in (time[0], time[-1]))
    spoken = np.convolve(predicted.speech[first:last], np.ones(WINDOW_STEPS), "valid")
    return reference_window(made, first + int(spoken.argmax())).astype(np.float32)


def evaluate(args: argparse.Namespace, model: ExpressionModel) -> dict:
    """The report on the videos of a folder: the mean over people, each of them, and what was left
    out. args: of `realtalk evaluate talking`. Raises RealTalkError where nothing can be
    measured."""
    FaceDetector(args.landmarker, video=True).close()  # says what is missing before the work begins

    def measured(path: Path, track: MouthTrack) -> dict[str, dict]:
        speaker = speaker_of(path, model)
        unknown = speaker(None, None)
        if args.in_step:
            track = in_step(track, unknown)
        return measure(path, track, speaker, unknown, args.landmarker)

    folder = args.folder
    results = for_each_video(find_videos(folder), folder, args.tracks, args.landmarker, measured)
    people = {
        name: {known: talking_metrics.mean([video[known] for video in of]) for known in KNOWN}
        for name, of in results.by_person(folder).items()
    }
    return {
        "known": compare(list(people.values())),
        "people": people,
        "left_out": results.left_out,
        "notes": results.notes,
    }


def compare(people: Sequence[dict[str, dict]]) -> dict[str, dict]:
    """KNOWN -> the mean over people, how many they are, and `range_spread`: standard deviation of
    the logarithm of their ranges."""
    report = {}
    for name in KNOWN:
        rows = [person[name] for person in people]
        spread = float(np.std(np.log([max(row["range"], 1e-3) for row in rows])))
        report[name] = talking_metrics.mean(rows) | {"range_spread": spread, "people": len(rows)}
    return report


def show(report: dict) -> None:
    """A line for each of KNOWN, and what was left out."""
    print_table("known", report["known"], COLUMNS)
    show_left_out(report)
