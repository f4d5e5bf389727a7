# SPDX-License-Identifier: Apache-2.0
"""A face on disk: a plain folder with a YAML file, images and arrays.

    avatar.yaml                 what follows, by name
    identity.npy                (100,) float32, identity coefficients of the 3D face model
    reference.png               (256, 256, 3), face crop from which the texture is taken
    templates/000.jpg ...       the frames of idle head motion, all of one size
    landmarks.npy               optional (N, 68, 2) float32: where the 3D face model's landmarks
                                (Multi-PIE) lie in each template, pixels, (0, 0) its upper left
                                corner; without, the face is taken to look straight ahead
    resting_weights.npy         optional (52,) float32: what of the 3D face model's expressions the
                                templates show, such as the beginning of a smile; none without
    mattes/000.png ...          optional, one for each template, grey of its size: the person's
                                share of a pixel, 255 all of it
    shut_eyes/000.jpg ...       optional, one for each template: the same with shut eyes
    parted_weights.npy          optional (52,) float32: what is added to them while the face is
                                silent, of one that rests with parted lips
    reference_expressions.npy   (50, 52) float32, 2 s of this person's own expressions, 25 Hz; none
                                where they are not known, as of a photo
    references/0.png ...        optional: more such crops, with other mouths (`references`)
    reference_weights.npy       (K, 52) float32, expressions of those crops
    reference_landmarks.npy     optional (K, 68, 2) float32: the landmarks in them, pixels of 256;
                                without, the colour of their teeth is unknown
    region.png                  optional (256, 256) grey: what of the crop the network may replace
    renderer_generate*.onnx     only if the face was fine-tuned (`realtalk train renderer --avatar`)

A folder may come from anybody: how its files are read is in avatar_files.py, and what all of them
take is bounded here. docs/avatars.md says what the keys mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from realtalk_ros.avatar import image_decoding
from realtalk_ros.avatar.avatar_files import AvatarFiles
from realtalk_ros.avatar.avatar_names import AVATAR_DIR, find
from realtalk_ros.avatar.avatar_yaml import MAX_YAML, parse, short
from realtalk_ros.avatar.flat_mouth_colours import Colour, FlatMouthColours, colour
from realtalk_ros.avatar.provenance import Provenance
from realtalk_ros.avatar.temperament import Temperament
from realtalk_ros.contracts import CROP_SIZE, GENERATOR_FILES, REFERENCE_SHAPE
from realtalk_ros.errors import AvatarError
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import COUNT as LANDMARKS
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.paths import exists

MAX_TEMPLATES, MAX_REFERENCES = 512, 8
MIN_CROP = 32  # pixels
MAX_TEMPLATE_BYTES = 512 * 2**20  # of all templates in memory: 512 of 512x512, 86 of 1920x1080
# Far outside of what a face can be; beyond, the networks answer with NaN.
MAX_IDENTITY, MAX_WEIGHT, MAX_PLACE = 50.0, 2.0, 1e5
FILE_KEYS = ("identity", "reference", "templates")  # name files
# Name files, if they are there.
MORE_FILE_KEYS = (
    "landmarks",
    "resting_weights",
    "parted_weights",
    "reference_expressions",
    "references",
    "reference_weights",
    "reference_landmarks",
    "region",
    "mattes",
    "shut_eyes",
)


@dataclass(frozen=True)
class Avatar:
    """One person or character. Images are uint8 BGR."""

    name: str
    size: tuple[int, int]  # width, height of the templates, pixels
    identity: np.ndarray  # (100,) float32
    reference_image: np.ndarray  # (256, 256, 3)
    templates: np.ndarray  # (N, height, width, 3)
    crop: tuple[int, int, int]  # x, y, side of the face's square in a template, pixels
    reference_expressions: np.ndarray | None  # (50, 52) float32, 25 Hz; None: unknown
    metadata: dict[str, Any]
    generator: Path | None  # folder of this avatar's own generator, if it has one
    more_references: tuple[np.ndarray, ...]  # instead of reference_image, (256, 256, 3) each
    reference_weights: np.ndarray | None  # (K, 52) float32, of more_references
    resting_weights: np.ndarray  # (52,) float32, what the templates show
    parted_weights: np.ndarray  # (52,) float32, added while the face is silent
    reference_landmarks: np.ndarray | None  # (K, 68, 2) float32, pixels of more_references
    region: np.ndarray | None  # (256, 256) float32 0..1, where the network may draw
    landmarks: np.ndarray | None  # (N, 68, 2) float32, pixels of the templates
    temperament: Temperament
    flat_mouth: FlatMouthColours | None  # of a drawing
    teeth: Colour | None  # of enamel in full light; None: as the pictures say
    mattes: np.ndarray | None  # (N, height, width), uint8 0..255: the person's share
    shut_eyes: np.ndarray | None  # (N, height, width, 3): the templates with shut eyes

    @classmethod
    def load(cls, name_or_dir: str | Path) -> Avatar:
        """Loads a bundled avatar by name, or any avatar by its folder. Raises AvatarError."""
        folder = find(name_or_dir)
        files, meta = _opened(folder)
        name = str(meta.get("name") or folder.name)
        Provenance.of(name, meta)  # raises
        templates = _templates(files, meta)
        height, width = templates.shape[1:3]
        crop = _crop(files, meta, (width, height))
        more = _references(files, meta)
        if len(templates) * max(1, len(more)) > MAX_TEMPLATES:  # the network keeps 3 MB for each
            raise AvatarError(
                f"{files.where}: {len(templates)} templates with {len(more)} references are more "
                f"than {MAX_TEMPLATES} pairs: use fewer"
            )
        own, teeth = meta.get("reference_expressions"), meta.get("teeth")
        return cls(
            name=name,
            size=(width, height),
            identity=files.array(meta.get("identity"), (IDENTITY_SIZE,), MAX_IDENTITY),
            reference_image=_reference(files, meta.get("reference")),
            templates=templates,
            crop=crop,
            reference_expressions=None
            if own is None
            else files.array(own, REFERENCE_SHAPE, MAX_WEIGHT),
            metadata=meta,
            generator=_own_generator(files),
            more_references=more,
            reference_weights=files.array(
                meta.get("reference_weights"), (len(more), arkit.COUNT), MAX_WEIGHT
            )
            if more
            else None,
            resting_weights=_weights(files, meta.get("resting_weights")),
            parted_weights=_weights(files, meta.get("parted_weights")),
            reference_landmarks=_landmarks(files, meta, "reference_landmarks", len(more), CROP_SIZE)
            if more
            else None,
            region=_region(files, meta.get("region")),
            landmarks=_landmarks(files, meta, "landmarks", len(templates), crop[2]),
            temperament=Temperament.of(meta.get("temperament"), files.where),
            flat_mouth=FlatMouthColours.of(meta.get("flat_mouth"), files.where),
            teeth=None if teeth is None else colour(teeth, f"{files.where}: teeth"),
            mattes=_of_templates(files, meta, "mattes", templates.shape[:3], grey=True),
            shut_eyes=_of_templates(files, meta, "shut_eyes", templates.shape[:3]),
        )

    @classmethod
    def check(cls, name_or_dir: str | Path) -> None:
        """Raises AvatarError for an avatar that is not there, or lacks files: a quick look, which
        reads no pictures."""
        files, meta = _opened(find(name_or_dir))
        for name in files_of(meta):
            files.path(name)

    @property
    def provenance(self) -> Provenance:
        """What pictures of this avatar carry."""
        return Provenance.of(self.name, self.metadata)


def files_of(meta: dict[str, Any]) -> list[str]:
    """Names of the files that an avatar.yaml lists, each once. Raises AvatarError."""
    names: dict[str, None] = {}
    for key in (*FILE_KEYS, *(key for key in MORE_FILE_KEYS if meta.get(key) is not None)):
        value = meta.get(key)
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(name, str) or not name:
                raise AvatarError(f"avatar.yaml: {key} must name files, not {short(name)}")
            names[name] = None
    return list(names)


def _opened(folder: Path) -> tuple[AvatarFiles, dict[str, Any]]:
    """The files of an avatar's folder, and what its avatar.yaml says. Raises AvatarError."""
    files = AvatarFiles(folder, links=folder.parent == AVATAR_DIR)
    return files, parse(files.read("avatar.yaml", MAX_YAML), str(folder / "avatar.yaml"))


