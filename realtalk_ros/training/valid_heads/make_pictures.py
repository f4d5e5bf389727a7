# SPDX-License-Identifier: Apache-2.0
"""`realtalk data valid`: pictures of the 42 people of VALID, at rest and with moved mouths.

VALID is the Validated Avatar Library for Inclusion and Diversity (Do et al. 2022, MIT); the people
come as glTF files, which you fetch once, CLONE:

    git clone https://github.com/c-frame/valid-avatars-glb CLONE

Everybody's head is path-traced with Blender, in light of their own: at rest (OUT/PART/neutral), and
with the expressions of poses.py (OUT/PART/moved), for `realtalk data pairs` and `realtalk evaluate
smiles`. Every third of them is in OUT/held_out, the others are in OUT/train. A picture that is
there is not rendered again. `pip install '.[train,portraits]'` for Blender's bpy (Python 3.11).
"""

from __future__ import annotations

import argparse
import tempfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.valid_heads import glb
from realtalk_ros.training.valid_heads.poses import EXPRESSIONS, Weights, targets, turn

OUTFIT = "Casual"  # one of the five that everybody has
HELD_OUT = 3  # every so many people one is held out
PARTS = TRAIN, HELD = "train", "held_out"


class Shot(NamedTuple):
    place: str  # of the picture in the folder of the part
    weights: Weights  # of the morph targets
    turn: tuple[float, float, float]  # of the head: pitch, yaw and roll, radians


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = __doc__
    parser.add_argument("clone", metavar="CLONE", type=Path, help="of valid-avatars-glb")
    parser.add_argument("--out", type=Path, default=Path("runs/valid"), help="of the pictures")
    parser.add_argument("--people", type=int, help="only so many, the first ones")
    parser.add_argument("--expressions", type=int, help="of each person only so many, at random")
    parser.add_argument("--part", choices=PARTS, help="only these people")
    parser.add_argument("--size", type=int, default=512, help="pixels of a picture")
    parser.add_argument("--samples", type=int, default=16, help="light paths a pixel")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")


def people_of(clone: Path) -> dict[str, Path]:
    """Name to file of everybody, in the order of their names. Raises RealTalkError where the clone
    has nobody."""
    ending = f"_{OUTFIT}.glb"
    found = sorted(clone.glob(f"avatars/*/*{ending}"), key=lambda path: path.name)
    if not found:
        raise RealTalkError(
            f"{clone} has no avatars/*/*{ending}: give a clone of "
            "https://github.com/c-frame/valid-avatars-glb with its files"
        )
    # What is before the first _ names a person to `realtalk data pairs`.
    return {path.name.removesuffix(ending).replace("_", ""): path for path in found}


def part_of(number: int) -> str:
    """Where the person of that number, from 0, belongs."""
    return HELD if number % HELD_OUT == 0 else TRAIN


def shots(name: str, rng: np.random.Generator, moved: int | None = None) -> list[Shot]:
    """Of a person: at rest, and under all expressions, or so many of them."""
    at_rest = Shot(f"neutral/{name}_rest.png", {}, tuple(value / 2 for value in turn(rng)))
    others = [
        Shot(f"moved/{name}_{expression}.png", targets(draw(rng)), turn(rng))
        for expression, draw in EXPRESSIONS.items()
    ]
    order = rng.permutation(len(others))[:moved]
    return [at_rest, *(others[number] for number in order)]


def photograph(name: str, path: Path, folder: Path, args: argparse.Namespace) -> None:
    """All pictures of a person that lack in `folder`."""
    from realtalk_ros.training.valid_heads import studio

    rng = np.random.default_rng(zlib.crc32(name.encode()))
    setting = studio.Setting.random(rng)
    wanted = shots(name, rng, args.expressions)
    lacking = [shot for shot in wanted if not (folder / shot.place).is_file()]
    if not lacking:
        return
    with tempfile.TemporaryDirectory() as textures:
        made = studio.Studio(glb.read(path), Path(textures), setting)
        effort = studio.Effort(args.size, args.samples, args.threads)
        for shot in lacking:
            path = folder / shot.place
            path.parent.mkdir(parents=True, exist_ok=True)
            made.photograph(path, effort, shot.weights, shot.turn)


def run(args: argparse.Namespace) -> None:
    """`realtalk data valid`."""
    people = list(people_of(args.clone).items())[: args.people]
    chosen = [
        (part_of(number), name, path)
        for number, (name, path) in enumerate(people)
        if args.part in (None, part_of(number))
    ]
    for part, name, path in tqdm(chosen, desc="people", disable=None):
        photograph(name, path, args.out / part, args)
    moved = args.expressions or len(EXPRESSIONS)
    print(f"{args.out}: {len(chosen)} people at rest and with {moved} expressions each")
