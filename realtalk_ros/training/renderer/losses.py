"""What the renderer's training punishes. Pictures are (B, 3, S, S) in 0..1.

- `picture_loss`: L1 of the composed picture and of its gradients, weighted towards what changes,
  the mouth and the eyes.
- `clip_loss`: the difference of two frames of one head pose must be the true difference, so that
  what the network gets wrong at least stays as it is from frame to frame (Ultralight's author found
  such a loss, and the mouth's weight, worth more than a SyncNet).
- `texture_loss`: detail must be as strong as it should, wherever exactly it lies: L1 alone would
  rather see none than one that is half a pixel beside.
- `Guide`: distance of a face reader's features, and of its landmarks. A network needs no ImageNet
  to be a perceptual metric: what it was trained for matters little, random weights excepted
  (Zhang et al., arXiv 1801.03924); ours learned where lips, lids and teeth are, which is what must
  be right here, and comes without a download.
- `Critic`: a patch discriminator (Isola et al., arXiv 1611.07004) of the mouth and of the face,
  hinge loss, spectral norm (Miyato et al., arXiv 1802.05957), with feature matching (Wang et al.,
  arXiv 1711.11585). `bounded` limits what it may demand.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from realtalk_ros.face_model.landmarks import LIPS
from realtalk_ros.training.renderer.dataset import Batch
from realtalk_ros.training.renderer.landmark_net import Reader, Reading

# Weights beside the picture's L1.
PERCEPTUAL, LANDMARKS, CLIP, MATCHING, TEXTURE = 0.04, 4.0, 1.0, 0.01, 4.0
CRITIC_SHARE = 0.3  # of the other losses' gradient, the most that the critic may add
MOUTH, FACE = 0.375, 0.5  # of the picture's side: the critic's cut-out of the mouth; scale of all
# Of the side, from the lips: as far all of what one face's film teaches, then nothing; and as far
# its detail, too, which is what is finer than SOFT pixels.
AROUND, DETAILED, SOFT = (0.03, 0.10), (0.01, 0.03), 2.0


def importance(batch: Batch) -> Tensor:
    """Per-pixel loss weights (B, 1, S, S): what changes counts more, the mouth and eyes more, and
    most what shows between the lips, which is small and holds half of the mouth's error."""
    size, marks = batch.target.shape[-1], batch.marks
    changed = (batch.target - batch.template_each).abs().mean(1, keepdim=True)
    changed = F.avg_pool2d(changed, 9, 1, 4)
    axis = torch.arange(size, device=marks.device).float()

    def bump(points: Tensor, spread: float) -> Tensor:
        centre = points.mean(1)
        x = torch.exp(-(((axis[None] - centre[:, :1]) / (spread * size)) ** 2))
        y = torch.exp(-(((axis[None] - centre[:, 1:]) / (spread * size)) ** 2))
        return (y[:, :, None] * x[:, None])[:, None]

    eyes = bump(marks[:, 36:42], 0.07) + bump(marks[:, 42:48], 0.07)
    mouth = 6 * bump(marks[:, LIPS], 0.14) + 5 * batch.inside[:, :1]
    return 1 + 4 * (changed * 8).clamp(max=1) + mouth + 6 * eyes


def of_film(known: Tensor, batch: Batch) -> Tensor:
    """What one face's film teaches: its targets at the mouth, of the skin near it only light and
    form, and elsewhere the pictures that were `known` before. Film is compressed, and its template
    lies in another pose: it would teach to draw skin without its grain."""
    news, away = batch.target - known, from_lips(batch)
    rough = blurred(news, SOFT)
    rough = rough + fading(away, *DETAILED) * (news - rough)
    return known + fading(away, *AROUND) * rough


def from_lips(batch: Batch) -> Tensor:
    """(B, 1, S, S): how far from the lips in template and target, shares of the side."""
    size, lips = batch.target.shape[-1], batch.marks[:, LIPS]
    both = torch.cat([lips, batch.rest_each[:, LIPS] * size], 1)
    low, high = both.amin(1)[..., None], both.amax(1)[..., None]  # (B, 2, 1)
    axis = torch.arange(size, device=both.device).float()
    away = ((low - axis).clamp_min(0) + (axis - high).clamp_min(0)) / size  # (B, 2, S)
    return (away[:, 1, :, None].square() + away[:, 0, None, :].square()).sqrt()[:, None]


def fading(away: Tensor, near: float, far: float) -> Tensor:
    """1 up to `near`, 0 from `far`."""
    return ((far - away) / (far - near)).clamp(0, 1)


def blurred(x: Tensor, sd: float) -> Tensor:
    """By a Gaussian of `sd` pixels; beyond the border lies what is at it."""
    reach, channels = int(3 * sd), x.shape[1]
    axis = torch.arange(-reach, reach + 1, device=x.device)
    kernel = torch.exp(-((axis / sd) ** 2) / 2)
    kernel = (kernel / kernel.sum()).to(x).expand(channels, 1, 1, -1)
    x = F.pad(x, (reach, reach, reach, reach), "replicate")
    return F.conv2d(F.conv2d(x, kernel, groups=channels), kernel.mT, groups=channels)


