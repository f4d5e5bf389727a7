"""The expression-to-face renderer in torch (training only; the runtime runs its ONNX export).

After RealTalk's facial identity alignment (FIA) module, arXiv 2406.18284, section 3.3:

- lip-shape control: the 52 ARKit weights modulate every block of the generator (FiLM, scale and
  shift of the channels, Perez et al. 2018);
- face texture reference: features of one reference image enter at four scales, at the coarsest by
  cross-attention from the generator to the reference, and the colours of its teeth and flesh where
  it shows some; no optical flow, no alignment network;
- identity alignment by the 3D face prior: where the face model's 68 landmarks lie in the template
  and where this person's shape and the weights put them (rendering/geometry.py) is spread over the
  picture and lays the template's own pixels there, so that what moves keeps its look, lids and
  irises layer by layer (rendering/eyes.py); what it shows of the mouth's inside
  (rendering/mouth.py) is painted in learned tones, so that teeth have edges;
- a learned soft mask decides what of the template frame is replaced.

The work is split where its cost can be paid once. `Encoder` sees the reference image and a template
frame and runs once for each template; `Generator` sees the weights and landmarks and runs for each
frame shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtalk_ros.face_model.landmarks import COUNT

# Of the exponent of a Gaussian's parts: beyond, their product would be a denormal number, which
# CPUs multiply slowly.
FAR = 40.0


@dataclass(frozen=True)
class Dimensions:
    """Saved with the weights. `channels` are those at 1/16, 1/8, 1/4 and 1/2 of the picture."""

    size: int = 256  # side of the face crop, pixels
    weights: int = 52  # ARKit weights
    style: int = 128  # width of what the weights are mapped to before they modulate
    channels: tuple[int, int, int, int] = (128, 64, 48, 24)
    blocks: tuple[int, int, int, int] = (2, 2, 1, 1)  # of the generator, at each scale
    heads: int = 4  # of the attention to the reference
    labels: int = 8  # learned channels that say which part of the face a place belongs to
    # What the paper ablates; False only to measure what each is worth.
    texture_reference: bool = True  # else a black picture stands in for the reference
    modulation: bool = True  # else the weights enter once, added to the coarsest features
    learned_mask: bool = True  # else a soft ellipse that holds brows to chin
    alignment: bool = True  # else the landmarks are not used
    inside: bool = True  # else the mouth's inside is not mapped


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, stride, 1)
    nn.init.kaiming_normal_(layer.weight, a=0.1)
    nn.init.zeros_(layer.bias)
    return layer


def activate(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


class Pyramid(nn.Module):
    """An image (B, 3, S, S) to features at 1/2, 1/4, 1/8 and 1/16 of its size."""

    def __init__(self, dims: Dimensions):
        super().__init__()
        c16, c8, c4, c2 = 128, 96, 48, 32
        self.stem = conv(12, c2)
        self.down4 = nn.ModuleList([conv(c2, c4, 2), conv(c4, c4)])
        self.down8 = nn.ModuleList([conv(c4, c8, 2), conv(c8, c8)])
        self.down16 = nn.ModuleList([conv(c8, c16, 2), conv(c16, c16)])
        self.channels = (c16, c8, c4, c2)

    def forward(self, image: Tensor) -> list[Tensor]:
        x = activate(self.stem(F.pixel_unshuffle(image * 2 - 1, 2)))
        features = [x]
        for down, more in (self.down4, self.down8, self.down16):
            x = activate(down(x))
            x = x + activate(more(x))
            features.insert(0, x)
        return features  # coarse to fine


TONES = 8  # numbers that `bared` finds
# How little of enamel or flesh tells its colour half: pixels, squared. Flesh looks half as light.
ENOUGH, LIGHT = 20.0, (1.0, 2.0)
BORDERS = 1, 2  # pixels at the borders of enamel and of flesh that are not asked
# Of those colours (blue, green, red of both) in the studio's pictures: the middle. None is told to
# be nearer to black or white.
USUAL, NEAREST = (0.83, 0.86, 0.90, 0.33, 0.34, 0.51), 0.02


def bared(picture: Tensor, inside: Tensor) -> Tensor:
    """The colours of enamel and flesh in pictures (B, 3, S, S) by rendering/mouth.py's maps of
    them, and how sure those are: (B, TONES), 0 where nothing shows."""
    light = inside[:, 1:] * inside[:, :1] * inside.new_tensor(LIGHT)[:, None, None]
    # Not at their borders: of a photo a map is a pixel or two off, and flesh would be teeth.
    here = (light > 0).to(light.dtype)
    core = [-F.max_pool2d(-here[:, [k]], 2 * b + 1, 1, b) for k, b in enumerate(BORDERS)]
    light = light * torch.cat(core, 1)
    shown = light.flatten(2)  # (B, 2, S * S)
    power = (shown * shown).sum(-1, keepdim=True)
    # Least squares of picture = light * colour, drawn towards 0 where little is seen.
    colours = shown @ picture.flatten(2).transpose(1, 2) / (power + ENOUGH)
    return torch.cat([colours.flatten(1), (power / (power + ENOUGH)).flatten(1)], 1)


class Encoder(nn.Module):
    """Reference and template to what the generator needs of them, coarse to fine.

    A reference (B, 6, S, S) is a picture and rendering/mouth.py's map of it, 0 where that is
    unknown. Returns `f16, f8, f4, f2` (fused features, (B, channels[i], S/16.., S/16..)) and of the
    reference `keys`, `values` (B, heads, (S/16)^2, channels[0] / heads) and `tones` (B, TONES), see
    `bared`.
    """

    def __init__(self, dims: Dimensions):
        super().__init__()
        self.dims, self.heads = dims, dims.heads
        self.reference, self.template = Pyramid(dims), Pyramid(dims)
        self.fuse = nn.ModuleList(
            nn.Conv2d(2 * inputs, outputs, 1)
            for inputs, outputs in zip(self.template.channels, dims.channels, strict=True)
        )
        self.keys_values = nn.Conv2d(self.reference.channels[0], 2 * dims.channels[0], 1)
        self.position = nn.Parameter(
            torch.zeros(1, dims.channels[0], dims.size // 16, dims.size // 16)
        )

    def forward(self, reference: Tensor, template: Tensor) -> tuple[Tensor, ...]:
        if not self.dims.texture_reference:
            reference = torch.zeros_like(reference)
        reference, inside = reference.chunk(2, 1)
        if not self.dims.inside:
            inside = torch.zeros_like(inside)
        of_reference, of_template = self.reference(reference), self.template(template)
        fused = [
            fuse(torch.cat([t, r], 1))
            for fuse, t, r in zip(self.fuse, of_template, of_reference, strict=True)
        ]
        keys, values = self.keys_values(of_reference[0]).chunk(2, 1)
        return (
            *fused,
            split_heads(keys + self.position, self.heads),
            split_heads(values, self.heads),
            bared(reference, inside),
        )


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, C, H, W) -> (B, heads, H * W, C / heads)."""
    return x.flatten(2).unflatten(1, (heads, -1)).transpose(2, 3)


