# SPDX-License-Identifier: Apache-2.0
"""`realtalk data pairs`: training groups of real people, photographed neutral and smiling.

A pair are two files whose names begin alike, as for `realtalk evaluate smiles`. The neutral
photograph is enrolled: it is the template, with the landmarks that enrolment gives it. The smiling
one is the target, with the weights that are fitted to it. No two photographs have one pose, and no
fit is exact. So the smile is laid over the template by what no smile moves, and then warped until
its landmarks lie where the weights move the template's: what is left to learn is what the mouth
looks like, not where it is.

The arrays of a shard are those of training/synthetic/face_dataset.py, without `head`, `camera` and
`masks`. Both poses of a group show the same pair, in crops that are a little off at random;
neutral and smile take turns in them. References are the neutral photograph, twice, and the smile.

`train/` and `val/` have other people. Needs the extras `train` and `enroll`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from realtalk_ros.commands.evaluate_avatars import photographs
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.enroll import face_detector, framing, native_output
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.photo_checks import read_picture
from realtalk_ros.enroll.photo_to_avatar import (
    MAX_FACES,
    examine,
    from_picture,
    portraits,
    resting_landmarks,
)
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import LIPS
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.training.common.affine_maps import (
    compose,
    random_crop,
    similarity_transform,
    transform,
)
from realtalk_ros.training.common.group_layout import EXPRESSIONS, POSES, REFERENCES
from realtalk_ros.training.renderer.checkpoint import load_renderer
from realtalk_ros.training.renderer.evaluate_smiles import FIXED, OF_MOUTH, pairs
from realtalk_ros.training.renderer.landmark_warp import LandmarkWarp
from realtalk_ros.training.synthetic.face_dataset import write_shard

FRAME = 600  # pixels, height of the frames that are sampled: the face's crop has some 330
GROUPS = 32  # in a shard
HELD_OUT = 8  # every so many people one is held out
# Pixels of the crop by which the smile's lips may lie elsewhere (median) than its weights say.
MAX_MISFIT = 6.0
NEUTRAL, SMILE = 0, 1


@dataclass(frozen=True)
class Photograph:
    """A face in its frame, as the photograph shows it."""

    image: np.ndarray  # (height, width, 3) uint8 BGR
    points: np.ndarray  # (68, 2), landmarks, pixels of the image
    weights: np.ndarray  # (52,), fitted
    square: np.ndarray  # (3,): middle x, y and side of the face's square, pixels


@dataclass(frozen=True)
class Pair:
    """Two photographs of one person in the coordinates of the neutral one's face crop; images are
    sampled by `draw`."""

    photographs: tuple[Photograph, Photograph]  # neutral, smiling
    identity: np.ndarray  # (100,)
    resting_weights: np.ndarray  # (52,)
    weights: np.ndarray  # (2, 52), of neutral and smile, beyond those at rest
    landmarks: np.ndarray  # (2, 68, 2), pixels of the neutral crop, as these weights say
    found: np.ndarray  # (2, 68, 2), where they are in the photographs, aligned
    maps: np.ndarray  # (2, 2, 3), affine, from the neutral crop to each photograph

    @property
    def misfit(self) -> float:
        """Pixels by which the smile's lips lie elsewhere than the weights say, median."""
        away = np.linalg.norm(self.landmarks[SMILE] - self.found[SMILE], axis=1)
        return float(np.median(away[LIPS]))


def photograph(path: Path, landmarker: Path | None) -> Photograph:
    """Raises RealTalkError for a photograph that is refused."""
    with FaceDetector(landmarker, max_faces=MAX_FACES) as detector:
        seen = examine(detector, read_picture(path), path.name)
    shown, _ = portraits(seen.picture, seen.face.points, seen.who, 0, FRAME)
    weights = seen.who.weights[0]
    points = framing.template_landmarks(shown, resting_landmarks(seen.who.identity, weights))
    x, y, side = shown.layout.crop
    square = np.array([x + side / 2, y + side / 2, side])
    return Photograph(shown.image, points[0], weights, square)


def read_pair(neutral: Path, smiling: Path, landmarker: Path | None) -> Pair:
    """Raises RealTalkError for photographs that are refused, or do not fit."""
    made = from_picture(read_picture(neutral), neutral.name, landmarker, FRAME)
    x, y, side = made.crop
    square = np.array([x + side / 2, y + side / 2, side])
    resting = np.zeros(arkit.COUNT) if made.resting_weights is None else made.resting_weights
    # What an avatar shows at rest: its own template, which may differ from the photograph.
    at_rest = Photograph(made.templates[0], made.landmarks[0], resting, square)
    pair = lay_over(at_rest, photograph(smiling, landmarker), made.identity)
    if not pair.misfit < MAX_MISFIT:
        raise RealTalkError(
            f"{smiling.name}: its lips lie {pair.misfit:.0f} pixels from where the neutral face "
            "would have them: are they of one person?"
        )
    return pair


