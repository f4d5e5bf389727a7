# SPDX-License-Identifier: Apache-2.0
"""Advice on a name that is not known: it may be misspelt."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A question after the most similar of the `known` names; empty where none is similar.
    `cutoff`: 0 to 1, the least similarity, as difflib's get_close_matches has it."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {near[0]}?" if near else ""
