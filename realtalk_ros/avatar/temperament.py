# SPDX-License-Identifier: Apache-2.0
"""How lively a face is: the section `temperament` of an avatar.yaml.

All of it is optional. Rates and angles are absolute, the others factors of what a face without this
section does. The renderer's parameters idle_gain, head_gain and expression_gain scale the result.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from realtalk_ros.errors import AvatarError
from realtalk_ros.spelling import did_you_mean


def _number(default: float, low: float, high: float, meaning: str) -> Any:
    """A number from `low` to `high`."""
    return field(default=default, metadata={"range": (low, high), "meaning": meaning})


@dataclass(frozen=True)
class Temperament:
    """The defaults are those of an adult at rest; see each number's range and meaning below.

    Blinks: Bentivoglio et al. 1997 counted 17 a minute at rest, 26 in conversation, 4.5 reading.
    Fixations and saccades: S. P. Lee, J. B. Badler and N. I. Badler, "Eyes Alive", 2002; those of
    somebody who talks or listens are mostly below 0.26 rad. Breath: 12 to 20 a minute. Brows rise
    with accents of speech: Cavé et al. 1996. Cheeks are raised by the muscles that lift the upper
    lip and draw the corners of the mouth out.
    """

    blink_rate: float = _number(15.0, 0.0, 40.0, "Blinks a minute")
    fixation: float = _number(1.9, 0.5, 10.0, "Time for which the eyes stay on a point [s]")
    saccade_size: float = _number(
        0.084, 0.0, 0.25, "Largest angle by which the eyes leave the middle [rad]"
    )
    regularity: float = _number(
        0.0, 0.0, 1.0, "How even the times between blinks, and between saccades, are; 1: all equal"
    )
    breath_rate: float = _number(14.3, 4.0, 40.0, "Breaths a minute")
    breath_depth: float = _number(
        1.0, 0.0, 3.0, "How far shoulders and head rise with the breath, a factor"
    )
    head_motion: float = _number(1.0, 0.0, 2.0, "How far the head moves, a factor")
    head_tempo: float = _number(
        1.0, 0.2, 3.0, "How fast the head's motion is that does not follow the words, a factor"
    )
    mouth_motion: float = _number(
        1.0, 0.5, 2.0, "How far the mouth moves in speech, a factor; shut lips stay shut"
    )
    brow_motion: float = _number(
        1.0, 0.0, 4.0, "How far the brows rise with accents of speech, a factor"
    )
    cheek_motion: float = _number(
        0.0, 0.0, 1.0, "How far the cheeks rise with the upper lip and the corners in speech"
    )
    listening_smile: float = _number(
        0.0, 0.0, 0.4, "Smile while it listens, mouthSmile weight beyond rest"
    )
    listening_tilt: float = _number(
        0.05, -0.15, 0.15, "Roll of the head while it listens [rad]; positive: to its left"
    )

    @classmethod
    def of(cls, section: Any, where: str) -> Temperament:
        """Of what an avatar.yaml has as `temperament`, None: nothing. `where` is for the messages.
        Raises AvatarError for what is no such number, or beyond its range."""
        if section is None:
            return USUAL
        if not isinstance(section, dict):
            raise AvatarError(f"{where}: temperament must hold `name: number` lines")
        known = {one.name: one.metadata["range"] for one in fields(cls)}
        for name, value in section.items():
            if name not in known:
                hint = did_you_mean(str(name), known) or f"there are {', '.join(known)}"
                raise AvatarError(f"{where}: temperament has no {str(name)[:40]!r}: {hint}")
            low, high = known[name]
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not low <= value <= high:
                # Python writes out no integers of thousands of digits.
                large = isinstance(value, int) and value.bit_length() > 64
                shown = "a larger one" if large else repr(str(value)[:40])
                raise AvatarError(
                    f"{where}: temperament's {name} must be a number from {low:g} to {high:g}, "
                    f"not {shown}"
                )
        return cls(**{name: float(value) for name, value in section.items()})


USUAL = Temperament()
