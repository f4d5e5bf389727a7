# SPDX-License-Identifier: Apache-2.0
"""`realtalk data faces`: the face renderer's training data, shards of images of synthetic people.

A group is one person under one light before one camera: 3 references (any pose, mixed expressions,
the first with teeth) and 2 poses of 5 expressions, the first of each pose nearly neutral, which is
what an avatar's template frames show. A shard is an .npz with, for G groups of 13 images,

    images      (G, 13, 256, 256, 3) uint8 BGR, the face crop (landmarks.face_square, jittered)
    weights     (G, 13, 52) float32, ARKit order
    landmarks   (G, 13, 68, 2) float32, Multi-PIE, pixels of the crop (x right, y down)
    pose        (G, 13) int32, -1 for references, 0 or 1 for the poses
    identity    (G, 100) float32
    resting_weights  (G, 52) float32, only of the cast and of photographed people
    masks       (G, 13, 256, 256) uint8, what a pixel shows, into scene.LABELS
    head        (G, 13, 6) float32 yaw, pitch, roll (to the right) in rad, shift x, y, z in cm
    camera      (G, 13, 5) float32 distance, crop centre x, y and side in cm, crop roll in rad

A person has GROUPS_PER_PERSON groups in a row, each in another light, place and distance from the
camera.

The command writes runs/faces/train and runs/faces/val (people of other seeds). A shard that exists
is skipped, so the command resumes. It prints how many images a second it made.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.common.group_layout import (
    EXPRESSIONS,
    GROUPS_PER_PERSON,
    IMAGES,
    POSES,
    REFERENCES,
    write_shard,
)
from realtalk_ros.training.synthetic import random_people
from realtalk_ros.training.synthetic.head_renderer import HeadRenderer
from realtalk_ros.training.synthetic.random_expressions import (
    neutral_expression,
    random_expression,
    toothy_expression,
)
from realtalk_ros.training.synthetic.random_people import Person
from realtalk_ros.training.synthetic.skin_texture import SkinPainter
from realtalk_ros.training.synthetic.view import View

VAL_SEED = 1_000_000  # people from here on are never trained on
TEXTURE = 384  # texels, about one per pixel of the crop
SUPERSAMPLE, DETAIL = 1.25, 0.2  # of the HeadRenderer


@dataclass(frozen=True)
class Shot:
    """One image to render."""

    view: View
    weights: np.ndarray  # (52,)
    pose: int  # of its group; -1 for a reference


def render_group(
    renderer: HeadRenderer, person: Person, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """One group of `person`, who is loaded; see the module's docstring for the arrays."""
    kit = renderer.kit

    def view() -> View:
        pose = random_people.random_view(rng, person.distance)
        return random_people.framed(pose, kit, person.neutral, rng)

    shots = [Shot(view(), toothy_expression(rng), -1)]
    shots += [Shot(view(), random_expression(rng), -1) for _ in range(REFERENCES - 1)]
    for pose in range(POSES):
        fixed = view()
        shots.append(Shot(fixed, neutral_expression(rng), pose))
        shots += [Shot(fixed, random_expression(rng), pose) for _ in range(EXPRESSIONS - 1)]
    return render_shots(renderer, person, shots)


def render_shots(
    renderer: HeadRenderer, person: Person, shots: Sequence[Shot]
) -> dict[str, np.ndarray]:
    """The arrays of one group."""
    images = np.empty((len(shots), renderer.size, renderer.size, 3), np.uint8)
    masks = np.empty(images.shape[:3], np.uint8)
    landmarks = np.empty((len(shots), 68, 2), np.float32)
    for i, shot in enumerate(shots):
        images[i], masks[i] = renderer.render_labelled(shot.weights, shot.view, person.light)
        landmarks[i] = shot.view.pixels(renderer.landmarks(shot.weights), renderer.size)
    views = [shot.view for shot in shots]
    return {
        "images": images,
        "weights": np.stack([shot.weights for shot in shots]).astype(np.float32),
        "landmarks": landmarks,
        "pose": np.array([shot.pose for shot in shots], np.int32),
        "identity": person.identity,
        "masks": masks,
        "head": np.array([[v.yaw, v.pitch, -v.roll, *v.shift] for v in views], np.float32),
        "camera": np.array([[v.distance, *v.crop] for v in views], np.float32),
    }


