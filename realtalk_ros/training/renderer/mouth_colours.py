# SPDX-License-Identifier: Apache-2.0
"""The colours of teeth and of gums and tongue, as a reference image shows them.

They are 8 numbers: blue, green, red of enamel and of flesh, and how sure each of the two is.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

MOUTH_COLOURS = 8
# Squared brightness, summed over the pixels, at which a colour is half sure; flesh looks half as
# bright as enamel.
HALF_SURE, BRIGHTNESS = 20.0, (1.0, 2.0)
BORDERS = 1, 2  # pixels at the borders of enamel and of flesh that are left out
# The usual colours, the median of the synthetic people, and how near to black and white they count.
USUAL, MARGIN = (0.83, 0.86, 0.90, 0.33, 0.34, 0.51), 0.02


def estimate_mouth_colours(image: Tensor, mouth_interior: Tensor) -> Tensor:
    """(B, 8) of images (B, 3, S, S) with rendering/mouth/mouth.py's maps of them, (B, 3, S, S);
    all 0 where nothing shows."""
    scale = mouth_interior.new_tensor(BRIGHTNESS)[:, None, None]
    shading = mouth_interior[:, 1:] * mouth_interior[:, :1] * scale
    # Not at the borders: in a photo a map is a pixel or two off, and flesh would count as teeth.
    shown = (shading > 0).to(shading.dtype)
    eroded = [
        -F.max_pool2d(-shown[:, [k]], 2 * border + 1, 1, border) for k, border in enumerate(BORDERS)
    ]
    shading = (shading * torch.cat(eroded, 1)).flatten(2)  # (B, 2, S * S)
    power = (shading * shading).sum(-1, keepdim=True)
    # Least squares of image = shading * colour, drawn towards 0 where little is seen.
    colours = shading @ image.flatten(2).transpose(1, 2) / (power + HALF_SURE)
    return torch.cat([colours.flatten(1), (power / (power + HALF_SURE)).flatten(1)], 1)


def colour_features(mouth_colours: Tensor) -> Tensor:
    """(B, 8): how far mouth colours are from the usual ones, in logits, weighted by how sure they
    are; and how sure, about 0. In this scale the colours are painted and have a spread of about
    one, so a network learns from them as fast as from the rest."""
    sure = mouth_colours[:, [6, 6, 6, 7, 7, 7]]
    seen = (mouth_colours[:, :6] / sure.clamp_min(MARGIN)).clamp(MARGIN, 1 - MARGIN)
    usual = torch.logit(mouth_colours.new_tensor(USUAL))
    offsets = sure * (torch.log(seen / (1 - seen)) - usual)
    return torch.cat([offsets, mouth_colours[:, 6:] - 0.5], 1)
