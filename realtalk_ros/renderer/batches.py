"""Training batches of the face renderer, drawn from shards that lie whole on the training device.

The pictures stay uint8 where they are computed on; choosing, mirroring and recolouring happen there
too, so that a fast GPU never waits for the host. See face_data.py for what is in a shard.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from realtalk_ros import arkit, landmarks
from realtalk_ros.errors import RealTalkError
from realtalk_ros.renderer.geometry import camera
from realtalk_ros.renderer.mouth import Mouth

REFERENCES, POSES, EXPRESSIONS = 3, 2, 5  # pictures of a group, see face_data.py
READERS = 4  # threads that read shards
LABELS = 7  # of the masks, see face_data.LABELS
RESTING = 0.85  # share of the templates in training that are at rest
# By which the landmarks of a training template are off, as a fitted face's are: all of them, each
# one (sd, shares of the crop), and how far the weights move them (sd, relative).
OFF_TOGETHER, OFF_EACH, OFF_MOVE = 0.002, 0.0015, 0.03


def _mirrored(name: str) -> str:
    return name.replace("Left", "#").replace("Right", "Left").replace("#", "Right")


MIRRORED_WEIGHTS = torch.tensor([arkit.INDEX[_mirrored(name)] for name in arkit.NAMES])
# Multi-PIE's 68 points seen in a mirror.
MIRRORED_MARKS = torch.tensor(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """One person's pictures, on the training device. N is 13 in the order of face_data.py."""

    images: Tensor  # (N, S, S, 3) uint8 BGR
    weights: Tensor  # (N, 52)
    marks: Tensor  # (N, 68, 2) pixels
    masks: Tensor | None  # (N, S, S) uint8, face_data.LABELS; older shards have none
    cameras: Tensor  # (N, 2, 3) of geometry.camera, in shares of the picture
    identity: Tensor  # (100,)
    # Of a film, in which no two frames have one pose: (N, 68, 2), where each picture's own camera
    # sees the 3D landmarks of its weights, in shares of the picture.
    projected: Tensor | None = None


