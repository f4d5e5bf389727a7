# SPDX-License-Identifier: Apache-2.0
"""Colours of a drawn mouth's inside: the section `flat_mouth` of an avatar.yaml."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from realtalk_ros.errors import AvatarError

Colour = tuple[int, int, int]  # red, green, blue, 0 to 255


@dataclass(frozen=True)
class FlatMouth:
    """Of a drawing, in which the network's teeth and tongue, a person's, would look wrong."""

    hollow: Colour
    tongue: Colour
    teeth: Colour

    @classmethod
    def of(cls, section: Any, where: str) -> FlatMouth | None:
        """Of what an avatar.yaml has as `flat_mouth`; None where it has nothing. `where` is for the
        messages. Raises AvatarError."""
        if section is None:
            return None
        names = [one.name for one in fields(cls)]
        if not isinstance(section, dict) or sorted(map(str, section)) != sorted(names):
            raise AvatarError(f"{where}: flat_mouth must give {', '.join(names)}")
        for name, colour in section.items():
            if (
                not isinstance(colour, list)
                or len(colour) != 3
                or not all(type(value) is int and 0 <= value <= 255 for value in colour)
            ):
                raise AvatarError(
                    f"{where}: flat_mouth's {name} must be [red, green, blue], 0 to 255 each"
                )
        return cls(**{name: tuple(colour) for name, colour in section.items()})
