# SPDX-License-Identifier: Apache-2.0
"""`realtalk data facekit`, on a made-up clone of ICT-FaceKit of a few vertices."""

import json

import numpy as np
import pytest

from realtalk_ros.cli import main
from realtalk_ros.face_model import arkit
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.synthetic import facekit_import

COUNT = 80
LISTED = ("mouthSmile_L", "jawOpen")  # out of order, and PupilDilate and cheekRaiser unlisted
NAMES = ["PupilDilate_L", "PupilDilate_R", "cheekRaiser_L", "cheekRaiser_R", "jawOpen",
         "mouthSmile_L"]  # fmt: skip
# A quad, a triangle and a pentagon of two materials, with uvs of their own order.
FACES = """usemtl M_Teeth
f 1/1 2/2 3/3 4/4
f 5/4 6/3 7/2
usemtl M_Face
f 80/1 79/2 78/3 77/4 76/1
"""


def obj(vertices: np.ndarray) -> str:
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    uvs = ["vt 0.25 0.5", "vt 0.75 0.5", "vt 0.75 1", "vt 0.25 1"]
    return "\n".join(["# ICT FaceKit", "mtllib a.mtl", *lines, *uvs, FACES])


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """The clone's folder, its mean, and the delta that each shape's OBJ has in it."""
    monkeypatch.setattr(facekit_import, "PARTS", {"face": 70, "eyeball_left": 10})
    rng = np.random.default_rng(0)
    eighths = rng.integers(-64, 64, (1 + 100 + len(NAMES), COUNT, 3)) / 8  # exact as float16
    mean = eighths[0]
    deltas = dict(zip([f"identity{i:03d}" for i in range(100)] + NAMES, eighths[1:], strict=True))
    folder = tmp_path / "ICT-FaceKit" / "FaceXModel"
    folder.mkdir(parents=True)
    (folder / "generic_neutral_mesh.obj").write_text(obj(mean))
    for name, delta in deltas.items():
        (folder / f"{name}.obj").write_text(obj(mean + delta))
    indices = {"expressions": LISTED, "idx_to_landmark_verts": list(range(67, -1, -1))}
    (folder / "vertex_indices.json").write_text(json.dumps(indices))
    return folder.parent, mean, deltas


@pytest.mark.parametrize("inner", ["", "FaceXModel"])
def test_the_clone_becomes_the_arrays_of_the_face_model(clone, tmp_path, inner):
    root, mean, deltas = clone
    out = tmp_path / "made" / "kit.npz"
    assert main(["data", "facekit", str(root / inner), "--out", str(out)]) == 0
    assert [p.name for p in out.parent.iterdir()] == ["kit.npz"]

    with np.load(out, allow_pickle=False) as file:
        made = dict(file)
    ident = np.stack([deltas[f"identity{i:03d}"] for i in range(100)])
    want = {
        "mean": (mean, "f4"), "ident": (ident, "f2"),
        "expr": (np.stack([deltas[name] for name in NAMES]), "f2"), "expr_names": (NAMES, None),
        "tri": ([[0, 1, 2], [0, 2, 3], [4, 5, 6], [79, 78, 77], [79, 77, 76], [79, 76, 75]], "i4"),
        "tri_uv": ([[0, 1, 2], [0, 2, 3], [3, 2, 1], [0, 1, 2], [0, 2, 3], [0, 3, 0]], "i4"),
        "tri_mat": ([1, 1, 1, 0, 0, 0], "i1"), "materials": (["M_Face", "M_Teeth"], None),
        "uv": ([[0.25, 0.5], [0.75, 0.5], [0.75, 1], [0.25, 1]], "f4"),
        "landmarks68": (np.arange(67, -1, -1), "i4"),
        "part_names": (["face", "eyeball_left"], None), "part_ranges": ([[0, 70], [70, 80]], "i4"),
    }  # fmt: skip
    assert made.keys() == want.keys()
    for name, (values, dtype) in want.items():
        np.testing.assert_array_equal(made[name], values, err_msg=name)
        assert dtype is None or made[name].dtype == dtype, name

    kit = FaceKit.load(out)
    weights = np.zeros(arkit.COUNT, np.float32)
    weights[arkit.INDEX["jawOpen"]] = 0.5
    identity = np.zeros(100, np.float32)
    identity[99] = 2
    head = mean + 2 * deltas["identity099"] + 0.5 * deltas["jawOpen"]
    np.testing.assert_allclose(kit.vertices(identity, weights), head, atol=1e-5)


