# SPDX-License-Identifier: Apache-2.0
"""The expression-to-face renderer in torch (training only; the run time runs its ONNX export).

After RealTalk's facial identity alignment (FIA) module, arXiv 2406.18284, section 3.3:

- lip-shape control: the 52 ARKit weights modulate the generator's blocks at the three coarser
  scales (FiLM, scale and shift of the channels, Perez et al. 2018);
- face texture reference: features of one reference image enter at these scales, at the coarsest
  also by cross-attention from the mouth to the reference, and the colours of its teeth and flesh
  where it shows some; no optical flow, no alignment network;
- identity alignment by the 3D face model: where the face model's 68 landmarks lie in the template
  and where this person's shape and the weights put them (rendering/geometry.py) warps the template
  (landmark_warp.py), so that what moves keeps its look, lids and irises layer by layer
  (rendering/eyes/eyes.py); the map of the mouth's interior (rendering/mouth/mouth.py) is painted
  in learned colours, so that teeth have edges;
- a learned soft mask decides what of the template frame is replaced.

The work is split where its cost can be paid once. `Encoder` sees the reference image and a template
frame and runs once for each template; `Generator` sees the weights and landmarks and runs for each
frame shown. It draws only the mouth finely. Elsewhere the warped template has all the detail there
is, and what the expression changes of its light is smooth: the generator adds that at a quarter of
the resolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtalk_ros.contracts import CROP_SIZE, MOUTH_CROP, mouth_crop
from realtalk_ros.rendering.added_layer import MOUTH_FADE, faded_border
from realtalk_ros.training.renderer.landmark_warp import LandmarkWarp
from realtalk_ros.training.renderer.layers import (
    FeaturePyramid,
    ModulatedBlock,
    conv3x3,
    per_pixel,
    space_to_depth,
    split_heads,
)
from realtalk_ros.training.renderer.mouth_colours import (
    MOUTH_COLOURS,
    colour_features,
    estimate_mouth_colours,
)

# What is painted of the mouth's interior: the colours of its hollow, of flesh and of teeth, and how
# far. Before training, in logits.
PAINT = (-2.5, -2.5, -2.5, -1.0, -1.0, -1.0, 0.8, 0.8, 0.8, 3.0)


@dataclass(frozen=True)
class Dimensions:
    """Saved with the weights. `channels` are those that the encoder makes at 1/16, 1/8, 1/4 and 1/2
    of the image, `width` the generator's; the latter two scales are those of the mouth crop alone.
    """

    size: int = 256  # side of the face crop, pixels
    weights: int = 52  # ARKit weights
    style: int = 128  # width of what the weights are mapped to before they modulate
    channels: tuple[int, int, int, int] = (128, 64, 48, 24)
    width: tuple[int, int, int, int] = (48, 32, 16, 16)  # of 16: what AVX-512 takes at once
    modulated_scales: int = 3  # from the coarsest on
    blocks: tuple[int, int, int, int] = (1, 1, 1, 1)  # of the generator, at each scale
    heads: int = 4  # of the attention to the reference
    embedding: int = 8  # of a landmark, see LandmarkWarp
    # What the paper ablates; False only to measure what each is worth.
    texture_reference: bool = True  # else a black image stands in for the reference
    modulation: bool = True  # else the weights enter once, added to the coarsest features
    learned_mask: bool = True  # else a soft ellipse that holds brows to chin
    alignment: bool = True  # else the landmarks are not used
    mouth_interior: bool = True  # else the map of the mouth's interior is black


@dataclass(frozen=True)
class Conditioning:
    """What the 3D face model predicts of B images; landmarks in normalised coordinates."""

    template_landmarks: Tensor  # (B, 68, 2)
    target_landmarks: Tensor  # (B, 68, 2): where the weights move those
    mouth_interior: Tensor  # (B, 3, S, S) in 0..1, rendering/mouth/mouth.py's maps
    eye_grid: Tensor | None = None  # (B, S, S, 3), see LandmarkWarp.forward


@dataclass(frozen=True)
class Warped:
    """A template in the target's pose, colours and map of the mouth's interior as six channels."""

    quarter: Tensor  # (B, 6, S/4, S/4)
    features: Tensor  # (B, 2 + embedding, S/4, S/4), of LandmarkWarp
    mouth: Tensor  # (B, 6, 4, M/2, M/2): the mouth crop, as `space_to_depth` orders it


@dataclass(frozen=True)
class Synthesized:
    """What the generator makes of B warped templates; colours in 0..1."""

    change: Tensor  # (B, 3, S/4, S/4): what is added to the warped template
    mask: Tensor  # (B, 1, S/4, S/4) in 0..1: how far the result replaces the template
    mouth: Tensor  # (B, 3, 4, M/2, M/2): the mouth crop, as `space_to_depth` orders it


class Encoder(nn.Module):
    """Reference and template to what the generator needs of them.

    A reference (B, 6, S, S) is an image and rendering/mouth/mouth.py's map of its mouth's interior,
    0 where that is unknown. Returns four fused features, coarse to fine, (B, channels[i], S/16..,
    S/16..), of which the generator reads all but the finest, and of the reference alone `keys`,
    `values` (B, heads, (S/16)^2, channels[0] / heads) and its mouth colours (B, 8).
    """

    def __init__(self, dims: Dimensions):
        super().__init__()
        self.dims, self.heads = dims, dims.heads
        self.reference, self.template = FeaturePyramid(), FeaturePyramid()
        self.fuse = nn.ModuleList(
            nn.Conv2d(2 * inputs, outputs, 1)
            for inputs, outputs in zip(self.template.channels, dims.channels, strict=True)
        )
        self.kv_proj = nn.Conv2d(self.reference.channels[0], 2 * dims.channels[0], 1)
        self.position_embedding = nn.Parameter(
            torch.zeros(1, dims.channels[0], dims.size // 16, dims.size // 16)
        )

    def forward(self, reference: Tensor, template: Tensor) -> tuple[Tensor, ...]:
        if not self.dims.texture_reference:
            reference = torch.zeros_like(reference)
        image, mouth_interior = reference.chunk(2, 1)
        if not self.dims.mouth_interior:
            mouth_interior = torch.zeros_like(mouth_interior)
        of_reference, of_template = self.reference(image), self.template(template)
        fused = [
            fuse(torch.cat([t, r], 1))
            for fuse, t, r in zip(self.fuse, of_template, of_reference, strict=True)
        ]
        fused[2], fused[3] = crop_mouth(fused[2]), crop_mouth(fused[3])
        keys, values = self.kv_proj(of_reference[0]).chunk(2, 1)
        return (
            *fused,
            split_heads(keys + self.position_embedding, self.heads),
            split_heads(values, self.heads),
            estimate_mouth_colours(image, mouth_interior),
        )


class Generator(nn.Module):
    """What runs for each frame: encoded features, landmarks and weights to an image and its soft
    mask."""

    def __init__(self, dims: Dimensions):
        super().__init__()
        c = dims.width
        self.dims, self.heads = dims, dims.heads
        self.style = nn.Sequential(
            nn.Conv2d(dims.weights, dims.style, 1),
            nn.LeakyReLU(0.1),
            nn.Conv2d(dims.style, dims.style, 1),
            nn.LeakyReLU(0.1),
        )
        # A face has a few weights of some 0.5: start with a style of about unit size, or the
        # expression takes long to matter.
        nn.init.normal_(self.style[0].weight, std=1.0)
        nn.init.kaiming_normal_(self.style[2].weight, a=0.1)
        modulated = dims.modulated_scales if dims.modulation else 0
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                ModulatedBlock(c[scale], dims.style, scale < modulated) for _ in range(count)
            )
            for scale, count in enumerate(dims.blocks)
        )
        self.encoded_proj = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1, bias=False)
            for inputs, outputs in zip(dims.channels[:3], c[:3], strict=True)
        )
        self.up = nn.ModuleList(nn.Conv2d(c[i], c[i + 1], 1) for i in range(3))
        self.q_proj = nn.Conv2d(c[0], dims.channels[0], 1)
        self.out_proj = nn.Conv2d(dims.channels[0], c[0], 1)
        rows, columns = attending(dims.size // 16)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        self.position_embedding = nn.Parameter(torch.zeros(1, c[0], height, width))
        self.change_out = conv3x3(c[1], 16)  # change and mask of 2 x 2 pixels
        nn.init.zeros_(self.change_out.weight)
        # Colours of 2 x 2 pixels, and how far the warped template shows there as it is.
        self.mouth_out = conv3x3(c[3], 16)
        nn.init.zeros_(self.mouth_out.weight[12:])
        self.warp = LandmarkWarp(dims.size, dims.embedding)
        self._add_mouth()
        inputs = 3 + 3 + 2 + dims.embedding  # warped template, mouth interior, features
        self.warped_proj = nn.ModuleList(nn.Conv2d(inputs, outputs, 1) for outputs in c[:3])
        self.warped_proj.append(nn.Conv2d(4 * 6, c[3], 1))  # of 2 x 2 pixels
        for layer in self.warped_proj:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        if not dims.modulation:
            self.style_proj = nn.Conv2d(dims.style, c[0], 1)
        if not dims.learned_mask:
            self.register_buffer("ellipse", ellipse(dims.size // 4))

    def _add_mouth(self) -> None:
        dims, width = self.dims, self.dims.width[3]
        self.mouth_paint = nn.Conv2d(width, len(PAINT), 1)
        nn.init.zeros_(self.mouth_paint.weight)
        with torch.no_grad():
            self.mouth_paint.bias.copy_(torch.tensor(PAINT))
        # What the reference's mouth colours change of that, and of the style.
        self.paint_proj = nn.Conv2d(MOUTH_COLOURS, len(PAINT), 1, bias=False)
        self.colour_proj = nn.Conv2d(MOUTH_COLOURS, dims.style, 1)
        for layer in (self.paint_proj, self.colour_proj):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.colour_proj.bias)

    def forward(
        self,
        features: Sequence[Tensor],
        template: Tensor,
        weights: Tensor,
        conditioning: Conditioning,
    ) -> tuple[Tensor, Tensor]:
        """What the Encoder returned, the template (B, 3, S, S) in 0..1, weights (B, 52).

        Returns rgb (B, 3, S, S) in 0..1 (channel order of the input) and mask (B, 1, S, S).
        """
        dims, interior = self.dims, conditioning.mouth_interior
        source = conditioning.template_landmarks
        target = conditioning.target_landmarks if dims.alignment else source
        eye_grid = conditioning.eye_grid if dims.alignment else None
        image, alignment_features = self.warp(template, source, target, eye_grid)
        if not (dims.alignment and dims.mouth_interior):
            interior = torch.zeros_like(interior)
        both = torch.cat([image, interior], 1)
        mouth = space_to_depth(crop_mouth(both))
        made = self.synthesize(
            features, weights, Warped(F.avg_pool2d(both, 4), alignment_features, mouth)
        )
        return assemble(image, made)

    def synthesize(
        self, features: Sequence[Tensor], weights: Tensor, warped: Warped
    ) -> Synthesized:
        f16, f8, f4, _, keys, values, mouth_colours = features
        colours = colour_features(mouth_colours)[..., None, None]
        style = self.style(weights[..., None, None]) + self.colour_proj(colours)
        quarter = torch.cat([warped.quarter, warped.features], 1)
        eighth = F.avg_pool2d(quarter, 2)
        x = self.encoded_proj[0](f16) + self.warped_proj[0](F.avg_pool2d(eighth, 2))
        if not self.dims.modulation:
            x = x + self.style_proj(style)
        for number, block in enumerate(self.blocks[0]):
            x = block(x, style)
            if number == 0:
                x = x + self.attend(x, keys, values)
        x = self._finer(0, x, self.encoded_proj[1](f8), eighth, style)
        coarse = F.pixel_shuffle(self.change_out(F.relu(x)), 2)
        change, mask = coarse[:, :3], torch.sigmoid(coarse[:, 3:])
        if not self.dims.learned_mask:
            mask = self.ellipse.expand_as(mask)
        x = self._finer(1, crop_mouth(x), self.encoded_proj[2](f4), crop_mouth(quarter), style)
        x = F.relu(self._finer(2, x, None, warped.mouth.flatten(1, 2), style))
        template, interior = warped.mouth.chunk(2, 1)
        drawn = torch.sigmoid(self.mouth_out(x))
        mouth, shown = drawn[:, :12].unflatten(1, (3, 4)), drawn[:, None, 12:]
        mouth = mouth + shown * (template - mouth)
        paint = torch.sigmoid(self.mouth_paint(x) + per_pixel(self.paint_proj(colours), x))
        mouth = paint_mouth(mouth, interior, paint[:, :, None])
        return Synthesized(change, mask, mouth)

    def _finer(
        self, scale: int, x: Tensor, encoded: Tensor | None, warped: Tensor, style: Tensor
    ) -> Tensor:
        """Features at the next finer scale: those of `scale`, with what is encoded and warped
        there."""
        x = F.interpolate(self.up[scale](x), scale_factor=2, mode="nearest")
        if encoded is not None:
            x = x + encoded
        x = x + self.warped_proj[scale + 1](warped)
        for block in self.blocks[scale + 1]:
            x = block(x, style)
        return x

    def attend(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Cross-attention to the reference from the coarsest features at the mouth, 0 elsewhere."""
        side = self.dims.size // 16
        rows, columns = attending(side)
        at_mouth = x[..., rows, columns] + self.position_embedding
        query = split_heads(self.q_proj(at_mouth), self.heads)
        scores = torch.softmax(query @ keys.transpose(2, 3) * query.shape[-1] ** -0.5, -1)
        found = (scores @ values).transpose(2, 3).flatten(1, 2).unflatten(2, at_mouth.shape[2:])
        around = (columns.start, side - columns.stop, rows.start, side - rows.stop)
        return F.pad(self.out_proj(found), around)


