# SPDX-License-Identifier: Apache-2.0
"""The avatars on the operator's page."""

from __future__ import annotations

from pathlib import Path

from realtalk_ros.avatar.avatar_names import bundled_names

MAX_FOLDERS = 8  # avatars to choose from besides the bundled ones
STARTED = 10**9  # ns: what nodes start with is set before (FaceSettings.msg)


class AvatarList:
    """What an operator may choose from: the bundled avatars, and the folders that were shown."""

    def __init__(self) -> None:
        self.shown = ""  # label of the avatar that the face shows; empty: not known
        self._shown_at = 0  # when it was set, ns since 1970
        self._bundled = bundled_names()
        self._folders: dict[str, str] = {}  # label -> folder

    @property
    def labels(self) -> list[str]:
        return [*self._bundled, *self._folders]

    def folder(self, label: str) -> str:
        """The value of the parameter `avatar` for it."""
        return self._folders.get(label, label)

    def show(self, avatar: str, set_at: int) -> None:
        """The face shows `avatar`, which was set at `set_at`, ns since 1970."""
        if set_at < self._shown_at < STARTED:  # of what nodes start with, the renderer's counts
            return
        self.shown, self._shown_at = avatar, set_at
        if avatar in self._bundled:
            return
        name = Path(avatar).name  # pages need not know where it lies
        if name and name not in self._bundled and self._folders.get(name, avatar) == avatar:
            self.shown = name
        self._folders[self.shown] = avatar
        if len(self._folders) > MAX_FOLDERS:
            del self._folders[next(label for label in self._folders if label != self.shown)]
