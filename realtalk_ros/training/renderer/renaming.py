# SPDX-License-Identifier: Apache-2.0
"""Parameters that were called otherwise in files of older versions."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor


def renamed(weights: dict[str, Tensor], names: Iterable[tuple[str, str]]) -> dict[str, Tensor]:
    """A state dict in which parts of names are replaced, by pairs of the old and the new one."""
    names, found = tuple(names), {}
    for name, value in weights.items():
        for old, new in names:
            if old in name and new not in name:
                name = name.replace(old, new)
        found[name] = value
    return found
