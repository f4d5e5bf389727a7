# SPDX-License-Identifier: Apache-2.0
"""Which folder the name of an avatar means: that of a bundled one, or the user's own."""

from __future__ import annotations

from pathlib import Path

from realtalk_ros.avatar.avatar_yaml import short
from realtalk_ros.errors import AvatarError
from realtalk_ros.paths import is_file

AVATAR_DIR = Path(__file__).parents[1] / "avatars"
# Names of bundled avatars of earlier versions, and which one they mean now.
FORMER_NAMES = {"clara": "mira", "noah": "kenji"}


def find(name_or_dir: str | Path) -> Path:
    """The folder of an avatar. A bundled avatar's name means that one, also where a folder here is
    called so: `./name` is the folder. A Path, which cannot tell these two apart, is a folder.
    Raises AvatarError if there is none."""
    text = str(name_or_dir)
    is_name = not isinstance(name_or_dir, Path) and is_bare(text)
    folders = [AVATAR_DIR / text, Path(text)] if is_name else [Path(text)]
    if is_name and text in FORMER_NAMES:
        folders.append(AVATAR_DIR / FORMER_NAMES[text])
    for folder in folders:
        if is_file(folder / "avatar.yaml"):
            return folder
    try:
        Path(text, "avatar.yaml").stat()
    except PermissionError as error:
        raise AvatarError(
            f"avatar {short(text)} cannot be read ({error.strerror}): check the permissions of its "
            "folder"
        ) from error
    except (OSError, ValueError):  # it is not there, or could not be
        pass
    raise AvatarError(
        f"no avatar {short(text)}: give a folder that holds an avatar.yaml, or one of: "
        f"{', '.join(bundled_names()) or '-'}"
    )


def bundled_names() -> list[str]:
    """The avatars that come with the package."""
    return sorted(path.parent.name for path in AVATAR_DIR.glob("*/avatar.yaml"))


def is_bare(text: str) -> bool:
    """Whether it names no path, but what is in a folder."""
    return text not in ("", ".", "..") and Path(text).name == text


def as_argument(folder: Path) -> str:
    """How a command line names the avatar in `folder`: `./name` for what would else be a bundled
    one, or an option."""
    text = str(folder)
    known = text in FORMER_NAMES or is_file(AVATAR_DIR / text / "avatar.yaml")
    return f"./{text}" if is_bare(text) and (known or text.startswith("-")) else text
