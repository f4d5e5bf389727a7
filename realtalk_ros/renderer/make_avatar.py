"""`realtalk data avatar`: makes the default avatar, a portrait from the synthetic studio.

Writes an avatar folder (see avatar.py): template frames along a slow path of idle head motion, a
reference picture with lips a little apart, identity, two seconds of the person's expressions. With
`--groups` it also writes training groups of exactly this person, light and camera, in the format of
face_data.py, so that the renderer can be tuned to the avatar.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml

from realtalk_ros import arkit, models
from realtalk_ros.facekit import FaceKit
from realtalk_ros.provenance import SYNTHETIC
from realtalk_ros.renderer import clothes, people
from realtalk_ros.renderer.face_data import (
    PER_POSE,
    PICTURES,
    POSES,
    REFERENCES,
    shoot,
    write_shard,
)
from realtalk_ros.renderer.painter import Painter, Traits
from realtalk_ros.renderer.people import Person
from realtalk_ros.renderer.studio import Light, Studio, View

SIZE, CROP = 512, 256  # pixels of a template frame and of the face's square in it
CORNER = (SIZE - CROP) // 2, 118  # of that square, pixels from the left and the top
TEMPLATES = 36
MAX_STEP = 0.33  # pixels a landmark may move from one template to the next
DISTANCE = 75.0  # cm from the camera
TEMPLATE_WEIGHTS = np.zeros(arkit.COUNT, np.float32)


def _weights(**named: float) -> np.ndarray:
    """(52,) from ARKit names, or names without Left/Right for both sides."""
    weights = np.zeros(arkit.COUNT, np.float32)
    for name, value in named.items():
        people._put(weights, name, value)
    return weights


REFERENCE_WEIGHTS = _weights(
    jawOpen=0.12, mouthUpperUp=0.28, mouthLowerDown=0.20, mouthSmile=0.18, mouthStretch=0.06
)


RESTING = _weights(
    mouthClose=0.02, mouthSmile=0.22, mouthDimple=0.05, cheekSquint=0.12, eyeSquint=0.05
)


def refine(kit: FaceKit, identity: np.ndarray) -> np.ndarray:
    """Identity (100,) nearest to `identity` whose landmarks are a little more delicate.

    Ridge regression of landmark shifts on the identity modes: narrower jaw and nose, larger eyes,
    fuller lips.
    """
    points = kit.neutral(identity)[kit.landmarks]
    goal = points.copy()
    jaw = np.arange(2, 15)
    goal[jaw, 0] *= np.interp(np.abs(jaw - 8), [0, 2, 4, 6], [0.84, 0.87, 0.92, 0.96])
    goal[6:11, 1] += 0.12
    goal[31:36, 0] *= 0.84
    goal[27:31, 2] -= 0.1
    eyes = points[36:48, 1]
    middle = np.repeat([eyes[:6].mean(), eyes[6:].mean()], 6)
    goal[36:48, 1] = middle + (eyes - middle) * 1.16
    goal[[50, 51, 52], 1] += 0.06
    goal[[56, 57, 58], 1] -= 0.09
    goal[[48, 54, 60, 64], 1] += 0.12
    rows = (kit.landmarks[:, None] * 3 + np.arange(3)).ravel()
    modes = kit.identity_modes[:, rows].astype(np.float64)
    delta = (goal - points).ravel()
    ridge = modes @ modes.T + 0.10 * np.eye(len(modes))
    return (identity + np.linalg.solve(ridge, modes @ delta)).astype(np.float32)


def default_person(studio: Studio, texture: int, strands: int, seed: int) -> Person:
    """The default avatar's person under its portrait light."""
    kit = studio.kit
    rng = np.random.default_rng(seed)
    identity = rng.normal(0, 0.55, kit.identity_modes.shape[0]).astype(np.float32) * 0.8
    identity = refine(kit, identity)
    # the resting face has the beginning of a smile
    neutral = kit.deform(kit.neutral(identity), RESTING)
    traits = Traits(
        tone=0.27, undertone=0.1, redness=0.62, mottle=0.4, freckles=0.10, moles=0, pores=0.55,
        shine=0.55, lip_hue=np.array([0.80, 0.36, 0.37]), lip_strength=0.62,
        hair_colour=np.array([0.055, 0.026, 0.014]), brow_thickness=0.42, brow_density=0.85,
        brow_lift=-0.22, circles=0.05, iris=np.array([0.085, 0.085, 0.035]), lashes=0.9,
        eyeliner=0.06, blush=0.22, hair="bob", hair_strands=strands,
        hair_width=0.043 * (30000 / strands) ** 0.5,
        hairline=1.2, part_side=1.0, cloth=np.array([0.035, 0.085, 0.10]), collar=0.2,
    )  # fmt: skip
    look = people.make_look(kit, Painter(studio, texture), neutral, traits, seed)
    look.pupil, look.iris_size, look.iris_ring = 0.40, 0.61, np.array([0.018, 0.018, 0.010])
    look.teeth, look.sclera = np.array([0.92, 0.88, 0.82]), np.array([0.83, 0.81, 0.79])
    look.gums, look.lash_alpha = np.array([0.50, 0.18, 0.17]), 0.8
    look.body = clothes.shoulders(traits, 0.86, kit, neutral)
    look.background = _backdrop(rng)
    light = Light(
        directions=np.array([[-0.62, 0.60, 0.72], [0.75, 0.15, 0.70],
                             [0.72, 0.55, -0.75], [-0.85, 0.35, -0.50]]),
        colours=np.array([[1.30, 1.20, 1.09], [0.24, 0.27, 0.31],
                          [1.15, 1.18, 1.28], [0.55, 0.50, 0.45]]),
        sky=np.array([0.23, 0.24, 0.27]), ground=np.array([0.13, 0.11, 0.10]), exposure=1.13,
        shadow=0.80, shadow_softness=5.0,
    )  # fmt: skip
    return Person(identity, neutral, look, light, DISTANCE, traits)


