# SPDX-License-Identifier: Apache-2.0
"""The losses of the renderer's training. Images are (B, 3, S, S) in 0..1.

- `image_loss`: L1 of the composed image and of its gradients, weighted towards what changes, the
  mouth and the eyes.
- `temporal_loss`: the difference of two frames of one head pose must be the true difference, so
  that what the network gets wrong at least stays as it is from frame to frame (Ultralight's author
  found such a loss, and the mouth's weight, worth more than a SyncNet).
- `texture_loss`: detail must be as strong as it should, wherever exactly it lies: L1 alone prefers
  no detail to detail that is half a pixel off.
- lpips.py: LPIPS of the mouth crop.
- `PerceptualLoss`: distance of a landmark network's features, and of its landmarks. A network needs
  no ImageNet to be a perceptual metric: what it was trained for matters little, random weights
  excepted (Zhang et al., arXiv 1801.03924); ours learned where lips, lids and teeth are, which is
  what must be right here, and comes without a download.
- discriminator.py: a patch discriminator of mouth and face.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from realtalk_ros.face_model.landmarks import EYE_LEFT, EYE_RIGHT, LIPS
from realtalk_ros.training.renderer.landmark_net import LandmarkNet, Prediction
from realtalk_ros.training.renderer.samples import Batch

# Weights beside the image's L1. (The discriminator's is in discriminator.py.)
PERCEPTUAL, LANDMARKS, TEMPORAL, TEXTURE, LPIPS = 0.04, 4.0, 1.0, 4.0, 0.5
LPIPS_OF_PEOPLE = 1.0  # of the mouths of real people, see real_people.py
OF_PEOPLE = 0.3  # share of the weights of what counts more, where people are learned from
# What a video of one face teaches, by the distance from the lips in shares of the side: all of it
# up to the first number, nothing from the second on; the same for its detail, which is what is
# finer than BLUR pixels.
VIDEO_REACH, DETAIL_REACH, BLUR = (0.03, 0.10), (0.01, 0.03), 2.0


def loss_weights(batch: Batch) -> Tensor:
    """Per-pixel weights (B, 1, S, S): what changes counts more, the mouth and eyes more, and most
    what shows between the lips, which is small and holds half of the mouth's error."""
    size, landmarks = batch.target.shape[-1], batch.landmarks
    changed = (batch.target - batch.per_target(batch.template)).abs().mean(1, keepdim=True)
    changed = F.avg_pool2d(changed, 9, 1, 4)
    axis = torch.arange(size, device=landmarks.device).float()

    def bump(points: Tensor, spread: float) -> Tensor:
        centre = points.mean(1)
        x = torch.exp(-(((axis[None] - centre[:, :1]) / (spread * size)) ** 2))
        y = torch.exp(-(((axis[None] - centre[:, 1:]) / (spread * size)) ** 2))
        return (y[:, :, None] * x[:, None])[:, None]

    eyes = bump(landmarks[:, EYE_RIGHT], 0.07) + bump(landmarks[:, EYE_LEFT], 0.07)
    mouth = 6 * bump(landmarks[:, LIPS], 0.14) + 5 * batch.mouth_interior[:, :1]
    more = 4 * (changed * 8).clamp(max=1) + mouth + 6 * eyes
    if batch.real is not None:
        share = 1 - (1 - OF_PEOPLE) * batch.per_target(batch.real).to(more)
        more = more * share[:, None, None, None]
    return 1 + more


def video_target(original: Tensor, batch: Batch) -> Tensor:
    """What to learn from a video of one face: its targets at the mouth, near it only their light
    and form, elsewhere the images of the `original` network. Video is compressed, and its template
    lies in another pose: it would teach to draw skin without its grain."""
    change, distance = batch.target - original, distance_from_lips(batch)
    smooth = gaussian_blur(change, BLUR)
    smooth = smooth + fade(distance, *DETAIL_REACH) * (change - smooth)
    return original + fade(distance, *VIDEO_REACH) * smooth


