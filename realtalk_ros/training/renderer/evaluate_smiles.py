# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate smiles`: avatars of neutral photographs smile, and are compared with
photographs of the same people smiling.

A pair are two files whose names begin alike. The mouth's weights of the smile are those that are
fitted to the smiling photograph on the face that the neutral one shows; the drawn face is laid over
the photograph by the pose of the head (rest_and_smile.py). In the box of the photograph's lips,
means over the pairs:

    mouth_lpips     LPIPS (lpips.py), of all pairs and of those that show teeth
    sharpness       of the pairs that show teeth, where the photograph's mouth is open: variance of
                    the Laplacian, as a share of the photograph's
    tone            there: difference of the mean colours, grey levels

between the eyes and the mouth:

    cheeks_lpips    LPIPS, of all pairs

and of the whole picture, where the extra `evaluate` is installed:

    identity        distance of the faces (enroll/face_embedding.py)

Nothing is kept but what `--json` prints and the sheet. Needs the extras `train` and `enroll`.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from tqdm import tqdm

from realtalk_ros.avatar import image_decoding
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.enroll import face_detector, native_output
from realtalk_ros.enroll.avatar_writer import temporary_avatar
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.face_embedding import FaceEmbedding
from realtalk_ros.enroll.photo_checks import photographs, read_picture
from realtalk_ros.enroll.photo_to_avatar import from_picture
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model.landmarks import EYE_CORNERS, LIPS, MOUTH_LEFT, MOUTH_RIGHT
from realtalk_ros.output import contact_sheet
from realtalk_ros.output.console import warn
from realtalk_ros.rendering.avatar_encoding import reference_inputs
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.training.common.affine_maps import compose, from_middles
from realtalk_ros.training.renderer.dataset import to_float
from realtalk_ros.training.renderer.evaluate import print_figures
from realtalk_ros.training.renderer.image_metrics import box_of
from realtalk_ros.training.renderer.lpips import Lpips
from realtalk_ros.training.renderer.rest_and_smile import (
    SMILE,
    Pair,
    from_square,
    middle_and_side,
    pairs_by_name,
    read_pair,
)

OPEN = 60  # pixels of the face crop between the lips, from which on a photograph shows teeth
BELOW_EYES = 0.12  # of the height from the eyes to the mouth: where the cheeks' box begins
CELL = (160, 96)  # pixels; the boxes of the lips are compared at this size
PAIRS_A_ROW = 6  # on the sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("neutral", metavar="NEUTRAL", type=Path, help="folder of photographs")
    parser.add_argument("smiling", metavar="SMILING", type=Path, help="of the same people")
    parser.add_argument("--models", type=Path, help="folder of the ONNX files")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.add_argument("--sheet", type=Path, help="write a PNG: photographs and drawn smiles")
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)


@dataclass(frozen=True)
class Smile:
    mouth_lpips: float
    sharpness: float | None  # of those that show teeth
    tone: float | None
    cheeks_lpips: float | None = None
    identity: float | None = None  # where it can be had


def run(args: argparse.Namespace) -> None:
    """`realtalk evaluate smiles`."""
    if args.sheet is not None:
        contact_sheet.check_path(args.sheet)
    lpips, smiles, cells = Lpips(), {}, []
    embedding, lacking = FaceEmbedding.if_installed()
    paths = pairs_by_name(photographs(args.neutral), photographs(args.smiling))
    with native_output.hidden(args.verbose):
        FaceDetector(args.landmarker).close()  # says what is missing before the work begins
        for name, both in tqdm(paths.items(), desc="people", disable=None):
            try:
                neutral, smiling = (enrolled(path, args.landmarker) for path in both)
                pair = read_pair(*both, args.landmarker)
            except RealTalkError:
                continue  # counted as refused; `realtalk evaluate avatars` says why
            frame = draw_smile(neutral, pair, args.models)
            drawn, photo, interior = face_crops(frame, smiling)
            box = lip_box(smiling)
            smile = compare(drawn, photo, interior, box, lpips)
            cheeks = [image[cheek_box(smiling)] for image in (drawn, photo)]
            smile = replace(smile, cheeks_lpips=perceived(*cheeks, lpips))
            if embedding is not None:
                frames = frame, pair.photographs[SMILE].image
                smile = replace(smile, identity=distance(frames, embedding, args.landmarker))
            smiles[name] = smile
            cells.append(np.hstack([cv2.resize(image[box], CELL) for image in (photo, drawn)]))
    if not smiles:
        raise RealTalkError(
            "no pair of photographs could be enrolled: see `realtalk evaluate avatars`"
        )
    figures = {"refused": len(paths) - len(smiles), **means(smiles)}
    people = {name: asdict(smile) for name, smile in smiles.items()}
    print_figures({**figures, "people": people} if args.json else figures, args.json)
    if lacking:
        warn("evaluate smiles", lacking)
    if args.sheet:
        write_sheet(cells, args.sheet)


def enrolled(path: Path, landmarker: Path | None) -> Avatar:
    """Raises RealTalkError for a photograph that is refused."""
    return temporary_avatar(from_picture(read_picture(path), path.name, landmarker), path)


