# SPDX-License-Identifier: Apache-2.0
"""`realtalk data avatar`: renders an avatar of one of the people of cast.py.

Writes an avatar folder (see avatar/avatar.py): template frames along a slow path of idle head
motion, a reference image with lips a little apart, identity, two seconds of the person's
expressions. With `--groups` it also writes training groups of exactly this person, light and
camera, in the format of face_dataset.py, so that the renderer can be fine-tuned to the avatar.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from realtalk_ros import checksums
from realtalk_ros.avatar import image_decoding
from realtalk_ros.avatar.provenance import SYNTHETIC
from realtalk_ros.contracts import AVATAR_FORMAT, EXPRESSION_RATE, SAMPLE_RATE
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import face_square
from realtalk_ros.output import picture_file
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.common.group_layout import (
    EXPRESSIONS,
    IMAGES,
    POSES,
    REFERENCES,
    write_shard,
)
from realtalk_ros.training.synthetic.cast import DISTANCE, PEOPLE
from realtalk_ros.training.synthetic.face_dataset import Shot, render_shots
from realtalk_ros.training.synthetic.head_renderer import HeadRenderer
from realtalk_ros.training.synthetic.random_expressions import random_expression
from realtalk_ros.training.synthetic.random_people import Person
from realtalk_ros.training.synthetic.skin_texture import SkinPainter
from realtalk_ros.training.synthetic.view import View

SIZE, CROP = 512, 256  # pixels of a template frame and of the face's square in it
TEXTURE = 1024  # texels
SQUARE_CORNER = (SIZE - CROP) // 2, 118  # of that square, pixels from the left and the top
TEMPLATES = 36
PER_SHARD = 20  # training groups in a file
CAST = Path("runs/faces/cast")  # folder of training groups of avatars
MAX_STEP = 0.33  # pixels a landmark may move from one template to the next
TEMPLATE_WEIGHTS = arkit.weights()
# The reference image shows teeth and tongue: no template has their colours.
REFERENCE_WEIGHTS = arkit.weights(
    jawOpen=0.32, mouthUpperUp=0.28, mouthLowerDown=0.25, mouthSmile=0.18, mouthStretch=0.06
)


def frame_view(kit: FaceKit, neutral: np.ndarray) -> tuple[View, tuple[int, int, int]]:
    """(view of the whole frame, face crop [x, y, side] in its pixels) of the resting head.

    The frame is laid out so that the face's square is exactly CROP pixels and whole-numbered.
    """
    view = View(distance=DISTANCE)
    x, y, side = face_square(view.plane(neutral[kit.landmarks]))
    frame = side * SIZE / CROP
    centre_x = x - side / 2 - SQUARE_CORNER[0] / SIZE * frame + frame / 2
    centre_y = y + side / 2 + SQUARE_CORNER[1] / SIZE * frame - frame / 2
    return replace(view, crop=(centre_x, centre_y, frame, 0.0)), (*SQUARE_CORNER, CROP)


def cropped(view: View) -> View:
    """The same view, only of the face's square (CROP pixels of the frame)."""
    cx, cy, frame, roll = view.crop
    x, y = SQUARE_CORNER[0] + CROP / 2, SQUARE_CORNER[1] + CROP / 2
    return replace(
        view,
        crop=(
            cx + (x / SIZE - 0.5) * frame,
            cy - (y / SIZE - 0.5) * frame,
            frame * CROP / SIZE,
            roll,
        ),
    )


def idle_path(kit: FaceKit, neutral: np.ndarray, base: View) -> list[View]:
    """TEMPLATES views along a smooth path of small head motion, played back and forth by
    behaviour/idle.py."""
    points = neutral[kit.landmarks]

    def views(scale: float) -> list[View]:
        return [
            replace(
                base,
                yaw=scale * np.radians(1.6) * -np.cos(np.pi * t),
                pitch=scale * np.radians(0.7) * np.sin(2 * np.pi * t + 0.4),
                roll=-scale * np.radians(0.9) * np.sin(np.pi * t - 0.9),
                shift=(scale * 0.12 * np.sin(np.pi * t), scale * 0.05 * np.sin(2 * np.pi * t), 0.0),
                breath=scale * 0.13 * np.sin(2 * np.pi * t - 1.2),
            )
            for t in np.linspace(0, 1, TEMPLATES)
        ]

    def largest_step(scale: float) -> float:
        seen = np.stack([v.pixels(points, SIZE) for v in views(scale)])
        return float(np.linalg.norm(np.diff(seen, axis=0), axis=2).max())

    return views(MAX_STEP / largest_step(1.0))