def test_the_parts_are_those_of_the_model():
    """Totals that its README and the ranges used by the studio state."""
    assert sum(facekit_import.PARTS.values()) == 26719
    assert list(facekit_import.PARTS)[7:9] == ["eyeball_left", "eyeball_right"]
    assert sum(list(facekit_import.PARTS.values())[:7]) == 21451


def edit(name, old, new):
    def harm(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return harm


@pytest.mark.parametrize(
    "harm, said",
    [
        (lambda f: (f / "generic_neutral_mesh.obj").unlink(), "is no clone of ICT-FaceKit"),
        (lambda f: (f / "vertex_indices.json").unlink(), "cannot read"),
        (lambda f: (f / "identity042.obj").unlink(), "identity042.obj"),
        (lambda f: (f / "cheekRaiser_R.obj").unlink(), "cheekRaiser_R.obj"),
        (lambda f: (f / "jawOpen.obj").write_text("version https://git-lfs"), "jawOpen.obj"),
        (edit("jawOpen.obj", "\nv ", "\n# "), "79 vertices, not 80"),
        (edit("jawOpen.obj", "\nv ", "\nv x"), "malformed vertices"),
        (edit("jawOpen.obj", "\nv ", "\nv nan "), "malformed vertices"),
        (edit("generic_neutral_mesh.obj", "\nv ", "\n# "), "79 vertices, not 80"),
        (edit("generic_neutral_mesh.obj", "vt 0.25 1", "vt 0.25"), "texture coordinates"),
        (edit("generic_neutral_mesh.obj", "5/4", "5//4"), "malformed face"),
        (edit("generic_neutral_mesh.obj", "f 5/4", "f"), "malformed face"),
        (edit("generic_neutral_mesh.obj", "5/4", "0/4"), "malformed face"),
        (edit("generic_neutral_mesh.obj", "5/4", "81/4"), "what they refer to"),
        (edit("generic_neutral_mesh.obj", "5/4", "5/9"), "what they refer to"),
        (edit("vertex_indices.json", "jawOpen", "../jawOpen"), "not a word"),
        (edit("vertex_indices.json", "[67", "[80"), "no vertices of the mesh"),
        (edit("vertex_indices.json", "[67, ", "["), "not 68 whole numbers"),
        (edit("vertex_indices.json", "idx_to", "idx"), "idx_to_landmark_verts"),
        (edit("vertex_indices.json", "{", "["), "is not ICT-FaceKit's"),
    ],
)
def test_a_harmed_clone_is_one_line_and_no_file(clone, tmp_path, capsys, harm, said):
    root, _, _ = clone
    harm(root / "FaceXModel")
    out = tmp_path / "kit.npz"
    assert main(["data", "facekit", str(root), "--out", str(out)]) == 2
    last = capsys.readouterr().err.rstrip("\n").split("\n")[-1]  # below the progress bar
    assert last.startswith("realtalk data facekit: ") and said in last, last
    assert not out.exists()


def test_out_must_be_writable_and_no_folder(clone, tmp_path, capsys):
    root, _, _ = clone
    assert main(["data", "facekit", str(root), "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    inside_a_file = root / "FaceXModel" / "vertex_indices.json" / "kit.npz"
    assert main(["data", "facekit", str(root), "--out", str(inside_a_file)]) == 2
    assert "cannot write" in capsys.readouterr().err