def _region(files: AvatarFiles, name: Any) -> np.ndarray | None:
    """(256, 256) of an optional file."""
    return None if name is None else _reference(files, name)[..., 0].astype(np.float32) / 255


def _weights(files: AvatarFiles, name: Any) -> np.ndarray:
    """(52,) of an optional file, without it all 0."""
    return arkit.weights() if name is None else files.array(name, (arkit.COUNT,), MAX_WEIGHT)


def _reference(files: AvatarFiles, name: Any) -> np.ndarray:
    return image_decoding.to_square(files.image(name), CROP_SIZE)


def _references(files: AvatarFiles, meta: dict[str, Any]) -> tuple[np.ndarray, ...]:
    names = meta.get("references") or []
    if not isinstance(names, list) or len(names) > MAX_REFERENCES:
        raise AvatarError(f"{files.where}: references must list at most {MAX_REFERENCES} images")
    return tuple(_reference(files, name) for name in names)


def _crop(files: AvatarFiles, meta: dict[str, Any], size: tuple[int, int]) -> tuple[int, int, int]:
    """The face's square (x, y, side) in templates of `size`, width and height."""
    crop, (width, height) = meta.get("crop"), size
    if (
        not isinstance(crop, list)
        or len(crop) != 3
        or not all(type(value) is int for value in crop)
        or crop[2] < MIN_CROP
        or not (0 <= crop[0] <= width - crop[2] and 0 <= crop[1] <= height - crop[2])
    ):
        raise AvatarError(
            f"{files.where}: crop must be [x, y, side] in whole pixels, side at least "
            f"{MIN_CROP}, inside the {width}x{height} templates; it is {short(crop)}"
        )
    return crop[0], crop[1], crop[2]


