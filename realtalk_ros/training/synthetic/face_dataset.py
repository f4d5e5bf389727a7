"""Training data of the face renderer: shards of groups of pictures of people who do not exist.

A group is one person under one light before one camera: 3 references (any pose, mixed expressions,
the first with teeth) and 2 poses of 5 expressions, the first of each pose nearly neutral, which is
what an avatar's template frames show. A shard is an .npz with, for G groups of 13 pictures,

    images      (G, 13, 256, 256, 3) uint8 BGR, the face crop (people.face_square, jittered)
    weights     (G, 13, 52) float32, ARKit order
    landmarks   (G, 13, 68, 2) float32, Multi-PIE, pixels of the crop (x right, y down)
    pose        (G, 13) int32, -1 for references, 0 or 1 for the poses
    identity    (G, 100) float32
    base        (G, 52) float32, only of bundled avatars: what their resting faces show
    masks       (G, 13, 256, 256) uint8, what a pixel shows, into head_renderer.LABELS
    head        (G, 13, 6) float32 yaw, pitch, roll in rad, shift x, y, z in cm
    camera      (G, 13, 5) float32 distance, crop centre x, y and side in cm, crop roll in rad

A person sits for VISITS groups in a row, each in another light, place and distance from the camera.

`realtalk data faces` writes runs/faces/train and runs/faces/val (people of other seeds). A shard
that exists is skipped, so the command resumes; a shard is written under another name first. It says
how many pictures a second it made.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from realtalk_ros.face_model.facekit import FaceKit
from realtalk_ros.training.synthetic import random_people
from realtalk_ros.training.synthetic.head_renderer import Studio, View
from realtalk_ros.training.synthetic.random_people import Person
from realtalk_ros.training.synthetic.skin_texture import Painter

SIZE = 256
REFERENCES, POSES, PER_POSE = 3, 2, 5
PICTURES = REFERENCES + POSES * PER_POSE  # 13
VAL_SEED = 1_000_000  # people from here on are never trained on
TEXTURE = 384  # texels, about one per pixel of the crop
VISITS = 2  # painting a person takes as long as a dozen pictures
SUPERSAMPLE, DETAIL = 1.25, 0.2  # of the Studio


def render_group(
    studio: Studio, person: Person, rng: np.random.Generator, spread: float = 0.12
) -> dict[str, np.ndarray]:
    """One group of `person`, dressed already; see the module's docstring for the arrays."""
    kit = studio.kit

    def view() -> View:
        pose = random_people.random_view(rng, person.distance, spread)
        return random_people.framed(pose, kit, person.neutral, rng)

    shots: list[tuple[View, np.ndarray, int]] = [(view(), random_people.toothy_expression(rng), -1)]
    shots += [(view(), random_people.random_expression(rng), -1) for _ in range(REFERENCES - 1)]
    for pose in range(POSES):
        fixed = view()
        shots.append((fixed, random_people.neutral_expression(rng), pose))
        shots += [(fixed, random_people.random_expression(rng), pose) for _ in range(PER_POSE - 1)]
    return shoot(studio, person, shots)


def shoot(studio: Studio, person: Person, shots: list[tuple[View, np.ndarray, int]]) -> dict:
    """Render (view, weights, pose index) triples into the arrays of one group."""
    images = np.empty((len(shots), studio.size, studio.size, 3), np.uint8)
    masks = np.empty(images.shape[:3], np.uint8)
    landmarks = np.empty((len(shots), 68, 2), np.float32)
    for i, (view, weights, _) in enumerate(shots):
        images[i], masks[i] = studio.shoot(weights, view, person.light)
        landmarks[i] = view.pixels(studio.landmarks(weights), studio.size)
    views = [view for view, _, _ in shots]
    return {
        "images": images,
        "weights": np.stack([w for _, w, _ in shots]).astype(np.float32),
        "landmarks": landmarks,
        "pose": np.array([p for _, _, p in shots], np.int32),
        "identity": person.identity,
        "masks": masks,
        "head": np.array([[v.yaw, v.pitch, v.roll, *v.shift] for v in views], np.float32),
        "camera": np.array([[v.distance, *v.crop] for v in views], np.float32),
    }