def lay_over(at_rest: Photograph, smiling: Photograph, identity: np.ndarray) -> Pair:
    """The smile over the face at rest, by nose and eyes."""
    into_rest = from_square(at_rest.square)
    rest_points = transform(at_rest.points, invert(into_rest))
    aligned = similarity_transform(rest_points[FIXED], smiling.points[FIXED])
    weights = np.zeros((2, arkit.COUNT), np.float32)
    weights[SMILE] = (OF_MOUTH * (smiling.weights - at_rest.weights)).clip(-1, 1)
    geometry = Geometry(
        identity,
        np.float32(rest_points[None] / CROP_SIZE),
        resting_weights=at_rest.weights,
    )
    moved = geometry.target_landmarks(weights[SMILE], 0) * CROP_SIZE
    return Pair(
        photographs=(at_rest, smiling),
        identity=np.float32(identity),
        resting_weights=np.float32(at_rest.weights),
        weights=weights,
        landmarks=np.stack([rest_points, moved]),
        found=np.stack([rest_points, transform(smiling.points, invert(aligned))]),
        maps=np.stack([into_rest, aligned]),
    )


def from_square(square: np.ndarray) -> np.ndarray:
    """(2, 3): from a face's crop of CROP_SIZE pixels to the picture in which `square` is."""
    x, y, side = square
    scale = side / CROP_SIZE
    return np.array([[scale, 0, x - side / 2], [0, scale, y - side / 2]])


def invert(affine: np.ndarray) -> np.ndarray:
    return cv2.invertAffineTransform(affine)


def draw(pair: Pair, which: int, crop: np.ndarray, warp: LandmarkWarp) -> np.ndarray:
    """(CROP_SIZE, CROP_SIZE, 3) uint8: the neutral face or the smile, its landmarks where the
    weights have them; `crop` (2, 3) is an affine map from the neutral face's crop to this one."""
    wanted, found = (transform(p[which], crop) for p in (pair.landmarks, pair.found))
    points = [torch.from_numpy(np.float32(p / CROP_SIZE))[None] for p in (found, wanted)]
    with torch.no_grad():
        grid = warp.sampling_grid(*points)[0][0].numpy().astype(np.float64)
    there = compose(pair.maps[which], invert(crop))
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
        "pose": np.repeat([-1, *range(POSES)], [REFERENCES, *[EXPRESSIONS] * POSES]).astype(
            np.int32
        ),
        "identity": pair.identity,
        "resting_weights": pair.resting_weights,
    }


def write_pairs(found: Iterable[Pair], out: Path, groups_each: int) -> dict[str, int]:
    """Shards in `out`; returns how many people are in train/ and in val/. Raises RealTalkError
    where they cannot be written."""
    warp = load_renderer().generator.warp
    rng = np.random.default_rng(0)
    groups: dict[str, list] = {"train": [], "val": []}
    people = dict.fromkeys(groups, 0)
    for number, pair in enumerate(found):
        part = "val" if number % HELD_OUT == HELD_OUT - 1 else "train"
        people[part] += 1
        groups[part] += [make_group(pair, rng, warp) for _ in range(groups_each)]
    try:
        for part, made in groups.items():
            for first in range(0, len(made), GROUPS):
                path = out / part / f"pairs_{first // GROUPS:03d}.npz"
                write_shard(path, made[first : first + GROUPS])
    except OSError as error:
        raise RealTalkError(f"cannot write into {out} ({error.strerror})") from error
    return people


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("neutral", metavar="NEUTRAL", type=Path, help="folder of photographs")
    parser.add_argument("smiling", metavar="SMILING", type=Path, help="of the same people")
    parser.add_argument("--out", type=Path, default=Path("runs/pairs"), help="(%(default)s)")
    parser.add_argument(
        "--groups", type=int, default=2, help="groups of pictures of each person (%(default)s)"
    )
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """`realtalk data pairs`."""
    if args.groups < 1:
        raise RealTalkError(f"--groups {args.groups}: give 1 or more")
    paths = pairs(photographs(args.neutral), photographs(args.smiling))
    made, refused = [], []
    with native_output.hidden(args.verbose):
        for both in tqdm(paths.values(), desc="people", disable=None):
            try:
                made.append(read_pair(*both, args.landmarker))
            except RealTalkError as error:
                refused.append(str(error))
    for line in refused:
        print(f"left out: {line}")
    if not made:
        raise RealTalkError("no pair of photographs can be used: the lines above say why")
    people = write_pairs(made, args.out, args.groups)
    misfit = np.mean([pair.misfit for pair in made])
    print(
        f"{people['train']} people to train on, {people['val']} held out, in {args.out}; lips "
        f"{misfit:.1f} pixels of {CROP_SIZE} from where their weights say, before they were warped"
    )
