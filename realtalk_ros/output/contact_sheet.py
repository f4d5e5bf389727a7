# SPDX-License-Identifier: Apache-2.0
"""Contact sheets: an avatar's face in some expressions side by side, to be judged at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.behaviour import emotion
from realtalk_ros.face_model import arkit
from realtalk_ros.output import picture_file
from realtalk_ros.rendering.face_renderer import FaceRenderer

EXPRESSIONS = {
    "rest": arkit.weights(),
    "ah": arkit.weights(jawOpen=0.5, mouthLowerDown=0.25, mouthUpperUp=0.1),
    "oh": arkit.weights(jawOpen=0.35, mouthFunnel=0.6),
    "oo": arkit.weights(jawOpen=0.1, mouthPucker=0.7, mouthFunnel=0.25),
    "ee": arkit.weights(
        jawOpen=0.1, mouthSmile=0.3, mouthStretch=0.3, mouthUpperUp=0.3, mouthLowerDown=0.3
    ),
    "m": arkit.weights(mouthClose=0.1, mouthPress=0.4, mouthRollLower=0.25, mouthRollUpper=0.2),
    "f": arkit.weights(jawOpen=0.08, mouthRollLower=0.6, mouthUpperUp=0.3),
    "smile": arkit.weights(mouthSmile=0.6, cheekSquint=0.4, eyeSquint=0.15),
    "blink": arkit.weights(eyeBlink=1.0),
    "looks left": arkit.weights(eyeLookOutLeft=0.7, eyeLookInRight=0.7),
    **{mood: emotion.weights(mood) for mood in ("surprised", "angry")},
}
ENROLMENT = ("rest", "ah", "ee", "oo", "m", "smile", "blink")  # what `realtalk enroll` shows
CELL = 320  # pixels, side of a picture
MARGIN = 0.14  # around the face's square, share of its side
# Of a mouth: its picture, pixels, and which part of the face's square it shows, (x, y, width). Its
# middle is at 0.61 of the square's height (landmarks.face_square); the chin may fall.
MOUTH_CELL = (160, 128)
MOUTH_PART = (0.25, 0.43, 0.5)
QUALITY = 80  # of a sheet that is a JPEG
LABEL = 24  # pixels, height of the line with the columns' names


def check_path(path: Path) -> None:
    """Raises RealTalkError for a `--sheet` that could not be written, before the work begins."""
    picture_file.check_path(path, "--sheet")


def save(path: Path, sheet: np.ndarray) -> None:
    """Writes it, (height, width, 3) uint8 BGR, to a path of `check_path`. Raises RealTalkError."""
    picture_file.save(path, sheet, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def faces(renderer: FaceRenderer, names: Iterable[str] = EXPRESSIONS) -> list[np.ndarray]:
    """The avatar's face in these expressions (keys of EXPRESSIONS), each over another of its
    templates: (CELL, CELL, 3) uint8 BGR."""
    names, crop = list(names), face_square(renderer)
    return [
        cell(renderer.render(EXPRESSIONS[name], k * renderer.template_count // len(names)), crop)
        for k, name in enumerate(names)
    ]


def face_square(renderer: FaceRenderer) -> tuple[float, float, float]:
    """The face's square (x, y, side) in the renderer's images, pixels."""
    scale = renderer.size[1] / renderer.avatar.size[1]
    x, y, side = (value * scale for value in renderer.avatar.crop)
    return x, y, side


def cell(image: np.ndarray, square: tuple[float, float, float]) -> np.ndarray:
    """`square` (x, y, side) of an image and MARGIN around it, (CELL, CELL, 3); black where the
    image ends before."""
    x, y, side = square
    margin = MARGIN * side
    return _part(image, (x - margin, y - margin, side + 2 * margin), (CELL, CELL))


def mouth(image: np.ndarray, square: tuple[float, float, float]) -> np.ndarray:
    """The mouth of the face in `square` (x, y, side) of an image: uint8 BGR of MOUTH_CELL."""
    x, y, side = square
    left, top, width = (value * side for value in MOUTH_PART)
    return _part(image, (x + left, y + top, width), MOUTH_CELL)


def _part(image: np.ndarray, part: tuple[float, float, float], size: tuple[int, int]) -> np.ndarray:
    """What of an image begins at (x, y) and is `width` wide, in `size` (width, height), pixels;
    black where the image ends before."""
    x, y, width = part
    scale = size[0] / width
    if scale < 1:  # warpAffine takes single pixels
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        x, y, scale = x * scale, y * scale, 1.0
    # Half a pixel: OpenCV counts from the middle of the first one.
    left, top = (scale * (v - 0.5) + 0.5 for v in (x, y))
    matrix = np.array([[scale, 0, -left], [0, scale, -top]])
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC)


def labelled(cells: Sequence[np.ndarray], names: Sequence[str], columns: int) -> np.ndarray:
    """Cells in rows of `columns`, each with its name in the corner."""
    cells = [cell.copy() for cell in cells]
    for one, name in zip(cells, names, strict=True):
        _write(one, name, (8, CELL - 10))
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    return np.vstack([np.hstack(cells[k : k + columns]) for k in range(0, len(cells), columns)])


def table(rows: Iterable[tuple[str, Sequence[np.ndarray]]], columns: Sequence[str]) -> np.ndarray:
    """Lines of a name and its cells, all of one size, under the columns' names."""
    rows = list(rows)
    height, width = rows[0][1][0].shape[:2]
    head = np.zeros((LABEL, width * len(columns), 3), np.uint8)
    for number, name in enumerate(columns):
        _write(head, name, (width * number + 8, LABEL - 7))
    lines = [head]
    for name, cells in rows:
        line = np.hstack(cells)
        _write(line, name, (8, height - 10))
        lines.append(line)
    return np.vstack(lines)


def _write(image: np.ndarray, text: str, at: tuple[int, int]) -> None:
    """White with a dark edge, in place; OpenCV draws ASCII only."""
    text, (x, y) = text.encode("ascii", "replace").decode(), at
    # Not a thick text below a thin one: OpenCV 5 makes thick letters wider.
    around = [(x + dx, y + dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    for level, places in ((0, around), (255, [at])):
        for place in places:
            cv2.putText(
                image,
                text,
                place,
                fontFace=cv2.FONT_HERSHEY_SIMPLEX,
                fontScale=0.5,
                color=(level, level, level),
                lineType=cv2.LINE_AA,
            )