@dataclass(frozen=True)
class Batch:
    """B template frames with K expressions each; pictures are (.., 3, S, S) in 0..1, BGR."""

    reference: Tensor  # (B, 3, S, S)
    template: Tensor  # (B, 3, S, S)
    weights: Tensor  # (B * K, 52)
    target: Tensor  # (B * K, 3, S, S)
    marks: Tensor  # (B * K, 68, 2), of the target
    rest: Tensor  # (B, 68, 2), of the template, shares of the picture
    points: Tensor  # (B * K, 68, 2), where the weights move those, as geometry.py does
    inside: Tensor  # (B * K, 3, S, S) in 0..1, mouth.py's map of the target
    each: int  # K

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
        self._shards: list[dict[str, Tensor]] = []
        self._index: list[tuple[int, int]] = []  # of each group: its shard, its row there
        self._seen: set[Path] = set()
        self._count = 0
        self.refresh()

    def refresh(self) -> None:
        new = [path for path in sorted(self.folder.glob("*.npz")) if path not in self._seen]
        with ThreadPoolExecutor(READERS) as readers:
            for shard in readers.map(self._read, new):
                rows = [r for r in range(len(shard["images"])) if self.keep(self._count + r)]
                self._count += len(shard["images"])
                self._index += [(len(self._shards), row) for row in rows]
                self._shards.append(shard)
        self._seen.update(new)

    def _read(self, path: Path) -> dict[str, Tensor]:
        try:
            with np.load(path, allow_pickle=False) as shard:
                wanted = ("images", "weights", "landmarks", "masks", "identity")
                arrays = {name: shard[name] for name in wanted if name in shard}
                film = "frame" in shard
            images = arrays["images"]
            pictures = REFERENCES + POSES * EXPRESSIONS
            assert images.dtype == np.uint8 and images.shape[1] == pictures
            assert arrays["weights"].shape == (*images.shape[:2], arkit.COUNT)
            assert arrays["landmarks"].shape == (*images.shape[:2], 68, 2)
            nobody = np.zeros((len(images), landmarks.IDENTITY_SIZE), np.float32)
            arrays.setdefault("identity", nobody)  # everybody is the mean face
            arrays["cameras"], projected = cameras(arrays)
            if film:
                arrays["projected"] = projected
        except (OSError, ValueError, KeyError, AssertionError) as error:
            raise RealTalkError(
                f"{path} is no shard of training groups: remove it and run `realtalk data` again"
            ) from error
        return {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> Group:
        shard, row = self._index[number]
        part = self._shards[shard]
        names = ("images", "weights", "landmarks", "masks", "cameras", "identity", "projected")
        return Group(*(part[name][row] if name in part else None for name in names))


def cameras(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of a shard's pictures (G, N, 2, 3), and the landmarks they see, (G, N, 68, 2)."""
    model = landmarks.load()
    neutral = model.mean + np.tensordot(arrays["identity"], model.identity_modes, 1)
    shapes = neutral[:, None] + model.move(arrays["weights"])
    points = arrays["landmarks"] / arrays["images"].shape[2]
    found = camera(points, shapes)
    seen = (shapes - shapes.mean(-2, keepdims=True)) @ np.swapaxes(found, -1, -2)
    seen += points.mean(-2, keepdims=True)
    return found.astype(np.float32), seen.astype(np.float32)


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


def moved(group: Group, template: int, targets: list[int]) -> tuple[Tensor, Tensor]:
    """Landmarks (1, 68, 2) of the template and (K, 68, 2) where the targets' weights move them, in
    shares of the picture. In a film, also where the head's turn between the two moves them: a
    network that is not told it learns to blur what lies elsewhere."""
    rest = group.marks[template] / group.images.shape[2]
    if group.projected is not None:
        return rest[None], rest + group.projected[targets] - group.projected[template]
    model = torch.from_numpy(landmarks.load().expressions).to(rest)
    change = (group.weights[targets] - group.weights[template]).float()
    moves = torch.tensordot(change, model, 1) @ group.cameras[template].T
    return rest[None], rest + moves


def insides(group: Group, points: Tensor, targets: list[int]) -> Tensor:
    """(K, S, S, 3) uint8: mouth.py's maps of the targets, whose landmarks lie at `points`
    (K, 68, 2)."""
    weights, size = group.weights[targets].cpu().float().numpy(), group.images.shape[2]
    mouth = Mouth(group.identity.cpu().numpy(), points.cpu().float().numpy(), weights)
    drawn = np.empty((len(weights), size, size, 3), np.uint8)
    for k, w in enumerate(weights):
        mouth.draw(w, k, drawn[k])
    return torch.from_numpy(drawn).to(group.images.device)


def unsure(rest: Tensor, points: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The same landmarks as a fit of the face would have them."""
    each = OFF_EACH * rng.standard_normal((len(points[0]), 2))
    off = torch.from_numpy(each + OFF_TOGETHER * rng.standard_normal(2)).to(rest)
    gain = 1 + OFF_MOVE * float(rng.standard_normal())
    return rest + off, rest + off + gain * (points - rest)


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
    """A batch of one template frame of each group. `reference` (S, S, 3) uint8 stands in for the
    groups' own reference pictures (one avatar's, which is all that its renderer will ever see)."""
    images, weights, marks, rest, points, maps = [], [], [], [], [], []
    for group in groups:
        chosen = draw(group, rng, targets, RESTING if augment else 0.6)
        places = moved(group, chosen[1], chosen[2:])
        if augment:
            places = unsure(*places, rng)
        one = group.images[chosen], group.weights[chosen[2:]], group.marks[chosen[2:]], *places
        inside = insides(group, places[1], chosen[2:])
        if augment and rng.random() < 0.5:
            one, inside = mirror(*one), inside.flip(2)
        for parts, part in zip(
            (images, weights, marks, rest, points, maps), (*one, inside), strict=True
        ):
            parts.append(part)
    seen = torch.stack(images)
    if reference is not None:
        seen[:, 0] = reference
    seen = pictures(seen)
    if augment:
        seen = recolour(seen, rng)
    return Batch(
        seen[:, 0],
        seen[:, 1],
        torch.cat(weights).float(),
        seen[:, 2:].flatten(0, 1),
        torch.cat(marks).float(),
        torch.cat(rest).float(),
        torch.cat(points).float(),
        pictures(torch.cat(maps)),
        targets,
    )
