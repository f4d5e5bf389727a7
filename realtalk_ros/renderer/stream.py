"""Weights to pictures at run time: the renderer's ONNX graphs and composition into the frame."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros import models
from realtalk_ros.avatar import CROP_SIZE, Avatar

SHARED = ("keys", "values")  # features that depend on the reference image alone
FEATHER = 0.04  # share of the crop's side over which its border fades out, so that no seam can show


class FaceRenderer:
    """Renders one avatar. What depends on the avatar or a template frame is computed here, once.

    `size` is the height of the pictures in pixels; the width follows the avatar's proportions.
    Raises ModelError for broken network files.
    """

    def __init__(
        self,
        avatar: Avatar,
        size: int = 512,
        providers: Sequence[str] | None = None,
        threads: int = 2,
        model_dir: Path | None = None,
    ):
        folder = model_dir or models.MODEL_DIR
        self.avatar = avatar
        self._session = models.session(folder / "renderer_generate.onnx", providers, threads)
        encoder = models.session(folder / "renderer_encode.onnx", providers, threads)
        self._encode(encoder)

        self._fit(size)

    def resized(self, size: int) -> FaceRenderer:
        """The same face at another height of its pictures, sharing everything that is learned."""
        other = copy.copy(self)
        other._fit(size)
        return other

    def _fit(self, size: int) -> None:
        avatar = self.avatar
        scale = size / avatar.size[1]
        self.size = (round(avatar.size[0] * scale), size)  # width, height
        x, y, side = (round(value * scale) for value in avatar.crop)
        self._roi = (slice(y, y + side), slice(x, x + side))
        self._side = side
        shrink = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        self.templates = avatar.templates if scale == 1 else np.stack(
            [cv2.resize(image, self.size, interpolation=shrink) for image in avatar.templates]
        )
        ramp = np.minimum(np.arange(side), np.arange(side)[::-1]) / (FEATHER * side)
        ramp = np.clip(ramp, 0, 1).astype(np.float32)
        self._feather = np.minimum(ramp[:, None], ramp[None, :])
        self._input = np.zeros((1, 52), np.float32)

    def _encode(self, encoder) -> None:
        names = [output.name for output in encoder.get_outputs()]
        x, y, side = self.avatar.crop
        self._features: list[dict[str, np.ndarray]] = []
        shared: dict[str, np.ndarray] = {}
        for template in self.avatar.templates:
            crop = np.ascontiguousarray(template[y : y + side, x : x + side])
            if side != CROP_SIZE:
                crop = cv2.resize(crop, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)
            found = dict(zip(names, encoder.run(
                None, {"reference": self.avatar.reference_image, "template": crop}), strict=True))
            shared = shared or {name: found[name] for name in SHARED}
            self._features.append({**found, **shared})

    @property
    def template_count(self) -> int:
        return len(self._features)

    def generate(self, weights: np.ndarray, template: int) -> tuple[np.ndarray, np.ndarray]:
        """The network alone: weights (52,) to the face crop (256, 256, 3) float32 BGR in 0..255
        and its soft mask (256, 256) in 0..1."""
        self._input[0] = weights
        return self._session.run(None, {**self._features[template], "weights": self._input})

    def compose(self, picture: np.ndarray, mask: np.ndarray, template: int) -> np.ndarray:
        """Blends a generated crop into its template. Returns a new (height, width, 3) uint8."""
        side = self._side
        if side != CROP_SIZE:
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
            mask = cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR)
        mask = mask * self._feather
        frame = self.templates[template].copy()
        region = frame[self._roi]
        blended = cv2.blendLinear(picture, region.astype(np.float32), mask, 1 - mask)
        np.clip(np.rint(blended, out=blended), 0, 255, out=blended)
        region[:] = blended
        return frame

    def render(self, weights: np.ndarray, template: int) -> np.ndarray:
        """One frame: ARKit weights (52,), index of a template frame -> (height, width, 3) BGR."""
        return self.compose(*self.generate(weights, template), template)
