# SPDX-License-Identifier: Apache-2.0
"""What a training of the renderer measures and shows as it goes; evaluate.py measures more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from realtalk_ros.face_model.landmarks import LIPS
from realtalk_ros.output import picture_file
from realtalk_ros.training.renderer.dataset import FaceDataset
from realtalk_ros.training.renderer.image_metrics import box_of
from realtalk_ros.training.renderer.model import Renderer
from realtalk_ros.training.renderer.samples import draw_batch
from realtalk_ros.training.renderer.trainer import forward

ROWS = 6  # of the sheet


def psnr(error: Tensor) -> float:
    """dB, of differences of images in 0..1."""
    return float(-10 * torch.log10(error.pow(2).mean().clamp_min(1e-10)))


@torch.no_grad()
def validate(model: Renderer, dataset: FaceDataset, count: int = 48) -> dict[str, float]:
    """PSNR, dB: whole image, the mouth's box, and the template as it is there, for scale."""
    rng = np.random.default_rng(1)
    whole, mouth, template = [], [], []
    for _ in range(count):
        batch = draw_batch([dataset.draw(rng)], rng, 4, augmented=False)
        out, _, _ = forward(model, batch)
        whole.append(psnr(out - batch.target))
        for k, landmarks in enumerate(batch.landmarks.cpu().numpy()):
            box = (slice(None), *box_of(landmarks[LIPS], out.shape[-1]))
            mouth.append(psnr(out[k][box] - batch.target[k][box]))
            template.append(psnr(batch.template[0][box] - batch.target[k][box]))
    return {
        "psnr": float(np.mean(whole)),
        "mouth_psnr": float(np.mean(mouth)),
        "template_mouth_psnr": float(np.mean(template)),
    }


@torch.no_grad()
def write_sample_sheet(model: Renderer, dataset: FaceDataset, path: Path) -> None:
    """Rows of reference, template, then for three expressions: target, result, mask."""
    rng, lines = np.random.default_rng(2), []
    for _ in range(ROWS):
        batch = draw_batch([dataset.draw(rng)], rng, 3, augmented=False)
        out, _, mask = forward(model, batch)
        cells = [batch.reference[0, :3], batch.template[0]]
        for k in range(len(out)):
            cells += [batch.target[k], out[k], mask[k].expand(3, -1, -1)]
        lines.append(torch.cat(cells, 2))
    image = torch.cat(lines, 1).permute(1, 2, 0).clamp(0, 1).cpu().numpy()
    picture_file.save(path, (image * 255).astype(np.uint8))
