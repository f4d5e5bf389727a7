# SPDX-License-Identifier: Apache-2.0
"""The light that the run time adds to what the generator draws of a person's mouth
(rendering/mouth/oral_cavity.py), as a function that lets gradients through: what the renderer
learns from people is judged in it (real_people.py).

What depends on the template, the map, lips and jaw alone is an image of factors (`run_time_light`),
which the run time's own code makes. The rest follows what is drawn (`lit`): enamel that is too
green, flesh that is made redder and evened. By how much the run time makes a face's enamel lighter
it measures in a smile of the same generator (`whiter`); here that is measured in what the installed
generator draws: by the trained one's own picture nothing would hold it to any lightness. The run
time knows a person's flesh where a reference shows it; here it is as usual, as photographs of
people at rest show none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from realtalk_ros.contracts import mouth_crop
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.rendering.mouth import mouth_tables, oral_cavity
from realtalk_ros.rendering.mouth.lip_shadow import MouthOpening
from realtalk_ros.rendering.mouth.mouth_tables import GreenestHue, MouthTables
from realtalk_ros.rendering.mouth.oral_cavity import OralCavity
from realtalk_ros.rendering.mouth.tooth_relief import tooth_relief
from realtalk_ros.rendering.own_teeth import above_edge

NONE = 1, 1, 1, 0  # no light


def run_time_light(
    mouth_interior: np.ndarray,
    geometry: Geometry,
    templates: int,
    openings: Sequence[MouthOpening],
    lower_teeth: Sequence[np.ndarray],
) -> np.ndarray:
    """(K, M, M, 4) float32: by what the run time multiplies the picture in the mouth crop, if flesh
    and enamel were drawn as they are to be, and how far it is evened, by the maps of the mouth's
    interior (K, S, S, 3) uint8, how far K mouths are open, and where their lower teeth are, as of
    `Geometry.lower_teeth`. `geometry` has as many `templates`: one, or K."""
    rows, columns = mouth_crop(mouth_interior.shape[1])
    mouth = geometry.mouth
    across = np.stack([mouth.across_teeth(t) for t in range(templates)])
    relief = np.stack([tooth_relief(*mouth.upper_teeth(t)) for t in range(templates)])
    flesh = mouth_tables.flesh_light(np.ones(3))
    enamel = mouth_tables.enamel_light(across)
    tables = MouthTables(flesh, enamel, mouth_tables.between_roots(across))
    above = np.stack([above_edge(geometry, t)[rows, columns] for t in range(templates)])
    cavity = OralCavity(tables, relief, above_edge=above)
    mouths = mouth_interior[:, rows, columns]
    lights = np.tile(np.float32(NONE), (*mouths.shape[:3], 1))
    for k, (interior, light) in enumerate(zip(mouths, lights, strict=True)):
        found = cavity.light_in(interior, k % templates, openings[k], lower_teeth[k])
        if found is not None:
            light[found.box] = np.dstack([found.factors, found.even])
    return lights


def lit(
    rgb: Tensor, light: Tensor, mouth_interior: Tensor, enamel: Tensor, white: Tensor | None = None
) -> Tensor:
    """Images (N, 3, S, S) of people in 0..1 as the run time shows them, by the maps of the mouth's
    interior (N, 3, S, S), in the `light` (N, 4, M, M) of `run_time_light`; their enamel (N, 3) is
    that with `white` (N, 3), if it is given, times what is drawn."""
    rows, columns = mouth_crop(rgb.shape[-1])
    mouth, interior = rgb[..., rows, columns], mouth_interior[..., rows, columns]
    opened, on_map, _ = interior.split(1, 1)
    hue = flesh_hue(enamel)
    white = torch.ones_like(enamel) if white is None else white
    more, less = greenest_hue(enamel / white)
    teeth = (oral_cavity.ENAMEL * on_map).clamp(max=1)
    red = transformed(mouth, hue)
    pale = mouth + (transformed(mouth, more).relu() - transformed(mouth, less).relu())
    at_border = torch.where(on_map > 0, pale, mouth)
    before = torch.where(on_map > 0, pale, red)
    factors, even = light.split((3, 1), 1)
    factors = factors * (1 + teeth * (white[..., None, None] - 1))
    changed = at_border + opened * (before * factors - at_border)
    shown = rgb.clone()
    shown[..., rows, columns] = changed + even * (gaussian(changed) - changed)
    return shown


def whiter(rgb: Tensor, mouth_interior: Tensor, enamel: Tensor) -> Tensor:
    """(N, 3): by what the enamel in images (N, 3, S, S) of maps (N, 3, S, S) is to be multiplied to
    be as `enamel` (N, 3) in full light; 1 where too little of it is seen."""
    rows, columns = mouth_crop(rgb.shape[-1])
    interiors, drawn = (
        (x[..., rows, columns].movedim(1, -1).float() * 255).round().clamp(0, 255).cpu().numpy()
        for x in (mouth_interior, rgb)
    )
    found = [
        mouth_tables.whiter(colour, *images)
        for colour, *images in zip(enamel.cpu().numpy(), interiors, drawn, strict=True)
    ]
    return torch.from_numpy(np.stack(found)).to(enamel)


def flesh_hue(enamel: Tensor) -> Tensor:
    """(N, 3, 3) that flesh beside enamel (N, 3) is multiplied by (mouth_tables.towards)."""
    colours = enamel.cpu().numpy() * mouth_tables.FLESH_OVER_ENAMEL
    found = [mouth_tables.towards(colour, mouth_tables.FLESH_HUE) for colour in colours]
    return torch.from_numpy(np.stack(found)).to(enamel)


def greenest_hue(enamel: Tensor) -> tuple[Tensor, Tensor]:
    """Both (N, 3, 3), see mouth_tables.GreenestHue."""
    found = [GreenestHue.of(colour) for colour in enamel.cpu().numpy()]
    return tuple(
        torch.from_numpy(np.stack([getattr(hue, name) for hue in found])).to(enamel)
        for name in ("more", "less")
    )


def transformed(images: Tensor, by: Tensor) -> Tensor:
    """Images (N, 3, H, W) by matrices (N, 3, 3)."""
    return torch.einsum("nij,njhw->nihw", by, images)


def gaussian(x: Tensor) -> Tensor:
    """Evened as by OpenCV's Gaussian of 3 pixels: binomial; the border is reflected."""
    kernel = x.new_tensor([0.25, 0.5, 0.25]).expand(x.shape[1], 1, 1, 3)
    x = F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), kernel, groups=x.shape[1])
    return F.conv2d(x, kernel.mT, groups=x.shape[1])
