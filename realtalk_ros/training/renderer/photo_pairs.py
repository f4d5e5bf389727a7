# SPDX-License-Identifier: Apache-2.0
"""`realtalk data pairs`: training groups of real people, photographed neutral and smiling.

A pair is as for `realtalk evaluate smiles` (rest_and_smile.py). The neutral photograph is enrolled:
it is the template, with the landmarks that enrolment gives it. The smiling one is the target, with
the weights that are fitted to it. No two photographs have one pose, and no fit is exact. So the
smile is laid over the template by the pose of the head, and then warped until its landmarks lie
where the weights move the template's: what is left to learn is what the mouth looks like, not where
it is.

The arrays of a shard are those of training/synthetic/face_dataset.py, without `head`, `camera` and
`masks`. Both poses of a group show the same pair, in crops that are a little off at random;
neutral and smile take turns in them. References are the neutral photograph, twice, and the smile.

`train/` and `val/` have other people. Needs the extras `train` and `enroll`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.enroll import face_detector, native_output
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.photo_checks import photographs
from realtalk_ros.errors import RealTalkError, reason
from realtalk_ros.training.common.affine_maps import compose, random_crop, transform
from realtalk_ros.training.common.group_layout import EXPRESSIONS, POSE, POSES, write_shard
from realtalk_ros.training.renderer.checkpoint import load_renderer
from realtalk_ros.training.renderer.landmark_warp import LandmarkWarp
from realtalk_ros.training.renderer.rest_and_smile import (
    NEUTRAL,
    SMILE,
    Pair,
    pairs_by_name,
    person_of,
    read_pair,
)

FRAME = 600  # pixels, height of the frames that are sampled: the face's crop has some 330
GROUPS = 32  # in a shard
SHARD = "pairs_"  # how its name begins
HELD_OUT = 8  # every so many people one is held out
# Pixels of the crop by which the smile's lips may lie elsewhere (median) than its fit says.
MAX_MISFIT = 6.0


def fitting(pair: Pair, name: str) -> Pair:
    """Raises RealTalkError where the smile's lips lie elsewhere than its fit says."""
    if not pair.misfit < MAX_MISFIT:
        raise RealTalkError(
            f"{name}: its lips lie {pair.misfit:.0f} pixels from where the neutral face would have "
            "them: are they of one person?"
        )
    return pair


def draw(pair: Pair, which: int, crop: np.ndarray, warp: LandmarkWarp) -> np.ndarray:
    """(CROP_SIZE, CROP_SIZE, 3) uint8: the neutral face or the smile, its landmarks where the
    weights have them; `crop` (2, 3) is an affine map from the neutral face's crop to this one."""
    wanted, found = (transform(p[which], crop) for p in (pair.landmarks, pair.found))
    points = [torch.from_numpy(np.float32(p / CROP_SIZE))[None] for p in (found, wanted)]
    with torch.no_grad():
        grid = warp.sampling_grid(*points)[0][0].numpy().astype(np.float64)
    there = compose(pair.maps[which], cv2.invertAffineTransform(crop))
    # Landmarks count from a pixel's corner, OpenCV and the grid from its middle.
    positions = np.float32(transform(grid.reshape(-1, 2) + 0.5, there) - 0.5)
    x, y = positions.T.reshape(2, CROP_SIZE, CROP_SIZE)
    return cv2.remap(
        pair.photographs[which].image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def make_group(pair: Pair, rng: np.random.Generator, warp: LandmarkWarp) -> dict[str, np.ndarray]:
    """The arrays of one group."""
    whole = np.array([CROP_SIZE / 2, CROP_SIZE / 2, CROP_SIZE])
    shots = [(which, random_crop(whole, rng)) for which in (NEUTRAL, NEUTRAL, SMILE)]
    for _ in range(POSES):
        crop = random_crop(whole, rng)
        shots += [(number % 2, crop) for number in range(EXPRESSIONS)]
    which = [shown for shown, _ in shots]
    return {
        "images": np.stack([draw(pair, shown, crop, warp) for shown, crop in shots]),
        "weights": pair.weights[which],
        "landmarks": np.float32([transform(pair.landmarks[shown], crop) for shown, crop in shots]),
        "pose": POSE,
        "identity": pair.identity,
        "resting_weights": pair.resting_weights,
    }


def write_pairs(found: Mapping[str, Sequence[Pair]], out: Path, groups_each: int) -> dict[str, int]:
    """Shards in `out`, of everybody's pairs, in place of an earlier run's; returns how many people
    are in train/ and in val/. Raises RealTalkError where they cannot be written."""
    warp = load_renderer().generator.warp
    rng = np.random.default_rng(0)
    groups: dict[str, list] = {"train": [], "val": []}
    people = dict.fromkeys(groups, 0)
    for number, pairs in enumerate(found.values()):
        part = "val" if number % HELD_OUT == HELD_OUT - 1 else "train"
        people[part] += 1
        for pair in pairs:
            groups[part] += [make_group(pair, rng, warp) for _ in range(groups_each)]
    try:
        for part, made in groups.items():
            for old in (out / part).glob(f"{SHARD}*.npz"):  # with people who are held out now
                old.unlink()
            for first in range(0, len(made), GROUPS):
                path = out / part / f"{SHARD}{first // GROUPS:03d}.npz"
                write_shard(path, made[first : first + GROUPS])
    except OSError as error:
        raise RealTalkError(f"cannot write into {out} ({reason(error)})") from error
    return people


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("neutral", metavar="NEUTRAL", type=Path, help="folder of photographs")
    parser.add_argument("smiling", metavar="SMILING", type=Path, help="of the same people")
    parser.add_argument("--out", type=Path, default=Path("runs/pairs"), help="folder of the shards")
    parser.add_argument("--groups", type=int, default=2, help="groups of pictures of each pair")
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """`realtalk data pairs`."""
    if args.groups < 1:
        raise RealTalkError(f"--groups {args.groups}: give 1 or more")
    paths = pairs_by_name(photographs(args.neutral), photographs(args.smiling))
    made: dict[str, list[Pair]] = {}
    refused = []
    with native_output.hidden(args.verbose):
        FaceDetector(args.landmarker).close()  # says what is missing before the work begins
        for both in tqdm(paths.values(), desc="pairs", disable=None):
            try:
                pair = fitting(read_pair(*both, args.landmarker, FRAME), both[1].name)
                made.setdefault(person_of(both[1]), []).append(pair)
            except RealTalkError as error:
                refused.append(str(error))
    for line in refused:
        print(f"left out: {line}")
    if not made:
        raise RealTalkError("no pair of photographs can be used: the lines above say why")
    people = write_pairs(made, args.out, args.groups)
    misfit = np.mean([pair.misfit for pairs in made.values() for pair in pairs])
    print(
        f"{people['train']} people to train on, {people['val']} held out, in {args.out}; lips "
        f"{misfit:.1f} pixels of {CROP_SIZE} from where their fits say, before they were warped"
    )