class Block(nn.Module):
    """A residual block whose two convolutions are modulated by the expression.

    Without modulation (an ablation) scale and shift are learned constants.
    """

    def __init__(self, channels: int, style: int, modulated: bool = True):
        super().__init__()
        self.modulated = modulated
        self.modulation = nn.Linear(style, 4 * channels)
        nn.init.normal_(self.modulation.weight, std=0.5 * style**-0.5)
        nn.init.zeros_(self.modulation.bias)
        self.first, self.second = conv(channels, channels), conv(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.2)  # without normalisation layers, start near the identity

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        if not self.modulated:
            style = torch.zeros_like(style)
        scale1, shift1, scale2, shift2 = self.modulation(style)[..., None, None].chunk(4, 1)
        y = activate(self.first(torch.addcmul(shift1, x, 1 + scale1)))
        return x + self.second(torch.addcmul(shift2, y, 1 + scale2))


class Alignment(nn.Module):
    """The template's pixels laid where the landmarks go, and what the landmarks say of each place.

    Each place of a grid of a quarter of the picture's size takes the movement of the landmarks near
    it, weighted by a Gaussian of each one's own learned width (kernel regression, Nadaraya 1964,
    Watson 1964): no network runs for it. Points on the picture's border stay. A Gaussian's middle
    may lie off its landmark: those of the upper lids lie above them, so that a lid that comes down
    draws its own skin over the eye, though it ends where the lower lid is.
    """

    # Landmarks (Multi-PIE) and the width they begin with, as a share of the picture.
    WIDTHS = ((slice(0, 17), 0.06), (slice(17, 36), 0.04), (slice(36, 68), 0.022))
    BORDER, BORDER_WIDTH = 4, 0.12  # points a side
    UPPER_LIDS, LOWER_LIDS, BESIDE = [37, 38, 43, 44], [40, 41, 46, 47], 0.025

    def __init__(self, dims: Dimensions):
        super().__init__()
        self.size, self.cells = dims.size, dims.size // 4
        t, ends = torch.arange(self.BORDER) / self.BORDER, torch.ones(self.BORDER)
        corners = (t, 0 * ends), (ends, t), (1 - t, ends), (0 * ends, 1 - t)
        self.border = torch.cat([torch.stack(side, -1) for side in corners])
        widths = torch.full((COUNT + len(self.border),), self.BORDER_WIDTH)
        for rows, width in self.WIDTHS:
            widths[rows] = width
        # Sharpness and height of each Gaussian, in the shape in which they are used: constants that
        # an export computes beforehand lose their names. What is learned of it is a factor: steps
        # of training have the size of one.
        self.register_buffer("sharpness", 0.5 / widths[None, None] ** 2)
        self.sharper = nn.Parameter(torch.ones(1, 1, len(widths)))
        self.height = nn.Parameter(torch.zeros(1, 1, len(widths)))
        offset = torch.zeros(1, 2, len(widths))
        offset[:, 1, self.UPPER_LIDS], offset[:, 1, self.LOWER_LIDS] = -self.BESIDE, self.BESIDE
        self.offset = nn.Parameter(offset)
        self.labels = nn.Parameter(0.5 * torch.randn(len(widths), dims.labels))

    def forward(
        self, template: Tensor, rest: Tensor, points: Tensor, eyes: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Template (B, 3, S, S), landmarks in it and in the picture to be, (B, 68, 2), where the
        eyes' pixels lie and how far that counts, (B, S, S, 3), see `eyes.draw_patches` -> aligned
        template (B, 3, S, S); movement and labels (B, 2 + labels, S/4, S/4)."""
        places, told = self.field(rest, points)
        if eyes is not None:
            places = places + eyes[..., 2:] * (eyes[..., :2] - places)
        # grid_sample counts from -1 to 1.
        at = (2 * places + 1) / self.size - 1
        return F.grid_sample(template, at, "bilinear", "border", align_corners=False), told

    def field(self, rest: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Where each pixel of the aligned template lies in the template, (B, S, S, 2) in pixels;
        movement and labels as `forward`."""
        more, border = (0, 0, 0, len(self.border)), self.border.to(points)
        places = F.pad(points, more) + F.pad(border, (0, 0, COUNT, 0))
        moves = F.pad(rest - places[:, :COUNT], more)
        axis = ((torch.arange(self.cells) + 0.5) / self.cells).to(points)
        # The Gaussian of a distance is the product of those of its two parts, so the sums over all
        # landmarks are one product of the rows' and the columns' parts.
        middles = places.transpose(1, 2) + self.offset
        away = axis[:, None] - middles[:, :, None]  # (B, 2, cells, K)
        fall = (away * away * self.sharpness * self.sharper).clamp(max=FAR)
        across, down = torch.exp(self.height - fall[:, 0]), torch.exp(-fall[:, 1])
        labels = self.labels.expand(moves.shape[0], -1, -1)
        told = torch.cat([moves, labels, torch.ones_like(labels[..., :1])], -1).transpose(1, 2)
        rows = (down[:, None] * told[:, :, None]).flatten(1, 2)  # (B, (3 + labels) * H, K)
        sums = (rows @ across.transpose(1, 2)).unflatten(1, (-1, self.cells))
        found = sums[:, :-1] / sums[:, -1:]  # (B, 2 + labels, H, W)
        move = found[:, :2]
        fine = F.interpolate(move * self.size, size=(self.size, self.size), mode="bilinear")
        pixels = torch.arange(self.size).to(points)
        places = [fine[:, 0] + pixels[None, None, :], fine[:, 1] + pixels[None, :, None]]
        return torch.stack(places, -1), torch.cat([move * 16, found[:, 2:]], 1)


class Generator(nn.Module):
    """What runs for each frame: encoded features, landmarks and weights to a picture and its soft
    mask."""

    def __init__(self, dims: Dimensions):
        super().__init__()
        c = dims.channels
        self.dims, self.heads = dims, dims.heads
        self.style = nn.Sequential(
            nn.Linear(dims.weights, dims.style),
            nn.LeakyReLU(0.1),
            nn.Linear(dims.style, dims.style),
            nn.LeakyReLU(0.1),
        )
        # A face has a few weights of some 0.5: start with a style of about unit size, or the
        # expression takes long to matter.
        nn.init.normal_(self.style[0].weight, std=1.0)
        nn.init.kaiming_normal_(self.style[2].weight, a=0.1)
        self.blocks = nn.ModuleList(
            nn.ModuleList(Block(channels, dims.style, dims.modulation) for _ in range(count))
            for channels, count in zip(c, dims.blocks, strict=True)
        )
        self.up = nn.ModuleList(nn.Conv2d(c[i], c[i + 1], 1) for i in range(3))
        self.query = nn.Conv2d(c[0], c[0], 1)
        self.attended = nn.Conv2d(c[0], c[0], 1)
        self.position = nn.Parameter(torch.zeros(1, c[0], dims.size // 16, dims.size // 16))
        self.out = conv(c[3], 13)  # colours of 2 x 2 pixels, and their mask
        if dims.alignment:
            self.alignment = Alignment(dims)
            # Colours of hollow, flesh and teeth, and how far they are painted.
            self.tones = nn.Conv2d(c[3], 10, 1)
            nn.init.zeros_(self.tones.weight)
            with torch.no_grad():
                begin = torch.tensor((-2.5, -1.0, 0.8, 3.0)).repeat_interleave(3)
                self.tones.bias.copy_(begin[:10])
            # What the reference's tones change of them, and of the style.
            self.by_tones = nn.Linear(TONES, 10 + dims.style)
            nn.init.zeros_(self.by_tones.weight)
            nn.init.zeros_(self.by_tones.bias)
            told = 3 + 3 + 2 + dims.labels
            self.enter = nn.ModuleList(nn.Conv2d(told, outputs, 1) for outputs in c[:3])
            self.enter.append(nn.Conv2d(4 * 6, c[3], 1))  # of `fours`
            self.gate = nn.Conv2d(c[3], 4, 1)  # how far the aligned template shows as it is
            for layer in (*self.enter, self.gate):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
        if not dims.modulation:
            self.entry = nn.Linear(dims.style, c[0])
        if not dims.learned_mask:
            self.register_buffer("ellipse", ellipse(dims.size))

    def forward(
        self,
        features: Sequence[Tensor],
        template: Tensor,
        rest: Tensor,
        points: Tensor,
        weights: Tensor,
        inside: Tensor,
        eyes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What the Encoder gave, the template (B, 3, S, S) in 0..1, its landmarks `rest` and where
        they shall come to lie, `points`, (B, 68, 2) in shares of the picture, weights (B, 52), and
        the map of the mouth's inside (B, 3, S, S) in 0..1, see rendering/mouth.py; `eyes` as
        `Alignment` takes them. Returns rgb (B, 3, S, S) in 0..1 (channel order of the input) and
        mask (B, 1, S, S)."""
        moved = None
        if self.dims.alignment:
            aligned, told = self.alignment(template, rest, points, eyes)
            moved = fours(aligned), told, fours(inside)
        rgb, mask = self.draw(features, weights, moved)
        return F.pixel_shuffle(rgb.flatten(1, 2), 2), mask

    def draw(
        self,
        features: Sequence[Tensor],
        weights: Tensor,
        moved: tuple[Tensor, Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        """As `forward`, of aligned template, told and inside. The pictures, that which it returns
        too, are `fours`: they need not be taken apart and put together again."""
        f16, f8, f4, f2, keys, values, tones = features
        style = self.style(weights)
        entering: list[Tensor] = []
        if moved:
            changes = self.by_tones(self.unusual(tones))
            style = style + changes[:, 10:]
            aligned, told, inside = moved
            if not self.dims.inside:
                inside = torch.zeros_like(inside)
            fine = torch.cat([aligned, inside], 1).flatten(1, 2)
            told4 = torch.cat([F.avg_pool2d(fine, 2).unflatten(1, (-1, 4)).mean(2), told], 1)
            told8 = F.avg_pool2d(told4, 2)
            found = F.avg_pool2d(told8, 2), told8, told4, fine
            entering = [enter(x) for enter, x in zip(self.enter, found, strict=True)]
        x = f16 if self.dims.modulation else f16 + self.entry(style)[..., None, None]
        for index, (blocks, finer) in enumerate(zip(self.blocks, (f8, f4, f2, None), strict=True)):
            if entering:
                x = x + entering[index]
            for number, block in enumerate(blocks):
                x = block(x, style)
                if index == 0 and number == 0:
                    x = x + self.attend(x, keys, values)
            if finer is not None:
                x = F.interpolate(self.up[index](x), scale_factor=2, mode="nearest") + finer
        x = activate(x)
        out = torch.sigmoid(self.out(x))
        rgb, mask = out[:, :12].unflatten(1, (3, 4)), out[:, 12:]
        if moved:
            gate = torch.sigmoid(self.gate(x))[:, None]
            tones = torch.sigmoid(self.tones(x) + changes[:, :10, None, None])
            rgb = self.paint(rgb + gate * (aligned - rgb), inside, tones[:, :, None])
        mask = F.interpolate(mask, scale_factor=2, mode="bilinear")
        return rgb, mask if self.dims.learned_mask else self.ellipse.expand_as(mask)

    def unusual(self, tones: Tensor) -> Tensor:
        """Tones by how far they are from the usual on the scale on which they are painted (logits),
        where their spread is about one: so they are learned as fast as the rest."""
        sure = torch.cat([tones[:, 6:7]] * 3 + [tones[:, 7:]] * 3, 1)
        seen = (tones[:, :6] / sure.clamp_min(NEAREST)).clamp(NEAREST, 1 - NEAREST)
        usual = torch.logit(tones.new_tensor(USUAL))
        return torch.cat([sure * (torch.log(seen / (1 - seen)) - usual), tones[:, 6:] - 0.5], 1)

    def paint(self, rgb: Tensor, inside: Tensor, tones: Tensor) -> Tensor:
        """The mouth's inside over the picture, layer by layer."""
        hollow, flesh, teeth, share = tones[:, :3], tones[:, 3:6], tones[:, 6:9], tones[:, 9:]
        seen = hollow + inside[:, 2:] * (flesh - hollow)
        seen = seen + inside[:, 1:2] * (teeth - seen)
        return rgb + inside[:, :1] * share * (seen - rgb)

    def attend(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        query = split_heads(self.query(x + self.position), self.heads)
        scores = torch.softmax(query @ keys.transpose(2, 3) * query.shape[-1] ** -0.5, -1)
        found = (scores @ values).transpose(2, 3).flatten(1, 2).unflatten(2, x.shape[2:])
        return self.attended(found)


def fours(picture: Tensor) -> Tensor:
    """(B, C, S, S) -> (B, C, 4, S/2, S/2): the pixels of each square of four beside each other."""
    return F.pixel_unshuffle(picture, 2).unflatten(1, (-1, 4))


def ellipse(size: int) -> Tensor:
    """(1, 1, S, S): one over the face as the studio's crops lay it, zero well before the border."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    radius = torch.hypot(axis[None, :] / 0.8, axis[:, None] / 0.95)
    return ((1 - radius) / 0.25).clamp(0, 1)[None, None]


class Renderer(nn.Module):
    """Both halves, for training. Images are (B, 3, S, S) in 0..1, references (B, 6, S, S)."""

    def __init__(self, dims: Dimensions | None = None):
        super().__init__()
        self.dims = dims or Dimensions()
        self.encoder, self.generator = Encoder(self.dims), Generator(self.dims)

    def forward(
        self,
        reference: Tensor,
        template: Tensor,
        rest: Tensor,
        points: Tensor,
        weights: Tensor,
        inside: Tensor,
        eyes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the composed picture, the generator's own picture and the mask."""
        features = self.encoder(reference, template)
        rgb, mask = self.generator(features, template, rest, points, weights, inside, eyes)
        return template + mask * (rgb - template), rgb, mask
