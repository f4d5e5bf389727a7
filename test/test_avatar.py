"""Avatar folders, good and hostile."""

import cv2
import numpy as np
import pytest
import yaml

from realtalk_ros.avatar import Avatar
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
    write(home, {
        "format": 1, "name": "face", "crop": [8, 20, 64], "reference": "reference.png",
        "identity": "identity.npy", "reference_expressions": "expressions.npy",
        "templates": [f"templates/{k}.png" for k in range(3)],
    })
    return home


def write(home, meta):
    (home / "avatar.yaml").write_text(yaml.safe_dump(meta))


def change(home, **values):
    write(home, {**yaml.safe_load((home / "avatar.yaml").read_text()), **values})


def test_loads_a_folder(folder):
    avatar = Avatar.load(folder)
    assert avatar.size == (96, 128) and avatar.templates.shape == (3, 128, 96, 3)
    assert avatar.crop == (8, 20, 64) and avatar.identity.dtype == np.float32


def test_the_default_avatar_loads_by_name():
    avatar = Avatar.load("default")
    assert avatar.size == (512, 512) and len(avatar.templates) >= 24


@pytest.mark.parametrize("values, word", [
    ({"identity": "../secret.npy"}, "outside"),
    ({"templates": ["/etc/passwd"]}, "outside"),
    ({"reference": "nothing.png"}, "nothing.png"),
    ({"reference": "identity.npy"}, "readable image"),
    ({"reference_expressions": "identity.npy"}, "(50, 52)"),
    ({"identity": "reference.png"}, "NumPy"),
    ({"identity": 7}, "names no file"),
    ({"templates": []}, "templates"),
    ({"templates": ["templates/0.png", "reference.png"]}, "differ"),
    ({"crop": [50, 50, 64]}, "crop"),
    ({"crop": "all"}, "crop"),
    ({"format": 9}, "format"),
])
def test_bad_folders_say_what_is_wrong(folder, values, word):
    np.save(folder.parent / "secret.npy", np.zeros(100, np.float32))
    change(folder, **values)
    with pytest.raises(AvatarError) as error:
        Avatar.load(folder)
    assert word in str(error.value) and "\n" not in str(error.value)


def test_a_link_out_of_the_folder_is_refused(folder):
    np.save(folder.parent / "secret.npy", np.zeros(100, np.float32))
    (folder / "identity.npy").unlink()
    (folder / "identity.npy").symlink_to(folder.parent / "secret.npy")
    with pytest.raises(AvatarError, match="outside"):
        Avatar.load(folder)


def test_a_bundled_avatar_may_consist_of_links(folder, tmp_path, monkeypatch):
    # colcon build --symlink-install makes a link of every file.
    installed = tmp_path / "installed" / "linked"
    for source in [p for p in folder.rglob("*") if p.is_file()]:
        link = installed / source.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(source)
    with pytest.raises(AvatarError, match="outside"):
        Avatar.load(installed)
    monkeypatch.setattr("realtalk_ros.avatar.AVATAR_DIR", installed.parent)
    assert len(Avatar.load("linked").templates) == 3
    change(installed, identity="../../face/identity.npy")
    with pytest.raises(AvatarError, match="outside"):
        Avatar.load("linked")


def test_arrays_are_never_unpickled(folder):
    np.save(folder / "identity.npy", np.array([{"a": 1}] * 100, object), allow_pickle=True)
    with pytest.raises(AvatarError):
        Avatar.load(folder)


def test_nan_is_refused(folder):
    np.save(folder / "identity.npy", np.full(100, np.nan, np.float32))
    with pytest.raises(AvatarError, match="NaN"):
        Avatar.load(folder)


def test_yaml_tags_are_not_executed(folder):
    (folder / "avatar.yaml").write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(AvatarError):
        Avatar.load(folder)


@pytest.mark.parametrize("name", ["nobody", "", "..", "/nowhere"])
def test_unknown_avatars(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AvatarError, match="no avatar"):
        Avatar.load(name)
