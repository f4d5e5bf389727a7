"""Training data of the face renderer: shards of groups of pictures of people who do not exist.

A group is one person under one light before one camera: 3 references (any pose, mixed expressions,
the first with teeth) and 2 poses of 5 expressions, the first of each pose nearly neutral, which is
what an avatar's template frames show. A shard is an .npz with, for G groups of 13 pictures,

    images      (G, 13, 256, 256, 3) uint8 BGR, the face crop (people.face_square, jittered)
    weights     (G, 13, 52) float32, ARKit order
    landmarks   (G, 13, 68, 2) float32, Multi-PIE, pixels of the crop (x right, y down)
    pose        (G, 13) int32, -1 for references, 0 or 1 for the poses
    identity    (G, 100) float32

`realtalk data faces` writes runs/faces/train and runs/faces/val (people of other seeds). A shard
that exists is skipped, so the command resumes; a shard is written under another name first.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from realtalk_ros.facekit import FaceKit
from realtalk_ros.renderer import people
from realtalk_ros.renderer.people import Painter, Person
from realtalk_ros.renderer.studio import Studio, View

SIZE = 256
REFERENCES, POSES, PER_POSE = 3, 2, 5
PICTURES = REFERENCES + POSES * PER_POSE  # 13
VAL_SEED = 1_000_000  # people from here on are never trained on
TEXTURE = 384  # texels, about one per pixel of the crop


def render_group(
    studio: Studio, person: Person, rng: np.random.Generator, spread: float = 0.12
) -> dict[str, np.ndarray]:
    """One group of `person`, dressed already; see the module's docstring for the arrays."""
    kit = studio.kit

    def view() -> View:
        pose = people.random_view(rng, person.distance, spread)
        return people.framed(pose, kit, person.neutral, rng)

    shots: list[tuple[View, np.ndarray, int]] = [(view(), people.toothy_expression(rng), -1)]
    shots += [(view(), people.random_expression(rng), -1) for _ in range(REFERENCES - 1)]
    for pose in range(POSES):
        fixed = view()
        shots.append((fixed, people.neutral_expression(rng), pose))
        shots += [(fixed, people.random_expression(rng), pose) for _ in range(PER_POSE - 1)]
    return shoot(studio, person, shots)


def shoot(studio: Studio, person: Person, shots: list[tuple[View, np.ndarray, int]]) -> dict:
    """Render (view, weights, pose index) triples into the arrays of one group."""
    kit = studio.kit
    images = np.empty((len(shots), studio.size, studio.size, 3), np.uint8)
    landmarks = np.empty((len(shots), 68, 2), np.float32)
    for i, (view, weights, _) in enumerate(shots):
        images[i] = studio.render(weights, view, person.light)
        points = kit.deform(person.neutral, weights)[kit.landmarks]
        landmarks[i] = view.pixels(points, studio.size)
    return {
        "images": images,
        "weights": np.stack([w for _, w, _ in shots]).astype(np.float32),
        "landmarks": landmarks,
        "pose": np.array([p for _, _, p in shots], np.int32),
        "identity": person.identity,
    }


def write_shard(path: Path, groups: list[dict[str, np.ndarray]]) -> None:
    """Stack groups into `path`; readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part")
    with open(part, "wb") as file:
        np.savez(file, **{k: np.stack([g[k] for g in groups]) for k in groups[0]})
    part.replace(path)


def make_shards(
    out: Path, shards: range, groups: int, first_seed: int, studio: Studio, painter: Painter
) -> None:
    """Write the shards numbered `shards` under `out`, `groups` people each."""
    from tqdm import tqdm

    todo = [n for n in shards if not (out / f"{n:04d}.npz").exists()]
    with tqdm(total=len(todo) * groups, desc=f"people for {out.name}", unit="person") as bar:
        for number in todo:
            made = []
            for i in range(groups):
                seed = first_seed + number * groups + i
                person = people.random_person(studio.kit, painter, seed)
                studio.dress(person.neutral, person.look)
                made.append(render_group(studio, person, np.random.default_rng([seed, 2])))
                bar.update()
            write_shard(out / f"{number:04d}.npz", made)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk data faces`."""
    parser.add_argument("--out", type=Path, default=Path("runs/faces"), help="folder of the shards")
    parser.add_argument("--shards", type=int, default=40, help="training shards")
    parser.add_argument("--first", type=int, default=0, help="number of the first training shard")
    parser.add_argument(
        "--val-shards", type=int, default=1, help="shards of people kept for validation"
    )
    parser.add_argument("--groups", type=int, default=32, help="people in a shard")
    parser.add_argument("--facekit", type=Path, help="ict_facekit.npz (default: $REALTALK_FACEKIT)")


def run(args: argparse.Namespace) -> None:
    """`realtalk data faces`: write what is missing of the training and validation shards."""
    studio = Studio(FaceKit.load(args.facekit), SIZE)
    studio.hair_shadow = False
    painter = Painter(studio, TEXTURE)
    make_shards(args.out / "val", range(args.val_shards), args.groups, VAL_SEED, studio, painter)
    train = range(args.first, args.first + args.shards)
    make_shards(args.out / "train", train, args.groups, 0, studio, painter)


if __name__ == "__main__":
    command = argparse.ArgumentParser(description=__doc__)
    add_arguments(command)
    run(command.parse_args())
