# SPDX-License-Identifier: Apache-2.0
"""Printed tables of figures: columns are the figures' names, each with a title and a format whose
width is the column's."""

from __future__ import annotations

from collections.abc import Mapping

MOST_LETTERS = 23  # of a row's name
Columns = Mapping[str, tuple[str, str]]  # figure: title and format


def heads(columns: Columns) -> str:
    return " ".join(title.rjust(_width(form)) for title, form in columns.values())


def line(columns: Columns, figures: Mapping[str, float | None]) -> str:
    """One row; "-" for what is not known."""
    return " ".join(
        "-".rjust(_width(form)) if (figure := figures.get(name)) is None else format(figure, form)
        for name, (_, form) in columns.items()
    )


def print_table(title: str, rows: Mapping[str, Mapping], columns: Columns) -> None:
    """A line a row, with its name below `title`; of a long name its last letters."""
    width = min(max(map(len, (title, *rows))), MOST_LETTERS)
    print(f"{title:{width}} {heads(columns)}")
    for name, figures in rows.items():
        print(f"{name[-width:]:{width}} {line(columns, figures)}")


def _width(form: str) -> int:
    return int(form.split(".", maxsplit=1)[0])
