# SPDX-License-Identifier: Apache-2.0
"""What the renderer finds in an avatar's pictures, once, when it is loaded: the encoder's features
of each template with each reference, and the colours of the mouth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros import onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import (
    CROP_SIZE,
    ENCODER_FILE,
    REFERENCE_FEATURES,
)
from realtalk_ros.rendering.enamel_colour import expected_enamel
from realtalk_ros.rendering.geometry import Geometry, template_landmarks

EXPECTED = 0.9  # how sure the generator is to be of a colour that no picture shows


@dataclass(frozen=True)
class EncodedAvatars:
    """What the renderer keeps of some avatars. A row is a pair of a reference and a template."""

    templates: np.ndarray  # (rows, 256, 256, 3) uint8, their face crops
    landmarks: np.ndarray  # (rows, 68, 2) of these, in normalised coordinates
    # The encoder's outputs by name: (rows, ...), or (references, ...) of REFERENCE_FEATURES.
    features: dict[str, np.ndarray]


def encode_avatars(
    avatars: Sequence[Avatar], folder: Path, providers: Sequence[str] | None, threads: int
) -> EncodedAvatars:
    """Runs the encoder on every template of every avatar, with each of its references."""
    encoder = onnx_session.session(folder / ENCODER_FILE, providers, threads)
    names = [output.name for output in encoder.get_outputs()]
    features: dict[str, list[np.ndarray]] = {name: [] for name in names}
    templates, landmarks = [], []
    for avatar in avatars:
        # Without a generator of its own an avatar's mouth is drawn shaded: teeth that are read as
        # if no shadow fell on them would get it twice.
        shaded = avatar.generator is None
        crops, references = template_crops(avatar), reference_inputs(avatar, shaded)
        for reference in references:
            templates.append(np.stack(crops))
            landmarks.append(template_landmarks(avatar))
            for number, crop in enumerate(crops):
                found = encoder.run(None, {"reference": reference, "template": crop})
                for name, value in zip(names, found, strict=True):
                    if number == 0 or name not in REFERENCE_FEATURES:
                        features[name].append(value)
        count = len(references)
        colours = merge_mouth_colours(np.concatenate(features["mouth_colours"][-count:]))
        enamel = expected_enamel(crops[0], landmarks[-1][0] * CROP_SIZE)
        colours = with_expected_enamel(colours, enamel)
        features["mouth_colours"][-count:] = [colours] * count
    return EncodedAvatars(
        np.concatenate(templates),
        np.concatenate(landmarks),
        {name: np.concatenate(values) for name, values in features.items()},
    )


def template_crops(avatar: Avatar) -> list[np.ndarray]:
    """The face crops (256, 256, 3) uint8 of an avatar's templates."""
    x, y, side = avatar.crop
    crops = [np.ascontiguousarray(t[y : y + side, x : x + side]) for t in avatar.templates]
    if side != CROP_SIZE:
        size = (CROP_SIZE, CROP_SIZE)
        crops = [cv2.resize(crop, size, interpolation=cv2.INTER_AREA) for crop in crops]
    return crops


def reference_images(avatar: Avatar) -> tuple[np.ndarray, ...]:
    """The images (256, 256, 3) uint8 from which an avatar's texture is taken."""
    return avatar.more_references or (avatar.reference_image,)


def reference_inputs(avatar: Avatar, shaded: bool = False) -> list[np.ndarray]:
    """The encoder's inputs (256, 256, 6) uint8: each reference image with the map of its mouth's
    interior, `shaded` or not (mouth.py). The map is 0 where the image's landmarks are unknown."""
    images = reference_images(avatar)
    maps = np.zeros((len(images), CROP_SIZE, CROP_SIZE, 3), np.uint8)
    weights = avatar.reference_weights
    if avatar.reference_landmarks is not None and weights is not None:
        landmarks = avatar.reference_landmarks / CROP_SIZE
        geometry = Geometry(avatar.identity, landmarks, weights, avatar.resting_weights, shaded)
        for k, mouth_interior in enumerate(maps):
            geometry.draw_mouth(weights[k], k, mouth_interior)
    return [np.concatenate(both, -1) for both in zip(images, maps, strict=True)]


def merge_mouth_colours(colours: np.ndarray) -> np.ndarray:
    """(K, 8) -> (1, 8): one person's mouth colours of the K references that show them.

    A row is the colour of enamel (3), that of flesh (3), and how much of each is visible, as the
    encoder finds them (training/renderer/mouth_colours.py). Each colour is taken from the
    reference that shows the most of it: teeth do not change when the mouth shuts.
    """
    enamel, flesh = colours[:, 6:].argmax(0)
    parts = colours[enamel, :3], colours[flesh, 3:6], colours[[enamel, flesh], [6, 7]]
    return np.concatenate(parts)[None]


def with_expected_enamel(colours: np.ndarray, enamel: np.ndarray) -> np.ndarray:
    """Mouth colours (1, 8) of which the enamel's is that expected, (3,) BGR in 0..1, as far as no
    picture shows it."""
    colours = colours.copy()
    unseen = max(EXPECTED - float(colours[0, 6]), 0.0)
    colours[0, :3] += unseen * enamel
    colours[0, 6] += unseen
    return colours
