# SPDX-License-Identifier: Apache-2.0
"""Samples of the face renderer's training and how they become batches.

A sample is a reference, a template and K targets of one group; template and targets share the pose,
the reference need not. With them goes what the 3D face model predicts of them (face_prior.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from realtalk_ros.contracts import CROP_SIZE, MOUTH_CROP, mouth_crop
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import LIPS
from realtalk_ros.training.common.group_layout import EXPRESSIONS, POSES, REFERENCES
from realtalk_ros.training.renderer import augment, real_people
from realtalk_ros.training.renderer.dataset import Group, to_float
from realtalk_ros.training.renderer.face_prior import map_mouth, predict_face
from realtalk_ros.training.renderer.model import Conditioning
from realtalk_ros.training.renderer.run_time_light import NONE

# Shares of the templates that are at rest, as an avatar's are.
RESTING, RESTING_IN_TRAINING = 0.6, 0.85
# Of people's targets, the share in which they move, if one picture does: what is to be learned of a
# face at rest is little.
MOVED, STILL = 0.8, 0.01
LIPS_SIDE = 0.375  # of the image's side: the lips with what is around them


@dataclass(frozen=True)
class Sample:
    """One template of one person and K targets, on the training device."""

    reference: Tensor  # (S, S, 6) uint8, an image and the map of its mouth's interior
    template: Tensor  # (S, S, 3) uint8
    targets: Tensor  # (K, S, S, 3) uint8
    weights: Tensor  # (K, 52), of the targets
    landmarks: Tensor  # (K, 68, 2), of the targets as they are, pixels
    template_landmarks: Tensor  # (1, 68, 2), this and what follows as in FacePrior
    target_landmarks: Tensor  # (K, 68, 2)
    mouth_interior: Tensor  # (K, S, S, 3) uint8
    eye_grid: Tensor  # (K, S, S, 3)
    real: bool = False  # see Group
    light: Tensor | None = None  # (K, M, M, 4), as in FacePrior

    def mirrored(self) -> Sample:
        return Sample(
            reference=self.reference.flip(1),
            template=self.template.flip(1),
            targets=self.targets.flip(2),
            weights=augment.mirror_weights(self.weights),
            landmarks=augment.mirror_landmarks(self.landmarks, self.template.shape[1]),
            template_landmarks=augment.mirror_landmarks(self.template_landmarks),
            target_landmarks=augment.mirror_landmarks(self.target_landmarks),
            mouth_interior=self.mouth_interior.flip(2),
            eye_grid=augment.mirror_grid(self.eye_grid),
            real=self.real,
            light=None if self.light is None else self.light.flip(2),
        )


@dataclass(frozen=True)
class Batch:
    """B templates with K targets each; images are (.., 3, S, S) in 0..1, BGR."""

    reference: Tensor  # (B, 6, S, S), an image and the map of its mouth's interior
    template: Tensor  # (B, 3, S, S)
    target: Tensor  # (B * K, 3, S, S)
    weights: Tensor  # (B * K, 52)
    landmarks: Tensor  # (B * K, 68, 2), of the targets as they are, pixels
    template_landmarks: Tensor  # (B, 68, 2)
    target_landmarks: Tensor  # (B * K, 68, 2)
    mouth_interior: Tensor  # (B * K, 3, S, S) in 0..1
    eye_grid: Tensor  # (B * K, S, S, 3)
    targets_each: int  # K
    # (B, 8) instead of what the references show, see rendering's merge_mouth_colours.
    mouth_colours: Tensor | None = None
    # Of which templates the images are of people, (B,) bool; the enamel that is to be expected
    # there, (B, 3), 1: white; the light in the targets' mouths, (B * K, 4, M, M). None: of none.
    real: Tensor | None = None
    enamel: Tensor | None = None
    light: Tensor | None = None
    white: Tensor | None = None  # (B * K, 3), of people: see run_time_light.py

    def per_target(self, values: Tensor) -> Tensor:
        """(B * K, ...): values (B, ...) of the templates beside every target."""
        return values.repeat_interleave(self.targets_each, 0)

    @property
    def people(self) -> Tensor:
        """(N,): which of the B * K targets show real people."""
        if self.real is None:
            return torch.zeros(0, dtype=torch.long, device=self.target.device)
        return self.per_target(self.real).nonzero()[:, 0]

    @property
    def rendered(self) -> Tensor:
        """(N,): which do not."""
        others = torch.ones(len(self.target), dtype=torch.bool, device=self.target.device)
        others[self.people] = False
        return others.nonzero()[:, 0]

    def select(self, targets: Tensor) -> Batch:
        """Of these targets alone (N,), each with its template."""
        of_templates = [
            name
            for name in ("reference", "template", "template_landmarks", "real", "enamel")
            if getattr(self, name) is not None
        ]
        of_targets = (
            "target", "weights", "landmarks", "target_landmarks", "mouth_interior", "eye_grid",
            *(name for name in ("light", "white") if getattr(self, name) is not None),
        )  # fmt: skip
        chosen = {name: self.per_target(getattr(self, name))[targets] for name in of_templates}
        chosen |= {name: getattr(self, name)[targets] for name in of_targets}
        return Batch(**chosen, targets_each=1)

    def lips_of(self, mouths: Tensor) -> Tensor:
        """(B * K, C, L, L): the targets' lips in pictures (B * K, C, M, M) of the mouth crop."""
        size = self.target.shape[-1]
        rows, columns = mouth_crop(size)
        corner = self.landmarks.new_tensor([columns.start, rows.start])
        middle = self.landmarks[:, LIPS].mean(1) - corner
        return crop_around(mouths, middle, round(LIPS_SIDE * size))

    @property
    def conditioning(self) -> Conditioning:
        return Conditioning(
            template_landmarks=self.per_target(self.template_landmarks),
            target_landmarks=self.target_landmarks,
            mouth_interior=self.mouth_interior,
            eye_grid=self.eye_grid,
        )


