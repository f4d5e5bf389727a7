"""`realtalk data videos DIR`: a folder of talking-head videos to what both networks learn from.

    OUT/train/*.npz, OUT/val/*.npz   groups of pictures (training_groups.py), for
                                     `realtalk train renderer`; val has the last tenth of every
                                     video
    OUT/speech/*.npz                 what is heard and how the face moves with it, a file a video:
        mel (2 n, 80) float16 at 100 Hz; weights (n, 52), rotation (n, 3: pitch, yaw, roll in rad)
        and speech (n,) 0..1 (the installed network's opinion) at 50 Hz; starts (k + 1,): stretch
        i is steps starts[i] to starts[i + 1]; identity (100,)
    OUT/tracks/*.npz                 the tracker's results, so that no video is tracked twice
    OUT/videos.jsonl                 a line for each video that is done: a run that was interrupted
                                     goes on with the others; delete a line to have it done again
    OUT/report.json                  what was used, what was left out, and why

A video X.mp4 with a track (face_tracks.py) beside it, X.npz, is not tracked: so the studio's own
videos come with their truth. Nothing that is wrong with a video stops the run.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realtalk_ros.contracts import EXPRESSION_RATE, MEL_STEP
from realtalk_ros.enroll.face_tracks import MIN_SPAN, Track, Tracker, Watch, spans
from realtalk_ros.enroll.video_reader import Clip
from realtalk_ros.errors import AudioError, RealTalkError
from realtalk_ros.training.synthetic.face_dataset import write_shard
from realtalk_ros.training.videos import training_groups
from realtalk_ros.training.videos.lip_sync_check import (
    MAX_OFFSET,
    MIN_CORRELATION,
    SURE,
    Sound,
    compare,
)

SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .ts .mts .flv .wmv .ogv .3gp".split()
)
HELD_OUT = 0.1  # of a video's good frames, the last ones
FATAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)  # of writing


class Builder:
    """Works through videos. `tracker` is opened if there is a video without a track."""

    def __init__(self, folder: Path, out: Path, rate: float, tracker: Callable[[], Tracker]):
        self.folder, self.out, self.rate, self.open_tracker = folder, out, rate, tracker

    def videos(self) -> list[Path]:
        return sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in SUFFIXES
                      and p.is_file() and not p.name.startswith("."))  # fmt: skip

    def build(self) -> dict:
        """Everything that is not done yet. Returns the report."""
        videos, done = self.videos(), self.done()
        if not videos:
            raise RealTalkError(f"no videos in {self.folder}: give a folder that holds some")
        self.out.mkdir(parents=True, exist_ok=True)
        if not all(any(p.is_file() for p in self.known_tracks(path)) for path in videos):
            self.tracker = self.open_tracker()  # says what is missing before the work begins
        rows = []
        with open(self.out / "videos.jsonl", "a") as log:
            log.write("\n")  # an interrupt may have cut off the last line
            bar = tqdm(videos, "videos", unit="video")
            for path in bar:
                name = str(path.relative_to(self.folder))
                bar.set_postfix_str(name[-40:])
                row = done.get(name)
                if row is None or row["stamp"] != stamp(path):
                    row = self.one(path, name)
                    log.write(json.dumps(row) + "\n")
                    log.flush()
                rows.append(row)
        return self.report(rows)

    def done(self) -> dict[str, dict]:
        """The lines of videos.jsonl by video; one that was cut off by an interrupt is left out."""
        path, rows = self.out / "videos.jsonl", {}
        for line in path.read_text().splitlines() if path.is_file() else ():
            try:
                row = json.loads(line)
                rows[row["video"]] = row
            except (ValueError, KeyError, TypeError):
                continue
        return rows

    def one(self, path: Path, name: str) -> dict:
        """The line of one video, whatever happens in it."""
        began, row = time.monotonic(), {"video": name, "stamp": stamp(path), "used_s": 0.0}
        try:
            self.use(path, key(name), row)
        except (RealTalkError, AudioError) as error:
            row["why"] = " ".join(str(error).split())
        except OSError as error:
            if error.errno in FATAL:
                raise RealTalkError(f"cannot write into {self.out} ({error.strerror})") from error
            row["why"] = f"cannot be read ({error.strerror or error})"
        except Exception as error:  # a decoder's or a tracker's: the other videos are to be done
            row["why"] = f"failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        row["took_s"] = round(time.monotonic() - began, 1)
        return row

    def use(self, path: Path, name: str, row: dict) -> None:
        clip, watch = Clip(path), Watch()
        track = self.tracked(path, clip, watch)
        row["video_s"] = round(float(track.time[-1] - track.time[0]), 2)
        frame_s = row["video_s"] / max(1, len(track) - 1)
        stretches, left_out = spans(track, watch)
        sound = None
        if clip.has_sound:
            sound = Sound.read(path)
            stretches = heard_and_seen(track, stretches, sound, left_out, row)
        else:
            row["sound"] = "none: used for the face only"
        row["left_out_s"] = {k: round(n * frame_s, 2) for k, n in left_out.most_common()}
        used = sum(map(len, stretches))
        if not used:
            raise RealTalkError(
                "no stretch of it is good enough: "
                + ", ".join(
                    f"{reason} {seconds:g} s" for reason, seconds in row["left_out_s"].items()
                )
            )
        row["groups"] = self.write_groups(name, clip, track, stretches)
        if sound is not None:
            self.write_speech(name, track, stretches, sound)
        row["used_s"] = round(used * frame_s, 2)

    def known_tracks(self, path: Path) -> tuple[Path, Path]:
        """Where a track of the video may be: beside it, or of an earlier run on the same file."""
        name, size = key(str(path.relative_to(self.folder))), "_".join(map(str, stamp(path)))
        return path.with_suffix(".npz"), self.out / "tracks" / f"{name}_{size}.npz"

    def tracked(self, path: Path, clip: Clip, watch: Watch) -> Track:
        frames = watch.watch(counted(clip, path.name))
        for known in self.known_tracks(path):
            if known.is_file():
                track, count = Track.load(known), sum(1 for _ in frames)
                if count != len(track):
                    raise RealTalkError(
                        f"has {count} frames, its track {known.name} {len(track)}: remove that"
                    )
                break
        else:
            track = self.tracker.track(frames)
            if len(track):
                track.save(self.known_tracks(path)[1])
        if not len(track):
            raise RealTalkError("no picture of it can be decoded")
        return track

    def write_groups(
        self, name: str, clip: Clip, track: Track, stretches: list[range]
    ) -> dict[str, int]:
        rng = np.random.default_rng(int(hashlib.sha1(name.encode()).hexdigest()[:8], 16))
        found = {}
        for part, frames in zip(("train", "val"), split(track, stretches), strict=True):
            for old in (self.out / part).glob(f"{name}_*.npz"):
                old.unlink()
            plans = training_groups.plan(track, frames, self.rate, rng)
            made = training_groups.make(plans, track, clip.frames())
            for number, shard in enumerate(made):
                write_shard(self.out / part / f"{name}_{number:03d}.npz", shard)
            found[part] = len(plans)
        return found

    def write_speech(self, name: str, track: Track, stretches: list[range], sound: Sound) -> None:
        mel, weights, rotation, speech, starts = [], [], [], [], [0]
        for stretch in stretches:
            times = track.time[stretch]
            steps = np.arange(
                int(np.ceil(max(0, times[0]) * EXPRESSION_RATE)),
                int(times[-1] * EXPRESSION_RATE) + 1,
            )
            steps = steps[steps < len(sound.weights)]
            for into, values in (
                (weights, track.weights),
                (rotation, track.rotation[:, [1, 0, 2]]),
            ):
                into.append(np.stack(
                    [np.interp(steps / EXPRESSION_RATE, times, v) for v in values[stretch].T], 1
                ).astype(np.float32))  # fmt: skip
            speech.append(sound.speech[steps])
            mel.append(sound.mel[(steps[:, None] * MEL_STEP + np.arange(MEL_STEP)).ravel()])
            starts.append(starts[-1] + len(steps))
        write_arrays(
            self.out / "speech" / f"{name}.npz", mel=np.concatenate(mel).astype(np.float16),
            weights=np.concatenate(weights), rotation=np.concatenate(rotation),
            speech=np.concatenate(speech), starts=np.array(starts),
            identity=track.identity,
        )  # fmt: skip

    def report(self, rows: list[dict]) -> dict:
        used = [row for row in rows if "why" not in row]
        why, seconds = Counter(), Counter()
        for row in rows:
            if "why" in row:
                why[row["why"]] += 1
            for reason, s in row.get("left_out_s", {}).items():
                seconds[reason] += s
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


def heard_and_seen(
    track: Track, stretches: list[range], sound: Sound, left_out: Counter[str], row: dict
) -> list[range]:
    """The stretches in which the lips do what is heard. Raises RealTalkError if it is off."""
    if not stretches:
        return []
    sync = compare(track.time, track.weights, stretches, sound)
    if sync is None:
        row["sound"] = "too little speech to tell whether it is in time"
        return stretches
    row["offset_ms"], row["correlation"] = round(1000 * sync.offset), round(sync.correlation, 2)
    off = abs(sync.offset) > MAX_OFFSET
    if off and sync.correlation >= SURE:
        late = "after" if sync.offset > 0 else "before"
        raise RealTalkError(
            f"the mouth moves {abs(row['offset_ms'])} ms {late} the sound: shift the sound"
        )
    kept = []
    for stretch, value in zip(stretches, sync.of_stretch, strict=True):
        # What has too little speech to tell goes with the rest of its video.
        if not off and (sync.correlation if value is None else value) >= MIN_CORRELATION:
            kept.append(stretch)
        else:
            left_out["lips do not follow the sound"] += len(stretch)
    return kept


def split(track: Track, stretches: list[range]) -> tuple[list[range], list[range]]:
    """Stretches to train on and the last HELD_OUT of them; none are shorter than MIN_SPAN, and a
    video too short to hold anything out is all for training."""
    kept = sum(map(len, stretches)) * (1 - HELD_OUT)
    train, val = [], []
    for stretch in stretches:
        cut = stretch.start + int(min(len(stretch), max(0.0, kept)))
        kept -= len(stretch)
        for part, into in ((range(stretch.start, cut), train), (range(cut, stretch.stop), val)):
            if len(part) and track.time[part[-1]] - track.time[part[0]] >= MIN_SPAN:
                into.append(part)
    return (train, val) if train and val else (stretches, [])


def counted(clip: Clip, name: str) -> Iterator[tuple[float, np.ndarray]]:
    """The frames of a clip, with a bar of the seconds."""
    with tqdm(total=clip.duration and round(clip.duration), desc=name[-30:], unit="s",
              leave=False, position=1) as bar:  # fmt: skip
        for at, image in clip.frames():
            bar.n = int(at)
            bar.update(0)
            yield at, image


def stamp(path: Path) -> list[int]:
    """What changes when the file does."""
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


def key(name: str) -> str:
    """A file name for a video's results: its own, made harmless, and what tells it from others."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(name).stem)[:40]
    return f"{stem}_{hashlib.sha1(name.encode()).hexdigest()[:8]}"


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.part")
    with open(part, "wb") as file:
        np.savez(file, **arrays)
    part.replace(path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk data videos`."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="videos, in folders below it too")
    parser.add_argument("--out", type=Path, default=Path("runs/videos"), help="(%(default)s)")
    parser.add_argument(
        "--rate", type=float, default=8, help="pictures a second to learn from (%(default)s)"
    )
    parser.add_argument(
        "--landmarker", type=Path, help="a face_landmarker.task, instead of MediaPipe's own model"
    )


def run(args: argparse.Namespace) -> None:
    """`realtalk data videos`. Raises RealTalkError for a folder without videos."""
    if not args.folder.is_dir():
        raise RealTalkError(f"{args.folder} is no folder: give the one that holds the videos")
    if not 0.1 <= args.rate <= 120:  # NaN too
        raise RealTalkError(f"--rate {args.rate:g}: give 0.1 to 120 pictures a second")
    from realtalk_ros.enroll.mesh_tracker import MeshTracker

    builder = Builder(args.folder, args.out, args.rate, lambda: MeshTracker(args.landmarker))
    show(builder.build(), args.out)


def show(report: dict, out: Path) -> None:
    for row in report["by_video"]:
        said = f"left out: {row['why']}" if "why" in row else f"{row['used_s']:g} s used"
        notes = [f"{reason} {s:g} s" for reason, s in row.get("left_out_s", {}).items()]
        if "why" in row:
            notes = []  # the reason has them
        if "offset_ms" in row:
            notes.append(f"sound {row['offset_ms']:+d} ms, correlation {row['correlation']:.2f}")
        if "sound" in row and "why" not in row:
            notes.append(f"sound: {row['sound']}")
        print(f"{row['video']}: {'; '.join([said, *notes])}")
    print(
        f"{report['used']} of {report['videos']} videos, {report['minutes_used']:g} of "
        f"{report['minutes']:g} minutes used; {report['groups']['train']} groups to train on, "
        f"{report['groups']['val']} held out; {out / 'report.json'}"
    )
    for reason, seconds in report["left_out_s"].items():
        print(f"  {reason}: {seconds:g} s left out")
