# SPDX-License-Identifier: Apache-2.0
"""Photographs as sRGB without transparency, as all else here takes pictures to be.

Telephones save Display P3, many cameras Adobe RGB, and say so by an ICC profile in the file. OpenCV
takes no notice: skin comes out dull. What is transparent in a PNG may have any colour, and is shown
white.
"""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.avatar.image_decoding import PNG
from realtalk_ros.errors import RealTalkError

PROFILES = b"iCCP", b"ICC_PROFILE"  # how they are called in PNG and in JPEG
STRIP = 256  # rows that are converted at once


def pillow() -> Any:
    """Its package. Raises RealTalkError without it."""
    try:
        import PIL.Image
        import PIL.ImageCms
        import PIL.ImageOps
    except ImportError as error:  # the extra `enroll` brings it
        raise RealTalkError(
            "Pillow is needed for its colour profile or transparency: "
            f"{install_hints.how_to_install('PIL')}"
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


def on_white(picture: np.ndarray, data: bytes) -> np.ndarray:
    """Likewise, with white where the PNG file is transparent. Raises RealTalkError without Pillow,
    where it is."""
    if not data.startswith(PNG) or not (data[25:26] in b"\4\6" or b"tRNS" in data):
        return picture
    pil = pillow()
    try:
        with pil.Image.open(io.BytesIO(data)) as image:
            turned = pil.ImageOps.exif_transpose(image)  # as `picture` is
            opaque = np.asarray(turned.convert("RGBA").getchannel("A"))
    except (OSError, SyntaxError, ValueError):
        return picture
    if opaque.shape != picture.shape[:2]:
        return picture
    out = np.empty_like(picture)
    for start in range(0, len(picture), STRIP):
        rows = slice(start, start + STRIP)
        alpha = opaque[rows].astype(np.float32) / 255
        white = np.full_like(picture[rows], 255)
        out[rows] = cv2.blendLinear(picture[rows], white, alpha, 1 - alpha)
    return out
