# SPDX-License-Identifier: Apache-2.0
"""Photographs as sRGB without transparency, as all else here takes pictures to be.

Telephones save Display P3, many cameras Adobe RGB, and say so by an ICC profile in the file. OpenCV
takes no notice: skin comes out dull. What is transparent in a PNG may have any colour, and is shown
white.
"""

from __future__ import annotations

import io

import cv2
import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.avatar.image_decoding import PNG
from realtalk_ros.errors import RealTalkError

PROFILES = b"iCCP", b"ICC_PROFILE"  # how they are called in PNG and in JPEG
STRIP = 256  # rows that are converted at once


def as_srgb(picture: np.ndarray, data: bytes) -> np.ndarray:
    """The picture (height, width, 3) uint8 BGR that a PNG or JPEG file was decoded to, as sRGB.
    Profiles of CMYK and those that cannot be read are not followed. Raises RealTalkError without
    Pillow, where there is a profile."""
    if not any(name in data for name in PROFILES):
        return picture
    try:
        from PIL import Image, ImageCms
    except ImportError as error:  # MediaPipe brings it
        raise RealTalkError(
            f"Pillow is needed for its colour profile: {install_hints.how_to_install('PIL')}"
        ) from error
    try:
        with Image.open(io.BytesIO(data)) as image:
            profile = image.info.get("icc_profile")
        if not profile:
            return picture
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        to_srgb = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError, SyntaxError, ValueError):
        return picture
    out = np.empty_like(picture)
    for start in range(0, len(picture), STRIP):
        rows = slice(start, start + STRIP)
        rgb = Image.fromarray(cv2.cvtColor(picture[rows], cv2.COLOR_BGR2RGB))
        out[rows] = np.asarray(ImageCms.applyTransform(rgb, to_srgb))[..., ::-1]
    return out


def on_white(picture: np.ndarray, data: bytes) -> np.ndarray:
    """Likewise, with white where the PNG file is transparent."""
    if not data.startswith(PNG) or not (data[25:26] in b"\4\6" or b"tRNS" in data):
        return picture
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    # One that is to be turned is turned in the picture only.
    if whole is None or whole.ndim < 3 or whole.shape[2] != 4 or b"eXIf" in data:
        return picture
    out = np.empty_like(picture)
    full = 255 if whole.dtype == np.uint8 else 65535
    for start in range(0, len(picture), STRIP):
        rows = slice(start, start + STRIP)
        alpha = whole[rows, :, 3].astype(np.float32) / full
        white = np.full_like(picture[rows], 255)
        out[rows] = cv2.blendLinear(picture[rows], white, alpha, 1 - alpha)
    return out
