# SPDX-License-Identifier: Apache-2.0
"""Draws the batches of a training of the renderer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.rendering.avatar_encoding import merge_mouth_colours, reference_inputs
from realtalk_ros.training.renderer.config import TrainingConfig
from realtalk_ros.training.renderer.dataset import FaceDataset, Group, to_float
from realtalk_ros.training.renderer.mouth_colours import estimate_mouth_colours
from realtalk_ros.training.renderer.samples import Batch, draw_batch


class BatchLoader:
    """Batches of `train`, a share of their samples of `extra` where that is given; and batches of
    `real`, with one target of each template, as a photograph moves in one way.
    With `avatar` its reference images stand in for the groups' own, one of them for each batch.
    `step` is that from which a training goes on."""

    def __init__(
        self,
        config: TrainingConfig,
        train: FaceDataset,
        extra: FaceDataset | None = None,
        avatar: Avatar | None = None,
        step: int = 0,
        real: FaceDataset | None = None,
    ):
        self.config, self.train, self.extra, self.real = config, train, extra, real
        self._rng = np.random.default_rng([config.seed, step])
        self._references = self._mouth_colours = None
        if avatar:
            images = torch.from_numpy(np.stack(reference_inputs(avatar)))
            self._references = images.to(config.device)  # (R, S, S, 6)
            # What all of them show of the mouth's colours, (1, 8).
            image, interior = to_float(self._references).chunk(2, 1)
            found = estimate_mouth_colours(image, interior).cpu().numpy()
            colours = torch.from_numpy(merge_mouth_colours(found))
            self._mouth_colours = colours.to(config.device)

    def draw(self) -> Batch:
        if self.real and self._rng.random() < self.config.real_share:
            count = self.config.groups * self.config.targets
            people = [self.real.draw(self._rng) for _ in range(count)]
            return draw_batch(people, self._rng, 1)
        groups = [self._draw_group() for _ in range(self.config.groups)]
        if self._references is None:
            return draw_batch(groups, self._rng, self.config.targets)
        reference = self._references[int(self._rng.integers(len(self._references)))]
        batch = draw_batch(groups, self._rng, self.config.targets, False, reference)
        colours = self._mouth_colours.expand(len(batch.template), -1)
        return replace(batch, mouth_colours=colours)

    def _draw_group(self) -> Group:
        from_extra = self.extra and self._rng.random() < self.config.extra_share
        return (self.extra if from_extra else self.train).draw(self._rng)
