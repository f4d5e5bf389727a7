# SPDX-License-Identifier: Apache-2.0
"""`realtalk data videos DIR`: training data for both networks from videos of talking heads.

    OUT/train/*.npz, OUT/val/*.npz   groups of pictures (training_groups.py), for
                                     `realtalk train renderer`; val has the last tenth of every
                                     video
    OUT/speech/*.npz                 audio and the movement of the face with it, a file a video:
        mel (2 n, 80) float16 at 100 Hz; weights (n, 52), rotation (n, 3: pitch, yaw, roll (to
        the right) in rad) and speech (n,) 0..1 (by the installed network) at 50 Hz; starts
        (k + 1,): stretch i is steps starts[i] to starts[i + 1]; identity (100,)
    OUT/tracks/*.npz                 the tracker's results, so that no video is tracked twice
    OUT/videos.jsonl                 a line for each video that is done: a run that was interrupted
                                     goes on with the others; delete a line to have it done again
    OUT/report.json                  what was used, what was left out, and why

A video X.mp4 with a track (face_tracks.py) beside it, X.npz, is not tracked: so synthetic videos
come with their ground truth. No error in a video stops the run.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realtalk_ros.contracts import EXPRESSION_RATE, MEL_STEP
from realtalk_ros.enroll import face_detector, native_output
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.enroll.one_person import check_one_person
from realtalk_ros.enroll.video_reader import Clip
from realtalk_ros.errors import RealTalkError, one_line, reason
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model.rotations import flip_roll
from realtalk_ros.training.common.array_files import write_arrays
from realtalk_ros.training.common.group_layout import write_shard
from realtalk_ros.training.common.json_lines import appended, read_rows
from realtalk_ros.training.videos import training_groups
from realtalk_ros.training.videos.lip_sync_check import stretches_in_sync
from realtalk_ros.training.videos.track_spans import MIN_SPAN, FrameStatistics, VideoTracker, spans
from realtalk_ros.training.videos.video_files import (
    TRACKS,
    file_key,
    file_stamp,
    find_videos,
    track_path,
)

MAX_LATE = 0.1  # s that a frame may be shown before or after its time in a track
HELD_OUT = 0.1  # of a video's good frames: the last ones
# Errors of writing, which every other video would have, too.
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class Builder:
    """Makes training data of the videos in `folder`.

    rate: pictures a second to learn from; open_tracker: called if a video has no track.
    """

    def __init__(
        self,
        folder: Path,
        out: Path,
        rate: float,
        open_tracker: Callable[[], VideoTracker],
    ):
        self.folder, self.out, self.rate = folder, out, rate
        self.open_tracker = open_tracker

    def build(self) -> dict:
        """Everything that is not done yet. Returns the report."""
        videos, lines = find_videos(self.folder), self.out / "videos.jsonl"
        done = read_rows(lines, "video")
        if not all(any(p.is_file() for p in self.known_tracks(path)) for path in videos):
            self.tracker = self.open_tracker()  # raises what is missing before the work begins
        rows = []
        with appended(lines) as write:
            bar = tqdm(videos, "videos", unit="video")
            for path in bar:
                name = str(path.relative_to(self.folder))
                bar.set_postfix_str(name[-40:])
                row = done.get(name, {})
                made_of = self.made_of(path)
                if {key: row.get(key) for key in made_of} != made_of:
                    row = self.process(path, name)
                    write(row)
                rows.append(row)
        return self.report(rows)

    def made_of(self, path: Path) -> dict:
        """By which a line in videos.jsonl tells that a video is to be done again."""
        beside = self.known_tracks(path)[0]
        given = file_stamp(beside) if beside.is_file() else None
        return {"stamp": file_stamp(path), "tracks": TRACKS, "track_stamp": given}

    def process(self, path: Path, name: str) -> dict:
        """One video; returns its line in videos.jsonl, errors included."""
        began, row = time.monotonic(), {"video": name, **self.made_of(path), "used_s": 0.0}
        try:
            self.remove_old(file_key(name))
            self.write_data(path, file_key(name), row)
        except RealTalkError as error:
            row["why"] = one_line(error).removeprefix(f"{path} ")
        except OSError as error:
            if error.errno in FATAL:
                raise RealTalkError(f"cannot write into {self.out} ({reason(error)})") from error
            row["why"] = f"cannot be read ({reason(error)})"
        except Exception as error:  # of a decoder or tracker: the other videos go on
            row["why"] = f"failed ({type(error).__name__}: {one_line(error)[:200]})"
        row["took_s"] = round(time.monotonic() - began, 1)
        return row

    def remove_old(self, name: str) -> None:
        """What was made of the video before, which may not be used any more."""
        for old in [*self.out.glob(f"train/{name}_*.npz"), *self.out.glob(f"val/{name}_*.npz")]:
            old.unlink()
        (self.out / "speech" / f"{name}.npz").unlink(missing_ok=True)

    def write_data(self, path: Path, name: str, row: dict) -> None:
        """Tracks, checks and writes one video; fills its `row`. Raises what is wrong with it."""
        video, statistics = Clip(path), FrameStatistics()
        track = self.track(path, video, statistics)
        row["notes"] = check_one_person(path, track.apart)
        row["video_s"] = round(float(track.time[-1] - track.time[0]), 2)
        frame_s = row["video_s"] / max(1, len(track) - 1)
        stretches, left_out = spans(track, statistics)
        predicted = None
        if video.has_sound:
            predicted = PredictedExpression.read(path)
            stretches = stretches_in_sync(track, stretches, predicted, left_out, row)
        else:
            row["sound"] = "none: used for the face only"
        row["left_out_s"] = {k: round(n * frame_s, 2) for k, n in left_out.most_common()}
        frames_used = sum(map(len, stretches))
        if not frames_used:
            raise RealTalkError(
                "no stretch of it is good enough: "
                + ", ".join(f"{why} {seconds:g} s" for why, seconds in row["left_out_s"].items())
            )
        row["groups"] = self.write_groups(name, video, track, stretches)
        if predicted is not None:
            self.write_speech(name, track, stretches, predicted)
        row["used_s"] = round(frames_used * frame_s, 2)

    def known_tracks(self, path: Path) -> tuple[Path, Path]:
        """Where a track of the video may be: beside it, or of an earlier run on the same file."""
        name = str(path.relative_to(self.folder))
        return path.with_suffix(".npz"), track_path(self.out / "tracks", name, path)

    def track(self, path: Path, video: Clip, statistics: FrameStatistics) -> Track:
        """The known track of a video, or a new one. `statistics` sees every frame either way."""
        frames = statistics.collect(with_progress(video, path.name))
        for known in self.known_tracks(path):
            if known.is_file():
                track, times = Track.load(known), [at for at, _ in frames]
                check_times(track, times, known.name)
                break
        else:
            track = self.tracker.track(frames)
            if len(track):
                track.save(self.known_tracks(path)[1])
        if not len(track):
            raise RealTalkError("no picture of it can be decoded")
        return track

    def write_groups(
        self, name: str, video: Clip, track: Track, stretches: list[range]
    ) -> dict[str, int]:
        """Returns the number of groups for training and validation."""
        rng = np.random.default_rng(int(hashlib.sha1(name.encode()).hexdigest()[:8], 16))
        counts = {}
        for part, frames in zip(("train", "val"), split(track, stretches), strict=True):
            plans = training_groups.plan_groups(track, frames, self.rate, rng)
            shards = training_groups.make_shards(plans, track, video.frames(as_srgb=True))
            for number, shard in enumerate(shards):
                write_shard(self.out / part / f"{name}_{number:03d}.npz", shard)
            counts[part] = len(plans)
        return counts

    def write_speech(
        self, name: str, track: Track, stretches: list[range], predicted: PredictedExpression
    ) -> None:
        """Audio, and the tracked movement at the steps of the network."""
        mel, weights, rotation, speech, starts = [], [], [], [], [0]
        for stretch in stretches:
            times = track.time[stretch]
            steps = np.arange(
                int(np.ceil(max(0, times[0]) * EXPRESSION_RATE)),
                int(times[-1] * EXPRESSION_RATE) + 1,
            )
            steps = steps[steps < len(predicted.weights)]
            for into, values in (
                (weights, track.weights),
                (rotation, flip_roll(track.rotation)),
            ):
                into.append(np.stack(
                    [np.interp(steps / EXPRESSION_RATE, times, v) for v in values[stretch].T], 1
                ).astype(np.float32))  # fmt: skip
            speech.append(predicted.speech[steps])
            mel.append(predicted.mel[(steps[:, None] * MEL_STEP + np.arange(MEL_STEP)).ravel()])
            starts.append(starts[-1] + len(steps))
        write_arrays(
            self.out / "speech" / f"{name}.npz", mel=np.concatenate(mel).astype(np.float16),
            weights=np.concatenate(weights), rotation=np.concatenate(rotation),
            speech=np.concatenate(speech), starts=np.array(starts),
            identity=track.identity,
        )  # fmt: skip

    def report(self, rows: list[dict]) -> dict:
        """Sums up the lines of videos.jsonl and writes report.json."""
        used = [row for row in rows if "why" not in row]
        why, seconds = Counter(), Counter()
        for row in rows:
            if "why" in row:
                why[row["why"]] += 1
            for cause, s in row.get("left_out_s", {}).items():
                seconds[cause] += s
        groups_of = {p: sum(row["groups"][p] for row in used) for p in ("train", "val")}
        report = {
            "videos": len(rows), "used": len(used),
            "minutes": round(sum(row.get("video_s", 0) for row in rows) / 60, 2),
            "minutes_used": round(sum(row["used_s"] for row in rows) / 60, 2),
            "groups": groups_of,
            "left_out_s": {k: round(s, 1) for k, s in seconds.most_common()},
            "left_out": dict(why.most_common()), "by_video": rows,
        }  # fmt: skip
        (self.out / "report.json").write_text(json.dumps(report, indent=1))
        return report


def check_times(track: Track, times: Sequence[float], name: str) -> None:
    """Raises RealTalkError where a track is not of a video that shows its frames at `times` [s]."""
    if len(times) != len(track):
        raise RealTalkError(f"has {len(times)} frames, its track {name} {len(track)}: remove that")
    late = float(np.abs(track.time - times).max(initial=0))
    if late > MAX_LATE:
        raise RealTalkError(
            f"shows frames up to {late:.1f} s before or after its track {name} has them: "
            "remove that"
        )


def split(track: Track, stretches: list[range]) -> tuple[list[range], list[range]]:
    """Stretches for training, and the last HELD_OUT of them for validation.

    None are shorter than MIN_SPAN. A video too short to hold anything out is all for training.
    """
    remaining = sum(map(len, stretches)) * (1 - HELD_OUT)
    train, val = [], []
    for stretch in stretches:
        cut = stretch.start + int(min(len(stretch), max(0.0, remaining)))
        remaining -= len(stretch)
        for part, into in ((range(stretch.start, cut), train), (range(cut, stretch.stop), val)):
            if len(part) and track.time[part[-1]] - track.time[part[0]] >= MIN_SPAN:
                into.append(part)
    return (train, val) if train and val else (stretches, [])


def with_progress(video: Clip, name: str) -> Iterator[tuple[float, np.ndarray]]:
    """The frames of a video, with a progress bar in seconds."""
    with tqdm(total=video.duration and round(video.duration), desc=name[-30:], unit="s",
              leave=False, position=1) as bar:  # fmt: skip
        for time_s, image in video.frames():
            bar.n = int(time_s)
            bar.update(0)
            yield time_s, image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk data videos`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="videos, in folders below it too")
    parser.add_argument("--out", type=Path, default=Path("runs/videos"), help="folder to write")
    parser.add_argument("--rate", type=float, default=8, help="pictures a second to learn from")
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """`realtalk data videos`. Raises RealTalkError for a folder without videos that can be used."""
    if not 0.1 <= args.rate <= 120:  # NaN too
        raise RealTalkError(f"--rate {args.rate:g}: give 0.1 to 120 pictures a second")
    from realtalk_ros.enroll.mesh_tracker import MeshTracker

    builder = Builder(args.folder, args.out, args.rate, lambda: MeshTracker(args.landmarker))
    with native_output.hidden(args.verbose):
        report = builder.build()
    show(report, args.out)
    if not report["used"]:
        raise RealTalkError(f"none of the videos in {args.folder} can be used: see why above")


def show(report: dict, out: Path) -> None:
    """Prints a report: a line a video, then the sums."""
    for row in report["by_video"]:
        result = f"left out: {row['why']}" if "why" in row else f"{row['used_s']:g} s used"
        notes = [f"{why} {s:g} s" for why, s in row.get("left_out_s", {}).items()]
        if "why" in row:
            notes = []  # the reason has them
        if "offset_ms" in row:
            notes.append(f"sound {row['offset_ms']:+d} ms, correlation {row['correlation']:.2f}")
        if "sound" in row and "why" not in row:
            notes.append(f"sound: {row['sound']}")
        notes += row.get("notes", [])
        print(f"{row['video']}: {'; '.join([result, *notes])}")
    print(
        f"{report['used']} of {report['videos']} videos, {report['minutes_used']:g} of "
        f"{report['minutes']:g} minutes used; {report['groups']['train']} groups to train on, "
        f"{report['groups']['val']} held out; {out / 'report.json'}"
    )
    for why, seconds in report["left_out_s"].items():
        print(f"  {why}: {seconds:g} s left out")
