# SPDX-License-Identifier: Apache-2.0
"""Lips and interior of the face model's mouth, as they come with the package (NumPy).

Lips are 7 rings of vertices, from the inside out. The interior is a mesh of triangles with a
lightness at each vertex, that of the rendered training pictures
(training/synthetic/facekit_mouth.py), where no shadow falls into the mouth. On a photo that looks
painted, so there are other looks of it (`Look`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from realtalk_ros.face_model import arkit, bundled_arrays, landmarks
from realtalk_ros.rendering.mouth import gum_line, human_teeth

LookName = Literal["plain", "shaded", "lifelike"]
STILL = 1e-4  # cm: what the weights move less does not move
JAW_OPEN = arkit.INDEX["jawOpen"]
# Shading: of the lower teeth, by eye on two photos; and the distance from the middle (cm) at which
# teeth are 1/e as light, measured on the upper teeth of 46 people (those of enamel_colour.py).
LOWER_TEETH, UPPER_SHADE_WIDTH, LOWER_SHADE_WIDTH = 0.7, 3.6, 1.6
# People's have 0.78 to 1.05 of the upper ones' green in 6 films, 0.84 to 0.88 with this; those
# behind the canines, by |x| - z, are not drawn.
LIFELIKE_LOWER_TEETH, BEHIND_CANINES = 1.0, -7.48
# People's mouths: behind tongue and teeth are the cheeks, of this level in the map. The tongue
# falls to it at its sides, over this distance from the middle (cm). Set by eye.
CHEEKS, TONGUE_WIDTH = 48, 1.9


@dataclass(frozen=True)
class Surface:
    """Some of the triangles of the mouth's interior."""

    vertices: np.ndarray  # (K,) of the interior's
    faces: np.ndarray  # (3, F) int32, indices of `vertices`
    channels: np.ndarray  # (F,) uint16, see `split`

    @classmethod
    def of(cls, faces: np.ndarray, channels: np.ndarray) -> Surface:
        """Of `faces` (F, 3), indices of all vertices."""
        vertices, numbers = np.unique(faces, return_inverse=True)
        numbers = numbers.reshape(faces.shape)
        return cls(vertices, np.ascontiguousarray(numbers.T, np.int32), channels)


@dataclass(frozen=True)
class Look:
    """How the mouth's interior is drawn."""

    skull: Surface  # its triangles that no weight moves
    jaw: Surface  # all others
    places: np.ndarray  # (V, 3) float32, cm
    light: np.ndarray  # (V,) float32 0..255, with the tongue in
    fading: np.ndarray | None = None  # (V,) float32: light that rounded lips take
    behind: int = 0  # level of gums or tongue where nothing else is
    teeth_touch: bool = True


