"""`realtalk data avatar`: makes a bundled avatar (bundled_people.py), a portrait from the synthetic
studio.

Writes an avatar folder (see avatar/avatar.py): template frames along a slow path of idle head
motion, a reference picture with lips a little apart, identity, two seconds of the person's
expressions. With `--groups` it also writes training groups of exactly this person, light and
camera, in the format of face_dataset.py, so that the renderer can be tuned to the avatar.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml

from realtalk_ros import onnx_session
from realtalk_ros.avatar import image_decoding
from realtalk_ros.avatar.avatar import AVATAR_DIR
from realtalk_ros.avatar.provenance import SYNTHETIC
from realtalk_ros.contracts import AVATAR_FORMAT, EXPRESSION_RATE, SAMPLE_RATE
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.facekit import FaceKit
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.training.synthetic import random_people
from realtalk_ros.training.synthetic.bundled_people import CAST, DISTANCE, weights_of
from realtalk_ros.training.synthetic.face_dataset import (
    PER_POSE,
    PICTURES,
    POSES,
    REFERENCES,
    shoot,
    write_shard,
)
from realtalk_ros.training.synthetic.head_renderer import Studio, View
from realtalk_ros.training.synthetic.random_people import Person

SIZE, CROP = 512, 256  # pixels of a template frame and of the face's square in it
CORNER = (SIZE - CROP) // 2, 118  # of that square, pixels from the left and the top
TEMPLATES = 36
MAX_STEP = 0.33  # pixels a landmark may move from one template to the next
TEMPLATE_WEIGHTS = np.zeros(arkit.COUNT, np.float32)


# Teeth and tongue show, whose colours nothing else tells.
REFERENCE_WEIGHTS = weights_of(
    jawOpen=0.32, mouthUpperUp=0.28, mouthLowerDown=0.25, mouthSmile=0.18, mouthStretch=0.06
)


def camera(kit: FaceKit, neutral: np.ndarray) -> tuple[View, tuple[int, int, int]]:
    """(view of the whole frame, face crop [x, y, side] in its pixels) of the resting head.

    The frame is laid out so that the face's square is exactly CROP pixels and whole-numbered.
    """
    view = View(distance=DISTANCE)
    x, y, side = random_people.face_square(view.plane(neutral[kit.landmarks]))
    frame = side * SIZE / CROP
    centre_x = x - side / 2 - CORNER[0] / SIZE * frame + frame / 2
    centre_y = y + side / 2 + CORNER[1] / SIZE * frame - frame / 2
    return replace(view, crop=(centre_x, centre_y, frame, 0.0)), (*CORNER, CROP)


def cropped(view: View) -> View:
    """The same view, only of the face's square (CROP pixels of the frame)."""
    cx, cy, frame, roll = view.crop
    x, y = CORNER[0] + CROP / 2, CORNER[1] + CROP / 2
    return replace(
        view,
        crop=(
            cx + (x / SIZE - 0.5) * frame,
            cy - (y / SIZE - 0.5) * frame,
            frame * CROP / SIZE,
            roll,
        ),
    )


def idle_path(kit: FaceKit, neutral: np.ndarray, base: View, count: int = TEMPLATES) -> list[View]:
    """`count` views along a smooth path of small head motion, played back and forth by
    behaviour/idle.py."""
    points = neutral[kit.landmarks]

    def views(scale: float) -> list[View]:
        out = []
        for t in np.linspace(0, 1, count):
            out.append(replace(
                base,
                yaw=scale * np.radians(1.6) * -np.cos(np.pi * t),
                pitch=scale * np.radians(0.7) * np.sin(2 * np.pi * t + 0.4),
                roll=scale * np.radians(0.9) * np.sin(np.pi * t - 0.9),
                shift=(scale * 0.12 * np.sin(np.pi * t), scale * 0.05 * np.sin(2 * np.pi * t), 0.0),
                breath=scale * 0.13 * np.sin(2 * np.pi * t - 1.2),
            ))  # fmt: skip
        return out

    def largest_step(scale: float) -> float:
        seen = np.stack([v.pixels(points, SIZE) for v in views(scale)])
        return float(np.linalg.norm(np.diff(seen, axis=0), axis=2).max())

    return views(MAX_STEP / largest_step(1.0))


def places(kit: FaceKit, neutral: np.ndarray, path: list[View]) -> np.ndarray:
    """(N, 68, 2) float32: the resting landmarks in each template, pixels."""
    points = neutral[kit.landmarks]
    return np.stack([view.pixels(points, SIZE) for view in path]).astype(np.float32)


