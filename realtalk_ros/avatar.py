"""A face on disk: a plain folder with a YAML file, images and arrays.

    avatar.yaml                 what follows, by name
    identity.npy                (100,) float32, identity coefficients of the 3D face model
    reference.png               (256, 256, 3), face crop from which the texture is taken
    templates/000.jpg ...       the frames of idle head motion, all of one size
    reference_expressions.npy   (50, 52) float32, 2 s of this person's own expressions, 25 Hz
    renderer_generate*.onnx     only if the face was fine-tuned (`realtalk train renderer --avatar`)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from realtalk_ros.errors import AvatarError

AVATAR_DIR = Path(__file__).parent / "avatars"
CROP_SIZE = 256  # side of the face crop that the renderer works on, pixels
IDENTITY_SIZE = 100  # modes of the 3D face model
REFERENCE_SHAPE = (50, 52)  # frames at 25 Hz, ARKit weights
MAX_TEMPLATES = 512
MAX_PIXELS = 2048 * 2048


@dataclass(frozen=True)
class Avatar:
    """One person or character. Images are uint8 BGR."""

    name: str
    size: tuple[int, int]  # width, height of the templates, pixels
    identity: np.ndarray  # (100,) float32
    reference_image: np.ndarray  # (256, 256, 3)
    templates: np.ndarray  # (N, height, width, 3)
    crop: tuple[int, int, int]  # x, y, side of the face's square in a template, pixels
    reference_expressions: np.ndarray  # (50, 52) float32, 25 Hz
    metadata: dict[str, Any]
    generator: Path | None = None  # folder of this avatar's own generator, if it has one

    @classmethod
    def load(cls, name_or_dir: str | Path) -> Avatar:
        """Loads a bundled avatar by name, or any avatar by its folder. Raises AvatarError."""
        folder = find(name_or_dir)
        meta = _read_yaml(folder / "avatar.yaml")
        templates = _templates(folder, meta)
        height, width = templates.shape[1:3]
        crop = meta.get("crop")
        if (
            not isinstance(crop, list)
            or len(crop) != 3
            or not all(isinstance(value, int) for value in crop)
            or crop[2] < 32
            or not (0 <= crop[0] <= width - crop[2] and 0 <= crop[1] <= height - crop[2])
        ):
            raise AvatarError(
                f"avatar {folder}: crop must be [x, y, side] in whole pixels, side at least 32, "
                f"inside the {width}x{height} templates; it is {crop!r}"
            )
        reference = _image(folder, meta.get("reference"))
        if reference.shape[:2] != (CROP_SIZE, CROP_SIZE):
            reference = cv2.resize(reference, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)
        return cls(
            name=str(meta.get("name") or folder.name),
            size=(width, height),
            identity=_array(folder, meta.get("identity"), (IDENTITY_SIZE,)),
            reference_image=reference,
            templates=templates,
            crop=(crop[0], crop[1], crop[2]),
            reference_expressions=_array(
                folder, meta.get("reference_expressions"), REFERENCE_SHAPE
            ),
            metadata=meta,
            generator=folder if (folder / "renderer_generate.onnx").is_file() else None,
        )


def find(name_or_dir: str | Path) -> Path:
    """The folder of an avatar. Raises AvatarError if there is none."""
    text = str(name_or_dir)
    bundled = AVATAR_DIR / text
    is_name = text not in ("", ".", "..") and Path(text).name == text
    for folder in [bundled, Path(text)] if is_name else [Path(text)]:
        if (folder / "avatar.yaml").is_file():
            return folder
    known = ", ".join(sorted(path.parent.name for path in AVATAR_DIR.glob("*/avatar.yaml")))
    raise AvatarError(
        f"no avatar {text!r}: give a folder that holds an avatar.yaml, or one of: {known or '-'}"
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        meta = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise AvatarError(f"avatar file {path} cannot be read: {reason}") from error
    if not isinstance(meta, dict):
        raise AvatarError(f"avatar file {path} must hold `name: value` lines")
    if meta.get("format") != 1:
        raise AvatarError(f"avatar file {path} has format {meta.get('format')!r}; this reads 1")
    return meta


def _inside(folder: Path, name: Any) -> Path:
    """`name` resolved within `folder`; a user's file must not point anywhere else."""
    if not isinstance(name, str) or not name:
        raise AvatarError(f"avatar {folder} names no file where one is needed: {name!r}")
    # The package's own avatars are links when it was built with colcon's --symlink-install.
    bundled = folder.parent == AVATAR_DIR
    follow = os.path.abspath if bundled else os.path.realpath
    root, path = Path(follow(folder)), Path(follow(folder / name))
    if not path.is_relative_to(root):
        raise AvatarError(f"avatar {folder} names a file outside its folder: {name!r}")
    if not path.is_file():
        raise AvatarError(f"avatar {folder} lacks its file {name!r}: export the avatar again")
    return path


def _image(folder: Path, name: Any) -> np.ndarray:
    path = _inside(folder, name)
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if (
        path.stat().st_size
    ) else None
    if image is None:
        raise AvatarError(f"avatar {folder}: {name!r} is not a readable image")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise AvatarError(f"avatar {folder}: {name!r} is larger than {MAX_PIXELS} pixels")
    return image


def _templates(folder: Path, meta: dict[str, Any]) -> np.ndarray:
    names = meta.get("templates")
    if not isinstance(names, list) or not 0 < len(names) <= MAX_TEMPLATES:
        raise AvatarError(f"avatar {folder}: templates must list 1 to {MAX_TEMPLATES} images")
    images = [_image(folder, name) for name in names]
    if len({image.shape for image in images}) != 1:
        raise AvatarError(f"avatar {folder}: its templates differ in size")
    return np.stack(images)


def _array(folder: Path, name: Any, shape: tuple[int, ...]) -> np.ndarray:
    path = _inside(folder, name)
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise AvatarError(f"avatar {folder}: {name!r} is not a NumPy array file") from error
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind not in "fiu":
        raise AvatarError(f"avatar {folder}: {name!r} must hold {shape} numbers")
    if not np.isfinite(array).all():
        raise AvatarError(f"avatar {folder}: {name!r} holds NaN or infinite values")
    return array.astype(np.float32)
