# SPDX-License-Identifier: Apache-2.0
"""`realtalk data speaker`: a video of a synthetic person who speaks, with its ground truth.

Enrolment, `realtalk data videos` and the fine-tuning to one face are tested with it. It writes

    OUT/video/NAME.mp4      512x512 at 25 frames/s with the audio; head motion, blinks and glances
    OUT/video/NAME.npz      the ground truth of every frame, as a face_tracks.Track
    OUT/avatar/             an avatar of that person; its reference image is a frame of the video
    OUT/test/val/0000.npz   with --test-wav: groups (face_dataset.py) of the same person saying
                            that, template and target in exactly one pose

The movement is what the expression network predicts for the audio.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from tqdm import tqdm

from realtalk_ros import checksums
from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.behaviour.idle import Idle
from realtalk_ros.contracts import EXPRESSION_RATE
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import arkit
from realtalk_ros.output import picture_file
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.common.group_layout import EXPRESSIONS, POSES, REFERENCES, write_shard
from realtalk_ros.training.synthetic import face_dataset, make_avatar, random_people
from realtalk_ros.training.synthetic.face_dataset import Shot
from realtalk_ros.training.synthetic.head_renderer import HeadRenderer
from realtalk_ros.training.synthetic.random_people import Person
from realtalk_ros.training.synthetic.skin_texture import SkinPainter
from realtalk_ros.training.synthetic.view import View

FPS = 25
SIZE, CROP = make_avatar.SIZE, make_avatar.CROP
TEXTURE, SUPERSAMPLE, DETAIL = 512, 1.25, 0.5
SWAY = np.radians([4.0, 7.0, -3.0])  # of the head while it speaks: pitch, yaw, roll, at most
TEST_GROUPS = 24


def movement(pcm: np.ndarray, rate: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (N, 52) and head rotation (N, 3), rad as of face_model/rotations.py, of N video
    frames."""
    predicted = PredictedExpression.of(pcm, rate)
    count = int(len(pcm) / rate * FPS)
    times, frames = np.arange(len(predicted.weights)) / EXPRESSION_RATE, np.arange(count) / FPS
    speech = np.stack([np.interp(frames, times, w) for w in predicted.weights.T], 1)
    rotation = np.stack([np.interp(frames, times, r) for r in predicted.rotation.T], 1)
    idle = Idle(seed)
    idling = np.stack([idle.weights(t) for t in frames])
    rng = np.random.default_rng([seed, 5])
    phase, pace = rng.uniform(0, 2 * np.pi, (2, 3)), rng.uniform(0.05, 0.16, (2, 3))
    sway = np.sin(2 * np.pi * pace[:, None] * frames[None, :, None] + phase[:, None])
    rotation += SWAY * sway.mean(0)[:, [1, 0, 2]]
    return np.clip(speech + idling, 0, 1).astype(np.float32), rotation.astype(np.float32)


def views(base: View, rotation: np.ndarray) -> list[View]:
    """One view a frame; the head also drifts a little, as one who stands does."""
    return [
        replace(
            base, pitch=float(p), yaw=float(y), roll=float(r),
            shift=(float(2.0 * y), float(-1.0 * p), 0.0),
        )
        for p, y, r in rotation
    ]  # fmt: skip


def render_video(
    path: Path,
    renderer: HeadRenderer,
    person: Person,
    frames: Sequence[Shot],
    *,
    pcm: np.ndarray,
    rate: int,
) -> None:
    """Writes the video and, beside it, its ground truth."""
    landmarks, rest = np.empty((2, len(frames), 68, 2), np.float32)
    second = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, FPS, (SIZE, SIZE), rate) as video:
        for k, frame in enumerate(tqdm(frames, path.name, unit="frame")):
            landmarks[k] = frame.view.pixels(renderer.landmarks(frame.weights), SIZE)
            rest[k] = frame.view.pixels(renderer.neutral_landmarks, SIZE)
            if k % FPS == 0:
                video.write_audio(pcm[second * rate : (second + 1) * rate])
                second += 1
            video.write(renderer.render(frame.weights, frame.view, person.light))
    shown = [frame.view for frame in frames]
    Track(
        time=np.arange(len(frames)) / FPS,
        faces=np.ones(len(frames), np.int16),
        landmarks=landmarks,
        rest=rest,
        weights=np.stack([frame.weights for frame in frames]),
        rotation=np.array([[v.pitch, v.yaw, v.roll] for v in shown], np.float32),
        identity=person.identity,
    ).save(path.with_suffix(".npz"))