class ShardMaker:
    """Writes shards of random people; `unusual` is that of random_people.random_colours."""

    def __init__(self, renderer: HeadRenderer, painter: SkinPainter, unusual: float):
        self.renderer, self.painter, self.unusual = renderer, painter, unusual

    def make(self, out: Path, shards: range, groups: int, first_seed: int) -> None:
        """The shards numbered `shards` that `out` lacks, `groups` groups each, of the people from
        the number `first_seed` on. Raises OSError where `out` can be no folder."""
        from tqdm import tqdm

        out.mkdir(parents=True, exist_ok=True)  # raises now, not when the first shard is made
        todo = [n for n in shards if not (out / f"{n:04d}.npz").exists()]
        seeds = [first_seed + number * groups + i for number in todo for i in range(groups)]
        start, cpu, rendering = time.perf_counter(), time.process_time(), 0.0
        made: list[dict[str, np.ndarray]] = []
        with tqdm(total=len(seeds) * IMAGES, desc=out.name, unit="image") as bar:
            for k, (seed, person) in enumerate(self._people(seeds)):
                begin = time.perf_counter()
                made.append(self._render_group(person, seed))
                rendering += time.perf_counter() - begin
                bar.update(IMAGES)
                if len(made) == groups:
                    write_shard(out / f"{todo[k // groups]:04d}.npz", made)
                    made = []
        if seeds:
            count, seconds = len(seeds) * IMAGES, time.perf_counter() - start
            cpu = (time.process_time() - cpu) * 1000 / count
            print(
                f"{out}: {count} images in {seconds:.1f} s, {count / seconds:.1f} a second in all, "
                f"{count / rendering:.1f} a second while rendering "
                f"({self.renderer.gl.info['GL_RENDERER']}), {cpu:.1f} ms of CPU an image"
            )

    def _people(self, seeds: list[int]) -> Iterator[tuple[int, Person]]:
        """Each seed with its person, the next of whom is painted while this one is rendered."""
        numbers = sorted({seed - seed % GROUPS_PER_PERSON for seed in seeds})
        with ThreadPoolExecutor(1) as pool:
            futures = (pool.submit(self._make_person, number) for number in numbers)
            upcoming: Future[Person] | None = next(futures, None)
            current = None
            for seed in seeds:
                if (number := seed - seed % GROUPS_PER_PERSON) != current:
                    current, person = number, upcoming.result()
                    upcoming = next(futures, None)
                yield seed, person

    def _make_person(self, number: int) -> Person:
        kit = self.renderer.kit
        return random_people.random_person(kit, self.painter, number, unusual=self.unusual)

    def _render_group(self, person: Person, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([seed, 2])
        if seed % GROUPS_PER_PERSON:
            person = random_people.another_place(person, rng)
        self.renderer.load_person(person.neutral, person.appearance)
        return render_group(self.renderer, person, rng)


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
        help="share of people whose mouth and eyes have nobody's colours",
    )
    parser.add_argument(
        "--supersample",
        type=float,
        default=SUPERSAMPLE,
        help="drawn that much larger; 2 has smoother edges, in 1.6 times the time",
    )
    parser.add_argument("--facekit", type=Path, help="ict_facekit.npz (default: $REALTALK_FACEKIT)")


def run(args: argparse.Namespace) -> None:
    """`realtalk data faces`: write what is missing of the training and validation shards."""
    args.out.mkdir(parents=True, exist_ok=True)  # raises now, not when all else is loaded
    renderer = HeadRenderer(FaceKit.load(args.facekit), CROP_SIZE, args.supersample, DETAIL)
    renderer.hair_shadow = False
    maker = ShardMaker(renderer, SkinPainter(renderer, TEXTURE), args.unusual)
    maker.make(args.out / "val", range(args.val_shards), args.groups, VAL_SEED)
    train = range(args.first, args.first + args.shards)
    maker.make(args.out / "train", train, args.groups, 0)
