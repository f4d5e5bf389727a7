# SPDX-License-Identifier: Apache-2.0
"""The template warped so that its landmarks lie where the expression moves them.

Each place of a grid of a quarter of the image's size takes the movement of the landmarks near it,
weighted by a Gaussian of each one's own learned width (kernel regression, Nadaraya 1964, Watson
1964): no network runs for it. By itself that would move a landmark less than it is to be moved, the
corners of a smiling mouth by a tenth; so a share of what is missing at each is added to its
movement first (twicing, Tukey 1977, Exploratory Data Analysis). Points on the image's border stay.
A Gaussian's centre may lie off its landmark: those of the upper lids lie above them, so that a lid
that comes down draws its own skin over the eye, though it ends where the lower lid is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from realtalk_ros.face_model.landmarks import COUNT, EYES_AND_LIPS, JAW

# Most of the exponent of a factor of a Gaussian: beyond, the product would be a denormal number,
# which CPUs multiply slowly.
MAX_EXPONENT = 40.0
# Of the movement that the regression leaves out. With all of it smiles are a little nearer to
# people's yet, but MediaPipe reads more into the robot's opening mouth than its pixels show.
REGAINED = 0.4
# Landmarks (Multi-PIE) and the width of their Gaussians before training, as a share of the image.
WIDTHS = ((JAW, 0.06), (slice(17, 36), 0.04), (EYES_AND_LIPS, 0.022))
BORDER_POINTS, BORDER_WIDTH = 4, 0.12  # points a side of the image
UPPER_LIDS, LOWER_LIDS, LID_OFFSET = [37, 38, 43, 44], [40, 41, 46, 47], 0.025


class LandmarkWarp(nn.Module):
    """Of images of `size` x `size` pixels; `embedding` is the length of a landmark's vector, which
    tells the generator which part of the face a place belongs to."""

    def __init__(self, size: int, embedding: int):
        super().__init__()
        self.size, self.cells = size, size // 4
        t, ends = torch.arange(BORDER_POINTS) / BORDER_POINTS, torch.ones(BORDER_POINTS)
        sides = (t, 0 * ends), (ends, t), (1 - t, ends), (0 * ends, 1 - t)
        self.border = torch.cat([torch.stack(side, -1) for side in sides])
        widths = torch.full((COUNT + len(self.border),), BORDER_WIDTH)
        for rows, width in WIDTHS:
            widths[rows] = width
        # Of each Gaussian, in the shape in which it is used: constants that an export folds lose
        # their names. The learned parameter is a factor near 1 of the precision, so that
        # the optimizer's steps have the right size.
        self.register_buffer("half_precision", 0.5 / widths[None, None] ** 2)
        self.precision_scale = nn.Parameter(torch.ones(1, 1, len(widths)))
        self.log_weight = nn.Parameter(torch.zeros(1, 1, len(widths)))
        offset = torch.zeros(1, 2, len(widths))
        offset[:, 1, UPPER_LIDS], offset[:, 1, LOWER_LIDS] = -LID_OFFSET, LID_OFFSET
        self.centre_offset = nn.Parameter(offset)
        self.embedding = nn.Parameter(0.5 * torch.randn(len(widths), embedding))

    def forward(
        self,
        template: Tensor,
        template_landmarks: Tensor,
        target_landmarks: Tensor,
        eye_grid: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Template (B, 3, S, S) and its landmarks, the landmarks of the image to be, (B, 68, 2) in
        normalised coordinates; `eye_grid` (B, S, S, 3) is the sampling grid around the eyes and how
        far it counts, see rendering/eyes/eyes.py.

        Returns the warped template (B, 3, S, S) and the alignment features (B, 2 + embedding, S/4,
        S/4).
        """
        grid, features = self.sampling_grid(template_landmarks, target_landmarks)
        if eye_grid is not None:
            grid = grid + eye_grid[..., 2:] * (eye_grid[..., :2] - grid)
        return sample(template, grid), features

    def sampling_grid(
        self, template_landmarks: Tensor, target_landmarks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Where in the template each pixel of the warped one lies, (B, S, S, 2) pixels; the
        alignment features as of `forward`."""
        coarse, features = self.movement(template_landmarks, target_landmarks)
        fine = F.interpolate(coarse, size=(self.size, self.size), mode="bilinear")
        pixels = torch.arange(self.size).to(target_landmarks)
        grid = [fine[:, 0] + pixels[None, None, :], fine[:, 1] + pixels[None, :, None]]
        return torch.stack(grid, -1), features

    def movement(
        self, template_landmarks: Tensor, target_landmarks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """How far from a pixel of the warped template what it shows lies in the template, (B, 2,
        S/4, S/4) pixels; the alignment features as of `forward`: movement and embedding."""
        pad = (0, 0, 0, len(self.border))
        border = self.border.to(target_landmarks)
        points = F.pad(target_landmarks, pad) + F.pad(border, (0, 0, COUNT, 0))
        moves = F.pad(template_landmarks - points[:, :COUNT], pad)
        centres = points.transpose(1, 2) + self.centre_offset
        moves = moves + REGAINED * self._missing(points, centres, moves)
        axis = ((torch.arange(self.cells) + 0.5) / self.cells).to(target_landmarks)
        # The Gaussian of a distance is the product of those of its two parts, so the sums over all
        # landmarks are one product of the rows' and the columns' parts.
        exponent = self._exponent(axis[:, None] - centres[:, :, None])  # (B, 2, cells, K)
        columns, rows = torch.exp(self.log_weight - exponent[:, 0]), torch.exp(-exponent[:, 1])
        embedding = self.embedding.expand(moves.shape[0], -1, -1)
        values = torch.cat([moves, embedding, torch.ones_like(embedding[..., :1])], -1)
        values = values.transpose(1, 2)  # (B, 3 + embedding, K)
        weighted = (rows[:, None] * values[:, :, None]).flatten(1, 2)
        sums = (weighted @ columns.transpose(1, 2)).unflatten(1, (-1, self.cells))
        means = sums[:, :-1] / sums[:, -1:]  # (B, 2 + embedding, H, W)
        move = means[:, :2]
        return move * self.size, torch.cat([move * 16, means[:, 2:]], 1)

    def _missing(self, points: Tensor, centres: Tensor, moves: Tensor) -> Tensor:
        """(B, K, 2): what the regression leaves of the movements of its own points (B, K, 2), whose
        Gaussians lie at `centres` (B, 2, K)."""
        distance = points.transpose(1, 2)[..., None] - centres[:, :, None]  # (B, 2, K, K)
        shares = torch.exp(self.log_weight - self._exponent(distance).sum(1))
        return moves - shares @ moves / shares.sum(-1, keepdim=True)

    def _exponent(self, distance: Tensor) -> Tensor:
        """Of the Gaussians along each axis: distance (B, 2, N, K) -> the same shape."""
        exponent = distance * distance * self.half_precision * self.precision_scale
        return exponent.clamp(max=MAX_EXPONENT)


def sample(template: Tensor, grid: Tensor, how: str = "bilinear") -> Tensor:
    """Templates (B, 3, S, S) at a grid (B, S, S, 2) of pixels."""
    from_minus_one = (2 * grid + 1) / template.shape[-1] - 1  # as grid_sample counts
    return F.grid_sample(template, from_minus_one, how, "border", align_corners=False)
