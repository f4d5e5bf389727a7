# SPDX-License-Identifier: Apache-2.0
"""ict_facekit.npz out of a clone of USC ICT's ICT-FaceKit: `realtalk data facekit CLONE`.

The clone (https://github.com/ICT-VGL/ICT-FaceKit, MIT) holds the morphable head as OBJ files of one
topology in FaceXModel/. The arrays written, for V vertices, E expressions and T triangles, are

    mean                    (V, 3) float32, cm, generic_neutral_mesh.obj
    ident                   (100, V, 3) float16, identityNNN.obj - mean
    expr, expr_names        (E, V, 3) float16, the expression's OBJ - mean; its name
    tri, tri_uv, tri_mat    (T, 3), (T, 3) int32, (T,) int8: corners, their uv, their material
    uv, materials           (U, 2) float32, names
    landmarks68             (68,) int32, Multi-PIE, from vertex_indices.json
    part_names, part_ranges (P,), (P, 2) int32, first vertex and the one after the last

and `realtalk_ros.training.common.facekit.FaceKit` reads them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from pathlib import Path

import numpy as np

from realtalk_ros.errors import RealTalkError, reason
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.training.common.facekit import ENVIRONMENT, FaceKit
from realtalk_ros.training.synthetic import facekit_eyes, facekit_head, facekit_mouth
from realtalk_ros.whole_files import errors_of_writing, written_whole

SOURCE = "https://github.com/ICT-VGL/ICT-FaceKit"
MODEL, NEUTRAL, INDICES = "FaceXModel", "generic_neutral_mesh.obj", "vertex_indices.json"
# Shapes the clone has but its vertex_indices.json does not list.
MORE_EXPRESSIONS = ("PupilDilate_L", "PupilDilate_R", "cheekRaiser_L", "cheekRaiser_R")
# Parts in the order of their vertices, and how many each has: the table "Face Model Topology" of
# the clone's README.md.
PARTS = {
    "face": 9409, "head_neck": 1839, "mouth_socket": 2046,
    "eye_socket_left": 384, "eye_socket_right": 384, "gums_tongue": 2977, "teeth": 4412,
    "eyeball_left": 1570, "eyeball_right": 1570, "lacrimal_left": 204, "lacrimal_right": 204,
    "eye_blend_left": 24, "eye_blend_right": 24,
    "eye_occlusion_left": 152, "eye_occlusion_right": 152,
    "eyelashes_left": 684, "eyelashes_right": 684,
}  # fmt: skip


def read_clone(clone: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of the model in `clone`, the clone's folder or its FaceXModel; see the module.

    Raises RealTalkError when it is no clone, or a file of it is missing or malformed.
    """
    from tqdm import tqdm

    folder = find_model(Path(clone))
    expressions, landmarks = read_indices(folder / INDICES)
    arrays = read_mesh(folder / NEUTRAL, sum(PARTS.values()))
    mean = arrays["mean"]
    if landmarks.min() < 0 or landmarks.max() >= len(mean):
        raise RealTalkError(f"{folder / INDICES} has landmarks that are no vertices of the mesh")
    arrays["landmarks68"] = landmarks

    identities = [f"identity{i:03d}" for i in range(IDENTITY_SIZE)]
    shapes = np.empty((len(identities) + len(expressions), len(mean), 3), np.float16)
    with tqdm(identities + expressions, desc="reading shapes", unit="shape") as names:
        for shape, name in zip(shapes, names, strict=True):
            shape[:] = read_vertices(folder / f"{name}.obj", len(mean)) - mean
    arrays["ident"], arrays["expr"] = shapes[: len(identities)], shapes[len(identities) :]
    arrays["expr_names"] = np.array(expressions)
    ends = np.cumsum(list(PARTS.values()))
    arrays["part_names"] = np.array(list(PARTS))
    arrays["part_ranges"] = np.stack([ends - list(PARTS.values()), ends], 1).astype(np.int32)
    return arrays


