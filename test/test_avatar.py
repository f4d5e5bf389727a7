# SPDX-License-Identifier: Apache-2.0
"""Avatar folders, good and hostile."""

import io
import shutil
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from realtalk_ros.avatar import image_decoding
from realtalk_ros.avatar.avatar import Avatar, files_of
from realtalk_ros.avatar.avatar_names import AVATAR_DIR, FORMER_NAMES, find
from realtalk_ros.errors import AvatarError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    home = tmp_path / "face"
    (home / "templates").mkdir(parents=True)
    for k in range(3):
        cv2.imwrite(str(home / f"templates/{k}.png"), rng.integers(0, 255, (128, 96, 3), np.uint8))
    cv2.imwrite(str(home / "reference.png"), rng.integers(0, 255, (256, 256, 3), np.uint8))
    np.save(home / "identity.npy", rng.normal(size=100).astype(np.float32))
    np.save(home / "expressions.npy", rng.random((50, 52), np.float32))
    write(
        home,
        {
            "format": 1,
            "name": "face",
            "crop": [8, 20, 64],
            "reference": "reference.png",
            "identity": "identity.npy",
            "reference_expressions": "expressions.npy",
            "templates": [f"templates/{k}.png" for k in range(3)],
        },
    )
    return home


def write(home, meta):
    (home / "avatar.yaml").write_text(yaml.safe_dump(meta))


def change(home, **values):
    write(home, {**yaml.safe_load((home / "avatar.yaml").read_text()), **values})


def test_loads_a_folder(folder):
    avatar = Avatar.load(folder)
    assert avatar.size == (96, 128) and avatar.templates.shape == (3, 128, 96, 3)
    assert avatar.crop == (8, 20, 64) and avatar.identity.dtype == np.float32


def test_loads_an_enrolled_person(folder):
    np.save(folder / "weights.npy", np.zeros((2, 52), np.float32))
    np.save(folder / "places.npy", np.random.default_rng(1).uniform(0, 256, (2, 68, 2)))
    np.save(folder / "smile.npy", np.full(52, 0.1))
    (folder / "notes").mkdir()
    change(folder, references=["reference.png", "templates/0.png"], consent=" Ann Lee ",
           reference_weights="weights.npy", reference_landmarks="places.npy",
           resting_weights="smile.npy", reference_expressions=None,
           source={"name": "me.png", "sha256": "0" * 64})  # fmt: skip
    avatar = Avatar.load(folder)
    assert [r.shape for r in avatar.more_references] == [(256, 256, 3)] * 2
    assert avatar.reference_weights.shape == (2, 52) and avatar.reference_expressions is None
    assert avatar.reference_landmarks.shape == (2, 68, 2) and avatar.resting_weights.ndim == 1
    assert avatar.provenance.consent == "Ann Lee"
    assert avatar.provenance.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert "weights.npy" in files_of(avatar.metadata)


@pytest.mark.parametrize("what, depth", [("mattes", ()), ("shut_eyes", (3,))])
def test_there_may_be_more_pictures_for_each_template(folder, what, depth):
    (folder / what).mkdir()
    names = [f"{what}/{k}.png" for k in range(3)]
    pictures = np.random.default_rng(2).integers(0, 255, (3, 128, 96, *depth), np.uint8)
    for name, picture in zip(names, pictures, strict=True):
        cv2.imwrite(str(folder / name), picture)
    assert getattr(Avatar.load(folder), what) is None
    change(folder, **{what: names})
    avatar = Avatar.load(folder)
    np.testing.assert_array_equal(getattr(avatar, what), pictures)
    assert set(names) < set(files_of(avatar.metadata))  # so they are exported


def test_the_default_avatar_loads_by_name():
    avatar = Avatar.load("default")
    assert avatar.size == (512, 512) and avatar.crop[2] == 256  # the network draws its own pixels
    assert len(avatar.more_references) == 4


