# SPDX-License-Identifier: Apache-2.0
"""`realtalk enroll` as several tests call it."""

from realtalk_ros.cli import main


def arguments(folder, *more, what="--image", source="face.png"):
    return ["enroll", what, str(folder / source), "--name", "ann", "--out", str(folder),
            "--consent", "Ann, 2026-11-21", *more]  # fmt: skip


def refused(capsys, argv, folder, *words):
    """The command fails with one line that has these words, and leaves nothing behind."""
    before = sorted(folder.rglob("*"))
    assert main(argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert all(word in lines[0] for word in words), lines[0]
    assert sorted(folder.rglob("*")) == before
