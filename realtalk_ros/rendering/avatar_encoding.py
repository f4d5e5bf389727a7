# SPDX-License-Identifier: Apache-2.0
"""What the renderer finds in an avatar's pictures, once, when it is loaded: the encoder's features
of each template with each reference, and the colours of the mouth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtalk_ros import onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.image_decoding import to_square
from realtalk_ros.contracts import (
    CROP_SIZE,
    ENCODER_FILE,
    REFERENCE_FEATURES,
    UNREAD_FEATURES,
)
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.common.template_landmarks import template_landmarks
from realtalk_ros.rendering.geometry import reference_geometry
from realtalk_ros.rendering.mouth.enamel_colour import expected_enamel, plausible
from realtalk_ros.rendering.mouth.mouth_model import LookName
from realtalk_ros.rendering.own_teeth import TeethPicture

EXPECTED = 0.9  # how sure the generator is to be of a colour that no picture shows
# Where lips part by a line, lips or the dark behind them are read as enamel. So what is read with
# less certainty than the first number is not believed where it is darker than the second, a share
# of what is expected: of 102 people with shut mouths 13 were misread, at 0.34 to 0.62 of it.
SURE, DARKEST = 0.8, 0.7
# Lips that part without a smile leave the teeth in their shade. Of four people in films whose teeth
# the encoder surely sees so, it read 0.5 to 0.8 of the light that the whites say; as they speak
# they have 0.6 to 0.84 of that, as others do (19 people: 0.63). So such a reading is not believed,
# unless it is lighter than expected, or darker than the second number, a share of that, as a
# machine's. The first is the mean of both weights of mouthSmile: these people were fitted 0.05 to
# 0.24, smiles of photographs have 0.44 in the mean.
SMILES, SHADED = 0.25, 0.35
# Of teeth that were found in the picture: of 12 smiles whose teeth lie where the face model's do,
# 0.87 and more was read.
LIKE_TEETH = 0.8
LEAST = 0.02  # certainty, to divide by
SMILE = arkit.indices("mouthSmile")
# Red over green, below which what is read as flesh is none: in films people's is 2.5 times as red
# as their skin, in path-traced references 1.9 and more; of eight smiles with shut teeth, on which
# lips or the shade between teeth are taken for flesh, it was 1.2 to 1.4.
FLESH_RED = 1.5


@dataclass(frozen=True)
class EncodedAvatars:
    """What the renderer keeps of some avatars. A row is a pair of a reference and a template."""

    templates: np.ndarray  # (rows, 256, 256, 3) uint8, their face crops
    landmarks: np.ndarray  # (rows, 68, 2) of these, in normalised coordinates
    # What the generator takes of the encoder's outputs, by name: (rows, ...), or (references, ...)
    # of REFERENCE_FEATURES.
    features: dict[str, np.ndarray]
    # BGR of each avatar, 1: white. Enamel is that in full light, which may be more.
    enamel: list[np.ndarray]  # (3,) each
    flesh: list[np.ndarray]  # (4,) each: gums and tongue, and how sure


def encode_avatars(
    avatars: Sequence[Avatar],
    folder: Path,
    providers: Sequence[str] | None,
    threads: int,
    teeth: Sequence[TeethPicture | None] = (),
) -> EncodedAvatars:
    """Runs the encoder on every template of every avatar, with each of its references. `teeth` are
    each avatar's own, if they are known."""
    encoder = onnx_session.session(folder / ENCODER_FILE, providers, threads)
    names = [out.name for out in encoder.get_outputs() if out.name not in UNREAD_FEATURES]
    features: dict[str, list[np.ndarray]] = {name: [] for name in names}
    templates, landmarks, enamels, fleshes = [], [], [], []
    for avatar, shown in zip(avatars, teeth or [None] * len(avatars), strict=True):
        # Without a generator of its own an avatar's mouth is drawn shaded: teeth that are read as
        # if no shadow fell on them would get it twice.
        look: LookName = "plain" if avatar.generator else "shaded"
        crops, references = template_crops(avatar), reference_inputs(avatar, look)
        for reference in references:
            templates.append(np.stack(crops))
            landmarks.append(template_landmarks(avatar))
            for number, crop in enumerate(crops):
                found = encoder.run(names, {"reference": reference, "template": crop})
                for name, value in zip(names, found, strict=True):
                    if number == 0 or name not in REFERENCE_FEATURES:
                        features[name].append(value)
        count = len(references)
        read = np.concatenate(features["mouth_colours"][-count:])
        expected = expected_enamel(crops[0], landmarks[-1][0] * CROP_SIZE)
        colours, enamel = mouth_colours(avatar, read, expected, shown)
        enamels.append(enamel)
        fleshes.append(np.append(colours[0, 3:6] / max(colours[0, 7], LEAST), colours[0, 7]))
        features["mouth_colours"][-count:] = [colours] * count
    return EncodedAvatars(
        np.concatenate(templates),
        np.concatenate(landmarks),
        {name: np.concatenate(values) for name, values in features.items()},
        enamels,
        fleshes,
    )


def template_crops(avatar: Avatar) -> list[np.ndarray]:
    """The face crops (256, 256, 3) uint8 of an avatar's templates."""
    x, y, side = avatar.crop
    crops = (to_square(t[y : y + side, x : x + side], CROP_SIZE) for t in avatar.templates)
    return [np.ascontiguousarray(crop) for crop in crops]


