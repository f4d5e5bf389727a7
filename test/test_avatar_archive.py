# SPDX-License-Identifier: Apache-2.0
"""Avatars as zip files: there and back, and what strangers put into them."""

import io
import os
import shutil
import stat
import time
import zipfile

import cv2
import numpy as np
import pytest
import yaml

from pixels import opening
from realtalk_ros import onnx_session
from realtalk_ros.audio.espeak_library import load_espeak
from realtalk_ros.avatar import archive as avatar_archive
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.avatar_names import AVATAR_DIR
from realtalk_ros.cli import main
from realtalk_ros.errors import RealTalkError
from realtalk_ros.output import contact_sheet

CONSENT = "Ann Lee, 2026-11-21"


@pytest.fixture(scope="module")
def ann(tmp_path_factory):
    """The smallest enrolled avatar."""
    rng = np.random.default_rng(0)
    home = tmp_path_factory.mktemp("made") / "ann"
    (home / "templates").mkdir(parents=True)
    for k in range(3):
        image = cv2.GaussianBlur(rng.integers(0, 255, (128, 96, 3), np.uint8), (0, 0), 8)
        cv2.imwrite(str(home / f"templates/{k}.png"), image)
    cv2.imwrite(str(home / "reference.png"), rng.integers(0, 255, (256, 256, 3), np.uint8))
    np.save(home / "identity.npy", rng.normal(size=100).astype(np.float32))
    np.save(home / "expressions.npy", rng.random((50, 52), np.float32))
    (home / "avatar.yaml").write_text(yaml.safe_dump({
        "format": 1, "name": "ann", "crop": [8, 20, 64], "reference": "reference.png",
        "identity": "identity.npy", "reference_expressions": "expressions.npy",
        "templates": [f"templates/{k}.png" for k in range(3)],
        "consent": CONSENT, "created": "2026-11-21",
        "source": {"name": "ann.jpg", "sha256": "0123456789abcdef" * 4},
        "digital_source_type": "compositeWithTrainedAlgorithmicMedia",
    }))  # fmt: skip
    return home