@pytest.mark.parametrize(
    "values, word",
    [
        ({"identity": "../secret.npy"}, "outside"),
        ({"templates": ["/etc/passwd"]}, "outside"),
        ({"reference": "nothing.png"}, "nothing.png"),
        ({"reference": "identity.npy"}, "readable image"),
        ({"reference_expressions": "identity.npy"}, "(50, 52)"),
        ({"landmarks": "identity.npy"}, "(3, 68, 2)"),
        ({"landmarks": "../secret.npy"}, "outside"),
        ({"landmarks": "one_place.npy"}, "landmarks of a face"),
        (
            {
                "references": ["reference.png"],
                "reference_weights": "rest.npy",
                "reference_landmarks": "../secret.npy",
            },
            "outside",
        ),
        (
            {
                "references": ["reference.png"],
                "reference_weights": "rest.npy",
                "reference_landmarks": "one_place.npy",
            },
            "(1, 68, 2)",
        ),
        ({"resting_weights": "identity.npy"}, "(52,)"),
        ({"identity": "avatar.yaml"}, "NumPy"),
        ({"identity": 7}, "names no file"),
        ({"identity": "a" * 5000}, "names no file"),
        ({"identity": "a\0b.npy"}, "names no file"),
        ({"identity": "\ud800.npy"}, "names no file"),
        ({"templates": []}, "templates"),
        ({"templates": ["templates/0.png", "reference.png"]}, "differ"),
        ({"crop": [50, 50, 64]}, "crop"),
        ({"crop": "all"}, "crop"),
        ({"crop": [True, 0, 64]}, "crop"),
        ({"references": ["reference.png"]}, "names no file"),
        ({"references": ["reference.png"] * 9}, "at most 8"),
        ({"references": ["reference.png"], "reference_weights": "expressions.npy"}, "(1, 52)"),
        ({"references": "reference.png"}, "references must list"),
        ({"references": ["reference.png"] * 8, "templates": ["templates/0.png"] * 65}, "512 pairs"),
        ({"mattes": ["reference.png"]}, "one image for each template"),
        ({"mattes": "templates/0.png"}, "one image for each template"),
        ({"mattes": ["reference.png"] * 3}, "of the templates' size"),
        ({"mattes": ["templates/0.png"] * 3}, "must be grey"),
        ({"mattes": ["gone.png", "templates/1.png", "templates/0.png"]}, "lacks its file"),
        ({"shut_eyes": ["reference.png"]}, "shut_eyes must list one image for each template"),
        ({"shut_eyes": ["reference.png"] * 3}, "its shut_eyes must be of the templates' size"),
        ({"temperament": {"blink_rate": 99}}, "from 0 to 40"),
        ({"format": 9}, "format"),
        ({"name": "two\nlines"}, "name must be one line"),
        ({"name": "\x1b[2J"}, "name must be one line"),
        ({"name": ["list"]}, "name must be one line"),
        ({"source": {"name": "me.png", "sha256": "0" * 64}}, "who consented"),
        ({"source": {"name": "me.png"}, "consent": " "}, "who consented"),
        ({"consent": "two\nlines"}, "consent must be one line"),
        ({"consent": ["Ann"]}, "consent must be one line"),
        ({"consent": "a" * 501}, "consent must be one line"),
        ({"digital_source_type": "digitalCapture"}, "digital_source_type"),
        ({"digital_source_type": ["compositeSynthetic"]}, "digital_source_type"),
    ],
)
def test_bad_folders_say_what_is_wrong(folder, values, word):
    np.save(folder.parent / "secret.npy", np.zeros(100, np.float32))
    np.save(folder / "rest.npy", np.zeros((1, 52), np.float32))
    np.save(folder / "one_place.npy", np.full((3, 68, 2), 40, np.float32))
    change(folder, **values)
    with pytest.raises(AvatarError) as error:
        Avatar.load(folder)
    assert word in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("lines", [
    "crop: [0, 0, 64]\n",
    "temperament:\n  blink_rate: 5\n  blink_rate: 20\n",
])  # fmt: skip
def test_a_name_that_is_there_twice_is_told(folder, lines):
    with (folder / "avatar.yaml").open("a") as file:
        file.write(lines)
    with pytest.raises(AvatarError, match="'(crop|blink_rate)' is there twice"):
        Avatar.load(folder)


def test_only_a_bundled_avatar_may_consist_of_links(folder, tmp_path, monkeypatch):
    # colcon build --symlink-install makes a link of every file.
    installed = tmp_path / "installed" / "linked"
    for source in [p for p in folder.rglob("*") if p.is_file()]:
        link = installed / source.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source)
    with pytest.raises(AvatarError, match="outside"):
        Avatar.load(installed)
    for module in ("avatar", "avatar_names"):
        monkeypatch.setattr(f"realtalk_ros.avatar.{module}.AVATAR_DIR", installed.parent)
    assert len(Avatar.load("linked").templates) == 3
    change(installed, identity="../../face/identity.npy")
    with pytest.raises(AvatarError, match="outside"):
        Avatar.load("linked")


