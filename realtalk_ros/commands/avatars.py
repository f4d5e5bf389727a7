# SPDX-License-Identifier: Apache-2.0
"""`realtalk avatars`: lists, shows, exports, imports and checks avatars."""

from __future__ import annotations

import argparse
import datetime
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from realtalk_ros import checksums
from realtalk_ros.avatar import archive
from realtalk_ros.avatar.avatar import Avatar, files_of
from realtalk_ros.avatar.avatar_names import AVATAR_DIR, as_argument, bundled_names, find
from realtalk_ros.avatar.avatar_yaml import short
from realtalk_ros.avatar.provenance import Provenance, write_picture
from realtalk_ros.commands.findings import Finding, fail, ok, warn
from realtalk_ros.contracts import GENERATOR_FILES
from realtalk_ros.errors import RealTalkError
from realtalk_ros.paths import exists, is_file, is_same
from realtalk_ros.whole_files import check_can_write, check_is_no_input

COLUMNS = 4  # of the contact sheet


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="WHAT", required=True)

    def action(name: str, purpose: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}."
        )

    def add_avatar(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "avatar", metavar="NAME_OR_DIR", help="a bundled avatar's name, or an avatar folder"
        )

    listing = action("list", "the bundled avatars and those of a folder")
    listing.add_argument(
        "folder",
        metavar="DIR",
        nargs="?",
        type=Path,
        default=Path(),
        help="holds avatar folders (default: this one)",
    )
    listing.set_defaults(action=list_)
    add_show_arguments(action("show", "a picture of avatars over a dozen expressions"))
    exporting = action("export", "an avatar in one file, to give away")
    add_avatar(exporting)
    exporting.add_argument("file", metavar="FILE.zip", type=Path, help="to write")
    exporting.add_argument("--force", action="store_true", help="replace the file")
    exporting.set_defaults(action=export)
    importing = action("import", "an avatar's zip, of whomever, to a folder")
    importing.add_argument("file", metavar="FILE.zip", type=Path, help="an avatar, exported")
    importing.add_argument(
        "--into",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="where the avatar's folder is made (default: here)",
    )
    importing.add_argument(
        "--force", action="store_true", help="replace the avatar of this name that is there"
    )
    importing.add_argument(
        "--trust-models",
        action="store_true",
        help="take the avatar's own network, too: it runs like a program, so "
        "only from people you trust",
    )
    importing.set_defaults(action=import_)
    checking = action("check", "whether an avatar is whole and works; exit code 2 if not")
    add_avatar(checking)
    checking.set_defaults(action=check)


def add_show_arguments(showing: argparse.ArgumentParser) -> None:
    showing.add_argument(
        "avatars",
        metavar="NAME_OR_DIR",
        nargs="+",
        help="bundled avatars' names, or avatar folders",
    )
    showing.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help=".png or .jpg to write (default: NAME.png of the first)",
    )
    showing.add_argument(
        "--spoken",
        action="store_true",
        help="the mouths alone, while sounds are said, from their sound (needs espeak-ng)",
    )
    showing.set_defaults(action=show)


def run(args: argparse.Namespace) -> int:
    return args.action(args) or 0


def list_(args: argparse.Namespace) -> None:
    folders, unknown = avatars_in(args.folder)
    if is_same(args.folder, AVATAR_DIR):
        folders = []
    folders = [*(AVATAR_DIR / name for name in bundled_names()), *folders]
    rows = [("avatar", "size", "templates", "own network", "consent")]
    broken = []
    for folder in folders:
        bundled = folder.parent == AVATAR_DIR
        try:
            avatar = Avatar.load(folder)
        except RealTalkError as error:
            broken.append(str(error))
            continue
        rows.append(
            (
                folder.name if bundled else as_argument(folder),
                f"{avatar.size[0]}x{avatar.size[1]}",
                str(len(avatar.templates)),
                "yes" if avatar.generator else "no",
                avatar.provenance.consent or "none (of no real person, by its maker)",
            )
        )
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    for row in rows:
        print("  ".join([*(text.ljust(w) for text, w in zip(row, widths, strict=False)), row[4]]))
    for line in broken:
        print(f"broken: {line}", file=sys.stderr)
    if unknown:
        more = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        print(
            f"not looked into, for want of permission: {unknown[0]}{more}: change the permissions",
            file=sys.stderr,
        )