@pytest.fixture(scope="module")
def good(ann, tmp_path_factory):
    """Name -> content of ann's zip."""
    path = tmp_path_factory.mktemp("zip") / "ann.zip"
    avatar_archive.export(ann, path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, files, **changes):
    """A zip of name -> content; `changes`: attributes of the entries by name of the attribute."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items() if isinstance(files, dict) else files:
            entry = zipfile.ZipInfo("x")
            entry.filename = entry.orig_filename = name  # as it is: no slash is turned
            entry.compress_type = zipfile.ZIP_DEFLATED
            for key, value in changes.get(name, {}).items() if changes else ():
                setattr(entry, key, value)
            archive.writestr(entry, content)
    return path


def refused(tmp_path, path, word, **options):
    """Importing must fail in one line, quickly, and leave nothing."""
    into = tmp_path / "into"
    into.mkdir()
    before = sorted(p for p in tmp_path.rglob("*"))
    began = time.perf_counter()
    with pytest.raises(RealTalkError) as error:
        avatar_archive.import_(path, into, **options)
    message = str(error.value)
    assert word in message and "\n" not in message and len(message) < 400, message
    assert time.perf_counter() - began < 10
    assert sorted(p for p in tmp_path.rglob("*")) == before


def edited(good, **values):
    files = dict(good)
    meta = yaml.safe_load(files["ann/avatar.yaml"])
    files["ann/avatar.yaml"] = yaml.safe_dump({**meta, **values}).encode()
    return files


# There and back


def test_out_and_in_again_is_the_same(ann, tmp_path):
    avatar_archive.export(ann, tmp_path / "a.zip")
    avatar_archive.export(ann, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    done = avatar_archive.import_(tmp_path / "a.zip", tmp_path)
    assert done.folder == tmp_path / "ann" and not done.left_out and not done.models
    for path in (p for p in ann.rglob("*") if p.is_file()):
        assert (done.folder / path.relative_to(ann)).read_bytes() == path.read_bytes()
    assert Avatar.load(done.folder).provenance.consent == CONSENT
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "ann", "b.zip"]


def test_export_leaves_private_files_out(ann, tmp_path):
    shutil.copytree(ann, tmp_path / "mine")
    (tmp_path / "mine" / "original.jpg").write_bytes(b"private")
    avatar_archive.export(tmp_path / "mine", tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert not [name for name in archive.namelist() if "original" in name]
    with pytest.raises(RealTalkError, match="exists"):
        avatar_archive.export(ann, tmp_path / "a.zip")
    meta = yaml.safe_load((ann / "avatar.yaml").read_text())
    meta["identity"] = "templates/../identity.npy"  # loads, but import would refuse it
    (tmp_path / "mine" / "avatar.yaml").write_text(yaml.safe_dump(meta))
    with pytest.raises(RealTalkError, match="in its folder"):
        avatar_archive.export(tmp_path / "mine", tmp_path / "b.zip")
    with pytest.raises(RealTalkError, match="cannot write"):
        avatar_archive.export(ann, tmp_path / "missing" / "a.zip")


def test_zipped_by_hand_without_a_folder_and_with_more_in_it(good, tmp_path):
    files = {name.removeprefix("ann/"): data for name, data in good.items()}
    files |= {"notes.txt": b"hello", "more.zip": b"PK\3\4", "__MACOSX/._a": b"", "empty/": b""}
    done = avatar_archive.import_(write(tmp_path / "a.zip", files), tmp_path)
    assert sorted(done.left_out) == ["__MACOSX/._a", "more.zip", "notes.txt"]
    names = sorted(str(p.relative_to(done.folder)) for p in done.folder.rglob("*") if p.is_file())
    assert names == sorted(name.removeprefix("ann/") for name in good)
    assert stat.S_IMODE(done.folder.stat().st_mode) & 0o700 == 0o700


def test_an_avatar_is_replaced_only_by_force_and_only_an_avatar(good, tmp_path):
    path = write(tmp_path / "a.zip", good)
    avatar_archive.import_(path, tmp_path)
    (tmp_path / "ann" / "mark").touch()
    with pytest.raises(RealTalkError, match="--force"):
        avatar_archive.import_(path, tmp_path)
    bad = write(tmp_path / "bad.zip", edited(good, crop=[0, 0, 9999]))
    with pytest.raises(RealTalkError, match="crop"):
        avatar_archive.import_(bad, tmp_path, force=True)
    assert (tmp_path / "ann" / "mark").exists()  # the old one is whole
    avatar_archive.import_(path, tmp_path, force=True)
    assert not (tmp_path / "ann" / "mark").exists() and Avatar.load(tmp_path / "ann")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip", "ann", "bad.zip"]
    for other in ("thesis", "link"):
        (tmp_path / other).mkdir()
    (tmp_path / "thesis" / "ann").mkdir()
    (tmp_path / "thesis" / "ann" / "thesis.tex").touch()
    (tmp_path / "link" / "ann").symlink_to(tmp_path / "ann")
    for other in ("thesis", "link"):
        with pytest.raises(RealTalkError, match="not replaced"):
            avatar_archive.import_(path, tmp_path / other, force=True)
    assert (tmp_path / "thesis" / "ann" / "thesis.tex").exists()


# Names


@pytest.mark.parametrize("name", [
    "../evil.png", "ann/../../evil.png", "/etc/evil.png", "C:\\evil.png", "C:evil", "..\\evil.png",
    "ann//evil.png", "ann/./evil.png", "ann/evil\n.png", "ann/\u202egnp.png", "a/" * 150 + "b",
    "..", "ann/evil.png\0.jpg",
])  # fmt: skip
def test_names_that_lead_elsewhere(good, tmp_path, name):
    refused(tmp_path, write(tmp_path / "a.zip", {**good, name: b"x"}), "leads elsewhere")


@pytest.mark.parametrize("name", ["ann/IDENTITY.npy", "ANN/identity.npy", "ann/\uff49dentity.npy"])
def test_names_that_are_one_elsewhere(good, tmp_path, name):
    refused(tmp_path, write(tmp_path / "a.zip", {**good, name: b"x"}), "there twice")


def test_a_name_that_is_there_twice(good, tmp_path):
    files = [*good.items(), ("ann/identity.npy", b"the other")]
    with pytest.warns(UserWarning, match="Duplicate"):
        path = write(tmp_path / "a.zip", files)
    refused(tmp_path, path, "there twice")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_links_and_devices(good, tmp_path, kind):
    changes = {"ann/identity.npy": {"external_attr": (kind | 0o777) << 16}}
    path = write(tmp_path / "a.zip", {**good, "ann/identity.npy": b"/etc/passwd"}, **changes)
    refused(tmp_path, path, "a link or a device")


@pytest.mark.parametrize(
    "values, word",
    [
        ({"name": "../up"}, "cannot be a folder's"),
        ({"name": ".hidden"}, "cannot be a folder's"),
        ({"name": "a/b"}, "cannot be a folder's"),
        ({"name": ""}, "no name"),
        ({"consent": ""}, "who consented"),
        ({"identity": "../../etc/passwd"}, "in its folder"),
        ({"identity": "/etc/x.npy"}, "in its folder"),
        ({"identity": "templates/../identity.npy"}, "in its folder"),
        ({"identity": "renderer_generate.onnx"}, "in its folder"),
        ({"identity": "nothing.npy"}, "lacks ann/nothing.npy"),
        ({"templates": ["reference.png", "reference.png/a.png"]}, "lacks"),
        ({"templates": 7}, "name files"),
        ({"format": 2}, "format"),
    ],
)
def test_a_yaml_that_lists_what_it_must_not(good, tmp_path, values, word):
    refused(tmp_path, write(tmp_path / "a.zip", edited(good, **values)), word)


def test_not_one_avatar(good, tmp_path):
    two = {**good, "bob/avatar.yaml": good["ann/avatar.yaml"]}
    refused(tmp_path, write(tmp_path / "a.zip", two), "one avatar.yaml")
    shutil.rmtree(tmp_path / "into")
    deep = {f"a/b/{name}": data for name, data in good.items()}
    refused(tmp_path, write(tmp_path / "b.zip", deep), "one avatar.yaml")
    shutil.rmtree(tmp_path / "into")
    refused(tmp_path, write(tmp_path / "c.zip", {}), "one avatar.yaml")


# Bombs


def test_a_file_that_is_far_larger_than_it_looks(good, tmp_path):
    files = {**good, "ann/reference.png": bytes(15 * 2**20)}
    refused(tmp_path, write(tmp_path / "a.zip", files), "zip bomb")


def test_many_large_files(good, tmp_path, monkeypatch):
    monkeypatch.setattr(avatar_archive, "MAX_TOTAL", 10**5)
    refused(tmp_path, write(tmp_path / "a.zip", good), "larger than")


def test_too_many_files(good, tmp_path):
    files = {**good, **{f"ann/{k}": b"" for k in range(3000)}}
    refused(tmp_path, write(tmp_path / "a.zip", files), "more than 2000 files")


def test_a_list_of_files_that_fills_the_memory(good, tmp_path):
    files = {**good, **{f"{k}-{'x' * 190}": b"" for k in range(6000)}}
    refused(tmp_path, write(tmp_path / "a.zip", files), "not an avatar's zip file")


def test_a_file_that_lies_about_its_size(good, tmp_path):
    data = bytearray(write(tmp_path / "a.zip", good).read_bytes())
    honest = zipfile.ZipFile(io.BytesIO(data)).getinfo("ann/identity.npy")
    size = honest.file_size.to_bytes(4, "little")
    at = data.rindex(b"ann/identity.npy") - 46 + 24  # in the central directory
    assert data[at : at + 4] == size
    data[at : at + 4] = (100).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data)
    refused(tmp_path, tmp_path / "a.zip", "damaged")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_packing(good, tmp_path, method):
    changes = {"ann/identity.npy": {"compress_type": method}}
    refused(tmp_path, write(tmp_path / "a.zip", good, **changes), "unusual")


def test_a_picture_that_claims_a_gigapixel(good, tmp_path):
    picture = bytearray(good["ann/reference.png"])
    picture[16:24] = (40000).to_bytes(4, "big") * 2
    files = {**good, "ann/reference.png": bytes(picture)}
    refused(tmp_path, write(tmp_path / "a.zip", files), "pixels")


# Damage


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"hello" * 1000, b"PK\5\6" + b"\xff" * 18])
def test_no_zip_at_all(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path, tmp_path / "a.zip", "not an avatar's zip file")


def test_no_file_and_no_folder(good, tmp_path):
    refused(tmp_path, tmp_path / "none.zip", "No such file")
    with pytest.raises(RealTalkError, match="there is no folder"):
        avatar_archive.import_(write(tmp_path / "a.zip", good), tmp_path / "nowhere")


def test_whatever_is_damaged_nothing_is_half_written(good, tmp_path):
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    data = write(tmp_path / "good.zip", good).read_bytes()
    # Most of the file is pictures; the structure is at its two ends.
    place = st.one_of(st.integers(0, 99), st.integers(len(data) - 900, len(data) - 1),
                      st.integers(0, len(data) - 1))  # fmt: skip
    into = tmp_path / "into"

    @hypothesis.settings(max_examples=300, deadline=None, database=None, derandomize=True,
                         suppress_health_check=[hypothesis.HealthCheck.too_slow])  # fmt: skip
    @hypothesis.given(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=6),
                      st.one_of(st.none(), place))  # fmt: skip
    def attempt(changes, cut):
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        broken = bytearray(data)
        for at, value in changes:
            broken[at] = value
        (tmp_path / "broken.zip").write_bytes(broken[:cut])
        try:
            done = avatar_archive.import_(tmp_path / "broken.zip", into)
        except RealTalkError as error:
            assert "\n" not in str(error) and not list(into.iterdir())
        else:
            assert list(into.iterdir()) == [done.folder] and Avatar.load(done.folder)

    attempt()


def test_an_interrupt_leaves_nothing(good, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    path = write(tmp_path / "a.zip", good)
    monkeypatch.setattr(Avatar, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        avatar_archive.import_(path, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


# Networks


def with_model(good, network, sums=None):
    import hashlib

    listed = f"{hashlib.sha256(network).hexdigest()}  renderer_generate.onnx\n".encode()
    return {**good, "ann/renderer_generate.onnx": network,
            "ann/SHA256SUMS": listed if sums is None else sums}  # fmt: skip


def test_a_network_is_left_out_unless_it_is_trusted(good, tmp_path):
    network = (onnx_session.MODEL_DIR / "renderer_generate.onnx").read_bytes()
    path = write(tmp_path / "a.zip", with_model(good, network))
    done = avatar_archive.import_(path, tmp_path)
    assert done.models == ("renderer_generate.onnx",) and not done.left_out
    assert Avatar.load(done.folder).generator is None
    assert not list(done.folder.glob("*.onnx"))
    done = avatar_archive.import_(path, tmp_path, force=True, trust_models=True)
    assert not done.models and Avatar.load(done.folder).generator == done.folder
    avatar_archive.export(done.folder, tmp_path / "again.zip")
    again = avatar_archive.import_(tmp_path / "again.zip", tmp_path, True, True)
    assert (again.folder / "renderer_generate.onnx").read_bytes() == network


def test_a_trusted_network_must_be_the_listed_one_and_whole(good, tmp_path):
    cases = [
        (with_model(good, b"network", b"0" * 64 + b"  renderer_generate.onnx\n"), "not the one"),
        (with_model(good, b"network", b"\xff\xfe nonsense"), "not the one"),
        (with_model(good, b"...\x0a\x08location\x12\x0b/etc/passwd"), "data in other files"),
        ({**good, "ann/renderer_generate.onnx": b"network"}, "no SHA256SUMS"),
    ]
    for files, word in cases:
        refused(tmp_path, write(tmp_path / "a.zip", files), word, trust_models=True)
        shutil.rmtree(tmp_path / "into")


# The command


def command(capsys, *arguments):
    code = main(["avatars", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_the_command_lists_shows_and_checks(capsys, ann, good, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "ann.zip", {**good, "notes.txt": b"hello"})
    code, said, _ = command(capsys, "import", path)
    assert code == 0 and "imported ann" in said and CONSENT in said and "notes.txt" in said
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "avatar.yaml").write_text("format: 7")
    code, said, complaint = command(capsys, "list")
    assert code == 0 and "broken" in complaint and complaint.count("\n") == 1
    rows = said.splitlines()
    assert any(row.startswith("default") and "512x512" in row for row in rows[1:])
    (mine,) = (row for row in rows if row.startswith("ann "))
    assert "96x128" in mine and CONSENT in mine

    (tmp_path / "ann" / "diary.txt").touch()
    code, said, _ = command(capsys, "check", "ann")
    assert code == 0 and CONSENT in said and "0123456789ab" in said and "diary.txt" in said
    assert command(capsys, "check", "broken")[0] == 2

    assert command(capsys, "show", "ann")[0] == 0
    assert cv2.imread("ann.png").shape == (960, 1280, 3)
    assert CONSENT.encode() in (tmp_path / "ann.png").read_bytes()
    assert command(capsys, "show", "ann", "android", "--out", "both.jpg")[0] == 0
    assert cv2.imread("both.jpg").shape == (contact_sheet.LABEL + 640, 12 * 320, 3)
    assert CONSENT.encode() in (tmp_path / "both.jpg").read_bytes()
    code, _, complaint = command(capsys, "import", path)
    assert code == 2 and complaint.startswith("realtalk avatars: ") and complaint.count("\n") == 1
    code, said, _ = command(capsys, "export", "ann", "again.zip")
    assert code == 0 and os.path.getsize("again.zip")


def test_lips_show_the_sounds_that_are_said(capsys, tmp_path):
    try:
        load_espeak()
    except RealTalkError as error:
        pytest.skip(str(error))
    path = tmp_path / "lips.png"
    assert command(capsys, "show", "default", "android", "--spoken", "--out", path)[0] == 0
    picture, (width, height) = cv2.imread(str(path)), contact_sheet.MOUTH_CELL
    assert picture.shape == (contact_sheet.LABEL + 2 * height, 9 * width, 3)
    for row, name in enumerate(("default", "android")):
        avatar, top = Avatar.load(name), contact_sheet.LABEL + row * height
        cells = [picture[top : top + height, k * width : (k + 1) * width] for k in range(9)]
        x, y, side = avatar.crop
        left, above, part = (value * side for value in contact_sheet.MOUTH_PART)
        scale = width / part
        marks = (avatar.landmarks[len(avatar.landmarks) // 2] - (x + left, y + above)) * scale
        _, sh, oo, w, f, m, ah, shout, whisper = (
            opening(cells[0], cell, marks, side * scale) for cell in cells
        )
        assert min(ah, shout) > 0.05 and whisper > 0.01
        # Behind light lower teeth the flow loses a lip: only the robot has none.
        assert whisper < 0.8 * shout or name != "android"
        # Below 0: nearer than at rest, at which the robot's lips hardly touch.
        assert -0.015 < m < 0.01 and f < 0.02, (m, f)
        assert min(sh, oo, w) > 0.005 and max(sh, oo, w) < 0.6 * ah, (sh, oo, w, ah)


def test_check_notices_damage(capsys, tmp_path):
    shutil.copytree(AVATAR_DIR / "default", tmp_path / "copy")
    assert command(capsys, "check", tmp_path / "copy")[0] == 0
    identity = np.load(tmp_path / "copy" / "identity.npy")
    np.save(tmp_path / "copy" / "identity.npy", identity + np.float32(0.1))
    code, said, complaint = command(capsys, "check", tmp_path / "copy")
    assert code == 2 and "identity.npy" in said and complaint.count("\n") == 1
    (tmp_path / "copy" / "renderer_generate.onnx").write_bytes(b"not a network")
    code, said, _ = command(capsys, "check", tmp_path / "copy")
    assert code == 2 and "cannot be loaded" in said


def test_names_on_a_sheet_have_their_dark_edge_around_them():
    """OpenCV 5 makes thick letters wider than thin ones."""
    sheet = contact_sheet.labelled(
        [np.full((320, 320, 3), 128, np.uint8)], ["surprised, looks left"], 1
    )
    white, black = (np.flatnonzero(part.any(axis=(0, 2))) for part in (sheet > 200, sheet < 60))
    assert abs(white[0] - black[0]) <= 3 and abs(white[-1] - black[-1]) <= 3