def distance_from_lips(batch: Batch) -> Tensor:
    """(B, 1, S, S): how far from the lips in template and target, shares of the side."""
    size, lips = batch.target.shape[-1], batch.landmarks[:, LIPS]
    in_template = batch.per_target(batch.template_landmarks)[:, LIPS] * size
    both = torch.cat([lips, in_template], 1)
    low, high = both.amin(1)[..., None], both.amax(1)[..., None]  # (B, 2, 1)
    axis = torch.arange(size, device=both.device).float()
    away = ((low - axis).clamp_min(0) + (axis - high).clamp_min(0)) / size  # (B, 2, S)
    return (away[:, 1, :, None].square() + away[:, 0, None, :].square()).sqrt()[:, None]


def fade(distance: Tensor, near: float, far: float) -> Tensor:
    """1 up to `near`, 0 from `far`."""
    return ((far - distance) / (far - near)).clamp(0, 1)


def gaussian_blur(x: Tensor, sd: float) -> Tensor:
    """By a Gaussian of `sd` pixels; the border is replicated."""
    reach, channels = int(3 * sd), x.shape[1]
    axis = torch.arange(-reach, reach + 1, device=x.device)
    kernel = torch.exp(-((axis / sd) ** 2) / 2)
    kernel = (kernel / kernel.sum()).to(x).expand(channels, 1, 1, -1)
    x = F.pad(x, (reach, reach, reach, reach), "replicate")
    return F.conv2d(F.conv2d(x, kernel, groups=channels), kernel.mT, groups=channels)


def texture_loss(out: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L1 of the local strength of detail (RMS over 7 pixels of what a blur by one removes), of the
    image and of one of half the size."""
    total = out.new_zeros(())
    for _ in range(2):
        strength = []
        for x in (out, target):
            power = (x - gaussian_blur(x, 1.0)).square().sum(1, keepdim=True)
            strength.append((F.avg_pool2d(power, 7, 2, 3) + 1e-6).sqrt())
        counts = F.adaptive_avg_pool2d(weight, strength[0].shape[-2:])
        total = total + (counts * (strength[0] - strength[1]).abs()).mean() / counts.mean()
        out, target = F.avg_pool2d(out, 2), F.avg_pool2d(target, 2)
    return total


def image_loss(out: Tensor, rgb: Tensor, mask: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Also of the generator's own image `rgb` where it matters: without that the mask learns to
    hide the generator before it has learned."""
    error, scale = out - target, 1 / weight.mean()
    loss = (weight * error.abs()).mean() + ((weight - 0.9) * (rgb - target).abs()).mean()
    across, down = error.diff(dim=-1), error.diff(dim=-2)
    slopes = (weight[..., 1:] * across.abs()).mean() + (weight[..., 1:, :] * down.abs()).mean()
    return scale * (loss + 1.5 * slopes) + 0.0005 * mask.mean()


def temporal_loss(out: Tensor, target: Tensor, weight: Tensor, targets_each: int) -> Tensor:
    """Of frames that follow each other in the batch among the targets of one template."""
    if targets_each < 2:
        return out.new_zeros(())
    error = (out - target).unflatten(0, (-1, targets_each))
    change = error[:, 1:] - error[:, :-1]
    weight = weight.unflatten(0, (-1, targets_each))[:, 1:]
    return (weight * change.abs()).mean() / weight.mean()


class PerceptualLoss:
    """Of a frozen landmark network, `perceptual_net`."""

    def __init__(self, perceptual_net: LandmarkNet):
        self.net = perceptual_net

    def losses(self, out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Distances of features and of landmarks."""
        with torch.no_grad():
            wanted = self.net(target)
        got = self.net(out)
        return self.feature_distance(got, wanted), self.landmark_distance(got, wanted, out)

    @staticmethod
    def feature_distance(got: Prediction, wanted: Prediction) -> Tensor:
        """Mean over the scales of the L1 of the features, as they leave their normalisation."""
        pairs = list(zip(got.features, wanted.features, strict=True))
        return torch.stack([(a - b).abs().mean().float() for a, b in pairs]).mean()

    @staticmethod
    def landmark_distance(got: Prediction, wanted: Prediction, image: Tensor) -> Tensor:
        """Mean distance as a share of the image, the lips once more. Against what the network finds
        in the true image, not against the truth: so its own errors cancel."""
        distance = (got.landmarks - wanted.landmarks).norm(dim=-1) / image.shape[-1]
        return distance.mean() + distance[:, LIPS].mean()