def write_shard(path: Path, groups: list[dict[str, np.ndarray]]) -> None:
    """Stack groups into `path`; readers never see half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part")
    with open(part, "wb") as file:
        np.savez(file, **{k: np.stack([g[k] for g in groups]) for k in groups[0]})
    part.replace(path)


def make_shards(
    out: Path,
    shards: range,
    groups: int,
    first_seed: int,
    studio: Studio,
    painter: Painter,
    unusual: float = random_people.UNUSUAL,
) -> None:
    """Write the shards numbered `shards` under `out`, `groups` people each."""
    from tqdm import tqdm

    todo = [n for n in shards if not (out / f"{n:04d}.npz").exists()]
    seeds = [first_seed + number * groups + i for number in todo for i in range(groups)]
    sitters = sorted({seed - seed % VISITS for seed in seeds})

    def make(seed: int) -> Person:
        return random_people.random_person(studio.kit, painter, seed, unusual=unusual)

    start, cpu, shooting = time.perf_counter(), time.process_time(), 0.0
    # The next person is painted while this one is photographed.
    with (
        ThreadPoolExecutor(1) as pool,
        tqdm(total=len(seeds) * PICTURES, desc=out.name, unit="picture") as bar,
    ):
        made: list[dict[str, np.ndarray]] = []
        sitting, waiting = None, None
        for k, seed in enumerate(seeds):
            number, sitter = todo[k // groups], seed - seed % VISITS
            if sitter != sitting:
                sitting, after = sitter, [s for s in sitters if s > sitter][:1]
                waiting = waiting or pool.submit(make, sitter)
                person = waiting.result()
                waiting = pool.submit(make, after[0]) if after else None
            begin = time.perf_counter()
            rng = np.random.default_rng([seed, 2])
            now = person if seed == sitter else random_people.another_place(person, rng)
            studio.dress(now.neutral, now.look)
            made.append(render_group(studio, now, rng))
            shooting += time.perf_counter() - begin
            bar.update(PICTURES)
            if len(made) == groups:
                write_shard(out / f"{number:04d}.npz", made)
                made = []
    if seeds:
        count, seconds = len(seeds) * PICTURES, time.perf_counter() - start
        cpu = (time.process_time() - cpu) * 1000 / count
        print(
            f"{out}: {count} pictures in {seconds:.1f} s, {count / seconds:.1f} frames/s all told, "
            f"{count / shooting:.1f} frames/s in the studio ({studio.gl.info['GL_RENDERER']}), "
            f"{cpu:.1f} ms of CPU a picture"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk data faces`."""
    parser.add_argument("--out", type=Path, default=Path("runs/faces"), help="folder of the shards")
    parser.add_argument("--shards", type=int, default=40, help="training shards")
    parser.add_argument("--first", type=int, default=0, help="number of the first training shard")
    parser.add_argument(
        "--val-shards", type=int, default=1, help="shards of people kept for validation"
    )
    parser.add_argument("--groups", type=int, default=32, help="people in a shard")
    parser.add_argument(
        "--unusual",
        type=float,
        default=random_people.UNUSUAL,
        help="share of people whose mouth and eyes have nobody's colours (%(default)s)",
    )
    parser.add_argument(
        "--supersample",
        type=float,
        default=SUPERSAMPLE,
        help="drawn that much larger (%(default)s; 2 has smoother edges, in 1.6 times the time)",
    )
    parser.add_argument("--facekit", type=Path, help="ict_facekit.npz (default: $REALTALK_FACEKIT)")


def run(args: argparse.Namespace) -> None:
    """`realtalk data faces`: write what is missing of the training and validation shards."""
    studio = Studio(FaceKit.load(args.facekit), SIZE, args.supersample, DETAIL)
    studio.hair_shadow = False
    painter = Painter(studio, TEXTURE)
    groups, rest = args.groups, (studio, painter, args.unusual)
    make_shards(args.out / "val", range(args.val_shards), groups, VAL_SEED, *rest)
    train = range(args.first, args.first + args.shards)
    make_shards(args.out / "train", train, groups, 0, *rest)


if __name__ == "__main__":
    command = argparse.ArgumentParser(description=__doc__)
    add_arguments(command)
    run(command.parse_args())
