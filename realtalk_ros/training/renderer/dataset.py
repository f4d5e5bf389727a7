"""Training batches of the face renderer, drawn from shards that lie whole on the training device.

The pictures stay uint8 where they are computed on; choosing, mirroring and recolouring happen there
too, so that a fast GPU never waits for the host. See training/synthetic/face_dataset.py for what is
in a shard.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, landmarks
from realtalk_ros.rendering import eyes
from realtalk_ros.rendering.geometry import Geometry

REFERENCES, POSES, EXPRESSIONS = (
    3,
    2,
    5,
)  # pictures of a group, see training/synthetic/face_dataset.py
VISITS = 2  # groups of one person, in a row
READERS = 4  # threads that read shards
LABELS = 7  # of the masks, see face_dataset.LABELS
RESTING = 0.85  # share of the templates in training that are at rest
# By which the landmarks of a training template are off, as a fitted face's are: all of them, each
# one (sd, shares of the crop), and how far the weights move them (sd, relative).
OFF_TOGETHER, OFF_EACH, OFF_MOVE = 0.001, 0.0008, 0.02


def _mirrored(name: str) -> str:
    return name.replace("Left", "#").replace("Right", "Left").replace("#", "Right")


MIRRORED_WEIGHTS = torch.tensor([arkit.INDEX[_mirrored(name)] for name in arkit.NAMES])
# Multi-PIE's 68 points seen in a mirror.
MIRRORED_MARKS = torch.tensor(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip


def add_data(
    parser: argparse.ArgumentParser, what: str = "train/ and val/ shards of `realtalk data faces`"
) -> None:
    """The argument --data of the commands that read shards."""
    parser.add_argument("--data", type=Path, default=Path("runs/faces"), help=f"folder with {what}")


@dataclass(frozen=True)
class Group:
    """One person's pictures, on the training device. N is 13 in the order of
    training/synthetic/face_dataset.py."""

    images: Tensor  # (N, S, S, 3) uint8 BGR
    weights: Tensor  # (N, 52)
    marks: Tensor  # (N, 68, 2) pixels
    masks: Tensor | None  # (N, S, S) uint8, face_dataset.LABELS; older shards have none
    identity: Tensor  # (100,)
    base: Tensor | None = None  # (52,), see rendering/geometry.py
    film: bool = False  # no two pictures have one pose


@dataclass(frozen=True)
class Batch:
    """B template frames with K expressions each; pictures are (.., 3, S, S) in 0..1, BGR."""

    reference: Tensor  # (B, 6, S, S), a picture and the map of its mouth's inside
    template: Tensor  # (B, 3, S, S)
    weights: Tensor  # (B * K, 52)
    target: Tensor  # (B * K, 3, S, S)
    marks: Tensor  # (B * K, 68, 2), of the target
    rest: Tensor  # (B, 68, 2), of the template, shares of the picture
    points: Tensor  # (B * K, 68, 2), where the weights move those, as rendering/geometry.py does
    inside: Tensor  # (B * K, 3, S, S) in 0..1, rendering/mouth.py's maps
    eyes: Tensor  # (B * K, S, S, 3), rendering/eyes.py's places and their share
    each: int  # K
    tones: Tensor | None = None  # (B, 8) instead of what the references tell, see stream.most_seen

    @property
    def template_each(self) -> Tensor:
        """(B * K, 3, S, S): the template frame beside every target."""
        return self.template.repeat_interleave(self.each, 0)

    @property
    def rest_each(self) -> Tensor:
        """(B * K, 68, 2)."""
        return self.rest.repeat_interleave(self.each, 0)


class Groups:
    """The groups of a folder of shards. `refresh` takes in shards that were written since.

    `keep(number)` chooses groups by their running number. Raises RealTalkError for a shard that
    cannot be read.
    """

    def __init__(
        self, folder: Path, device: str = "cpu", keep: Callable[[int], bool] = lambda number: True
    ):
        self.folder, self.device, self.keep = folder, device, keep
        self._shards: list[tuple[dict[str, Tensor], bool]] = []  # and whether it is of a film
        self._index: list[tuple[int, int]] = []  # of each group: its shard, its row there
        self._seen: set[Path] = set()
        self._count = 0
        self.refresh()

    def refresh(self) -> None:
        new = [path for path in sorted(self.folder.glob("*.npz")) if path not in self._seen]
        with ThreadPoolExecutor(READERS) as readers:
            for shard, film in readers.map(self._read, new):
                rows = [r for r in range(len(shard["images"])) if self.keep(self._count + r)]
                self._count += len(shard["images"])
                self._shards.append((shard, film))
                # Last, as somebody else may be drawing.
                self._index += [(len(self._shards) - 1, row) for row in rows]
        self._seen.update(new)

    def _read(self, path: Path) -> tuple[dict[str, Tensor], bool]:
        try:
            with np.load(path, allow_pickle=False) as shard:
                wanted = ("images", "weights", "landmarks", "masks", "identity", "base")
                arrays = {name: shard[name] for name in wanted if name in shard}
                film = "frame" in shard
            images = arrays["images"]
            pictures = REFERENCES + POSES * EXPRESSIONS
            assert images.dtype == np.uint8 and images.shape[1] == pictures
            assert arrays["weights"].shape == (*images.shape[:2], arkit.COUNT)
            assert arrays["landmarks"].shape == (*images.shape[:2], 68, 2)
            nobody = np.zeros((len(images), landmarks.IDENTITY_SIZE), np.float32)
            arrays.setdefault("identity", nobody)  # everybody is the mean face
        except (OSError, ValueError, KeyError, AssertionError) as error:
            raise RealTalkError(
                f"{path} is no shard of training groups: remove it and run `realtalk data` again"
            ) from error
        tensors = {name: torch.from_numpy(a).to(self.device) for name, a in arrays.items()}
        return tensors, film

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> Group:
        shard, row = self._index[number]
        part, film = self._shards[shard]
        names = ("images", "weights", "landmarks", "masks", "identity", "base")
        parts = (part[name][row] if name in part else None for name in names)
        return Group(*parts, film)


def draw(group: Group, rng: np.random.Generator, targets: int, resting: float = 0.6) -> list[int]:
    """Pictures of a group to learn from: reference, template, then `targets` of the same pose. The
    template is at rest, as an avatar's are, in this share of the draws."""
    start = REFERENCES + EXPRESSIONS * int(rng.integers(POSES))
    # The first expression of a pose is near neutral.
    template = start if rng.random() < resting else start + int(rng.integers(EXPRESSIONS))
    others = [i for i in range(start, start + EXPRESSIONS) if i != template]
    return [int(rng.integers(REFERENCES)), template, *rng.permutation(others)[:targets].tolist()]