def reference_images(avatar: Avatar) -> tuple[np.ndarray, ...]:
    """The images (256, 256, 3) uint8 from which an avatar's texture is taken."""
    return avatar.more_references or (avatar.reference_image,)


def reference_inputs(avatar: Avatar, look: LookName = "plain") -> list[np.ndarray]:
    """The encoder's inputs (256, 256, 6) uint8: each reference image with the map of its mouth's
    interior (mouth.py) in a look of it. The map is 0 where the image's landmarks are unknown."""
    images = reference_images(avatar)
    maps = np.zeros((len(images), CROP_SIZE, CROP_SIZE, 3), np.uint8)
    if (geometry := reference_geometry(avatar, look)) is not None:
        assert avatar.reference_weights is not None
        for k, mouth_interior in enumerate(maps):
            geometry.draw_mouth(avatar.reference_weights[k], k, mouth_interior)
    return [np.concatenate(both, -1) for both in zip(images, maps, strict=True)]


def mouth_colours(
    avatar: Avatar, read: np.ndarray, expected: np.ndarray, shown: TeethPicture | None
) -> tuple[np.ndarray, np.ndarray]:
    """An avatar's mouth colours (1, 8), by those that the encoder has `read` (K, 8) off its
    references; and its enamel in full light, (3,) BGR, 1: white. `expected` (3,) is the enamel if
    none is seen, `shown` the teeth that were found in a picture."""
    if avatar.generator is None:
        read = without_false_flesh(read)
        if shown is None:
            read = without_shaded_enamel(read, smiles(avatar), expected)
    colours = merge_mouth_colours(read)
    own = None if avatar.teeth is None else np.array(avatar.teeth[::-1], np.float32) / 255
    if own is None and shown and is_false_enamel(colours, shown.enamel, expected):
        own = shown.enamel
    return with_expected_enamel(colours, expected, own)


def merge_mouth_colours(colours: np.ndarray) -> np.ndarray:
    """(K, 8) -> (1, 8): one person's mouth colours of the K references that show them.

    A row is the colour of enamel (3), that of flesh (3), and how much of each is visible, as the
    encoder finds them (training/renderer/mouth_colours.py). Each colour is taken from the
    reference that shows the most of it: teeth do not change when the mouth shuts.
    """
    enamel, flesh = colours[:, 6:].argmax(0)
    parts = colours[enamel, :3], colours[flesh, 3:6], colours[[enamel, flesh], [6, 7]]
    return np.concatenate(parts)[None]


def without_false_flesh(colours: np.ndarray) -> np.ndarray:
    """Mouth colours (K, 8) with no flesh where it is not red."""
    colours = colours.copy()
    colours[colours[:, 5] < FLESH_RED * colours[:, 4], 7] = 0
    colours[colours[:, 7] == 0, 3:6] = 0
    return colours


def smiles(avatar: Avatar) -> np.ndarray:
    """(K,): how far an avatar's references smile; 1 where that is not known. A photograph's smile
    is the avatar's at rest."""
    if avatar.reference_weights is None:
        return np.ones(len(reference_images(avatar)))
    weights = avatar.reference_weights + avatar.resting_weights
    return np.asarray(weights[:, SMILE].mean(1))


def without_shaded_enamel(
    colours: np.ndarray, smiling: np.ndarray, expected: np.ndarray
) -> np.ndarray:
    """Mouth colours (K, 8) of references that smile as far as `smiling` (K,), with no enamel where
    it surely lies in the shade of lips; `expected` (3,) is that in full light."""
    colours = colours.copy()
    light = colours[:, :3].sum(1) / np.maximum(colours[:, 6], LEAST) / expected.sum()
    shaded = (smiling < SMILES) & (colours[:, 6] >= SURE) & (light > SHADED) & (light < 1)
    colours[np.ix_(shaded, [0, 1, 2, 6])] = 0
    return colours


def is_false_enamel(colours: np.ndarray, teeth: np.ndarray, expected: np.ndarray) -> bool:
    """Whether the enamel of mouth colours (1, 8) is not that of these teeth, (3,) BGR, as where the
    face model's lie on the dark beside them; nor is it as it is expected."""
    return is_dark(colours, teeth, LIKE_TEETH) and is_dark(colours, expected, DARKEST)


def is_dark(colours: np.ndarray, enamel: np.ndarray, share: float) -> bool:
    """Whether the enamel of mouth colours (1, 8) is darker than that share of `enamel` (3,)."""
    return bool(colours[0, :3].sum() < share * colours[0, 6] * enamel.sum())


def with_expected_enamel(
    colours: np.ndarray, expected: np.ndarray, own: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Mouth colours (1, 8) with that of the enamel as it is expected, (3,) BGR, as far as no
    picture shows it; or as it is known to be, `own` (3,) BGR. And that colour, (3,) BGR. 1 is
    white."""
    colours, seen = colours.copy(), float(colours[0, 6])
    if seen < SURE and is_dark(colours, expected, DARKEST):
        colours[0, [0, 1, 2, 6]] = seen = 0.0
    unseen = max(EXPECTED - seen, 0.0)
    enamel = (colours[0, :3] + unseen * plausible(expected)) / (seen + unseen)
    colours[0, :3] += unseen * plausible(np.minimum(expected, 1))
    colours[0, 6] += unseen
    if own is not None:
        enamel = own
        colours[0, :3] = colours[0, 6] * np.minimum(enamel, 1)
    return colours, enamel