@pytest.mark.parametrize("name", FORMER_NAMES)
def test_a_name_of_earlier_versions_means_an_avatar_of_now(folder, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find(name) == AVATAR_DIR / FORMER_NAMES[name]
    shown = Avatar.load(name)
    np.testing.assert_array_equal(shown.templates, Avatar.load(FORMER_NAMES[name]).templates)
    # Somebody's own avatar of that name comes first.
    shutil.copytree(folder, tmp_path / name)
    assert find(name) == Path(name)


def test_nan_is_refused(folder):
    np.save(folder / "identity.npy", np.full(100, np.nan, np.float32))
    with pytest.raises(AvatarError, match="NaN"):
        Avatar.load(folder)


@pytest.mark.parametrize(
    "line",
    ["note: !!binary aGk=", "note: !!set {a}", "note: !!str 5", "note: !mine 5", "note: ! x"],
)
def test_a_yaml_has_no_tags(folder, line):
    with (folder / "avatar.yaml").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(AvatarError, match="tags such as .* are not allowed"):
        Avatar.load(folder)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{here}: &{here} [{','.join([f'*{before}'] * 9)}]\n"
    for before, here in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system ['true']",
        BOMB + "format: *i",
        "format: " + "[" * 5000,
        "format: " + "9" * 5000,
        "created: 2026-99-99",
        "? [a, b]\n: c",
        "format: 1\nname: \xff",
        "",
        "- 1",
        "x" * 300_000,
    ],
    ids=["tag", "laughs", "nested", "digits", "date", "key", "latin-1", "empty", "list", "large"],
)
def test_a_hostile_yaml_is_one_short_line(folder, text):
    (folder / "avatar.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(AvatarError) as error:
        Avatar.load(folder)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def png(width, height, extra=b""):
    """A PNG of one colour, black, that says it is as large as you like."""

    def chunk(kind, data):
        sum_ = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + sum_

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(min(10**6, (1 + (width + 7) // 8) * height)))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", rows)
            + chunk(b"IEND", b""))  # fmt: skip


def jpeg(scans=1, size=None):
    data = cv2.imencode(".jpg", np.zeros((128, 96, 3), np.uint8),
                        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()  # fmt: skip
    if size:
        at = data.index(b"\xff\xc2") + 5
        data = data[:at] + struct.pack(">HH", size[1], size[0]) + data[at + 4 :]
    at = data.index(b"\xff\xda")
    end = data.index(b"\xff", at + 2)
    return data[:at] + data[at:end] * (scans - 1) + data[at:]


@pytest.mark.parametrize(
    "data, word",
    [
        (png(30000, 30000), "pixels"),
        (png(2**31 - 1, 2**31 - 1), "pixels"),
        (png(0, 5), "readable"),
        (png(256, 256, b"\0\0\0\x08acTL\0\0\0\x02\0\0\0\0\0\0\0\0"), "readable"),
        (jpeg(size=(65000, 65000)), "pixels"),
        (jpeg(scans=5000), "readable"),
        (b"\x89PNG\r\n\x1a\n", "readable"),
        (png(256, 256, b"\x7f\xff\xff\xfftEXt"), "readable"),  # OpenCV 5.0 takes 2 GB for it
        (b"\xff\xd8\xff", "readable"),
        (b"\xff\xd8" + b"\xff" * 5000, "readable"),
        (b"\xff\xd8\xff\xe0\0\0" * 5000, "readable"),
        (b"GIF89a" + bytes(100), "readable"),
        (b"", "readable"),
        (bytes(17 * 2**20), "larger"),
    ],
    ids=range(14),
)
def test_a_picture_is_measured_before_it_is_decoded(folder, monkeypatch, data, word):
    def decode(*_):
        raise AssertionError("decoded")

    (folder / "reference.png").write_bytes(data)
    if word != "readable" or b"tEXt" in data:
        real = cv2.imdecode
        monkeypatch.setattr(
            cv2, "imdecode", lambda d, f: decode() if len(d) == len(data) else real(d, f)
        )
    began = time.perf_counter()
    with pytest.raises(AvatarError, match=word):
        Avatar.load(folder)
    assert time.perf_counter() - began < 5


def test_scans_and_sizes_that_are_right_are_read(folder):
    (folder / "reference.png").write_bytes(jpeg(scans=1))  # progressive
    assert image_decoding.size(jpeg()) == (96, 128)
    assert Avatar.load(folder).reference_image.shape == (256, 256, 3)
    assert image_decoding.size(png(300, 200)) == (300, 200)


def test_templates_that_fill_the_memory_are_refused(folder):
    (folder / "templates/0.png").write_bytes(png(2000, 1000))
    change(folder, templates=["templates/0.png"] * 100)
    with pytest.raises(AvatarError, match="take more than 512 MB"):
        Avatar.load(folder)


def pickled(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npy(header, data=b""):
    text = header.encode("latin-1")
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    "data",
    [
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,)}"),
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999, 99999, 99999, 99999)}"),
        pickled(np.array([{"a": 1}] * 100, object)),
        npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (100,)}", bytes(400)),
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (100,)}", bytes(40)),
        npy(
            "{'descr': '<f8', 'fortran_order': False, 'shape': (100,)}",
            np.full(100, 1e300).tobytes(),
        ),
        npy(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (100,)}",
            np.full(100, 1e30, np.float32).tobytes(),
        ),
        npy("[" * 9000),
        npy("{[]: 1}"),
        npy("1+"),
        b"\x93NUMPY\x09\x09",
        b"",
        b"PK\3\4" + bytes(99),
    ],
)
def test_arrays_are_measured_before_they_are_read(folder, data):
    (folder / "identity.npy").write_bytes(data)
    with pytest.raises(AvatarError) as error:
        Avatar.load(folder)
    assert "\n" not in str(error.value)


def test_a_generator_that_is_a_link_out_of_the_folder_is_refused(folder):
    (folder / "renderer_generate.onnx").symlink_to("/etc/hostname")
    with pytest.raises(AvatarError, match="outside"):
        Avatar.load(folder)


@pytest.mark.parametrize("name", ["nobody", "", "..", "/nowhere", "a" * 5000, "a\0b"])
def test_unknown_avatars(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AvatarError, match="no avatar"):
        Avatar.load(name)