def mirror(images: Tensor, weights: Tensor, marks: Tensor, *places: Tensor) -> tuple[Tensor, ...]:
    """A group's pictures (N, S, S, 3), weights, landmarks in pixels, and landmarks in shares of the
    picture, as in a mirror."""
    order, size = MIRRORED_MARKS.to(marks.device), images.shape[2]
    return (
        images.flip(2),
        weights[..., MIRRORED_WEIGHTS.to(weights.device)],
        *(
            torch.stack([width - p[..., 0], p[..., 1]], -1)[..., order, :]
            for p, width in zip((marks, *places), (size, *[1.0] * len(places)), strict=True)
        ),
    )


def mirror_places(places: Tensor) -> Tensor:
    """Of (.., S, S, 2 or more), x and y of pixels first, as in a mirror."""
    turned = places.flip(-2)
    turned[..., 0] = places.shape[-2] - 1 - turned[..., 0]
    return turned


@dataclass(frozen=True)
class Told:
    """What the 3D face prior says of a template and K targets, places in shares of the picture."""

    rest: np.ndarray  # (1, 68, 2), the template's landmarks
    points: np.ndarray  # (K, 68, 2), where the targets' weights move them
    inside: np.ndarray  # (K, S, S, 3) uint8, rendering/mouth.py's maps, with rendering/eyes.py's
    eyes: np.ndarray  # (K, S, S, 3), rendering/eyes.py's places and their share


def tell(
    group: Group,
    template: int,
    targets: list[int],
    rng: np.random.Generator | None = None,
    drift: float = 0.0,
) -> Told:
    """As rendering/geometry.py finds it at run time. In a film, the head's turn between template
    and targets counts, too: a network that is not told it learns to blur what lies elsewhere. With
    `rng`, it is as wrong as a fitted face's. The template lies `drift` to the right."""
    size = group.images.shape[2]
    marks = group.marks.cpu().float().numpy() / size
    weights = group.weights.cpu().float().numpy()
    rest, wrong, gain = marks[[template]], np.array([drift, 0.0]), 1.0
    shown, wanted = weights[[template]], weights[targets]
    if rng:
        wrong = off(rest.shape[1], rng)
        gain = 1 + OFF_MOVE * rng.standard_normal()
    if group.film:
        chosen = [template, *targets]
        seen = geometry_of(group, marks[chosen], weights[chosen]).projected_landmarks
        points = rest + gain * (seen[1:] - seen[:1]) + wrong
        (resting,) = geometry_of(group, rest + wrong, shown).template_eyes
        geometry, rows = geometry_of(group, points, wanted), range(len(targets))
    else:
        geometry, rows = geometry_of(group, rest + wrong, shown), [0] * len(targets)
        wanted = shown + gain * (wanted - shown)
        points = np.stack([geometry.target_landmarks(w, 0) for w in wanted])
        (resting,) = geometry.template_eyes
    inside = np.empty((len(targets), size, size, 3), np.uint8)
    looking = np.zeros(inside.shape, np.float32)
    for w, row, image, layer in zip(wanted, rows, inside, looking, strict=True):
        geometry.draw_mouth(w, row, image)
        patches = eyes.eye_patches(resting, geometry.project_eyes(w, row), size)
        eyes.draw_patches(patches, layer, image)
    return Told(np.float32(rest + wrong), np.float32(points), inside, looking)