def avatars_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """Avatars' folders in a folder, or the folder itself if it is one, and what in it cannot be
    looked into. Raises RealTalkError if it can't."""
    try:
        within = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise RealTalkError(
            f"there is no folder {folder} that can be read ({error.strerror}): check the path and "
            "its permissions"
        ) from error
    found, unknown = [], []
    for path in (folder, *within):
        try:
            if stat.S_ISREG((path / "avatar.yaml").stat().st_mode):
                found.append(path)
        except PermissionError:
            unknown.append(path)
        except OSError:  # there is none
            pass
    return found, unknown


def show(args: argparse.Namespace) -> None:
    avatars = [Avatar.load(name) for name in args.avatars]
    out = args.out or Path(f"{find(args.avatars[0]).resolve().name}.png")
    check_can_write(out)
    read = zip(args.avatars, avatars, strict=True)
    inputs = [find(name) / file for name, avatar in read for file in _read_by(avatar)]
    check_is_no_input(out, "--out", inputs)
    if args.spoken:
        from realtalk_ros.commands.spoken_sheet import sheet

        picture = sheet(avatars)
    else:
        picture = many_faces(avatars)
    write_picture(out, picture, Provenance.together(avatar.provenance for avatar in avatars))
    print(f"wrote {out}")


def export(args: argparse.Namespace) -> None:
    size = archive.export(args.avatar, args.file, args.force)
    print(f"wrote {args.file}, {size / 2**20:.1f} MB")


def import_(args: argparse.Namespace) -> None:
    done = archive.import_(args.file, args.into, args.force, args.trust_models)
    if done.left_out:
        print(
            f"left out {len(done.left_out)} files that its avatar.yaml does not list: "
            f"{', '.join(done.left_out[:3])}{' ...' if len(done.left_out) > 3 else ''}"
        )
    if done.models:
        print(
            f"left out its own network ({', '.join(done.models)}), which would run like a "
            "program: --trust-models takes it; without, the shipped one draws the face"
        )
    consent = Avatar.load(done.folder).provenance.consent
    print(f"imported {as_argument(done.folder)}" + (f"; consent: {consent}" if consent else ""))


def check(args: argparse.Namespace) -> int:
    folder = find(args.avatar)
    failed = 0
    for finding in examine(folder):
        print(finding, flush=True)
        failed += finding.level == "fail"
    if failed:
        print(f"realtalk avatars check: {folder} is not in order", file=sys.stderr)
    return 2 if failed else 0


def examine(folder: Path) -> Iterator[Finding]:
    """Everything that is to be said about an avatar folder."""
    try:
        avatar = Avatar.load(folder)
    except RealTalkError as error:
        yield fail(str(error), "nothing else was looked at")
        return
    x, y, side = avatar.crop
    count = len(avatar.templates)
    yield ok(
        f"{avatar.name}: {count} template{'s' * (count > 1)} of "
        f"{avatar.size[0]}x{avatar.size[1]}, {avatar.templates.nbytes / 2**20:.0f} MB in "
        f"memory; face {side} pixels wide at ({x}, {y})"
    )
    yield from _provenance(avatar)
    yield from _files(folder, avatar)
    if np.abs(avatar.identity).max() > 5:
        yield warn(
            "the identity is more than 5 standard deviations off the average face",
            "enrol it again: the fit to the 3D face model has failed",
        )
    weights = avatar.reference_expressions
    if weights is not None and (weights.min() < 0 or weights.max() > 1):
        yield warn(
            f"reference expressions reach from {weights.min():.2f} to {weights.max():.2f}",
            "ARKit weights are 0 to 1",
        )
    yield from _mouth(avatar)


