# SPDX-License-Identifier: Apache-2.0
"""Colours of a drawn mouth's inside: the section `flat_mouth` of an avatar.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from realtalk_ros.errors import AvatarError

Colour = tuple[int, int, int]  # red, green, blue, 0 to 255


@dataclass(frozen=True)
class FlatMouthColours:
    """Of a drawing, in which the network's teeth and tongue, a person's, would look wrong."""

    hollow: Colour
    tongue: Colour
    teeth: Colour

    @classmethod
    def of(cls, section: Any, where: str) -> FlatMouthColours | None:
        """Of what an avatar.yaml has as `flat_mouth`; None where it has nothing. `where` is for the
        messages. Raises AvatarError."""
        if section is None:
            return None
        names = [one.name for one in fields(cls)]
        if not isinstance(section, dict) or sorted(map(str, section)) != sorted(names):
            raise AvatarError(f"{where}: flat_mouth must give {', '.join(names)}")
        where = f"{where}: flat_mouth's"
        return cls(**{name: colour(value, f"{where} {name}") for name, value in section.items()})


def colour(value: Any, name: str) -> Colour:
    """Of what an avatar.yaml has as a colour; `name` is for the message. Raises AvatarError."""
    if (
        not isinstance(value, list)
        or len(value) != 3
        or not all(type(level) is int and 0 <= level <= 255 for level in value)
    ):
        raise AvatarError(f"{name} must be [red, green, blue], 0 to 255 each")
    return value[0], value[1], value[2]