def texture_loss(out: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L1 of the local strength of detail (RMS over 7 pixels of what a blur by one takes away), of
    the picture and of one of half the size."""
    total = out.new_zeros(())
    for _ in range(2):
        strength = []
        for x in (out, target):
            power = (x - blurred(x, 1.0)).square().sum(1, keepdim=True)
            strength.append((F.avg_pool2d(power, 7, 2, 3) + 1e-6).sqrt())
        counts = F.adaptive_avg_pool2d(weight, strength[0].shape[-2:])
        total = total + (counts * (strength[0] - strength[1]).abs()).mean() / counts.mean()
        out, target = F.avg_pool2d(out, 2), F.avg_pool2d(target, 2)
    return total


def picture_loss(out: Tensor, rgb: Tensor, mask: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Also of the generator's own picture `rgb` where it matters: without that the mask learns to
    hide the generator before it has learnt."""
    error, scale = out - target, 1 / weight.mean()
    loss = (weight * error.abs()).mean() + ((weight - 0.9) * (rgb - target).abs()).mean()
    across, down = error.diff(dim=-1), error.diff(dim=-2)
    slopes = (weight[..., 1:] * across.abs()).mean() + (weight[..., 1:, :] * down.abs()).mean()
    return scale * (loss + 1.5 * slopes) + 0.0005 * mask.mean()


def clip_loss(out: Tensor, target: Tensor, weight: Tensor, each: int) -> Tensor:
    """Of frames that follow each other in the batch within one template's `each`."""
    if each < 2:
        return out.new_zeros(())
    wrong = (out - target).unflatten(0, (-1, each))
    change = wrong[:, 1:] - wrong[:, :-1]
    weight = weight.unflatten(0, (-1, each))[:, 1:]
    return (weight * change.abs()).mean() / weight.mean()


class Guide:
    """A frozen face reader's view of the picture: `perceptual` and `landmarks`."""

    def __init__(self, reader: Reader):
        self.reader = reader

    def losses(self, out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            wanted = self.reader(target)
        got = self.reader(out)
        return self.perceptual(got, wanted), self.landmarks(got, wanted, out.shape[-1])

    @staticmethod
    def perceptual(got: Reading, wanted: Reading) -> Tensor:
        """Mean over the scales of the L1 of the features, as they leave their normalisation."""
        pairs = list(zip(got.features, wanted.features, strict=True))
        return torch.stack([(a - b).abs().mean().float() for a, b in pairs]).mean()

    @staticmethod
    def landmarks(got: Reading, wanted: Reading, size: int) -> Tensor:
        """Mean distance as a share of the picture, the lips once more. Against what the reader
        finds in the true picture, not against the truth: so its own errors cancel."""
        distance = (got.landmarks - wanted.landmarks).norm(dim=-1) / size
        return distance.mean() + distance[:, LIPS].mean()


class Patches(nn.Module):
    """Scores of overlapping patches; returns the features of each layer, the scores last."""

    def __init__(self, width: int = 32):
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width)
        self.layers = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in itertools.pairwise(sizes)
        )
        self.score = spectral_norm(nn.Conv2d(sizes[-1], 1, 3, 1, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        x, found = x * 2 - 1, []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            found.append(x)
        return [*found, self.score(x)]


class Critic(nn.Module):
    """Tells rendered mouths and faces from true ones."""

    def __init__(self):
        super().__init__()
        self.mouth, self.face = Patches(), Patches()

    def forward(self, picture: Tensor, marks: Tensor) -> list[list[Tensor]]:
        whole = F.interpolate(picture, scale_factor=FACE, mode="area")
        mouth = cut(picture, marks[:, LIPS].mean(1), round(MOUTH * picture.shape[-1]))
        return [self.mouth(mouth), self.face(whole)]

    def own_loss(self, out: Tensor, target: Tensor, marks: Tensor) -> Tensor:
        """Hinge loss that trains the critic; 2 when it knows nothing."""
        false, true = self(out.detach(), marks), self(target, marks)
        return torch.stack(
            [
                F.relu(1 + f[-1].float()).mean() + F.relu(1 - t[-1].float()).mean()
                for f, t in zip(false, true, strict=True)
            ]
        ).mean()

    def losses(self, out: Tensor, target: Tensor, marks: Tensor) -> tuple[Tensor, Tensor]:
        """For the renderer: to be taken for true, and the distance of the critic's features."""
        with torch.no_grad():
            true = self(target, marks)
        got = self(out, marks)
        fooled = -torch.stack([g[-1].float().mean() for g in got]).mean()
        matching = torch.stack(
            [
                (a - b).abs().mean().float()
                for g, t in zip(got, true, strict=True)
                for a, b in zip(g[:-1], t[:-1], strict=True)
            ]
        ).mean()
        return fooled, matching


def cut(picture: Tensor, centre: Tensor, side: int) -> Tensor:
    """Squares (B, 3, side, side) around centres (B, 2) in whole pixels, moved to lie inside."""
    size = picture.shape[-1]
    corner = (centre - side / 2).round().long().clamp(0, size - side)
    axis = torch.arange(side, device=picture.device)
    rows, columns = corner[:, 1, None] + axis, corner[:, 0, None] + axis
    each = torch.arange(len(picture), device=picture.device)[:, None, None]
    found = picture.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None]]
    return found.permute(0, 3, 1, 2)


def bounded(extra: Tensor, base: Tensor, share: float) -> Tensor:
    """The gradient `extra`, scaled to at most `share` of the length of `base`.

    As VQGAN's adaptive weight (arXiv 2012.09841, eq. 7), at the picture instead of the last layer,
    and only ever downwards: a critic that has won cannot tear the picture apart.
    """
    return extra * (share * base.norm() / extra.norm().clamp_min(1e-12)).clamp(max=1)