def find_model(clone: Path) -> Path:
    """The folder of the OBJ files: `clone`/FaceXModel, or `clone` itself."""
    for folder in (clone / MODEL, clone):
        if (folder / NEUTRAL).is_file():
            return folder
    raise RealTalkError(
        f"{clone} is no clone of ICT-FaceKit, it has no {MODEL}/{NEUTRAL}: git clone {SOURCE}"
    )


def read_indices(path: Path) -> tuple[list[str], np.ndarray]:
    """Names of all expressions, sorted, and the (68,) int32 vertices of the landmarks."""
    try:
        content = json.loads(read(path))
        listed, landmarks = content["expressions"], content["idx_to_landmark_verts"]
        # They become names of files, which must be those of this folder.
        if not all(isinstance(name, str) and name.isidentifier() for name in listed):
            raise ValueError("an expression's name is not a word")
        if len(landmarks) != 68 or not all(type(i) is int for i in landmarks):
            raise ValueError("idx_to_landmark_verts is not 68 whole numbers")
        return sorted({*listed, *MORE_EXPRESSIONS}), np.array(landmarks, np.int32)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise RealTalkError(
            f"{path} is not ICT-FaceKit's ({reason(error)}): {again(path)}"
        ) from error


def read_vertices(path: Path, count: int) -> np.ndarray:
    """(count, 3) float32 positions of an OBJ file. Raises RealTalkError if it has not so many."""
    rows = [line.split()[1:4] for line in read(path).split(b"\n") if line.startswith(b"v ")]
    vertices = numbers(path, "vertices", rows, 3)
    if len(vertices) != count:
        raise RealTalkError(f"{path} has {len(vertices)} vertices, not {count}: {again(path)}")
    return vertices


def read_mesh(path: Path, count: int) -> dict[str, np.ndarray]:
    """mean, uv, tri, tri_uv, tri_mat and materials of an OBJ file of `count` vertices.

    A face of n corners becomes the n - 2 triangles of the fan around its first corner.
    """
    mean = read_vertices(path, count)
    uv_rows: list[list[bytes]] = []
    triangles: list[list[list[int]]] = []  # 3 corners of vertex and uv, from 1
    used: list[str] = []  # a triangle's material
    material = ""
    for line in read(path).split(b"\n"):
        kind, *words = line.split() or [b""]
        if kind == b"vt":
            uv_rows.append(words[:2])
        elif kind == b"usemtl":
            material = b" ".join(words).decode(errors="replace")
        elif kind == b"f":
            corners = face_corners(words)
            if len(corners) < 3:
                line = line.decode(errors="replace").strip()[:60]
                raise RealTalkError(f"{path} has a malformed face, {line!r}: {again(path)}")
            triangles += [[corners[0], b, c] for b, c in itertools.pairwise(corners[1:])]
            used += [material] * (len(corners) - 2)
    uv = numbers(path, "texture coordinates", uv_rows, 2)
    corner = np.array(triangles, np.int64).reshape(-1, 3, 2) - 1
    if not len(corner) or (corner.max((0, 1)) >= (len(mean), len(uv))).any():
        raise RealTalkError(f"{path} lacks faces, or what they refer to: {again(path)}")
    materials, material_of = np.unique(used, return_inverse=True)
    return {
        "mean": mean,
        "uv": uv,
        "tri": corner[..., 0].astype(np.int32),
        "tri_uv": corner[..., 1].astype(np.int32),
        "tri_mat": material_of.astype(np.int8),
        "materials": materials,
    }


def face_corners(words: list[bytes]) -> list[list[int]]:
    """Vertex and uv, from 1, of the corners that an OBJ file's line says; none where it is
    malformed."""
    try:
        corners = [[int(i) for i in word.split(b"/")[:2]] for word in words]
    except ValueError:
        return []
    whole = all(len(c) == 2 and min(c) > 0 and max(c) < 2**31 for c in corners)
    return corners if whole else []


def numbers(path: Path, what: str, rows: list[list[bytes]], width: int) -> np.ndarray:
    """(n, width) float32 of the file's `rows`."""
    try:
        values = np.array(rows, np.float64).reshape(len(rows), width).astype(np.float32)
    except ValueError:
        values = np.full(1, np.nan)
    if not len(rows) or not np.isfinite(values).all():
        raise RealTalkError(f"{path} has missing or malformed {what}: {again(path)}")
    return values


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RealTalkError(f"cannot read {path} ({reason(error)}): {again(path)}") from error