class MouthModel:
    """Lips and interior of the mean face's mouth, and what moves them.

    Lips, P vertices: lips (P, 3) cm, lips_expressions (52, 3 P): all x, all y, all z, lips_modes
    (100, P, 3); rings (R, 2, N) indices of vertices, upper and lower half; interpolation (P, 20),
    by which the residuals of the lips' landmarks are taken to the vertices, see `Mouth`.
    Interior, V vertices: inside (V, 3) cm, moving (M,) the weights that move it, inside_expressions
    (M, V, 3), inside_modes (100, V, 3); tongue_light (V,) is what light (0..255) changes by with
    the tongue out; outer_teeth (N,) are vertices, see `human_teeth.outer_surface`.
    training/synthetic/facekit_mouth.py makes the file that they are read from.

    `looks` by name: plain, as in the rendered training pictures; shaded, as on photographs,
    where lips and cheeks throw their shadow on the teeth, and teeth touch; lifelike, of people:
    behind them is the inside of the cheeks, and not a hollow.
    """

    def __init__(self) -> None:
        names = ("lips", "lips_expressions", "lips_modes",
                 "inside", "inside_expressions", "inside_modes")  # fmt: skip
        self.lips, lips_expressions, self.lips_modes, inside, moves, self.inside_modes = (
            np.asarray(array, np.float32) for array in bundled_arrays.read("mouth", names)
        )
        self.rings, self.moving, faces, enamel, light = bundled_arrays.read(
            "mouth", ("rings", "inside_moving", "faces", "enamel", "light")
        )
        self.lips_expressions = lips_expressions.swapaxes(1, 2).reshape(arkit.COUNT, -1)
        self.inside, self.inside_expressions = inside, moves
        self.tongue_light = light[1].astype(np.float32) - light[0]
        self._add_gum()
        self._add_looks(faces, enamel, light[0].astype(np.float32))
        self.interpolation = landmarks.interpolation_weights(self.lips, landmarks.LIPS)

    def _add_gum(self) -> None:
        """Adds the vertices of a strip of gum, which move with those that are nearest to them."""
        places, self._gum_faces = gum_line.strip()
        self._gum_faces += len(self.inside)
        like = [human_teeth.nearest(self.inside, place) for place in places]
        still = np.zeros((len(self.moving), *places.shape), np.float32)
        self.inside = np.concatenate([self.inside, places])
        self.inside_modes = np.concatenate([self.inside_modes, self.inside_modes[:, like]], 1)
        self.inside_expressions = np.concatenate([self.inside_expressions, still], 1)
        self.tongue_light = np.append(self.tongue_light, still[0, :, 0])

    def _add_looks(self, faces: np.ndarray, enamel: np.ndarray, light: np.ndarray) -> None:
        """By triangles (F, 3), which are enamel (F,), and lightness of all but the strip's."""
        light = np.append(light, np.repeat(gum_line.LIGHT, len(self.inside) - len(light)))
        moves, across = self.inside_expressions, self.inside[:, 0]
        jaw = np.abs(moves[list(self.moving).index(JAW_OPEN)]).max(-1) > 0.1  # cm
        moved = (np.abs(moves).max((0, 2)) > STILL) | (self.tongue_light != 0)
        teeth = np.zeros(len(light), bool)
        teeth[faces[enamel]] = True
        upper, lower = teeth & ~jaw, teeth & jaw
        self.outer_teeth = human_teeth.outer_surface(self.inside, upper)
        # Every fourth: they are many, and moved in each frame.
        self.outer_lower_teeth = human_teeth.outer_lower_surface(self.inside, lower)[::4]

        def shade(front: float) -> np.ndarray:
            on_upper = np.where(upper, np.exp(-np.square(across / UPPER_SHADE_WIDTH)), 1)
            on_lower = front * np.exp(-np.square(across / LOWER_SHADE_WIDTH))
            return np.where(lower, on_lower, on_upper).astype(np.float32)

        surfaces = split(faces, enamel, moved)
        plain = Look(*surfaces, self.inside, light, teeth_touch=False)
        shaded = Look(*surfaces, self.inside, light * shade(LOWER_TEETH))
        tongue = np.exp(-np.square(across / TONGUE_WIDTH)) * (light - CHEEKS) + CHEEKS
        levels = np.where(jaw & ~teeth, tongue, light * shade(LIFELIKE_LOWER_TEETH))
        levels = np.asarray(levels, np.float32)
        hidden = lower & (np.abs(across) - self.inside[:, 2] > BEHIND_CANINES)
        hidden |= upper & (self.inside[:, 1] > gum_line.ROOTS)
        gums = ~teeth & ~jaw
        gums[self._gum_faces] = False
        places = gum_line.raised(human_teeth.placed(self.inside, upper, lower, gums), gums)
        seen = ~hidden[faces].all(1)
        enamel = np.append(enamel[seen], [False] * len(self._gum_faces))
        faces = np.concatenate([faces[seen], self._gum_faces])
        lifelike = Look(*split(faces, enamel, moved), places, levels, levels * lower, CHEEKS)
        self.looks = {"plain": plain, "shaded": shaded, "lifelike": lifelike}


def split(faces: np.ndarray, enamel: np.ndarray, moved: np.ndarray) -> tuple[Surface, Surface]:
    """Of triangles (F, 3), which of them are enamel (F,), and which vertices a weight moves (V,):
    those that none moves, and all others."""
    # A 16-bit pixel holds two channels: enamel in the low byte, gums, tongue in the high.
    channels = np.where(enamel, np.uint16(1), np.uint16(256))
    moves = moved[faces].any(1)
    skull, jaw = (Surface.of(faces[of], channels[of]) for of in (~moves, moves))
    return skull, jaw


@lru_cache(maxsize=1)
def load() -> MouthModel:
    """The model that comes with the package. Raises RealTalkError for a damaged file."""
    return MouthModel()
