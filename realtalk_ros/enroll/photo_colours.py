# SPDX-License-Identifier: Apache-2.0
"""Photographs as sRGB, as all else here takes pictures to be.

Telephones save Display P3, many cameras Adobe RGB, and say so by an ICC profile in the file or, for
the latter, by a word in its Exif (DCF 2.0). OpenCV takes no notice: skin comes out dull.
"""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.avatar.image_decoding import JPEG
from realtalk_ros.enroll.film_colours import FilmColours
from realtalk_ros.errors import RealTalkError

PROFILES = b"iCCP", b"ICC_PROFILE"  # how they are called in PNG and in JPEG
STRIP = 256  # rows that are converted at once
INTEROPERABILITY, ADOBE_RGB = 0xA005, "R03"  # in Exif
EXIF_END = 2**17  # byte before which a camera's Exif lies
OF_ADOBE_RGB = FilmColours(
    (np.arange(256, dtype=np.float32) / 255) ** np.float32(563 / 256),
    np.array([[1.39836, -0.39836, 0], [0, 1, 0], [0, -0.04293, 1.04293]], np.float32),
)


def pillow() -> Any:
    """Its package. Raises RealTalkError without it."""
    try:
        import PIL.Image
        import PIL.ImageCms
    except ImportError as error:  # the extra `enroll` brings it
        raise RealTalkError(
            f"Pillow is needed for its colour profile: {install_hints.how_to_install('PIL')}"
        ) from error
    return PIL


def as_srgb(picture: np.ndarray, data: bytes) -> np.ndarray:
    """The picture (height, width, 3) uint8 BGR that a PNG or JPEG file was decoded to, as sRGB.
    Profiles of CMYK and those that cannot be read are not followed. Raises RealTalkError without
    Pillow, where there is a profile."""
    if not any(name in data for name in PROFILES):
        return OF_ADOBE_RGB.convert(picture) if is_adobe_rgb(data) else picture
    pil = pillow()
    try:
        with pil.Image.open(io.BytesIO(data)) as image:
            profile = image.info.get("icc_profile")
        if not profile:
            return picture
        own = pil.ImageCms.ImageCmsProfile(io.BytesIO(profile))
        to_srgb = pil.ImageCms.buildTransform(own, pil.ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (pil.ImageCms.PyCMSError, OSError, SyntaxError, ValueError):
        return picture
    out = np.empty_like(picture)
    for start in range(0, len(picture), STRIP):
        rows = slice(start, start + STRIP)
        rgb = pil.Image.fromarray(cv2.cvtColor(picture[rows], cv2.COLOR_BGR2RGB))
        out[rows] = np.asarray(pil.ImageCms.applyTransform(rgb, to_srgb))[..., ::-1]
    return out


def is_adobe_rgb(data: bytes) -> bool:
    """Whether a JPEG file's Exif says so. Raises RealTalkError without Pillow, where it might."""
    if not data.startswith(JPEG) or ADOBE_RGB.encode() not in data[:EXIF_END]:
        return False
    pil = pillow()
    try:
        with pil.Image.open(io.BytesIO(data)) as image:
            said = image.getexif().get_ifd(INTEROPERABILITY)
    except (OSError, SyntaxError, ValueError):
        return False
    return str(said.get(1, "")).startswith(ADOBE_RGB)
