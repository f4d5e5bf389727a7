# SPDX-License-Identifier: Apache-2.0
"""Renders ARKit weights: the generated face crop, blended into a template of the avatar.

The networks, and how a face that does not change is spared their run: generator.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.background import Background
from realtalk_ros.rendering.common.generated_face import GeneratedFace
from realtalk_ros.rendering.compositor import BegunImage, Compositor
from realtalk_ros.rendering.cutout import cut_out
from realtalk_ros.rendering.eyes.eyeballs import Eyeball, whole_eyeballs
from realtalk_ros.rendering.eyes.eyelids import ShutEyes, shut_eyes
from realtalk_ros.rendering.generator import FaceInputs, Generator
from realtalk_ros.rendering.head.moving_person import MovingPerson
from realtalk_ros.rendering.reference_selection import ReferenceSelector


class BegunFrame(NamedTuple):
    """Of `FaceRenderer.begin`, for one call of `FaceRenderer.compose`."""

    compositor: Compositor
    image: BegunImage
    background: Background | None  # None: the avatar's own


class FaceRenderer:
    """Renders one avatar. What depends on the avatar or a template alone is computed here, once.

    A frame is drawn in two parts, which may run in two threads: `generate_and_begin`, and `compose`
    of what this has made.

    `size` is the height of the images in pixels; their width follows the avatar's proportions.
    `threads`: as of Generator. `encoder_threads`: those of what runs once, while it loads (default:
    `threads`).
    OpenCV is set to one thread, in all of the process.
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
        shared: tuple[Generator, int] | None = None,
    ):
        """`shared`: a generator of several avatars, instead of one of its own, and the index of
        this avatar in it."""
        self.generator, self.index = shared or (
            Generator([avatar], providers, threads, model_dir, encoder_threads=encoder_threads),
            0,
        )
        # Between calls as short as ours OpenCV's other threads wait busily: they took a quarter of
        # the processor's time and made no frame faster.
        cv2.setNumThreads(1)
        self.avatar = avatar
        self.provider = self.generator.provider  # "CPUExecutionProvider" or the like
        self.template_count = len(avatar.templates)
        self._person = MovingPerson(avatar)
        weights = avatar.reference_weights
        self._selector = ReferenceSelector(
            np.zeros((1, arkit.COUNT)) if weights is None else weights
        )
        self._resize(size)

    def resized(self, size: int) -> FaceRenderer:
        """The same face in images of another height, sharing the networks and features."""
        other = copy.copy(self)
        other._resize(size)
        return other

    def close(self) -> None:
        """It is not shown any more: other faces need not wait for its frames (batching.py)."""

    def _resize(self, size: int) -> None:
        avatar = self.avatar
        scale = size / avatar.size[1]
        self.size = (round(avatar.size[0] * scale), size)  # width, height
        method = self._interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        self.templates = (
            avatar.templates
            if scale == 1
            else np.stack(
                [cv2.resize(image, self.size, interpolation=method) for image in avatar.templates]
            )
        )
        self._compositor = Compositor(avatar, self.templates, self._person)
        self._shut: dict[int, ShutEyes | None] = {}
        self._eyeballs: dict[int, list[Eyeball]] = {}
        self._person_alone: Compositor | None = None

    def render(
        self,
        weights: np.ndarray,
        template: int,
        rotation: np.ndarray | None = None,
        breath: float = 0.0,
    ) -> np.ndarray:
        """One frame: ARKit weights (52,), index of a template, rotation of the head (3,) rad
        (face_model/rotations.py), breath from -1 (out) to 1 (in), 0: at rest -> (height, width, 3)
        uint8 BGR."""
        return self.compose(*self.generate_and_begin(weights, template, rotation, breath))

    def generate_and_begin(
        self,
        weights: np.ndarray,
        template: int,
        rotation: np.ndarray | None = None,
        breath: float = 0.0,
        background: Background | None = None,
    ) -> tuple[GeneratedFace, BegunFrame]:
        """`generate`, and `begin` beside it: both for `compose`. Arguments as of these."""
        begun: list[BegunFrame] = []
        face = self.generate(
            weights,
            template,
            lambda: begun.append(self.begin(template, rotation, breath, background)),
        )
        return face, begun[0]

    def generate(
        self, weights: np.ndarray, template: int, meanwhile: Callable[[], None] = lambda: None
    ) -> GeneratedFace:
        """What the networks make of ARKit weights (52,) on a template, by its index. `meanwhile` is
        called when the helper's thread is free: it may call `begin`."""
        inputs = [self.inputs(weights, template)]
        return self.generator.run(weights[None], inputs, meanwhile)[0]

    def inputs(self, weights: np.ndarray, template: int) -> FaceInputs:
        """What `generate` gives to the networks besides the weights."""
        return FaceInputs(self.index, template, self._selector.choose(weights))

    def begin(
        self,
        template: int,
        rotation: np.ndarray | None = None,
        breath: float = 0.0,
        background: Background | None = None,
    ) -> BegunFrame:
        """Begins the image of a frame in the helper's thread: what needs no networks. Arguments as
        of `render`; avatars without mattes keep their own background, whatever it is."""
        compositor = self._compositor
        if self.avatar.mattes is None:
            background = None
        elif background is not None:
            self.cut_out()
            assert self._person_alone is not None
            compositor = self._person_alone
        return BegunFrame(compositor, compositor.begin(template, rotation, breath), background)

    def compose(self, face: GeneratedFace, begun: BegunFrame) -> np.ndarray:
        """The image of what `generate` and `begin` made of one template, as of `render`; before a
        background that is transparent (height, width, 4), with straight alpha."""
        shut = None if face.lids is None else self._shut_eyes(begun.image.template)
        balls = self._whole_eyeballs(begun.image.template) if face.eyeballs else ()
        image = begun.compositor.compose(face, begun.image, shut, balls)
        return image if begun.background is None else begun.background.behind(image)

    def cut_out(self) -> None:
        """Cuts the person out of all templates, once, where there are mattes (cutout.py): else the
        first frame before a background waits for it."""
        if self._person_alone is None and self.avatar.mattes is not None:
            method = self._interpolation
            cut = [
                cut_out(image, cv2.resize(matte, self.size, interpolation=method))
                for image, matte in zip(self.templates, self.avatar.mattes, strict=True)
            ]
            self._person_alone = Compositor(self.avatar, np.stack(cut), self._person)

    def _whole_eyeballs(self, template: int) -> list[Eyeball]:
        """The template's eyeballs without lids, or none; made once."""
        if template not in self._eyeballs:
            geometry = self.generator.geometry[self.index]
            eyes = geometry.template_eyes[template]
            image, crop = self.templates[template], self._compositor.crop
            self._eyeballs[template] = whole_eyeballs(
                image, crop, eyes, lined=not geometry.as_people
            )
        return self._eyeballs[template]

    def _shut_eyes(self, template: int) -> ShutEyes | None:
        """The template's eyes, shut; made once."""
        if template not in self._shut and self.avatar.shut_eyes is not None:
            shut = self.avatar.shut_eyes[template]
            shut = cv2.resize(shut, self.size, interpolation=self._interpolation)
            self._shut[template] = ShutEyes.pictured(shut)
        if template not in self._shut:
            others = [eyes for eyes in self._shut.values() if eyes is not None]
            geometry = self.generator.geometry[self.index]
            self._shut[template] = shut_eyes(
                self.templates[template],
                self._compositor.crop,
                geometry.template_eyes[template],
                geometry.template_landmarks[template],
                glasses=others[0].glasses if others else self.generator.glasses[self.index],
            )
        return self._shut[template]