def again(path: Path) -> str:
    return f"restore it (git checkout {path.name}) or clone {SOURCE} again"


def write(out: Path, arrays: dict[str, np.ndarray]) -> None:
    """The .npz at `out`; readers never see half a file."""
    with (
        errors_of_writing(out),
        written_whole(out, make_folder=True) as part,
        open(part, "wb") as file,
    ):
        np.savez_compressed(file, **arrays)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `realtalk data facekit`."""
    parser.add_argument("clone", type=Path, metavar="CLONE", help=f"folder of a clone of {SOURCE}")
    parser.add_argument("--out", type=Path, default=Path("ict_facekit.npz"), help="file to write")
    parser.add_argument("--landmarks", type=Path, help="also write the landmark model here "
                        "(the package's is realtalk_ros/data/landmarks.npz)")  # fmt: skip
    parser.add_argument("--mouth", type=Path, help="also write the mouth's model here "
                        "(the package's is realtalk_ros/data/mouth.npz)")  # fmt: skip
    parser.add_argument("--eyes", type=Path, help="also write the eyes' model here "
                        "(the package's is realtalk_ros/data/eyes.npz)")  # fmt: skip
    parser.add_argument("--head", type=Path, help="also write the coarse head here "
                        "(the package's is realtalk_ros/data/head.npz)")  # fmt: skip
    parser.add_argument("--fit", type=Path, help="also write what enrolment fits to a face here "
                        "(the package's is realtalk_ros/data/fit.npz)")  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """`realtalk data facekit`: read the clone, write the file, say how to use it."""
    if args.out.is_dir():
        raise RealTalkError(f"{args.out} is a folder: give --out the file to write")
    arrays = read_clone(args.clone)
    write(args.out, arrays)
    expressions, vertices = arrays["expr"].shape[:2]
    print(
        f"{args.out}: {vertices} vertices, {len(arrays['ident'])} identity modes, {expressions} "
        f"expressions. Use it by --facekit or export {ENVIRONMENT}={args.out.resolve()}"
    )
    for path, what, made in (
        (args.landmarks, "the landmark model", landmark_arrays),
        (args.mouth, "the mouth's model", facekit_mouth.arrays),
        (args.eyes, "the eyes' model", facekit_eyes.arrays),
        (args.head, "the coarse head", facekit_head.arrays),
        (args.fit, "the model that enrolment fits", fit_arrays),
    ):
        if path:
            write(path, made(FaceKit.load(args.out)))
            print(f"{path}: {what}")


def landmark_arrays(kit: FaceKit) -> dict[str, np.ndarray]:
    """What `landmarks.Landmarks` takes, as float16 (steps of under 0.01 mm at a lip's movement)."""

    def at(modes: np.ndarray) -> np.ndarray:
        return modes.reshape(len(modes), -1, 3)[:, kit.landmarks].astype(np.float16)

    return {
        "mean": kit.mean[kit.landmarks].astype(np.float32),
        "expressions": at(kit.expressions),
        "identity_modes": at(kit.identity_modes),
    }


def fit_arrays(kit: FaceKit) -> dict[str, np.ndarray]:
    """What `enroll.fit.mesh_model` takes: the same at the vertices of enroll/mediapipe_points.py.
    Among them are the irises, which eyeLook turns."""
    from realtalk_ros.enroll.mediapipe_points import VERTEX

    rest = kit.mean[VERTEX]
    moves = [kit.deform(kit.mean, weights)[VERTEX] - rest for weights in np.eye(arkit.COUNT)]
    modes = kit.identity_modes.reshape(IDENTITY_SIZE, -1, 3)[:, VERTEX]
    return {
        "mean": rest.astype(np.float32),
        "expressions": np.stack(moves).astype(np.float16),
        "identity_modes": modes.astype(np.float16),
    }
