# SPDX-License-Identifier: Apache-2.0
"""The renderer as it is evaluated: the ONNX files in ONNX Runtime, or a checkpoint in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from realtalk_ros import onnx_session
from realtalk_ros.contracts import ALIGNER_FILE, ENCODER_FILE, GENERATOR_FILE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.rendering.generator import depth_to_space, space_to_depth, warp
from realtalk_ros.rendering.old_generators import present_name
from realtalk_ros.training.renderer.checkpoint import parse_dimensions, read_checkpoint
from realtalk_ros.training.renderer.dataset import to_float
from realtalk_ros.training.renderer.model import Conditioning, Renderer
from realtalk_ros.training.renderer.samples import FacePrior

# Reference (S, S, 6) and template (S, S, 3) uint8, what the prior predicts of the template and K
# targets, weights (K, 52) -> composed images (K, S, S, 3) uint8, masks (K, S, S).
Render = Callable[[np.ndarray, np.ndarray, FacePrior, np.ndarray], tuple[np.ndarray, np.ndarray]]


def onnx_renderer(folder: Path, threads: int, own: Path | None = None) -> Render:
    """Of the networks in a folder; the generator of the folder `own`, if it is given."""
    encoder = onnx_session.session(folder / ENCODER_FILE, threads=threads)
    aligner = onnx_session.session(folder / ALIGNER_FILE, threads=threads)
    generator = onnx_session.session((own or folder) / GENERATOR_FILE, threads=threads)
    names = [output.name for output in encoder.get_outputs()]

    def render(reference, template, prior, weights):
        features = encoder.run(None, {"reference": reference, "template": template})
        landmarks = {
            "template_landmarks": np.repeat(prior.template_landmarks, len(weights), 0),
            "target_landmarks": prior.target_landmarks,
        }
        grids, alignment_features = aligner.run(None, landmarks)
        half = len(template) // 2
        warped, interior = np.empty((2, len(weights), 12, half, half), np.uint8)
        for k, (grid, eyes) in enumerate(zip(grids, prior.eye_grid, strict=True)):
            grid += eyes[..., 2:] * (eyes[..., :2] - grid)
            space_to_depth(warp(template, grid), warped[k])
            space_to_depth(prior.mouth_interior[k], interior[k])
        index = np.zeros(len(weights), np.int64)
        inputs = {
            "weights": weights,
            "warped_template": warped,
            "mouth_interior": interior,
            "alignment_features": alignment_features,
            "template_index": index,
            "reference_index": index,
            **dict(zip(names, features, strict=True)),
        }
        named = {i.name: inputs[present_name(i.name)] for i in generator.get_inputs()}
        made, mask = generator.run(None, named)
        rgb = np.stack([depth_to_space(planes, np.empty_like(template)) for planes in made])
        return compose(rgb, mask, template), mask

    return render


def torch_renderer(path: Path) -> Render:
    """Of a checkpoint. Raises RealTalkError where there is none."""
    if not path.is_file():
        raise RealTalkError(f"no checkpoint {path}: run `realtalk train renderer` first")
    saved = read_checkpoint(path)
    model = Renderer(parse_dimensions(saved["dimensions"])).eval()
    model.load_state_dict(saved["average"])

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
        rgb, mask = model.generator(features, frames, torch.from_numpy(weights), conditioning)
        rgb = (rgb * 255).permute(0, 2, 3, 1).numpy()
        return compose(rgb, mask[:, 0].numpy(), template), mask[:, 0].numpy()

    return render


def compose(rgb: np.ndarray, mask: np.ndarray, template: np.ndarray) -> np.ndarray:
    """(K, S, S, 3) uint8: images over their template by masks (K, S, S)."""
    mask = mask[..., None]
    return np.rint(template * (1 - mask) + rgb * mask).clip(0, 255).astype(np.uint8)