def draw_smile(neutral: Avatar, pair: Pair, models: Path | None) -> np.ndarray:
    """The frame of the smiling photograph, (height, width, 3) uint8, with the neutral one's avatar
    and the smile of the pair in its place."""
    renderer = FaceRenderer(neutral, neutral.size[1], model_dir=models)
    image = renderer.render(pair.weights[SMILE], 0)
    to_crop = cv2.invertAffineTransform(from_square(middle_and_side(neutral.crop)))
    into_frame = compose(pair.maps[SMILE], to_crop)
    size = pair.photographs[SMILE].image.shape[1::-1]
    return cv2.warpAffine(image, from_middles(into_frame), size, flags=cv2.INTER_CUBIC)


def face_crops(frame: np.ndarray, smiling: Avatar) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The face crops of a drawn frame and of the smiling photograph, both (256, 256, 3) uint8, and
    where the photograph's mouth is open, (256, 256)."""
    reference = reference_inputs(smiling)[0]
    photo, interior = reference[..., :3], reference[..., 3] > 128
    x, y, side = smiling.crop
    drawn = image_decoding.to_square(frame[y : y + side, x : x + side], len(photo))
    return drawn, photo, interior


def distance(
    frames: tuple[np.ndarray, np.ndarray], embedding: FaceEmbedding, landmarker: Path | None
) -> float | None:
    """Of the faces in two frames; None where none is found in one."""
    with FaceDetector(landmarker) as detector:
        found = [detector.find(frame)[:1] for frame in frames]
    if not all(found):
        return None
    first, second = (
        embedding.embed(frame, face.points) for frame, (face,) in zip(frames, found, strict=True)
    )
    return float(np.linalg.norm(first - second))


def lip_box(avatar: Avatar) -> tuple[slice, slice]:
    """Rows and columns of the lips in an avatar's (first) reference image."""
    assert avatar.reference_landmarks is not None
    return box_of(avatar.reference_landmarks[0][LIPS], CROP_SIZE)


def cheek_box(avatar: Avatar) -> tuple[slice, slice]:
    """Likewise of cheeks and nose: from below the eyes to the corners of the mouth, and a tenth of
    the eyes' distance beyond them on each side."""
    assert avatar.reference_landmarks is not None
    points = avatar.reference_landmarks[0]
    eyes, corners = points[EYE_CORNERS], points[[MOUTH_RIGHT, MOUTH_LEFT]]
    height = corners[:, 1].mean() - eyes[:, 1].mean()
    beside = 0.1 * np.ptp(eyes[:, 0])
    top = eyes[:, 1].mean() + BELOW_EYES * height
    return rows_and_columns(
        np.array([eyes[:, 0].min() - beside, top]),
        np.array([eyes[:, 0].max() + beside, top + (1 - BELOW_EYES) * height]),
    )


def rows_and_columns(first: np.ndarray, last: np.ndarray) -> tuple[slice, slice]:
    """Of a box between two corners (x, y)."""
    (left, top), (right, bottom) = first.astype(int), last.astype(int)
    return slice(max(top, 0), bottom), slice(max(left, 0), right)


@torch.no_grad()
def perceived(drawn: np.ndarray, photo: np.ndarray, lpips: Lpips) -> float:
    """LPIPS of two pictures (H, W, 3) uint8."""
    pictures = (np.ascontiguousarray(picture) for picture in (drawn, photo))
    return float(lpips(*(to_float(torch.from_numpy(picture)[None]) for picture in pictures)))


def compare(
    drawn: np.ndarray,
    photo: np.ndarray,
    interior: np.ndarray,
    box: tuple[slice, slice],
    lpips: Lpips,
) -> Smile:
    cells = (
        cv2.resize(image[box], CELL, interpolation=cv2.INTER_CUBIC) for image in (drawn, photo)
    )
    distance = perceived(*cells, lpips)
    if interior.sum() < OPEN:
        return Smile(distance, None, None)
    detail = [cv2.Laplacian(i.mean(-1), cv2.CV_64F)[interior].var() for i in (drawn, photo)]
    tone = np.abs(drawn[interior].mean(0) - photo[interior].mean(0)).mean()
    return Smile(distance, float(detail[0] / detail[1]), float(tone))


def means(smiles: dict[str, Smile]) -> dict[str, float | int]:
    """Each figure over the pairs that have it."""
    with_teeth = [smile for smile in smiles.values() if smile.tone is not None]

    def mean(name: str, of: Collection[Smile]) -> dict[str, float]:
        values = [v for smile in of if (v := getattr(smile, name)) is not None]
        return {name: float(np.mean(values))} if values else {}

    figures: dict[str, float | int] = {
        "pairs": len(smiles),
        "showing_teeth": len(with_teeth),
        **mean("mouth_lpips", smiles.values()),
    }
    for name, value in mean("mouth_lpips", with_teeth).items():
        figures[f"{name}_showing_teeth"] = value
    for name in ("sharpness", "tone", "cheeks_lpips", "identity"):
        figures |= mean(name, smiles.values())
    return figures


def write_sheet(cells: list[np.ndarray], path: Path) -> None:
    empty = [np.zeros_like(cells[0])] * (-len(cells) % PAIRS_A_ROW)
    cells = [*cells, *empty]
    rows = [np.hstack(cells[k : k + PAIRS_A_ROW]) for k in range(0, len(cells), PAIRS_A_ROW)]
    contact_sheet.save(path, np.vstack(rows))
