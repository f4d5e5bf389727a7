# SPDX-License-Identifier: Apache-2.0
"""What is different where the renderer learns from pictures of people (`train renderer --real`).

- They see what the run time gives the network: the map of the mouth is lifelike (mouth.py), enamel
  that no picture shows is expected by the whites of the eyes (enamel_colour.py). What the run time
  does to the network's picture afterwards is taken out of the targets: light on the tongue
  (`unlit`).
- They are judged by what is shown. The compositor takes the network's picture between the lips, and
  around them only what is coarse in it (`shown_mouth`).
- They are no rendered pairs: teeth are not quite where the map has them. So it is LPIPS, how strong
  detail is, and if asked for a discriminator that say what the mouth has to look like. L1 counts
  less.
- They teach the mouth. Elsewhere the installed network's picture is the target
  (`losses.video_target`).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from realtalk_ros.contracts import MOUTH_CROP, mouth_crop
from realtalk_ros.rendering import compositor, enamel_colour
from realtalk_ros.rendering.avatar_encoding import EXPECTED
from realtalk_ros.rendering.oral_cavity import OralCavity, flesh_light
from realtalk_ros.training.renderer.model import crop_mouth

INSIDE = 5.0  # weight of the detail between the lips, beside that around them
ENLARGED = 1.6  # times: a cell of `evaluate smiles` is 160 pixels wide, the lips here some 90
FLAT = 128  # level of an even picture that is lit
# Kernels of the compositor's layers, pixels.
MARGIN, BORDER = len(compositor.MOUTH_MARGIN), compositor.FADE[0]  # of the interior
INSIDE_BORDER = compositor.INSIDE_FADE[0]  # of what hides the template
BLUR = compositor.COARSE_BLUR[0]


def unlit(targets: Tensor, mouth_interior: np.ndarray) -> Tensor:
    """Targets (K, S, S, 3) uint8 without the light that the run time will add to flesh in the mouth
    (oral_cavity.py), by the maps of the mouth's interior (K, S, S, 3) uint8."""
    lights, mouth = np.full(mouth_interior.shape, FLAT, np.uint8), mouth_crop()
    cavity = usual_cavity()
    for interior, light in zip(mouth_interior, lights, strict=True):
        cavity.light(interior[mouth], light[mouth], 0)
    share = torch.from_numpy(lights).to(targets.device).float() / FLAT
    return (targets.float() / share.clamp_min(0.1)).round().clamp(0, 255).to(torch.uint8)


@lru_cache(maxsize=1)
def usual_cavity() -> OralCavity:
    """Of somebody whose flesh is as usual. (Enamel is lit until it has the expected colour.)"""
    return OralCavity(flesh_light(np.ones(3)), np.ones((1, MOUTH_CROP[2], 3)))


def expected_enamel(templates: Tensor, landmarks: Tensor) -> Tensor:
    """(B, 3) in 0..1, of templates (B, 3, S, S) in 0..1 with landmarks (B, 68, 2), normalised."""
    images = (templates.movedim(1, -1) * 255).round().to(torch.uint8).cpu().numpy()
    points = landmarks.float().cpu().numpy() * images.shape[1]
    found = [enamel_colour.expected_enamel(i, p) for i, p in zip(images, points, strict=True)]
    shown = [enamel_colour.plausible(np.minimum(enamel, 1)) for enamel in found]
    return torch.from_numpy(np.stack(shown)).to(templates)


def with_expected_enamel(colours: Tensor, enamel: Tensor, real: Tensor) -> Tensor:
    """Mouth colours (B, 8) in which the enamel of real people, real (B,) bool, is that expected as
    far as their reference does not show it (avatar_encoding.with_expected_enamel)."""
    unseen = ((EXPECTED - colours[:, 6:7]).clamp_min(0) * real[:, None]).to(colours)
    added = torch.cat([unseen * enamel.to(colours), torch.zeros_like(enamel).to(colours)], 1)
    return colours + torch.cat([added, unseen, torch.zeros_like(unseen)], 1)


def shown_mouth(rgb: Tensor, mask: Tensor, warped: Tensor, mouth_interior: Tensor) -> Tensor:
    """(B, 3, M, M): the mouth crop as the compositor shows it, of the generator's own image `rgb`
    and the warped template, both (B, 3, S, S), its mask (B, 1, S, S) and the maps of the mouth's
    interior (B, 3, S, S)."""
    drawn, template, mask = crop_mouth(rgb), crop_mouth(warped), crop_mouth(mask)
    interior = crop_mouth(mouth_interior[:, :1])
    change = drawn - template
    coarse = F.avg_pool2d(change, 2)
    for _ in range(2):
        coarse = box_blur(coarse, BLUR)
    coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    inside = box_blur(F.max_pool2d(interior, MARGIN, 1, MARGIN // 2), BORDER)
    shown = template + mask * (coarse + inside * (change - coarse))
    return shown + mask * box_blur(interior, INSIDE_BORDER) * (drawn - shown)


def box_blur(x: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)


def enlarged(mouths: Tensor) -> Tensor:
    """Pictures of mouths as large as `evaluate smiles` compares them."""
    return F.interpolate(mouths, scale_factor=ENLARGED, mode="bilinear", align_corners=False)
