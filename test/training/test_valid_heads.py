# SPDX-License-Identifier: Apache-2.0
"""Pictures of VALID's people: the files they come in, their mouths' paint, who is held out."""

import argparse
import json
import struct
import sys
import types

import cv2
import numpy as np
import pytest

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.valid_heads import glb, make_pictures, mouth_paint, poses

# Two triangles that a seam of the texture divides, and a third whose corner touches the first's,
# as lips do, until the target parts them.
POINTS = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0], [-1, 0, 0],
          [0, -1, 0]]  # fmt: skip
MOVES = [[0, 0, 0]] * 6 + [[0, -0.5, 0]] * 3
UV = [[0, 0], [0.5, 0], [0, 0.5], [0.9, 0.9], [0.8, 0.9], [0.9, 0.8], [0, 0], [0, 1], [1, 1]]
SCALE, PLACE = 0.5, np.array([0.0, 1.6, 0.1])  # from the skin's coordinates to the scene's
SIZE = 32  # pixels of the texture
TARGET = "h_expressions.MouthOpen_h"


def glb_file(path, mesh="h_TeethDown", texture=None, compressed=False):
    """A file with one mesh."""
    bound = np.eye(4)
    bound[:3, :3] *= SCALE
    arrays = [
        (np.float32(POINTS), 5126, "VEC3"),
        (np.float32(MOVES), 5126, "VEC3"),
        (np.round(np.array(UV) * 65535).astype(np.uint16), 5123, "VEC2"),
        (np.arange(9, dtype=np.uint16), 5123, "SCALAR"),
        (np.float32(bound.T), 5126, "MAT4"),
    ]
    image = np.full((SIZE, SIZE, 3), 255, np.uint8) if texture is None else texture
    chunks = [a.tobytes() for a, _, _ in arrays] + [cv2.imencode(".png", image)[1].tobytes()]
    views, binary = [], b""
    for chunk in chunks:
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(chunk)})
        binary += chunk + b"\0" * (-len(chunk) % 4)
    if compressed:
        views[0] = {"buffer": 0, "byteLength": len(chunks[0]), "extensions": {
            glb.COMPRESSION: {"buffer": 0, "byteOffset": 0, "byteLength": len(chunks[0]),
                              "byteStride": 12, "count": 9, "mode": "ATTRIBUTES"}}}  # fmt: skip
    described = {
        "bufferViews": views,
        "accessors": [
            {"bufferView": k, "componentType": kind, "type": shape,
             "count": 1 if shape == "MAT4" else len(a), "normalized": shape == "VEC2"}
            for k, (a, kind, shape) in enumerate(arrays)
        ],
        "images": [{"bufferView": 5, "mimeType": "image/png"}],
        "textures": [{"extensions": {"EXT_texture_webp": {"source": 0}}}],
        "materials": [
            {"name": "_Body", "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
        ],
        "meshes": [{
            "name": mesh,
            "extras": {"targetNames": [TARGET]},
            "primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 2}, "indices": 3,
                            "targets": [{"POSITION": 1}], "material": 0}],
        }],
        "skins": [{"joints": [1], "inverseBindMatrices": 4}],
        "nodes": [
            {"name": mesh, "mesh": 0, "skin": 0, "scale": [100, 100, 100]},
            {"name": "Head", "translation": (PLACE - (0, 1, 0)).tolist()},
            {"name": "Hips", "translation": [0, 1, 0], "children": [1]},
        ],
    }  # fmt: skip
    text = json.dumps(described).encode()
    text += b" " * (-len(text) % 4)
    parts = [struct.pack("<II", len(text), glb.JSON_CHUNK) + text,
             struct.pack("<II", len(binary), glb.BINARY_CHUNK) + binary]  # fmt: skip
    size = 12 + sum(map(len, parts))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(glb.MAGIC + struct.pack("<II", 2, size) + b"".join(parts))
    return path


def corners(part, points):
    return points[part.triangles].reshape(-1, 3)


def test_a_head_is_read_where_it_was_bound(tmp_path):
    """By the joint and its inverse bind matrix; the mesh's own node says nothing, as in glTF."""
    model = glb.read(glb_file(tmp_path / "head.glb"))
    (part,) = model.parts.values()
    assert np.allclose(corners(part, part.points), SCALE * np.array(POINTS) + PLACE)
    opened = part.moved({TARGET: 0.5, "h_expressions.none_h": 1.0})
    wanted = SCALE * (np.array(POINTS) + 0.5 * np.array(MOVES)) + PLACE
    assert np.allclose(corners(part, opened), wanted)
    assert np.allclose(part.uv.reshape(-1, 2), np.array(UV) * (1, -1) + (0, 1), atol=1e-4)
    assert cv2.imdecode(np.frombuffer(model.textures[0], np.uint8), 1).shape == (SIZE, SIZE, 3)


def test_seams_are_closed_and_lips_are_not(tmp_path):
    (part,) = glb.read(glb_file(tmp_path / "head.glb")).parts.values()
    assert len(part.points) == 7  # of 9
    assert len(set(part.triangles[:2].ravel())) == 4
    assert part.triangles[0, 0] != part.triangles[2, 0]


