# SPDX-License-Identifier: Apache-2.0
"""Lines of a printed table of figures: columns are the figures' names, each with a title and a
format whose width is the column's."""

from __future__ import annotations

from collections.abc import Mapping

Columns = Mapping[str, tuple[str, str]]  # figure: title and format


def heads(columns: Columns) -> str:
    return " ".join(title.rjust(_width(form)) for title, form in columns.values())


def line(columns: Columns, figures: Mapping[str, float]) -> str:
    """One row; "-" for what is not known."""
    return " ".join(
        format(figures[name], form) if name in figures else "-".rjust(_width(form))
        for name, (_, form) in columns.items()
    )


def _width(form: str) -> int:
    return int(form.split(".", maxsplit=1)[0])