def bare(group: Group, reference: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """(S, S, 3) uint8: rendering/mouth.py's map of a reference picture, with `rng` as off as a
    fit's."""
    size = group.images.shape[2]
    marks = group.marks[[reference]].cpu().float().numpy() / size
    if rng:
        marks = marks + off(marks.shape[1], rng)
    weights = group.weights[[reference]].cpu().float().numpy()
    geometry = geometry_of(group, marks, weights)
    return geometry.draw_mouth(weights[0], 0, np.empty((size, size, 3), np.uint8))


def geometry_of(group: Group, marks: np.ndarray, weights: np.ndarray) -> Geometry:
    base = None if group.base is None else group.base.cpu().numpy()
    return Geometry(group.identity.cpu().numpy(), np.float32(marks), weights, base)


def off(count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2): what landmarks of a fit are off by."""
    return OFF_EACH * rng.standard_normal((count, 2)) + OFF_TOGETHER * rng.standard_normal(2)


def pictures(images: Tensor) -> Tensor:
    """(..., S, S, 3) uint8 to (..., 3, S, S) float in 0..1, in channels-last memory, as the
    convolutions like it."""
    return images.movedim(-1, -3).float() / 255


def recolour(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Random gamma and white balance, the same for all of (B, N, 3, S, S) with one index B."""
    count = len(images)
    gamma = torch.from_numpy(rng.uniform(0.8, 1.25, (count, 1, 1, 1, 1))).to(images)
    gain = torch.from_numpy(rng.uniform(0.75, 1.25, (count, 1, 3, 1, 1))).to(images)
    return (images.clamp_min(1e-4) ** gamma * gain).clamp(0, 1)


def sample(
    groups: list[Group],
    rng: np.random.Generator,
    targets: int,
    augment: bool = True,
    reference: Tensor | None = None,
) -> Batch:
    """A batch of one template frame of each group. `reference` (S, S, 6) uint8 stands in for the
    groups' own (one avatar's, which is all that its renderer will ever see)."""
    images, weights, marks, rest, points, maps, looking = [], [], [], [], [], [], []
    mouths = []  # of the references
    for group in groups:
        chosen = draw(group, rng, targets, RESTING if augment else 0.6)
        told = tell(group, chosen[1], chosen[2:], rng if augment else None)
        *places, inside, seen_eyes = (
            torch.from_numpy(a).to(group.images.device)
            for a in (told.rest, told.points, told.inside, told.eyes)
        )
        one = group.images[chosen], group.weights[chosen[2:]], group.marks[chosen[2:]], *places
        if reference is None:
            mouth = torch.from_numpy(bare(group, chosen[0], rng if augment else None))
            mouths.append(mouth.to(group.images.device))
        else:
            mouths.append(reference[..., 3:])
        if augment and rng.random() < 0.5:
            one, inside, mouths[-1] = mirror(*one), inside.flip(2), mouths[-1].flip(1)
            seen_eyes = mirror_places(seen_eyes)
        for parts, part in zip(
            (images, weights, marks, rest, points, maps, looking),
            (*one, inside, seen_eyes),
            strict=True,
        ):
            parts.append(part)
    seen = torch.stack(images)
    if reference is not None:
        seen[:, 0] = reference[..., :3]
    seen = pictures(seen)
    if augment:
        seen = recolour(seen, rng)
    return Batch(
        torch.cat([seen[:, 0], pictures(torch.stack(mouths))], 1),
        seen[:, 1],
        torch.cat(weights).float(),
        seen[:, 2:].flatten(0, 1),
        torch.cat(marks).float(),
        torch.cat(rest).float(),
        torch.cat(points).float(),
        pictures(torch.cat(maps)),
        torch.cat(looking),
        targets,
    )
