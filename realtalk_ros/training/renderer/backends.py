# SPDX-License-Identifier: Apache-2.0
"""The renderer as it is evaluated: the ONNX files in ONNX Runtime, or a checkpoint in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from realtalk_ros import onnx_session
from realtalk_ros.contracts import ALIGNER_FILE, ENCODER_FILE, GENERATOR_FILE, MOUTH_CROP
from realtalk_ros.rendering.generator import fill_inputs
from realtalk_ros.rendering.sampling_grid import sampling_grid, warp
from realtalk_ros.training.renderer.checkpoint import load_average
from realtalk_ros.training.renderer.dataset import to_float
from realtalk_ros.training.renderer.face_prior import FacePrior
from realtalk_ros.training.renderer.model import Conditioning, Synthesized, assemble

# Reference (S, S, 6) and template (S, S, 3) uint8, what the prior predicts of the template and K
# targets, weights (K, 52) -> composed images (K, S, S, 3) uint8, masks (K, S, S).
Render = Callable[[np.ndarray, np.ndarray, FacePrior, np.ndarray], tuple[np.ndarray, np.ndarray]]


def onnx_renderer(folder: Path, threads: int, own: Path | None = None) -> Render:
    """Of the networks in a folder; the generator of the folder `own`, if it is given."""
    encoder = onnx_session.session(folder / ENCODER_FILE, threads=threads)
    aligner = onnx_session.session(folder / ALIGNER_FILE, threads=threads)
    generator = onnx_session.session((own or folder) / GENERATOR_FILE, threads=threads)
    names = [output.name for output in encoder.get_outputs()]
    taken = {i.name for i in generator.get_inputs()}

    def render(reference, template, prior, weights):
        features = encoder.run(None, {"reference": reference, "template": template})
        landmarks = {
            "template_landmarks": np.repeat(prior.template_landmarks, len(weights), 0),
            "target_landmarks": prior.target_landmarks,
        }
        movements, alignment_features = aligner.run(None, landmarks)
        count, size, half = len(weights), len(template), MOUTH_CROP[2] // 2
        warped = np.empty((count, size, size, 3), np.uint8)
        quarters = np.empty((count, size // 4, size // 4, 6), np.uint8)
        mouths = np.empty((count, 24, half, half), np.uint8)
        for k, (movement, eyes) in enumerate(zip(movements, prior.eye_grid, strict=True)):
            grid = sampling_grid(movement)
            grid += eyes[..., 2] * (np.moveaxis(eyes[..., :2], 2, 0) - grid)
            warp(template, grid, warped[k])
            fill_inputs(warped[k], prior.mouth_interior[k], quarters[k], mouths[k])
        index = np.zeros(count, np.int64)
        inputs = {
            "weights": weights,
            "warped_quarter": quarters,
            "warped_mouth": mouths,
            "alignment_features": alignment_features,
            "template_index": index,
            "reference_index": index,
            **{name: f for name, f in zip(names, features, strict=True) if name in taken},
        }
        change, mask, mouth = map(torch.from_numpy, generator.run(None, inputs))
        made = Synthesized(change / 255, mask[:, None], mouth.unflatten(1, (3, 4)) / 255)
        return compose(*assemble(to_float(torch.from_numpy(warped)), made), template)

    return render


def torch_renderer(path: Path) -> Render:
    """Of a checkpoint. Raises RealTalkError where there is none."""
    model = load_average(path)

    @torch.no_grad()
    def render(reference, template, prior, weights):
        count = len(weights)
        images = [to_float(torch.from_numpy(image)[None]) for image in (reference, template)]
        features = [f.expand(count, *f.shape[1:]) for f in model.encoder(*images)]
        conditioning = Conditioning(
            template_landmarks=torch.from_numpy(prior.template_landmarks).expand(count, -1, -1),
            target_landmarks=torch.from_numpy(prior.target_landmarks),
            mouth_interior=to_float(torch.from_numpy(prior.mouth_interior)),
            eye_grid=torch.from_numpy(prior.eye_grid),
        )
        frames = images[1].expand(count, -1, -1, -1)
        made = model.generator(features, frames, torch.from_numpy(weights), conditioning)
        return compose(*made, template)

    return render


def compose(rgb: Tensor, mask: Tensor, template: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images (K, 3, S, S) in 0..1 over their template by masks (K, 1, S, S): (K, S, S, 3) uint8 and
    the masks (K, S, S)."""
    masks = mask[:, 0].numpy()
    alpha, images = masks[..., None], (rgb * 255).permute(0, 2, 3, 1).numpy()
    composed = np.rint(template * (1 - alpha) + images * alpha).clip(0, 255).astype(np.uint8)
    return composed, masks
