# SPDX-License-Identifier: Apache-2.0
"""Downloads the Debian packages and repositories that the corpora are in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.speech_data.corpora import PACKAGES, REPOSITORIES


def fetch(root: Path) -> None:
    """Downloads what `root` lacks. Raises RealTalkError."""
    for name, address in REPOSITORIES.items():
        if not (root / name).is_dir():
            _clone(address, root / name)
    lacking = [package for package in PACKAGES if not (root / package).is_dir()]
    if lacking and not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise RealTalkError("--fetch needs Debian's apt-get and dpkg-deb: unpack the packages of "
                            "docs/data.md yourself and give --packages")  # fmt: skip
    downloads = root / "dl"
    downloads.mkdir(parents=True, exist_ok=True)
    for package in lacking:
        _unpack(package, downloads, root / package)


def _clone(address: str, folder: Path) -> None:
    """address: of a git repository, with @ the commit if it is not the last one."""
    partial = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        address, _, commit = address.partition("@")
        depth = [] if commit else ["--depth", "1"]
        subprocess.run(["git", "clone", "-q", *depth, address, partial], check=True)
        if commit:
            subprocess.run(["git", "-C", partial, "checkout", "-q", commit], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise RealTalkError(
            f"git cannot clone {address}: clone it into {folder} yourself, or make that "
            "an empty folder to go without"
        ) from error
    partial.rename(folder)


def _unpack(package: str, downloads: Path, folder: Path) -> None:
    """Downloads a Debian package and unpacks it into `folder`."""
    got = subprocess.run(
        ["apt-get", "download", package], cwd=downloads, capture_output=True, check=False
    )
    files = sorted(downloads.glob(f"{package}_*.deb"))
    if got.returncode or not files:
        raise RealTalkError(f"apt-get cannot download {package}: run apt-get update, or unpack "
                            f"it into {folder} yourself")  # fmt: skip
    unpacked = folder.with_name(f"{folder.name}.part")
    if subprocess.run(["dpkg-deb", "-x", files[-1], unpacked], check=False).returncode:
        raise RealTalkError(f"{files[-1]} cannot be unpacked: delete it and run --fetch again")
    unpacked.rename(folder)