def _templates(files: AvatarFiles, meta: dict[str, Any]) -> np.ndarray:
    names = meta.get("templates")
    if not isinstance(names, list) or not 0 < len(names) <= MAX_TEMPLATES:
        raise AvatarError(f"{files.where}: templates must list 1 to {MAX_TEMPLATES} images")
    image = files.image(names[0])
    if len(names) * image.nbytes > MAX_TEMPLATE_BYTES:
        raise AvatarError(
            f"{files.where}: {len(names)} templates of {image.shape[1]}x{image.shape[0]} take "
            f"more than {MAX_TEMPLATE_BYTES >> 20} MB: use fewer or smaller ones"
        )
    templates = np.empty((len(names), *image.shape), np.uint8)
    for number, name in enumerate(names):
        image = files.image(name) if number else image
        if image.shape != templates.shape[1:]:
            raise AvatarError(f"{files.where}: its templates differ in size")
        templates[number] = image
    return templates


def _of_templates(
    files: AvatarFiles, meta: dict[str, Any], key: str, shape: tuple[int, ...], grey: bool = False
) -> np.ndarray | None:
    """(N, height, width, 3), or without the last if they are `grey`: the images for templates of
    this shape (N, height, width)."""
    names = meta.get(key)
    if names is None:
        return None
    if not isinstance(names, list) or len(names) != shape[0]:
        raise AvatarError(f"{files.where}: {key} must list one image for each template")
    images = np.empty(shape if grey else (*shape, 3), np.uint8)
    for number, name in enumerate(names):
        image = files.image(name)
        if image.shape[:2] != shape[1:]:
            raise AvatarError(f"{files.where}: its {key} must be of the templates' size")
        if grey and np.ptp(image, axis=-1).max() > 2:  # as a cut-out has it, its alpha apart
            raise AvatarError(f"{files.where}: {name!r} must be grey: white where the person is")
        images[number] = image[..., 0] if grey else image
    return images


def _landmarks(
    files: AvatarFiles, meta: dict[str, Any], key: str, count: int, side: int
) -> np.ndarray | None:
    name = meta.get(key)
    if name is None:
        return None
    points = files.array(name, (count, LANDMARKS, 2), MAX_PLACE)
    # All in one place, or on one line, they are no face, and no camera shows one so.
    if np.ptp(points, axis=1).min() < side / 16:
        raise AvatarError(f"{files.where}: {name!r} does not hold the landmarks of a face")
    return points


def _own_generator(files: AvatarFiles) -> Path | None:
    """The avatar's folder, if a network of its own is there: in it, like everything else."""
    names = [name for name in GENERATOR_FILES if exists(files.folder / name)]
    for name in names:
        files.path(name)
    return files.folder if GENERATOR_FILES[0] in names else None