def test_compressed_files_are_decoded(tmp_path, monkeypatch):
    path = glb_file(tmp_path / "head.glb", compressed=True)
    asked = []

    def decode(count, stride, data):
        asked.append((count, stride))
        return np.frombuffer(data, np.uint8)

    decoder = types.SimpleNamespace(decode_vertex_buffer=decode)
    monkeypatch.setitem(sys.modules, "meshoptimizer", decoder)
    (part,) = glb.read(path).parts.values()
    assert np.allclose(corners(part, part.points), SCALE * np.array(POINTS) + PLACE)
    assert asked == [(9, 12)]
    monkeypatch.setitem(sys.modules, "meshoptimizer", None)
    with pytest.raises(ModuleNotFoundError):
        glb.read(path)


def test_what_is_no_model_is_said(tmp_path):
    path = tmp_path / "pointer.glb"
    path.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(RealTalkError, match="no binary glTF"):
        glb.read(path)
    with pytest.raises(RealTalkError, match="cannot read"):
        glb.read(tmp_path / "none.glb")


@pytest.mark.parametrize("mesh", ["h_TeethDown", "H_DDS_HighRes"])
def test_black_paint_is_taken_out_of_mouths_alone(tmp_path, mesh):
    """All that a mesh of teeth shows; of the skin, which has pupils' and lashes' black, none but
    the inside of the cheeks, where none of this mesh is."""
    black = np.zeros((SIZE, SIZE, 3), np.uint8)
    model = glb.read(glb_file(tmp_path / "head.glb", mesh, black))
    paint = mouth_paint.painted(model, 0)
    shown = paint[2, 2]  # of the first triangle, u and v from the upper left in the file
    assert tuple(shown) == (mouth_paint.FLESH if mesh == "h_TeethDown" else (0, 0, 0))
    assert not paint[SIZE // 2, -1].any()  # that no triangle shows


def test_every_third_person_is_held_out():
    parts = [make_pictures.part_of(number) for number in range(42)]
    assert parts.count(make_pictures.HELD) == 14 and parts[:4] == [
        make_pictures.HELD, make_pictures.TRAIN, make_pictures.TRAIN, make_pictures.HELD,
    ]  # fmt: skip


def test_expressions_differ_by_person_and_not_by_run():
    first, again = (make_pictures.shots("A", np.random.default_rng(1)) for _ in range(2))
    other = make_pictures.shots("A", np.random.default_rng(2))
    assert first == again != other
    assert len(first) == len(poses.EXPRESSIONS) + 1 and not first[0].weights
    few = make_pictures.shots("A", np.random.default_rng(1), 4)
    assert len(few) == 5 and {shot.place for shot in few} < {shot.place for shot in first}
    assert all(np.abs(shot.turn).max() <= 2 * poses.TURN.max() for shot in first)


def test_teeth_follow_the_lips():
    weights = poses.targets({"AE_AA": 0.4, "MPB_Up": 0.7, "MPB_Down": 0.7})
    assert weights["h_expressions.AE_AA_h"] == weights["h_teeth.t_AE_AA_h"] == 0.4
    assert weights["h_teeth.t_MPB_h"] == weights["h_expressions.MPB_Down_h"] == 0.7


def test_pictures_are_made_once(tmp_path, monkeypatch, capsys):
    """Blender's part is another's."""
    taken = []

    class Studio:
        def __init__(self, model, folder, setting):
            assert folder.is_dir()

        def photograph(self, path, effort, weights, turn):
            taken.append(path.relative_to(tmp_path / "out").as_posix())
            path.write_bytes(b"picture")

    stub = types.SimpleNamespace(
        Studio=Studio,
        Setting=types.SimpleNamespace(random=lambda rng: None),
        Effort=lambda *of: of,
    )
    name = "realtalk_ros.training.valid_heads"
    monkeypatch.setitem(sys.modules, f"{name}.studio", stub)
    monkeypatch.setattr(sys.modules[name], "studio", stub, raising=False)
    for who in ("White_F_1", "Asian_M_2"):
        glb_file(tmp_path / "clone" / "avatars" / who.split("_")[0] / f"{who}_Casual.glb")
    parser = argparse.ArgumentParser()
    make_pictures.add_arguments(parser)
    words = [str(tmp_path / "clone"), "--out", str(tmp_path / "out")]
    make_pictures.run(parser.parse_args([*words, "--expressions", "2"]))
    assert len(taken) == 6 and taken[0] == "held_out/neutral/AsianM2_rest.png"
    assert sum(place.startswith("train/moved/WhiteF1_") for place in taken) == 2
    make_pictures.run(parser.parse_args([*words, "--expressions", "3"]))
    assert len(taken) == 8
    with pytest.raises(RealTalkError, match="valid-avatars-glb"):
        make_pictures.run(parser.parse_args([str(tmp_path / "out")]))