def attending(side: int) -> tuple[slice, slice]:
    """Rows and columns of a (side, side) array of the face crop that the mouth crop touches."""
    left, top, size = (value * side / CROP_SIZE for value in MOUTH_CROP)
    return tuple(slice(math.floor(first), math.ceil(first + size)) for first in (top, left))


def paint_mouth(rgb: Tensor, mouth_interior: Tensor, paint: Tensor) -> Tensor:
    """The mouth's interior over the image, layer by layer; `paint` (B, 10, ...) as PAINT."""
    hollow, flesh, teeth, opacity = paint[:, :3], paint[:, 3:6], paint[:, 6:9], paint[:, 9:]
    colour = hollow + mouth_interior[:, 2:] * (flesh - hollow)
    colour = colour + mouth_interior[:, 1:2] * (teeth - colour)
    return rgb + mouth_interior[:, :1] * opacity * (colour - rgb)


def crop_mouth(x: Tensor) -> Tensor:
    """What of (..., H, W), which covers the face crop, lies in the mouth crop."""
    rows, columns = mouth_crop(x.shape[-1])
    return x[..., rows, columns]


def assemble(warped: Tensor, made: Synthesized) -> tuple[Tensor, Tensor]:
    """The face crop (B, 3, S, S) in 0..1 and its mask (B, 1, S, S), of a warped template (B, 3, S,
    S) and what the generator made of it."""
    rgb = warped + enlarged(made.change)
    rows, columns = mouth_crop(warped.shape[-1])
    drawn = F.pixel_shuffle(made.mouth.flatten(1, 2), 2)
    around = rgb[..., rows, columns]
    window = torch.from_numpy(faded_border(drawn.shape[-1], MOUTH_FADE)).to(rgb)
    mouth = around + window * (drawn - around)
    rgb = rgb.clone()
    rgb[..., rows, columns] = mouth
    return rgb, enlarged(made.mask)


def enlarged(x: Tensor) -> Tensor:
    """(B, C, S/4, S/4) to (B, C, S, S)."""
    return F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)


def ellipse(size: int) -> Tensor:
    """(1, 1, S, S): one over the face as a crop holds it, zero well before the border."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    radius = torch.hypot(axis[None, :] / 0.8, axis[:, None] / 0.95)
    return ((1 - radius) / 0.25).clamp(0, 1)[None, None]


class Renderer(nn.Module):
    """Both halves, for training. Images are (B, 3, S, S) in 0..1, references (B, 6, S, S)."""

    def __init__(self, dims: Dimensions):
        super().__init__()
        self.dims = dims
        self.encoder, self.generator = Encoder(dims), Generator(dims)

    def forward(
        self, reference: Tensor, template: Tensor, weights: Tensor, conditioning: Conditioning
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the composed image, the generator's own image and the mask."""
        features = self.encoder(reference, template)
        rgb, mask = self.generator(features, template, weights, conditioning)
        return template + mask * (rgb - template), rgb, mask
