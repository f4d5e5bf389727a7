# SPDX-License-Identifier: Apache-2.0
"""What is different where the renderer learns from pictures of people (`train renderer --real`).

- They see what the run time gives the network: the map of the mouth is lifelike (mouth.py), enamel
  that no picture shows is expected by the whites of the eyes (enamel_colour.py). The network's
  picture is lit as at run time before it is judged: light on tongue and gums, the shade between
  teeth (run_time_light.py).
- They are judged by what is shown. The compositor takes the network's picture between the lips, and
  around them only what is coarse in it (`shown_mouth`).
- They are no rendered pairs: teeth are not quite where the map has them. So it is LPIPS, how strong
  detail is, and if asked for a discriminator that say what the mouth has to look like. L1 counts
  less. Where the picture shows a tooth and the map flesh, nothing is learned (`without_misplaced`):
  the tooth would have to be drawn so that it is white in the light of the tongue.
- They teach the mouth. Elsewhere the installed network's picture is the target
  (`losses.video_target`).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from realtalk_ros.rendering import added_layer
from realtalk_ros.rendering.avatar_encoding import EXPECTED
from realtalk_ros.rendering.mouth import enamel_colour
from realtalk_ros.training.renderer.landmark_warp import sample
from realtalk_ros.training.renderer.model import crop_mouth

INSIDE = 5.0  # weight of the detail between the lips, beside that around them
ENLARGED = 1.6  # times: a cell of `evaluate smiles` is 160 pixels wide, the lips here some 90
# A pixel is a tooth's if it has this share of the expected enamel's green, and less than this times
# its red over green. Of the enamel in the maps of 24 groups of the London Set 0.82 is so by the
# picture, and of the flesh 0.38: teeth that end higher than the map's, and lower ones.
TOOTH_LIGHT, TOOTH_RED = 0.4, 1.15
AS_EXPECTED = 0.02  # so near to the expected enamel is that of somebody who does not show it
# Kernels of the compositor's layers, pixels.
MARGIN, BORDER = len(added_layer.MOUTH_MARGIN), added_layer.FADE[0]  # of the interior
INSIDE_BORDER = added_layer.INSIDE_FADE[0]  # of what hides the template
BLUR = added_layer.COARSE_BLUR[0]


def without_misplaced(
    target: Tensor, drawn: Tensor, mouth_interior: Tensor, enamel: Tensor
) -> Tensor:
    """Targets of people, with what is `drawn` in place of teeth that the map does not have there;
    images and maps (N, 3, S, S) in 0..1, `enamel` (N, 3) as light as it is expected."""
    opened, on_map, _ = mouth_interior.split(1, 1)
    _, green, red = target.split(1, 1)
    _, usual, usual_red = enamel[..., None, None].split(1, 1)
    tooth = (green > TOOTH_LIGHT * usual) & (red * usual < TOOTH_RED * usual_red * green)
    return torch.where((opened > 0) & (on_map == 0) & tooth, drawn, target)


def expected_enamel(templates: Tensor, landmarks: Tensor) -> Tensor:
    """(B, 3), in which 1 is white, of templates (B, 3, S, S) in 0..1 with landmarks (B, 68, 2),
    normalised. It may be more than 1, and is yet to be made plausible."""
    images = (templates.movedim(1, -1) * 255).round().to(torch.uint8).cpu().numpy()
    points = landmarks.float().cpu().numpy() * images.shape[1]
    found = [enamel_colour.expected_enamel(i, p) for i, p in zip(images, points, strict=True)]
    return torch.from_numpy(np.stack(found)).to(templates)


def plausible(enamel: Tensor) -> Tensor:
    """The colours (N, 3) that are nearest to those and may be that of teeth."""
    found = [enamel_colour.plausible(colour) for colour in enamel.cpu().numpy()]
    return torch.from_numpy(np.stack(found)).to(enamel)


def shown_enamel(colours: Tensor, expected: Tensor) -> Tensor:
    """(N, 3): that of people with mouth colours (N, 8) in which it is expected (N, 3) as far as no
    reference shows it. Those end at 1, the light in the mouth does not."""
    painted = colours[:, :3] / colours[:, 6:7].clamp_min(0.01)
    unseen = (painted - plausible(expected.clamp(max=1))).abs().amax(1, keepdim=True) < AS_EXPECTED
    return torch.where(unseen, plausible(expected), painted)


def with_expected_enamel(colours: Tensor, enamel: Tensor, real: Tensor) -> Tensor:
    """Mouth colours (B, 8) in which the enamel (B, 3) of people, real (B,) bool, is as expected, as
    far as their reference does not show it (avatar_encoding.with_expected_enamel)."""
    enamel = plausible(enamel.clamp(max=1))
    unseen = ((EXPECTED - colours[:, 6:7]).clamp_min(0) * real[:, None]).to(colours)
    added = torch.cat([unseen * enamel.to(colours), torch.zeros_like(enamel).to(colours)], 1)
    return colours + torch.cat([added, unseen, torch.zeros_like(unseen)], 1)


def shown_mouth(
    rgb: Tensor,
    mask: Tensor,
    templates: tuple[Tensor, Tensor],
    mouth_interior: Tensor,
    shift: Tensor | None = None,
) -> Tensor:
    """(B, 3, M, M): the mouth crop as the compositor shows it, of the generator's own image `rgb`
    and the warped `templates` that it sees and that are shown, all (B, 3, S, S), its mask (B, 1, S,
    S) and the maps of the mouth's interior (B, 3, S, S). What is drawn is sampled `shift` (B, 2)
    pixels aside."""
    drawn, mask = crop_mouth(rgb), crop_mouth(mask)
    template, sharp = map(crop_mouth, templates)
    interior = crop_mouth(mouth_interior[:, :1])
    change = drawn - template
    coarse = F.avg_pool2d(change, 2)
    for _ in range(2):
        coarse = box_blur(coarse, BLUR)
    coarse = F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
    inside = box_blur(F.max_pool2d(interior, MARGIN, 1, MARGIN // 2), BORDER)
    replaced = mask * box_blur(interior, INSIDE_BORDER)
    around = mask * (coarse + inside * (change - coarse))
    layers = torch.cat([(1 - replaced) * around + replaced * drawn, replaced], 1)
    if shift is not None:
        layers = resampled(layers, shift)
    return layers[:, :3] + (1 - layers[:, 3:]) * sharp


def resampled(layers: Tensor, shift: Tensor) -> Tensor:
    """Layers (B, C, M, M) that were sampled linearly `shift` (B, 2) pixels aside, as on the grid of
    a display, and back again. Else LPIPS is improved by a pattern of single pixels, which on any
    other grid is a dark and red border."""
    side = layers.shape[-1]
    axis = torch.arange(side, device=layers.device, dtype=layers.dtype)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    aside = shift[:, None, None].to(layers)
    return sample(sample(layers, grid + aside), grid - aside, "bicubic")


def box_blur(x: Tensor, side: int) -> Tensor:
    return F.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)


def enlarged(mouths: Tensor) -> Tensor:
    """Pictures of mouths as large as `evaluate smiles` compares them."""
    return F.interpolate(mouths, scale_factor=ENLARGED, mode="bilinear", align_corners=False)
