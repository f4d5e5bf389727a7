# SPDX-License-Identifier: Apache-2.0
"""The avatars on the operator's page."""

from realtalk_ros.output.avatar_list import MAX_FOLDERS, AvatarList


def test_of_what_nodes_start_with_the_renderers_avatar_is_named():
    avatars = AvatarList()
    avatars.show("pia", 1)
    avatars.show("default", 0)  # the expression node, which follows
    assert avatars.shown == "pia"
    avatars.show("mira", 2 * 10**18)
    avatars.show("kenji", 0)  # all were started again
    assert avatars.shown == "kenji"


def test_folders_of_one_name_are_told_apart_and_the_oldest_ones_forgotten():
    avatars = AvatarList()
    for number, folder in enumerate(("/a/ann", "/b/ann", "/c/mira", "/a/ann")):
        avatars.show(folder, number)
        assert avatars.folder(avatars.shown) == folder
    assert avatars.shown == "ann" and "/b/ann" in avatars.labels
    assert avatars.folder("mira") == "mira" and avatars.folder("/c/mira") == "/c/mira"
    bundled = len(AvatarList().labels)
    for number in range(2 * MAX_FOLDERS):
        avatars.show(f"/d/{number}", 9)
    assert len(avatars.labels) == bundled + MAX_FOLDERS and avatars.shown == avatars.labels[-1]
