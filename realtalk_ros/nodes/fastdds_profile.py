# SPDX-License-Identifier: Apache-2.0
"""Configures Fast DDS with this package's profile, unless the user has chosen another."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Where Fast DDS 2 (Humble, Jazzy) and 3 (from Kilted on) look for a profile. The first lines of the
# profiles say what they are for.
FASTDDS_PROFILE = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
OUR_PROFILE = "REALTALK_FASTDDS_PROFILE"  # what this package put there, for children to know
# How a user chooses transports without a profile. It counts only where a profile names none.
TRANSPORTS = "FASTDDS_BUILTIN_TRANSPORTS"
LOCALHOST_ONLY = "ROS_LOCALHOST_ONLY"
# Before this version of Fast DDS (on Humble) LOCALHOST_ONLY is a transport with a white list.
WHITE_LISTS = (2, 10)
SHARED_MEMORY = Path("/dev/shm")
# What a process takes of it, bytes: the segment (of the profiles) and the ports.
NEEDED, NEEDED_FOR_IMAGES = 2**20, 17 * 2**20
HOW_TO_MAKE_ROOM = (
    "`fastdds shm clean` removes what killed programs left there; a container gets more by --ipc "
    "host or --shm-size"
)


def use_fastdds_profile(images: bool = False) -> None:
    """Sets this package's profile for this process and its children, unless the user has set one.

    images: whether this process publishes them; it then gets more shared memory, unless the user
    has chosen the transports.
    """
    ours = os.environ.get(OUR_PROFILE, "")
    if any(os.environ.get(name, "") not in ("", ours) for name in FASTDDS_PROFILE):
        return
    version = fastdds_version()
    if images and (chosen := _transports(version)):
        images = False
        if "=UDP" not in chosen:
            print(
                f"realtalk_ros: {chosen} chooses the transports, so images have Fast DDS's own 0.5 "
                "MiB of shared memory, not 16: they may stay away after a subscriber was killed",
                file=sys.stderr,
            )
    tell_of_room(NEEDED_FOR_IMAGES if images else NEEDED)
    three = "3" if version and version >= (3,) else ""  # it names one element otherwise
    file = f"realtalk_fastdds{three}_images.xml" if images else f"realtalk_fastdds{three}.xml"
    profile = str(Path(__file__).with_name(file))
    for name in FASTDDS_PROFILE:
        os.environ.pop(name, None)
    read = FASTDDS_PROFILE if version is None else (FASTDDS_PROFILE[version >= (3,)],)
    os.environ.update(dict.fromkeys((*read, OUR_PROFILE), profile))


def room() -> int:
    """Free bytes in shared memory."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return 0
    return 0 if found.f_flag & os.ST_RDONLY else found.f_bavail * found.f_frsize


def tell_of_room(needed: int) -> None:
    """Prints what Fast DDS's own errors do not say, where it will not get its shared memory."""
    fast_dds = os.environ.get("RMW_IMPLEMENTATION", "") in ("", "rmw_fastrtps_cpp")
    udp = os.environ.get(TRANSPORTS, "").startswith("UDP")
    if fast_dds and not udp and (free := room()) < needed:
        print(
            f"realtalk_ros: {SHARED_MEMORY} has {free / 2**20:.1f} MiB free, and Fast DDS takes "
            f"{needed >> 20}: messages go by UDP, which is slower. {HOW_TO_MAKE_ROOM}",
            file=sys.stderr,
        )


def _transports(version: tuple[int, ...] | None) -> str:
    """The user's choice of transports, as "NAME=VALUE"; empty: none."""
    if value := os.environ.get(TRANSPORTS, ""):
        return f"{TRANSPORTS}={value}"
    if os.environ.get(LOCALHOST_ONLY, "") == "1" and version and version < WHITE_LISTS:
        return f"{LOCALHOST_ONLY}=1"
    return ""


def fastdds_version() -> tuple[int, ...] | None:
    """Of the Fast DDS that ROS 2 brings, by the name of its library; None: it brings none."""
    for folder in _libraries():
        found = [
            tuple(map(int, match[1].split(".")))
            for path in folder.glob("libfast*.so.*")
            if (match := re.fullmatch(r"libfast(?:rtps|dds)\.so\.([\d.]*\d)", path.name))
        ]
        if found:
            return max(found, key=lambda numbers: (len(numbers), numbers))
    return None


def _libraries() -> Iterator[Path]:
    """Folders of ROS 2's libraries: of sourced workspaces, then of the rclpy that is imported."""
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    spec = importlib.util.find_spec("rclpy")
    if spec is not None and spec.origin:
        prefixes += list(Path(spec.origin).parents)[2:7]  # .../lib/python3.x/site-packages/rclpy
    for prefix in prefixes:
        yield prefix / "lib"
        yield from (prefix / "lib").glob("*-linux-gnu*")