def toothiest(weights: np.ndarray) -> int:
    """The frame of weights (N, 52) that shows the most teeth, with open eyes."""
    lips = weights[:, arkit.indices("jawOpen", "mouthLowerDown", "mouthUpperUp")].sum(1)
    return int(np.argmax(lips - 10 * weights[:, arkit.indices("eyeBlink")].sum(1)))


def use_video(folder: Path, reference: np.ndarray, weights: np.ndarray) -> None:
    """Gives an avatar folder a reference image and 2 s of own expressions (25 Hz) of a video."""
    picture_file.save(folder / "reference.png", reference)
    np.save(folder / "reference_expressions.npy", weights[FPS : FPS + 50])
    path = folder / "avatar.yaml"
    meta = yaml.safe_load(path.read_text())
    meta["sha256"] = {name: checksums.sha256(folder / name) for name in meta["sha256"]}
    path.write_text(yaml.safe_dump(meta, sort_keys=False, width=100))


def test_groups(
    renderer: HeadRenderer, person: Person, shown: list[View], weights: np.ndarray, seed: int
) -> list[dict[str, np.ndarray]]:
    """Groups in poses of `shown`, with expressions of `weights`; the template is at rest."""
    rng, groups = np.random.default_rng([seed, 6]), []
    rest = arkit.weights()

    def random_view() -> View:
        return make_avatar.cropped(shown[int(rng.integers(len(shown)))])

    for _ in tqdm(range(TEST_GROUPS), "test", unit="group"):
        shots = [Shot(random_view(), rest, -1) for _ in range(REFERENCES)]
        for pose in range(POSES):
            view = random_view()
            chosen = rng.choice(len(weights), EXPRESSIONS - 1, replace=False)
            shots += [Shot(view, rest, pose), *(Shot(view, weights[k], pose) for k in chosen)]
        groups.append(face_dataset.render_shots(renderer, person, shots))
    return groups


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk data speaker`."""
    parser.add_argument(
        "--person", type=int, default=0, help="which of the people never trained on"
    )
    parser.add_argument("--wav", type=Path, required=True, help="what is said in the video")
    parser.add_argument("--test-wav", type=Path, help="what is said in the test groups")
    parser.add_argument("--out", type=Path, help="default: runs/speakers/PERSON")
    parser.add_argument("--facekit", type=Path, help="ict_facekit.npz (default: $REALTALK_FACEKIT)")


def run(args: argparse.Namespace) -> None:
    """`realtalk data speaker`."""
    if args.person < 0:
        raise RealTalkError("--person is a number from 0 on")
    seed = face_dataset.VAL_SEED + args.person
    name, out = f"person{args.person}", args.out or Path("runs/speakers") / str(args.person)
    pcm, rate = read_audio(args.wav)
    kit = FaceKit.load(args.facekit)
    renderer = HeadRenderer(kit, SIZE, SUPERSAMPLE, DETAIL)
    painter = SkinPainter(renderer, TEXTURE)
    person = random_people.random_person(kit, painter, seed, fine=True)
    person = replace(person, distance=make_avatar.DISTANCE)
    renderer.load_person(person.neutral, person.appearance)
    base, (x, y, side) = make_avatar.frame_view(kit, person.neutral)

    weights, rotation = movement(pcm, rate, seed)
    frames = [Shot(view, w, 0) for view, w in zip(views(base, rotation), weights, strict=True)]
    video = out / "video" / f"{name}.mp4"
    if not video.exists():
        render_video(video, renderer, person, frames, pcm=pcm, rate=rate)
    make_avatar.write_avatar(out / "avatar", name, person, renderer, seed)
    frame = frames[toothiest(weights)]
    image = renderer.render(frame.weights, frame.view, person.light)
    use_video(out / "avatar", image[y : y + side, x : x + side], weights)
    if args.test_wav:
        test_weights, test_rotation = movement(*read_audio(args.test_wav), seed + 1)
        close = HeadRenderer(kit, CROP, SUPERSAMPLE, DETAIL)
        close.load_person(person.neutral, person.appearance)
        groups = test_groups(close, person, views(base, test_rotation), test_weights, seed)
        write_shard(out / "test" / "val" / "0000.npz", groups)
