# SPDX-License-Identifier: Apache-2.0
"""Photographs as sRGB, as all else here takes pictures to be.

Telephones save Display P3, many cameras Adobe RGB, and say so by an ICC profile in the file. OpenCV
takes no notice: skin comes out dull.
"""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.errors import RealTalkError

PROFILES = b"iCCP", b"ICC_PROFILE"  # how they are called in PNG and in JPEG
STRIP = 256  # rows that are converted at once


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
        return picture
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
