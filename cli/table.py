"""Prints a table on a terminal of any width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from .output import one_line

GAP = 2
NARROWEST = 12
"""The minimum width of a column, unless all its texts are shorter. If there is less space, columns are dropped."""


def print_table(
    screen: Any,
    columns: dict[str, list[str]],
    *,
    numbers: Sequence[str],
    kept_longest: Sequence[str],
    marked: Sequence[bool],
) -> None:
    """Print named columns of equal length, one line per row, the marked rows in red.

    Columns without text are left out; those in `numbers` are right-aligned. If the terminal is too narrow, columns are
    dropped, beginning with the last one in `kept_longest`, and long texts are cut off with `…`.
    """
    escaped = {name: [one_line(cell) for cell in cells] for name, cells in columns.items() if any(cells)}
    wanted = {name: max(cell_len(name), *map(cell_len, cells)) for name, cells in escaped.items()}
    widths = _widths(wanted, [name for name in kept_longest if name in wanted], screen.width)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    shown = [name for name in escaped if name in widths]
    for name in shown:
        table.add_column(
            name,
            width=widths[name],
            no_wrap=True,
            overflow="ellipsis",
            justify="right" if name in numbers else "left",
        )
    for number, mark in enumerate(marked):
        table.add_row(*(Text(escaped[name][number]) for name in shown), style="red" if mark else "")
    screen.print(table)


def _widths(wanted: dict[str, int], kept_longest: list[str], width: int) -> dict[str, int]:
    """Return the widths of the columns that fit. Columns that come first in `kept_longest` get the spare width."""
    names = list(kept_longest)
    least = {name: min(wanted[name], NARROWEST) for name in names}
    while len(names) > 1 and sum(least[name] + GAP for name in names) - GAP > width:
        names.pop()
    left = width - sum(least[name] + GAP for name in names) + GAP
    widths = {}
    for name in names:
        more = max(0, min(left, wanted[name] - least[name]))
        widths[name] = max(1, min(width, least[name] + more))
        left -= more
    return widths
