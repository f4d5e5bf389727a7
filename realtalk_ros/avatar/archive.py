# SPDX-License-Identifier: Apache-2.0
"""Exports an avatar as one zip file, and imports such files, which may come from anybody.

On import, sizes are checked before anything is unpacked. Files are written under checked names
(never by zipfile's own `extract`), and only those that avatar.yaml lists. The avatar must load, and
takes its place in one step: whole or not at all. A network of its own is like a program: it is left
out unless the user trusts it and the archive lists its checksum.
"""

from __future__ import annotations

import io
import os
import posixpath
import shutil
import stat
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtalk_ros import checksums
from realtalk_ros.avatar.avatar import Avatar, files_of
from realtalk_ros.avatar.avatar_files import MAX_ARRAY, MAX_IMAGE, MAX_PATH
from realtalk_ros.avatar.avatar_names import find
from realtalk_ros.avatar.avatar_yaml import MAX_NAME, MAX_YAML, can_be_folder, parse
from realtalk_ros.contracts import GENERATOR_FILES
from realtalk_ros.errors import AvatarError, RealTalkError
from realtalk_ros.paths import exists, is_file, is_folder
from realtalk_ros.whole_files import check_can_write, errors_of_writing, written_whole

MAX_ENTRIES = 2000
MAX_DIRECTORY = 2**20  # bytes of the list of files
MAX_TOTAL = 512 * 2**20  # bytes, unpacked
MAX_MODEL = 256 * 2**20
BLOCK = 2**16
MAX_RATIO = 100  # unpacked to packed bytes of a file; deflate can do 1032, pictures and arrays 3
FREE_RATIO = 64 * 2**10  # bytes up to which the ratio says nothing
LIMITS = {".npy": MAX_ARRAY, ".png": MAX_IMAGE, ".jpg": MAX_IMAGE, ".jpeg": MAX_IMAGE}
LINK = b"location"  # the key without which no ONNX file refers to data in other files


@dataclass(frozen=True)
class Imported:
    """What `import_` has made, and what it has left out."""

    folder: Path
    left_out: tuple[str, ...]  # files of the archive that are no part of an avatar
    models: tuple[str, ...]  # networks that were left out, as they are not trusted


def export(name_or_dir: str | Path, out: Path, force: bool = False) -> int:
    """Writes a zip of the avatar, only what it lists: no original picture, no notes. The same
    avatar gives the same bytes. Returns its size in bytes. Raises AvatarError, RealTalkError."""
    folder = find(name_or_dir)
    avatar = Avatar.load(folder)
    if out.suffix.lower() != ".zip":
        raise RealTalkError(f"cannot write {out}: give a name that ends in .zip")
    check_can_write(out)
    if exists(out) and not force:
        raise RealTalkError(f"{out} exists: give another name, or --force")
    top, names = folder_name(avatar.name), _listed(avatar.metadata)
    own = [name for name in GENERATOR_FILES if avatar.generator and (folder / name).is_file()]
    with (
        errors_of_writing(out),
        written_whole(out) as part,
        zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive,
    ):

        def add(name: str, data: bytes) -> None:
            entry = zipfile.ZipInfo(f"{top}/{name}")  # dated 1980
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)

        for name in ("avatar.yaml", *names, *own):
            add(name, (folder / name).read_bytes())
        if own:
            rows = [f"{checksums.sha256(folder / name)}  {name}\n" for name in own]
            add(checksums.FILE, "".join(rows).encode())
    return out.stat().st_size


def import_(path: Path, into: Path, force: bool = False, trust_models: bool = False) -> Imported:
    """Unpacks an avatar to a folder of its name in `into`. Raises AvatarError, RealTalkError; then
    nothing was written. `force` replaces an avatar that is there."""
    if not is_folder(into):
        raise RealTalkError(f"there is no folder {into} that can be looked into: make it first")
    try:
        with _File(path) as file, zipfile.ZipFile(file) as archive:
            return _import(archive, path, into, force, trust_models)
    except RealTalkError:
        raise
    except OSError as error:
        reason = error.strerror or "damaged"
        raise AvatarError(f"{path} cannot be imported to {into}: {reason}") from error
    except MemoryError as error:
        raise AvatarError(f"{path} does not fit into the memory of this machine") from error
    except Exception as error:  # what zipfile raises for damaged files has no common class
        raise AvatarError(f"{path} is not an avatar's zip file, or is damaged") from error


def _import(
    archive: zipfile.ZipFile, path: Path, into: Path, force: bool, trust_models: bool
) -> Imported:
    entries = _entries(archive, path)
    top, meta = _metadata(archive, entries, path)
    target = into / folder_name(meta["name"])
    _check_target(target, force)
    limits = {"avatar.yaml": MAX_YAML, **_listed(meta)}
    models = [name for name in GENERATOR_FILES if posixpath.join(top, name) in entries]
    trusted, untrusted = (models, []) if trust_models else ([], models)
    if trusted:
        if posixpath.join(top, checksums.FILE) not in entries:
            raise AvatarError(f"{path} holds a network, but no {checksums.FILE} that lists it")
        limits |= {checksums.FILE: MAX_YAML, **dict.fromkeys(trusted, MAX_MODEL)}
    places = {posixpath.join(top, name): name for name in limits}
    if missing := sorted(set(places) - set(entries)):
        raise AvatarError(f"{path} lacks {missing[0]}, which its avatar.yaml lists")
    if sum(entries[entry].file_size for entry in places) > MAX_TOTAL:
        raise AvatarError(f"the avatar in {path} is larger than {MAX_TOTAL >> 20} MB")
    files = ((name, _read(archive, entries[entry], limits[name])) for entry, name in places.items())
    _unpack(files, target, trusted, path)
    known = {*places, *(posixpath.join(top, name) for name in untrusted)}
    rest = [name for name in entries if name not in known]
    if untrusted:
        rest = [name for name in rest if posixpath.basename(name) != checksums.FILE]
    return Imported(target, tuple(rest), tuple(untrusted))


