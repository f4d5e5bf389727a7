"""Weights to pictures of one avatar: the generated crop, blended into a template frame."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.errors import ModelError
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.generator import FaceInputs, Generator
from realtalk_ros.rendering.reference_selection import ReferenceSelector

FEATHER = 0.04  # share of the crop's side over which its border fades out, so that no seam can show


class FaceRenderer:
    """Renders one avatar. What depends on the avatar or a template frame is computed here, once.

    `size` is the height of the pictures in pixels; the width follows the avatar's proportions.
    `encoder_threads`: CPU threads of what runs once, while it loads (default: `threads`).
    Raises ModelError for broken network files.
    """

    def __init__(
        self,
        avatar: Avatar,
        size: int = 512,
        providers: Sequence[str] | None = None,
        threads: int = 2,
        model_dir: Path | None = None,
        encoder_threads: int | None = None,
    ):
        generator = Generator(
            [avatar], providers, threads, model_dir, encoder_threads=encoder_threads
        )
        self._begin(avatar, generator, 0)
        self._fit(size)

    def _begin(self, avatar: Avatar, generator: Generator, person: int) -> None:
        self.avatar, self._generator, self._person = avatar, generator, person
        known = avatar.reference_weights
        self._chooser = ReferenceSelector(np.zeros((1, arkit.COUNT)) if known is None else known)

    @classmethod
    def together(
        cls,
        avatars: Sequence[Avatar],
        size: int = 512,
        providers: Sequence[str] | None = None,
        threads: int = 2,
        model_dir: Path | None = None,
    ) -> list[FaceRenderer]:
        """Renderers of several faces that share one network, for `render_batch`."""
        generator = Generator(avatars, providers, threads, model_dir)
        renderers = []
        for person, avatar in enumerate(avatars):
            renderer = cls.__new__(cls)
            renderer._begin(avatar, generator, person)
            renderer._fit(size)
            renderers.append(renderer)
        return renderers

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
        self.templates = (
            avatar.templates
            if scale == 1
            else np.stack(
                [cv2.resize(image, self.size, interpolation=shrink) for image in avatar.templates]
            )
        )
        ramp = np.minimum(np.arange(side), np.arange(side)[::-1]) / (FEATHER * side)
        ramp = np.clip(ramp, 0, 1).astype(np.float32)
        self._feather = np.minimum(ramp[:, None], ramp[None, :])
        if avatar.region is not None:
            self._feather *= cv2.resize(avatar.region, (side, side))

    @property
    def template_count(self) -> int:
        return len(self.avatar.templates)

    def generate(self, weights: np.ndarray, template: int) -> tuple[np.ndarray, np.ndarray]:
        """The network alone: weights (52,) to the face crop (256, 256, 3) uint8 BGR and its soft
        mask (256, 256) in 0..1. Both are overwritten by the next call."""
        pictures, masks = self._generator.run(weights[None], [self._shown(weights, template)])
        return pictures[0], masks[0]

    def _shown(self, weights: np.ndarray, template: int) -> FaceInputs:
        return FaceInputs(self._person, template, self._chooser.choose(weights))

    def compose(self, picture: np.ndarray, mask: np.ndarray, template: int) -> np.ndarray:
        """Blends a generated crop into its template. Returns a new (height, width, 3) uint8."""
        side = self._side
        if side != CROP_SIZE:
            picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
            mask = cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR)
        mask = mask * self._feather
        frame = self.templates[template].copy()
        region = frame[self._roi]
        region[:] = cv2.blendLinear(picture, np.ascontiguousarray(region), mask, 1 - mask)
        return frame

    def render(self, weights: np.ndarray, template: int) -> np.ndarray:
        """One frame: ARKit weights (52,), index of a template frame -> (height, width, 3) BGR."""
        return self.compose(*self.generate(weights, template), template)


def render_batch(
    renderers: Sequence[FaceRenderer], weights: np.ndarray, templates: Sequence[int]
) -> list[np.ndarray]:
    """One frame of each of several faces of `FaceRenderer.together`, in one run of the network.

    Weights (B, 52), template indices (B,) -> B images. The same face may be there more than once.
    Raises ModelError for renderers that were not loaded together.
    """
    generators = {id(renderer._generator): renderer._generator for renderer in renderers}
    if len(generators) != 1:
        raise ModelError("render_batch takes the faces of one FaceRenderer.together")
    (generator,) = generators.values()
    shown = [r._shown(w, t) for r, w, t in zip(renderers, weights, templates, strict=True)]
    pictures, masks = generator.run(weights, shown)
    each = zip(renderers, pictures, masks, templates, strict=True)
    return [renderer.compose(p, m, template) for renderer, p, m, template in each]
