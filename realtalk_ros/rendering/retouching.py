# SPDX-License-Identifier: Apache-2.0
"""What is put right in the pictures that the generator draws of an avatar.

The generator has learned rendered people, in whose mouths no shadow falls. So its mouths are lit
(oral_cavity.py), and get the teeth of a photograph (own_teeth.py) or the flat colours of a drawing
(flat_mouth.py); brows of faces unlike any that it has seen are replaced wholly (brow_mask.py), and
in a photograph without colours it draws none (monochrome.py).
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import mouth_crop
from realtalk_ros.rendering.common.generated_face import GeneratedFace
from realtalk_ros.rendering.eyes.brow_mask import brow_masks
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.rendering.mouth.flat_mouth import FlatMouthPainter
from realtalk_ros.rendering.mouth.lip_shadow import MouthOpening
from realtalk_ros.rendering.mouth.monochrome import tone_of, toned
from realtalk_ros.rendering.mouth.oral_cavity import MouthLight, OralCavity
from realtalk_ros.rendering.own_teeth import OwnTeeth, TeethPicture

MOUTH = mouth_crop()


class Retouching:
    """Of one avatar; `teeth`: its own, where a picture shows them. `cavity` is None until the light
    in its mouth is known, and where its generator has learned that."""

    def __init__(self, avatar: Avatar, geometry: Geometry, teeth: TeethPicture | None):
        self.cavity: OralCavity | None = None
        self._geometry = geometry
        self._own_teeth = OwnTeeth(teeth, geometry) if teeth else None
        self._flat_mouth = FlatMouthPainter.of(avatar)
        self._brows = brow_masks(avatar)
        self._tones = tone_of(avatar)

    def light_in_mouth(
        self, weights: np.ndarray, interior: np.ndarray, template: int, opening: MouthOpening
    ) -> MouthLight | None:
        """What `apply` lights a mouth with, by weights (52,) and the map (128, 128, 3) uint8 of its
        interior over a template, by its index; None: it stays as it is drawn."""
        if self.cavity is None:
            return None
        lower_teeth = self._geometry.lower_teeth(weights, template)
        return self.cavity.light_in(interior, template, opening, lower_teeth)

    def apply(
        self,
        face: GeneratedFace,
        weights: np.ndarray,
        template: int,
        light: MouthLight | None,
        opening: MouthOpening,
    ) -> None:
        """Changes what was generated of weights (52,) on a template, by its index, in place.
        `light`: of `light_in_mouth`."""
        interior = face.mouth_interior[MOUTH]
        if self._brows is not None:
            np.maximum(face.mask, self._brows[template], out=face.mask)
        if self.cavity is not None and light is not None:
            self.cavity.apply(light, face.mouth)
        if self._own_teeth is not None:
            self._own_teeth.draw(weights, interior, face.mouth, opening)
        if self._flat_mouth is not None:
            self._flat_mouth.paint(interior, face.mouth)
        if self._tones is not None:
            face.mouth[:] = toned(face.mouth, self._tones)
            face.change[:] = face.change.mean(-1, keepdims=True)