def template_landmarks(kit: FaceKit, neutral: np.ndarray, path: list[View]) -> np.ndarray:
    """(N, 68, 2) float32: the resting landmarks in each template, pixels."""
    points = neutral[kit.landmarks]
    return np.stack([view.pixels(points, SIZE) for view in path]).astype(np.float32)


def own_expressions(identity: np.ndarray) -> np.ndarray:
    """(50, 52) at 25 Hz of this person talking.

    From the coarticulation model that the expression network learns from, which moves every
    identity in a manner of its own.
    """
    from realtalk_ros.training.expression import coarticulation, speaking_style
    from realtalk_ros.training.speech_data import tts_engines

    speech = tts_engines.espeak().speak(
        "Hello there, my name is Bob. Maybe we will meet again.", "en-us"
    )
    frames = int(len(speech.pcm) / SAMPLE_RATE * EXPRESSION_RATE)
    style = speaking_style.style_of(identity, np.zeros(speaking_style.STYLE_SIZE))
    motion = coarticulation.animate(speech.segments, frames, style)
    return coarticulation.reference_window(motion.weights, start=20)


def write_avatar(out: Path, name: str, person: Person, renderer: HeadRenderer, seed: int) -> None:
    """Render and write the avatar folder; `renderer` renders at SIZE."""
    kit = renderer.kit
    base, crop = frame_view(kit, person.neutral)
    path = idle_path(kit, person.neutral, base)
    (out / "templates").mkdir(parents=True, exist_ok=True)
    for old in (out / "templates").glob("*.jpg"):
        old.unlink()
    names = []
    for i, view in enumerate(path):
        names.append(f"templates/{i:03d}.jpg")
        image = renderer.render(TEMPLATE_WEIGHTS, view, person.light)
        picture_file.save(out / names[-1], image, image_decoding.FINE_JPEG)
    x, y, side = crop
    reference = renderer.render(REFERENCE_WEIGHTS, path[len(path) // 2], person.light)
    picture_file.save(out / "reference.png", reference[y : y + side, x : x + side])
    rest = template_landmarks(kit, person.neutral, path)
    own = ((rest[len(path) // 2] - (x, y)) / side)[None].astype(np.float32)
    geometry = Geometry(person.identity, own, resting_weights=person.resting)
    arrays = {
        "identity": person.identity,
        "landmarks": rest,
        "resting_weights": person.resting,
        "reference_weights": REFERENCE_WEIGHTS[None],
        "reference_landmarks": geometry.target_landmarks(REFERENCE_WEIGHTS, 0)[None] * CROP,
        "reference_expressions": own_expressions(person.identity),
    }
    meta = {
        "name": name,
        "description": "A synthetic person; nobody real.",
        "licence": "Apache-2.0",
        "provenance": "Rendered by `realtalk data avatar` from USC ICT's ICT-FaceKit (MIT); "
        f"seed {seed}. Skin, eyes, hair and clothes are procedural.",
        "size": [SIZE, SIZE],
        "crop": list(crop),
        "reference": "reference.png",
        "references": ["reference.png"],
        "templates": names,
    }
    write_files(out, meta, arrays, ["reference.png", *names])


def write_files(
    out: Path, meta: dict[str, Any], arrays: dict[str, np.ndarray], pictures: list[str]
) -> None:
    """Writes the arrays, by their keys in avatar.yaml, as float32, and avatar.yaml of nobody real:
    `meta`, the arrays' files, and the checksums of these and of the pictures, which are there."""
    for name, array in arrays.items():
        np.save(out / f"{name}.npy", np.asarray(array, np.float32))
    files = {name: f"{name}.npy" for name in arrays}
    sums = {name: checksums.sha256(out / name) for name in (*files.values(), *pictures)}
    whole = {
        "format": AVATAR_FORMAT, "digital_source_type": SYNTHETIC, **meta, **files, "sha256": sums,
    }  # fmt: skip
    (out / "avatar.yaml").write_text(yaml.safe_dump(whole, sort_keys=False, width=100))


def write_groups(out: Path, name: str, person: Person, renderer: HeadRenderer, groups: int) -> None:
    """Training groups of this avatar at its own crop, in files that begin with its name, so that
    several avatars' can share a folder; `renderer` renders at CROP."""
    from tqdm import tqdm

    kit = renderer.kit
    base, _ = frame_view(kit, person.neutral)
    path = [cropped(v) for v in idle_path(kit, person.neutral, base)]
    rng = np.random.default_rng(5)
    shots: list[tuple[int, Shot]] = []  # with the index into path
    for _ in range(groups):
        at = len(path) // 2
        shots.append((at, Shot(path[at], REFERENCE_WEIGHTS, -1)))
        for _ in range(REFERENCES - 1):
            at = int(rng.integers(len(path)))
            shots.append((at, Shot(path[at], random_expression(rng), -1)))
        for pose in range(POSES):
            at = int(rng.integers(len(path)))
            shots.append((at, Shot(path[at], TEMPLATE_WEIGHTS, pose)))
            more = [random_expression(rng) for _ in range(EXPRESSIONS - 1)]
            shots += [(at, Shot(path[at], weights, pose)) for weights in more]
    # View by view: the renderer keeps the hair of the view that it drew last.
    rendered: dict[int, dict[str, np.ndarray]] = {}
    by_view = sorted(range(len(shots)), key=lambda i: shots[i][0])
    for i in tqdm(by_view, desc="images of the avatar"):
        rendered[i] = render_shots(renderer, person, [shots[i][1]])
    made = []
    for first in range(0, len(shots), IMAGES):
        single = [rendered[i] for i in range(first, first + IMAGES)]
        group = {
            k: np.concatenate([one[k] for one in single]) for k in single[0] if k != "identity"
        }
        made.append(group | {"identity": person.identity, "resting_weights": person.resting})
    for shard, start in enumerate(range(0, groups, PER_SHARD)):
        write_shard(out / f"{name}_{shard:04d}.npz", made[start : start + PER_SHARD])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk data avatar`."""
    parser.add_argument(
        "--out", type=Path, help="avatar folder to write (default: runs/avatars/NAME)"
    )
    parser.add_argument("--name", choices=list(PEOPLE), default="clara", help="who")
    parser.add_argument("--seed", type=int, help="another person of the same look")
    parser.add_argument("--supersample", type=float, default=2.0, help="drawn that much larger")
    parser.add_argument(
        "--groups", type=int, default=0, help="also write this many training groups"
    )
    parser.add_argument("--groups-out", type=Path, default=CAST, help="folder of those groups")
    parser.add_argument("--preview", type=Path, help="only write one frame to this picture")
    parser.add_argument("--facekit", type=Path, help="ict_facekit.npz (default: $REALTALK_FACEKIT)")


def run(args: argparse.Namespace) -> None:
    """`realtalk data avatar`."""
    make, seed = PEOPLE[args.name]
    seed = seed if args.seed is None else args.seed
    args.out = args.out or Path("runs/avatars") / args.name
    if args.preview:
        picture_file.check_path(args.preview, "--preview")
    kit = FaceKit.load(args.facekit)
    renderer = HeadRenderer(kit, SIZE, args.supersample)
    person = make(SkinPainter(renderer, TEXTURE), seed)
    renderer.load_person(person.neutral, person.appearance)
    if args.preview:
        write_preview(args.preview, person, renderer)
        return
    write_avatar(args.out, args.name, person, renderer, seed)
    if args.groups:
        close = HeadRenderer(kit, CROP, args.supersample)
        close.load_person(person.neutral, person.appearance)
        write_groups(args.groups_out, args.name, person, close, args.groups)


def write_preview(path: Path, person: Person, renderer: HeadRenderer) -> None:
    """One frame and, beside it, the enlarged face of the reference image."""
    view, (x, y, side) = frame_view(renderer.kit, person.neutral)
    frame = renderer.render(arkit.weights(mouthSmile=0.12), view, person.light)
    reference = renderer.render(REFERENCE_WEIGHTS, view, person.light)
    face = reference[y : y + side, x : x + side]
    face = cv2.resize(face, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    picture_file.save(path, np.hstack([frame, face]))
