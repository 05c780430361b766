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
NARROWEST_BAR, WIDEST_BAR = 6, 30
"""The minimum and maximum width of the longest bar."""
_FULL, _PARTS = "█", ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
"""A whole cell of a bar, and its eighths."""


def print_table(
    screen: Any,
    columns: dict[str, list[str]],
    *,
    numbers: Sequence[str],
    kept_longest: Sequence[str],
    marked: Sequence[bool],
    total_last: bool = False,
    bars: tuple[str, Sequence[float]] | None = None,
) -> None:
    """Print named columns of equal length, one line per row, the marked rows in red, a total in the last row bold.

    `bars` is a heading and the amount of each row that has one. They are drawn at the right if there is room.

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
    drawn = [] if bars is None else _bars(bars[1], screen.width - sum(widths.values()) - GAP * len(widths), screen)
    if bars is not None and drawn:
        table.add_column(bars[0], no_wrap=True)
    for number, mark in enumerate(marked):
        cells = [Text(escaped[name][number]) for name in shown]
        cells += [Text(bar, style="cyan") for bar in drawn[number : number + 1]]
        is_total = total_last and number == len(marked) - 1
        table.add_row(*cells, style="red" if mark else "bold" if is_total else "")
    screen.print(table)


def _bars(amounts: Sequence[float], width: int, screen: Any) -> list[str]:
    """Return a bar for each amount, the longest as wide as there is room. Return [] if there is too little."""
    longest, width = max(amounts, default=0), min(width, WIDEST_BAR)
    if longest <= 0 or width < NARROWEST_BAR:
        return []
    if screen.options.ascii_only:
        return ["#" * round(width * amount / longest) for amount in amounts]
    eighths = [round(8 * width * amount / longest) for amount in amounts]
    return [_FULL * (number // 8) + _PARTS[number % 8] for number in eighths]


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
