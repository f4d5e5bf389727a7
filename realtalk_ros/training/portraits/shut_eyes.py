# SPDX-License-Identifier: Apache-2.0
"""Pictures of shut eyes, of portraits whose lids are no skin that rendering/eyes/eyelids.py could
paint (NumPy and OpenCV)."""

from __future__ import annotations

import cv2
import numpy as np

from realtalk_ros.face_model.landmarks import EYES
from realtalk_ros.training.portraits.people import ROBOT, Sitter

# A robot's: half axes of what its visor covers, half the length, depth and width of a lit arc, in
# eye widths; its colour, BGR.
HOLE, LENGTH, DEPTH, WIDTH, ARC = (0.85, 0.5), 0.3, 0.1, 0.08, (214, 190, 46)
HALO, GLOW = 0.08, 0.6  # around the arc: standard deviation in eye widths, share of its light
FINE = 4  # times as large the arc is drawn


def picture(
    sitter: Sitter,
    images: dict[str, np.ndarray],
    landmarks: np.ndarray,
    square: tuple[int, int, int],
) -> np.ndarray | None:
    """The template, images["rest"], with shut eyes: (H, W, 3) uint8 BGR; None of people. landmarks
    (68, 2) and the face's square (x, y, side), which images["shut"] shows of a drawing, are in its
    pixels."""
    template = images["rest"][..., :3].copy()
    if sitter.kind == ROBOT:
        return lit_arcs(template, landmarks[EYES].reshape(2, 6, 2))
    if "shut" not in images:
        return None
    x, y, side = square
    template[y : y + side, x : x + side] = cv2.resize(images["shut"][..., :3], (side, side))
    return template


def lit_arcs(template: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """A robot's picture (H, W, 3) uint8 BGR in which the visor goes on over its `eyes` (2, 6, 2),
    pixels, and each of them is a lit arc."""
    height, width = template.shape[:2]
    hidden = np.zeros((height, width), np.uint8)
    fine = np.zeros((FINE * height, FINE * width), np.uint8)
    for eye in eyes:
        along, middle = eye[3] - eye[0], (eye[0] + eye[3]) / 2
        size = float(np.linalg.norm(along))
        axes = [2 * share * size for share in HOLE]
        cv2.ellipse(hidden, (middle.tolist(), axes, 0.0), 255, cv2.FILLED)
        t = np.linspace(-1, 1, 40)[:, None]
        arc = middle + LENGTH * t * along + (1 - t * t) * np.array([0, DEPTH * size])
        thick = max(1, round(FINE * WIDTH * size))
        cv2.polylines(fine, [np.rint(FINE * (arc + 0.5)).astype(int)], False, 255, thick)
    filled = cv2.inpaint(template, hidden, 6, cv2.INPAINT_TELEA).astype(np.float32)
    soft = cv2.GaussianBlur(filled, (0, 0), 0.12 * size)
    share = cv2.GaussianBlur(hidden, (0, 0), 1.5)[..., None] / 255
    shown = filled + share * (soft - filled)
    lit = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    lit = np.maximum(lit, GLOW * cv2.GaussianBlur(lit, (0, 0), HALO * size))[..., None] / 255
    return np.rint(shown + lit * (np.array(ARC, np.float32) - shown)).astype(np.uint8)