def crop_around(image: Tensor, centre: Tensor, side: int) -> Tensor:
    """Squares (B, C, side, side) around centres (B, 2) in whole pixels, moved to lie inside."""
    size = image.shape[-1]
    corner = (centre - side / 2).round().long().clamp(0, size - side)
    axis = torch.arange(side, device=image.device)
    rows, columns = corner[:, 1, None] + axis, corner[:, 0, None] + axis
    each = torch.arange(len(image), device=image.device)[:, None, None]
    found = image.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None]]
    return found.permute(0, 3, 1, 2)


def moved_in(group: Group) -> np.ndarray | None:
    """(N, N): by image of a group of people, in which others the mouth is moved otherwise."""
    if not group.real:
        return None
    weights = group.weights.cpu().float().numpy()[:, list(arkit.MOUTH)]
    return np.abs(weights[:, None] - weights).max(-1) > STILL


def choose_images(
    rng: np.random.Generator,
    targets: int,
    resting: float = RESTING,
    moved: np.ndarray | None = None,
) -> tuple[int, int, list[int]]:
    """Reference, template and targets among a group's images. The template shows a resting face in
    the share `resting` of the draws. Those that are `moved` (N, N) beside the template come first
    in the share MOVED."""
    start = REFERENCES + EXPRESSIONS * int(rng.integers(POSES))
    # The first expression of a pose is near neutral.
    template = start if rng.random() < resting else start + int(rng.integers(EXPRESSIONS))
    others = [i for i in range(start, start + EXPRESSIONS) if i != template]
    reference_index, others = int(rng.integers(REFERENCES)), rng.permutation(others)
    if moved is not None and rng.random() < MOVED:
        others = others[np.argsort(~moved[template, others], kind="stable")]
    return reference_index, template, others[:targets].tolist()


def draw_sample(
    group: Group,
    rng: np.random.Generator,
    targets: int,
    augmented: bool = True,
    reference: Tensor | None = None,
) -> Sample:
    """Chooses images of a group, with `augmented` as wrong as a fit and mirrored in half of the
    draws. `reference` (S, S, 6) uint8 stands in for the group's own (one avatar's, which is all
    that its renderer will ever see)."""
    resting = RESTING_IN_TRAINING if augmented else RESTING
    reference_index, template, chosen = choose_images(rng, targets, resting, moved_in(group))
    # Photographs of people were laid over what their weights say (photo_pairs.py).
    laid_over = group.real and not group.from_video
    noise = rng if augmented and not laid_over else None
    prior, device = predict_face(group, template, chosen, noise), group.images.device
    if reference is None:
        mouth = torch.from_numpy(map_mouth(group, reference_index, noise)).to(device)
        reference = torch.cat([group.images[reference_index], mouth], -1)
    predicted = {
        name: torch.from_numpy(values).to(device)
        for name, values in vars(prior).items()
        if values is not None
    }
    sample = Sample(
        reference=reference,
        template=group.images[template],
        targets=group.images[chosen],
        weights=group.weights[chosen],
        landmarks=group.landmarks[chosen],
        real=group.real,
        **predicted,
    )
    return sample.mirrored() if augmented and rng.random() < 0.5 else sample


def collate(samples: Sequence[Sample], rng: np.random.Generator | None = None) -> Batch:
    """The samples, all with as many targets, as one batch; with `rng` in other colours."""
    images = torch.stack(
        [torch.cat([s.reference[None, ..., :3], s.template[None], s.targets]) for s in samples]
    )
    images = to_float(images)  # (B, 2 + K, 3, S, S)
    if rng:
        images = augment.jitter_colours(images, rng)
    mouths = to_float(torch.stack([s.reference[..., 3:] for s in samples]))
    of_people = {}
    if any(s.real for s in samples):
        landmarks = torch.cat([s.template_landmarks for s in samples])
        side = MOUTH_CROP[2] * images.shape[-1] // CROP_SIZE
        none = images.new_tensor(NONE).expand(len(samples[0].targets), side, side, 4)
        lights = [none if s.light is None else s.light.to(none) for s in samples]
        of_people = {
            "real": torch.tensor([s.real for s in samples], device=images.device),
            "enamel": real_people.expected_enamel(images[:, 1], landmarks),
            "light": torch.cat(lights).movedim(-1, 1),
        }
    return Batch(
        reference=torch.cat([images[:, 0], mouths], 1),
        template=images[:, 1],
        target=images[:, 2:].flatten(0, 1),
        weights=torch.cat([s.weights for s in samples]).float(),
        landmarks=torch.cat([s.landmarks for s in samples]).float(),
        template_landmarks=torch.cat([s.template_landmarks for s in samples]).float(),
        target_landmarks=torch.cat([s.target_landmarks for s in samples]).float(),
        mouth_interior=to_float(torch.cat([s.mouth_interior for s in samples])),
        eye_grid=torch.cat([s.eye_grid for s in samples]),
        targets_each=len(samples[0].targets),
        **of_people,
    )


def draw_batch(
    groups: Sequence[Group],
    rng: np.random.Generator,
    targets: int,
    augmented: bool = True,
    reference: Tensor | None = None,
) -> Batch:
    """A batch of one template of each group, see `draw_sample`."""
    samples = [draw_sample(group, rng, targets, augmented, reference) for group in groups]
    return collate(samples, rng if augmented else None)