def own_expressions(identity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((50, 52) at 25 Hz of this person talking, (52,) of the lips at their tightest).

    From the coarticulation model, which moves every identity in a manner of its own.
    """
    from realtalk_ros.training.expression import coarticulation
    from realtalk_ros.training.speech_data import tts_engines

    speech = tts_engines.espeak().speak(
        "Hello there, my name is Bob. Maybe we will meet again.", "en-us"
    )
    frames = int(len(speech.pcm) / SAMPLE_RATE * EXPRESSION_RATE)
    motion = coarticulation.animate(
        speech.segments, frames, coarticulation.style_of(identity, np.zeros(1))
    )
    shut = motion.weights[np.argmin(coarticulation.opening(motion.weights) - motion.closure)]
    return coarticulation.reference_window(motion.weights, start=20), shut


def mouth_pixels(
    studio: Studio, person: Person, view: View, weights: np.ndarray
) -> tuple[np.ndarray, int]:
    """(picture, number of pixels that show the inside of the mouth): 0 when the lips are shut.

    Counted exactly: the pixels that change when teeth and gums are painted another colour.
    """
    studio.render(weights, view, person.light)  # the first picture of a view also combs its hair
    look = person.look
    painted = [
        replace(look, teeth=np.full(3, v), gums=np.full(3, v), lash_alpha=0.0) for v in (0.0, 4.0)
    ]
    pictures = []
    for other in painted:
        studio.look = other
        pictures.append(studio.render(weights, view, person.light).astype(int))
    studio.look = look
    box = view.pixels(person.neutral[studio.kit.landmarks[48:60]], studio.size)
    (x0, y0), (x1, y1) = box.min(0).astype(int) - 10, box.max(0).astype(int) + 60
    changed = np.abs(pictures[0] - pictures[1]).max(2)[y0:y1, x0:x1] > 24
    return studio.render(weights, view, person.light), int(changed.sum())


def write_avatar(out: Path, name: str, person: Person, studio: Studio, seed: int) -> None:
    """Render and write the avatar folder; `studio` renders at SIZE."""
    kit = studio.kit
    base, crop = camera(kit, person.neutral)
    path = idle_path(kit, person.neutral, base)
    (out / "templates").mkdir(parents=True, exist_ok=True)
    for old in (out / "templates").glob("*.jpg"):
        old.unlink()
    names = []
    for i, view in enumerate(path):
        names.append(f"templates/{i:03d}.jpg")
        image = studio.render(TEMPLATE_WEIGHTS, view, person.light)
        cv2.imwrite(str(out / names[-1]), image, image_decoding.FINE_JPEG)
    x, y, side = crop
    reference = studio.render(REFERENCE_WEIGHTS, path[len(path) // 2], person.light)
    cv2.imwrite(str(out / "reference.png"), reference[y : y + side, x : x + side])
    np.save(out / "identity.npy", person.identity.astype(np.float32))
    rest = places(kit, person.neutral, path)
    np.save(out / "landmarks.npy", rest)
    write_reference(out, person, (rest[len(path) // 2] - (x, y)) / side)
    np.save(
        out / "reference_expressions.npy", own_expressions(person.identity)[0].astype(np.float32)
    )
    files = ["identity.npy", "landmarks.npy", "reference.png", "reference_weights.npy",
             "reference_landmarks.npy", "resting_weights.npy", "reference_expressions.npy",
             *names]  # fmt: skip
    meta = {
        "format": AVATAR_FORMAT,
        "name": name,
        "description": "A synthetic person; nobody real.",
        "licence": "Apache-2.0",
        "digital_source_type": SYNTHETIC,
        "provenance": "Rendered by `realtalk data avatar` from USC ICT's ICT-FaceKit (MIT); "
        f"seed {seed}. Skin, eyes, hair and clothes are procedural.",
        "size": [SIZE, SIZE],
        "crop": list(crop),
        "identity": "identity.npy",
        "landmarks": "landmarks.npy",
        "resting_weights": "resting_weights.npy",
        "reference": "reference.png",
        "references": ["reference.png"],
        "reference_weights": "reference_weights.npy",
        "reference_landmarks": "reference_landmarks.npy",
        "reference_expressions": "reference_expressions.npy",
        "templates": names,
        "sha256": {f: onnx_session.sha256(out / f) for f in files},
    }
    (out / "avatar.yaml").write_text(yaml.safe_dump(meta, sort_keys=False, width=100))


def write_reference(out: Path, person: Person, rest: np.ndarray) -> None:
    """What reference.png shows, and where; `rest` (68, 2) are the resting face's landmarks in it,
    in shares of the crop."""
    np.save(out / "resting_weights.npy", person.resting)
    geometry = Geometry(person.identity, np.float32(rest[None]), resting_weights=person.resting)
    seen = geometry.target_landmarks(REFERENCE_WEIGHTS, 0) * CROP
    np.save(out / "reference_weights.npy", REFERENCE_WEIGHTS[None].astype(np.float32))
    np.save(out / "reference_landmarks.npy", seen[None].astype(np.float32))


def write_groups(
    out: Path, person: Person, studio: Studio, groups: int, per_shard: int = 20
) -> None:
    """Training groups of this avatar at its own crop; `studio` renders at CROP."""
    from tqdm import tqdm

    kit = studio.kit
    base, _ = camera(kit, person.neutral)
    path = [cropped(v) for v in idle_path(kit, person.neutral, base)]
    rng = np.random.default_rng(5)
    shots: list[tuple[int, np.ndarray, int]] = []  # index into path, weights, pose
    for _ in range(groups):
        shots.append((len(path) // 2, REFERENCE_WEIGHTS, -1))
        for _ in range(REFERENCES - 1):
            shots.append((int(rng.integers(len(path))), random_people.random_expression(rng), -1))
        for pose in range(POSES):
            at = int(rng.integers(len(path)))
            shots.append((at, TEMPLATE_WEIGHTS, pose))
            shots += [(at, random_people.random_expression(rng), pose) for _ in range(PER_POSE - 1)]
    # view by view, because the studio keeps the hair of the view it drew last
    taken: dict[int, dict] = {}
    for i in tqdm(
        sorted(range(len(shots)), key=lambda i: shots[i][0]), desc="pictures of the avatar"
    ):
        at, weights, pose = shots[i]
        taken[i] = shoot(studio, person, [(path[at], weights, pose)])
    made = []
    for first in range(0, len(shots), PICTURES):
        single = [taken[i] for i in range(first, first + PICTURES)]
        group = {
            k: np.concatenate([one[k] for one in single]) for k in single[0] if k != "identity"
        }
        made.append(group | {"identity": person.identity, "base": person.resting})
    for shard, start in enumerate(range(0, groups, per_shard)):
        write_shard(out / f"{shard:04d}.npz", made[start : start + per_shard])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk data avatar`."""
    parser.add_argument(
        "--out", type=Path, help="avatar folder to write (default: the bundled one)"
    )
    parser.add_argument("--name", choices=list(CAST), default="default", help="who")
    parser.add_argument("--seed", type=int, help="another person of the same look")
    parser.add_argument("--strands", type=int, default=30000, help="hairs")
    parser.add_argument("--supersample", type=float, default=2.0)
    parser.add_argument(
        "--groups", type=int, default=0, help="also write this many training groups"
    )
    parser.add_argument("--groups-out", type=Path, help="default: runs/faces/avatar_NAME")
    parser.add_argument("--preview", type=Path, help="only write one frame to this picture")
    parser.add_argument("--facekit", type=Path, help="ict_facekit.npz (default: $REALTALK_FACEKIT)")


def run(args: argparse.Namespace) -> None:
    """`realtalk data avatar`."""
    make, seed = CAST[args.name]
    seed = seed if args.seed is None else args.seed
    args.out = args.out or AVATAR_DIR / args.name
    kit = FaceKit.load(args.facekit)
    studio = Studio(kit, SIZE, args.supersample)
    person = make(studio, 1024, args.strands, seed)
    studio.dress(person.neutral, person.look)
    if args.preview:
        view, (x, y, side) = camera(kit, person.neutral)
        frame = studio.render(weights_of(mouthSmile=0.12), view, person.light)
        reference = studio.render(REFERENCE_WEIGHTS, view, person.light)
        crop = cv2.resize(
            reference[y : y + side, x : x + side], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
        )
        cv2.imwrite(str(args.preview), np.hstack([frame, crop]))
        return
    write_avatar(args.out, args.name, person, studio, seed)
    close = Studio(kit, CROP, args.supersample)
    close.dress(person.neutral, person.look)
    view = cropped(camera(kit, person.neutral)[0])
    shut = own_expressions(person.identity)[1]
    image, count = mouth_pixels(close, person, view, shut)
    resting = mouth_pixels(close, person, view, TEMPLATE_WEIGHTS)[1]
    talking = mouth_pixels(close, person, view, REFERENCE_WEIGHTS)[1]
    print(f"pixels inside the mouth: p/b/m {count}, at rest {resting}, teeth shown {talking}")
    if args.groups:
        out = args.groups_out or Path("runs/faces") / f"avatar_{args.name}"
        write_groups(out, person, close, args.groups)
        cv2.imwrite(str(out / "closure.png"), image)


if __name__ == "__main__":
    command = argparse.ArgumentParser(description=__doc__)
    add_arguments(command)
    run(command.parse_args())
