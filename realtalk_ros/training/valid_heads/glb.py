# SPDX-License-Identifier: Apache-2.0
"""Reads what of a binary glTF file (.glb) a person is drawn from: meshes with their morph targets,
as they stand in the pose in which they were bound to their skeleton, and textures.

glTF 2.0 of the Khronos Group; EXT_meshopt_compression needs PyPI's `meshoptimizer`.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from realtalk_ros.errors import RealTalkError, reason

MAGIC, JSON_CHUNK, BINARY_CHUNK = b"glTF", 0x4E4F534A, 0x004E4942
COMPRESSION = "EXT_meshopt_compression"
KINDS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True)
class Part:
    """A mesh of one material. Points that only a seam of the texture divides are one."""

    points: np.ndarray  # (P, 3), units of the file's scene
    triangles: np.ndarray  # (T, 3)
    uv: np.ndarray  # (T, 3, 2), of the triangles' corners, from the lower left
    targets: dict[str, np.ndarray]  # (P, 3) each, to be added to the points
    material: int

    def moved(self, weights: dict[str, float]) -> np.ndarray:
        """(P, 3): the points under these weights; targets that the part lacks leave it alone."""
        used = [w * self.targets[name] for name, w in weights.items() if name in self.targets]
        return self.points + sum(used)


@dataclass(frozen=True)
class Model:
    parts: dict[str, Part]  # by the names of their meshes
    materials: list[dict[str, Any]]  # as in the file
    textures: list[bytes]  # encoded pictures, by the numbers that materials give


class Reader:
    """A file's accessors as arrays."""

    def __init__(self, path: Path):
        """Raises RealTalkError for what is no binary glTF file."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise RealTalkError(f"cannot read {path} ({reason(error)})") from error
        if data[:4] != MAGIC:
            raise RealTalkError(f"{path} is no binary glTF file: was the clone made without it?")
        self.binary = b""
        start = 12
        while start < len(data):
            size, kind = struct.unpack_from("<II", data, start)
            chunk = data[start + 8 : start + 8 + size]
            if kind == JSON_CHUNK:
                self.json = json.loads(chunk)
            elif kind == BINARY_CHUNK:
                self.binary = chunk
            start += 8 + size
        self.views: dict[int, bytes] = {}

    def view(self, number: int) -> bytes:
        """The bytes of a buffer view, decompressed."""
        if number not in self.views:
            view = self.json["bufferViews"][number]
            packed = view.get("extensions", {}).get(COMPRESSION)
            where = packed or view
            start = where.get("byteOffset", 0)
            found = self.binary[start : start + where["byteLength"]]
            if packed:
                found = decompressed(found, packed)
            self.views[number] = found
        return self.views[number]

    def array(self, number: int) -> np.ndarray:
        """(count, width) of an accessor; normalised integers as floats."""
        accessor = self.json["accessors"][number]
        kind, width = np.dtype(KINDS[accessor["componentType"]]), WIDTHS[accessor["type"]]
        view = self.json["bufferViews"][accessor["bufferView"]]
        step = view.get("byteStride") or kind.itemsize * width
        found = np.ndarray(
            (accessor["count"], width), kind, self.view(accessor["bufferView"]),
            accessor.get("byteOffset", 0), (step, kind.itemsize),
        )  # fmt: skip
        if not accessor.get("normalized"):
            return found.astype(np.float64 if kind.kind == "f" else np.int64)
        return np.maximum(found / float(np.iinfo(kind).max), -1.0)

    def to_scene(self) -> list[np.ndarray]:
        """(4, 4) each: from every node's own coordinates to the scene's."""
        nodes = self.json["nodes"]
        parents = {child: k for k, node in enumerate(nodes) for child in node.get("children", [])}
        own = [local(node) for node in nodes]

        def whole(k: int) -> np.ndarray:
            return whole(parents[k]) @ own[k] if k in parents else own[k]

        return [whole(k) for k in range(len(nodes))]


def decompressed(data: bytes, packed: dict[str, Any]) -> bytes:
    """The rows of a buffer view that is `packed` (EXT_meshopt_compression)."""
    import meshoptimizer

    count, stride, filtered = packed["count"], packed["byteStride"], packed.get("filter", "NONE")
    if packed["mode"] != "ATTRIBUTES":
        indices = {
            "TRIANGLES": meshoptimizer.decode_index_buffer,
            "INDICES": meshoptimizer.decode_index_sequence,
        }[packed["mode"]]
        return indices(count, stride, data).tobytes()[: count * stride]
    rows = meshoptimizer.decode_vertex_buffer(count, stride, data)
    if filtered != "NONE":
        restored = {
            "OCTAHEDRAL": meshoptimizer.decode_filter_oct,
            "QUATERNION": meshoptimizer.decode_filter_quat,
            "EXPONENTIAL": meshoptimizer.decode_filter_exp,
        }[filtered]
        rows = restored(rows, count, stride)
    return rows.tobytes()


def local(node: dict[str, Any]) -> np.ndarray:
    """(4, 4): from a node's coordinates to its parent's."""
    if "matrix" in node:
        return np.array(node["matrix"]).reshape(4, 4).T
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_quat(node.get("rotation", (0, 0, 0, 1))).as_matrix()
    matrix[:3, :3] *= node.get("scale", (1, 1, 1))
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def read(path: Path) -> Model:
    """Raises RealTalkError for a file that is none, ModuleNotFoundError without `meshoptimizer`."""
    reader = Reader(path)
    to_scene, parts = reader.to_scene(), {}
    for number, node in enumerate(reader.json["nodes"]):
        if "mesh" not in node:
            continue
        mesh, matrix = reader.json["meshes"][node["mesh"]], to_scene[number]
        if "skin" in node:
            # While bones lie as they were bound, any of them says where the skin is.
            skin = reader.json["skins"][node["skin"]]
            bound = reader.array(skin["inverseBindMatrices"])[0].reshape(4, 4).T
            matrix = to_scene[skin["joints"][0]] @ bound
        names = mesh.get("extras", {}).get("targetNames", [])
        for k, primitive in enumerate(mesh["primitives"]):
            name = mesh["name"] + (f".{k}" if k else "")
            parts[name] = part(reader, primitive, names, matrix)
    textures = [
        reader.view(reader.json["images"][source(texture)]["bufferView"])
        for texture in reader.json.get("textures", [])
    ]
    return Model(parts, reader.json.get("materials", []), textures)


def source(texture: dict[str, Any]) -> int:
    """Number of a texture's image."""
    for extension in texture.get("extensions", {}).values():
        if "source" in extension:
            return extension["source"]
    return texture["source"]


def part(reader: Reader, primitive: dict[str, Any], names: list[str], matrix: np.ndarray) -> Part:
    """`names` are those of its morph targets, `matrix` (4, 4) leads to the scene."""
    points = reader.array(primitive["attributes"]["POSITION"])
    moves = [reader.array(target["POSITION"]) for target in primitive.get("targets", [])]
    corners = reader.array(primitive["indices"])[:, 0]
    uv = reader.array(primitive["attributes"]["TEXCOORD_0"])[corners].reshape(-1, 3, 2)
    # Lips that touch at rest part in some target: they stay two.
    alike = np.hstack([points, *moves]).round(7)
    _, first, which = np.unique(alike, axis=0, return_index=True, return_inverse=True)
    return Part(
        points=points[first] @ matrix[:3, :3].T + matrix[:3, 3],
        triangles=which.reshape(-1)[corners].reshape(-1, 3),
        uv=uv * (1, -1) + (0, 1),
        targets={
            name: move[first] @ matrix[:3, :3].T for name, move in zip(names, moves, strict=True)
        },
        material=primitive.get("material", 0),
    )