def _provenance(avatar: Avatar) -> Iterator[Finding]:
    """Who consented, and which picture it was made of."""
    meta, stated = avatar.metadata, avatar.provenance
    if "source" not in meta:
        yield ok(f"made of nobody's pictures (it names no source); says it is {stated.source_type}")
        return
    source, created = meta["source"], str(meta.get("created", ""))
    yield ok(f"consent: {stated.consent}; says it is {stated.source_type}")
    try:
        datetime.date.fromisoformat(created[:10])
    except ValueError:
        yield warn("it does not say when it was created", "add created: YYYY-MM-DD")
    digest = source.get("sha256") if isinstance(source, dict) else None
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        yield warn("it has no checksum of the picture it was made of", "enrol it again")
    else:
        yield ok(f"made {created} of {str(source.get('name'))[:60]!r}, sha256 {digest[:12]}...")


def _read_by(avatar: Avatar) -> set[str]:
    """The files that its folder may have."""
    return {"avatar.yaml", checksums.FILE, *GENERATOR_FILES, *files_of(avatar.metadata)}


def _files(folder: Path, avatar: Avatar) -> Iterator[Finding]:
    listed = files_of(avatar.metadata)
    sums = avatar.metadata.get("sha256")
    if sums is not None and not isinstance(sums, dict):
        yield fail(
            f"its sha256 holds no checksums of files, but {short(sums)}",
            "write `name: checksum` lines, or leave it out",
        )
    elif sums is not None:
        changed = [name for name in listed if sums.get(name) != checksums.sha256(folder / name)]
        if changed:
            yield fail(
                f"{len(changed)} files do not match their checksums: {changed[0]!r} ...",
                "they were damaged or changed: get the avatar again",
            )
        else:
            yield ok(f"{len(listed)} files match their checksums")
    known = _read_by(avatar)
    others = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if is_file(path))
    others = [name for name in others if name not in known]
    if others:
        yield warn(
            f"{len(others)} more files are in its folder: {others[0]!r} ...",
            "no part of the avatar: export leaves them out",
        )
    if avatar.generator:
        listed_models = checksums.read(folder)
        for name in GENERATOR_FILES:
            if exists(folder / name) and name not in listed_models:
                yield warn(
                    f"{checksums.FILE} has no checksum for {name}",
                    "damage would not be noticed: export and import the avatar",
                )


def _mouth(avatar: Avatar) -> Iterator[Finding]:
    """Draws it, with its own network if it has one."""
    from realtalk_ros.output.contact_sheet import EXPRESSIONS
    from realtalk_ros.rendering.face_renderer import FaceRenderer

    try:
        renderer = FaceRenderer(avatar, avatar.size[1])
        shut, opened = (renderer.render(EXPRESSIONS[name], 0) for name in ("m", "ah"))
    except RealTalkError as error:
        yield fail(str(error), "it cannot be drawn")
        return
    x, y, side = avatar.crop
    mouth = (slice(y + side // 2, y + side), slice(x + side // 4, x + 3 * side // 4))
    moved = np.abs(shut[mouth].astype(int) - opened[mouth]).max(2)
    share = float((moved > 24).mean())
    whose = "its own" if avatar.generator else "the shipped"
    if share < 0.02:
        yield warn(
            f"drawn by {whose} network, its mouth hardly opens",
            "is the face in the middle of the crop? see `realtalk avatars show`",
        )
    else:
        yield ok(f"drawn by {whose} network; its mouth opens")


def many_faces(avatars: list[Avatar]) -> np.ndarray:
    """Faces over a dozen expressions and as many of their templates, uint8 BGR: a line each, or
    three of a single one."""
    from realtalk_ros.output import contact_sheet
    from realtalk_ros.rendering.face_renderer import FaceRenderer

    names = list(contact_sheet.EXPRESSIONS)
    rows = [(one.name, contact_sheet.faces(FaceRenderer(one, one.size[1]))) for one in avatars]
    if len(rows) == 1:
        return contact_sheet.labelled(rows[0][1], names, COLUMNS)
    return contact_sheet.table(rows, names)
