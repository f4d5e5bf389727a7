# SPDX-License-Identifier: Apache-2.0
"""The paint in the mouths of VALID's people: their textures are black from the middle of the mouth
backwards, so that games need no shadows there. Light that is traced falls off by itself."""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.training.valid_heads.glb import Model

FLESH = (70, 72, 150)  # BGR, sRGB: as dark as anything in a mouth is painted
# Where the skin's texture shows the inside of the cheeks and the palate: u and v from, to.
INNER_CHEEKS = ((0.0, 0.0862), (0.9165, 1.0))
SPREAD = 5  # pixels by which seams are covered


def mouth_mask(model: Model, number: int, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: where a texture of that number and shape is of teeth, gums, tongue and cheeks.
    Parts whose names have "teeth" in them are of the mouth; others are skin."""
    height, width = shape
    mask = np.zeros(shape, np.uint8)
    for name, part in model.parts.items():
        described = model.materials[part.material]["pbrMetallicRoughness"]
        if described.get("baseColorTexture", {}).get("index") != number:
            continue
        uv = part.uv
        if "teeth" not in name.lower():
            (left, right), (low, high) = INNER_CHEEKS
            u, v = uv[..., 0], uv[..., 1]
            uv = uv[((u >= left) & (u <= right) & (v >= low) & (v <= high)).all(1)]
        corners = np.stack([uv[..., 0] * width, (1 - uv[..., 1]) * height], -1)
        for triangle in np.rint(corners).astype(np.int32):
            cv2.fillConvexPoly(mask, triangle, 1)
    return cv2.dilate(mask, np.ones((SPREAD, SPREAD), np.uint8)) > 0


def painted(model: Model, number: int) -> np.ndarray:
    """(H, W, 3) uint8 BGR: a texture of the model, nowhere in the mouth darker than FLESH."""
    texture = cv2.imdecode(np.frombuffer(model.textures[number], np.uint8), cv2.IMREAD_COLOR)
    mask = mouth_mask(model, number, texture.shape[:2])
    return np.where(mask[..., None], np.maximum(texture, np.uint8(FLESH)), texture)