def _backdrop(rng: np.random.Generator) -> np.ndarray:
    """(384, 384, 3) uint8 sRGB: a studio wall, lit behind the head, dithered against banding."""
    size = 384
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    glow = np.exp(-((x - 0.03) ** 2 + (y + 0.02) ** 2) / 0.055)[..., None]
    near, far = np.array([158, 170, 178.0]), np.array([64, 76, 90.0])
    wall = far + (near - far) * glow
    return np.clip(wall + rng.uniform(-0.7, 0.7, wall.shape), 0, 255).astype(np.uint8)


def camera(kit: FaceKit, neutral: np.ndarray) -> tuple[View, tuple[int, int, int]]:
    """(view of the whole frame, face crop [x, y, side] in its pixels) of the resting head.

    The frame is laid out so that the face's square is exactly CROP pixels and whole-numbered.
    """
    view = View(distance=DISTANCE)
    x, y, side = people.face_square(view.plane(neutral[kit.landmarks]))
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
    """`count` views along a smooth path of small head motion, played back and forth by idle.py."""
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


def own_expressions(identity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((50, 52) at 25 Hz of this person talking, (52,) of the lips at their tightest).

    From the teacher of the expression network, which moves every identity in a manner of its own.
    """
    from realtalk_ros.expression import engines, speech_set, teacher

    speech = engines.espeak().speak(
        "Hello there, my name is Bob. Maybe we will meet again.", "en-us"
    )
    frames = int(len(speech.pcm) / speech_set.RATE * teacher.RATE)
    motion = teacher.animate(speech.segments, frames, teacher.style_of(identity, np.zeros(1)))
    shut = motion.weights[np.argmin(teacher.opening(motion.weights) - motion.closure)]
    return teacher.reference_window(motion, start=20), shut


def mouth_pixels(
    studio: Studio, person: Person, view: View, weights: np.ndarray
) -> tuple[np.ndarray, int]:
    """(picture, number of pixels that show the inside of the mouth): 0 when the lips are shut.

    Counted exactly: the pixels that change when teeth and gums are painted another colour.
    """
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
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
               cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]  # fmt: skip
    names = []
    for i, view in enumerate(path):
        names.append(f"templates/{i:03d}.jpg")
        cv2.imwrite(
            str(out / names[-1]), studio.render(TEMPLATE_WEIGHTS, view, person.light), quality
        )
    x, y, side = crop
    reference = studio.render(REFERENCE_WEIGHTS, path[len(path) // 2], person.light)
    cv2.imwrite(str(out / "reference.png"), reference[y : y + side, x : x + side])
    np.save(out / "identity.npy", person.identity.astype(np.float32))
    np.save(
        out / "reference_expressions.npy", own_expressions(person.identity)[0].astype(np.float32)
    )
    files = ["identity.npy", "reference.png", "reference_expressions.npy", *names]
    meta = {
        "format": 1,
        "name": name,
        "description": "A synthetic person; nobody real.",
        "licence": "Apache-2.0",
        "digital_source_type": SYNTHETIC,
        "provenance": "Rendered by `realtalk data avatar` from USC ICT's ICT-FaceKit (MIT); "
        f"seed {seed}. Skin, eyes, hair and clothes are procedural.",
        "size": [SIZE, SIZE],
        "crop": list(crop),
        "identity": "identity.npy",
        "reference": "reference.png",
        "reference_expressions": "reference_expressions.npy",
        "templates": names,
        "sha256": {f: models.sha256(out / f) for f in files},
    }
    (out / "avatar.yaml").write_text(yaml.safe_dump(meta, sort_keys=False, width=100))


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
            shots.append((int(rng.integers(len(path))), people.random_expression(rng), -1))
        for pose in range(POSES):
            at = int(rng.integers(len(path)))
            shots.append((at, TEMPLATE_WEIGHTS, pose))
            shots += [(at, people.random_expression(rng), pose) for _ in range(PER_POSE - 1)]
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
        made.append(group | {"identity": person.identity})
    for shard, start in enumerate(range(0, groups, per_shard)):
        write_shard(out / f"{shard:04d}.npz", made[start : start + per_shard])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk data avatar`."""
    from realtalk_ros.avatar import AVATAR_DIR

    parser.add_argument(
        "--out", type=Path, default=AVATAR_DIR / "default", help="avatar folder to write"
    )
    parser.add_argument("--name", default="default")
    parser.add_argument("--seed", type=int, default=113, help="which person")
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
    kit = FaceKit.load(args.facekit)
    studio = Studio(kit, SIZE, args.supersample)
    person = default_person(studio, 1024, args.strands, args.seed)
    studio.dress(person.neutral, person.look)
    if args.preview:
        view, (x, y, side) = camera(kit, person.neutral)
        frame = studio.render(_weights(mouthSmile=0.12), view, person.light)
        reference = studio.render(REFERENCE_WEIGHTS, view, person.light)
        crop = cv2.resize(
            reference[y : y + side, x : x + side], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
        )
        cv2.imwrite(str(args.preview), np.hstack([frame, crop]))
        return
    write_avatar(args.out, args.name, person, studio, args.seed)
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