def _metadata(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], path: Path
) -> tuple[str, dict[str, Any]]:
    """The folder in the archive that holds the avatar, and what its avatar.yaml says."""
    found = [name for name in entries if posixpath.basename(name) == "avatar.yaml"]
    if len(found) != 1 or found[0].count("/") > 1:
        raise AvatarError(
            f"{path} must hold one avatar.yaml, at its top or in one folder; it holds {len(found)}"
        )
    meta = parse(_read(archive, entries[found[0]], MAX_YAML), f"avatar.yaml in {path}")
    if not meta.get("name"):
        raise AvatarError(f"the avatar in {path} has no name")
    return posixpath.dirname(found[0]), meta


def _unpack(
    files: Iterable[tuple[str, bytes]], target: Path, models: list[str], path: Path
) -> None:
    """Writes (name, content) of an avatar's files into the folder `target`, which appears when all
    are written and found to be an avatar, whose network's files are `models`."""
    part = Path(tempfile.mkdtemp(prefix=".avatar.", suffix=".part", dir=target.parent))
    try:
        part.chmod(0o755)
        for name, content in files:
            place = part / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("xb") as file:
                file.write(content)
        if models:
            _check_models(part, models, path)
        try:
            Avatar.load(part)
        except AvatarError as error:  # it names a folder that will be gone
            raise AvatarError(str(error).replace(str(part), f"in {path}")) from error
        _take_place(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def folder_name(name: str) -> str:
    """`name` of an avatar where it can be a folder's. Raises AvatarError."""
    if not can_be_folder(name):
        raise AvatarError(
            f"avatar name {name[:MAX_NAME]!r} cannot be a folder's: change it in avatar.yaml to "
            "letters and digits"
        )
    return name


class _File(io.FileIO):
    """Gives zipfile no more than MAX_DIRECTORY at once: it reads the whole list of files, however
    long the archive says it is, before anybody can count it."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > MAX_DIRECTORY:
            raise zipfile.BadZipFile("its list of files is too long")
        return super().read(size)


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The files of the archive by name, every one of them checked."""
    if len(archive.infolist()) > MAX_ENTRIES:
        raise AvatarError(f"{path} holds more than {MAX_ENTRIES} files")
    entries: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    for info in archive.infolist():
        name = info.orig_filename
        same = unicodedata.normalize("NFKC", name.rstrip("/")).casefold()
        why = "a name that is there twice" if same in seen else _unwanted(info)
        if why:
            raise AvatarError(f"{path} is refused: {name[:60]!r} in it has {why}")
        seen.add(same)
        if not info.is_dir():
            entries[name] = info
    return entries


def _unwanted(info: zipfile.ZipInfo) -> str:
    """What a file of an archive has that is refused; empty: nothing."""
    name = info.orig_filename
    if (
        name != info.filename  # zipfile ends it at a NUL
        or len(name) > MAX_PATH
        or not name.isprintable()
        or "\\" in name
        or ":" in name
        or any(part in ("", ".", "..") for part in name.removesuffix("/").split("/"))
    ):
        return "a name that leads elsewhere"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link or a device"
    if info.flag_bits & 1:
        return "a password"
    if info.file_size > max(FREE_RATIO, MAX_RATIO * info.compress_size):
        return "far more in it than its size allows (a zip bomb)"
    return ""


def _listed(meta: dict[str, Any]) -> dict[str, int]:
    """What an avatar.yaml lists, if it may be in an archive: name -> bytes it may have."""
    limits = {}
    for name in files_of(meta):
        suffix = posixpath.splitext(name)[1].lower()
        if suffix not in LIMITS or posixpath.normpath(name) != name or name.startswith(("/", "..")):
            raise AvatarError(
                f"avatar.yaml lists {name[:60]!r}: an avatar's files are .png, .jpg and .npy in "
                "its folder"
            )
        limits[name] = LIMITS[suffix]
    return limits


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    if info.file_size > limit:
        raise AvatarError(f"{info.filename!r} in the archive is larger than {limit} bytes")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise AvatarError(f"{info.filename!r} in the archive is packed in an unusual way")
    with archive.open(info) as file:  # ends at file_size, whatever more is packed
        return b"".join(iter(lambda: file.read(BLOCK), b""))


def _check_models(folder: Path, names: list[str], path: Path) -> None:
    listed = checksums.read(folder)
    for name in names:
        if listed.get(name) != checksums.sha256(folder / name):
            raise AvatarError(f"{name} in {path} is not the one that {checksums.FILE} lists")
        if LINK in (folder / name).read_bytes():
            raise AvatarError(f"{name} in {path} refers to data in other files: export it whole")


def _check_target(target: Path, force: bool) -> None:
    if not os.path.lexists(target):
        return
    if not force:
        raise RealTalkError(f"{target} exists: --force replaces it, --into puts it elsewhere")
    if target.is_symlink() or not is_file(target / "avatar.yaml"):
        raise RealTalkError(f"{target} is no avatar's folder: it is not replaced, use --into")


def _take_place(part: Path, target: Path) -> None:
    """Renames; what was there goes when the new one is there."""
    old = Path(tempfile.mkdtemp(prefix=".avatar.", suffix=".old", dir=target.parent))
    try:
        if target.exists():
            target.rename(old / "avatar")
        try:
            part.rename(target)
        except OSError:
            if (old / "avatar").exists():
                (old / "avatar").rename(target)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
