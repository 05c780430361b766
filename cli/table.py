"""Prints a table on a terminal of any width."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from .cells import elided, shortened
from .output import one_line

GAP = 2
NARROWEST = 12
"""The minimum width of a column, unless all its texts are shorter. If there is less space, columns are dropped."""
NARROWEST_ROOMY = 15
"""The same for a column that gets more room if there is some."""
NARROWEST_BAR, WIDEST_BAR = 6, 30
"""The minimum and maximum width of the longest bar."""
LONGEST_NAME = 80
"""How much room a name gets that has to be copied, before other columns get any."""
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
    roomy: Mapping[str, int] = {},
    styles: Mapping[str, str] = {},
    elide: Collection[str] = (),
) -> None:
    """Print named columns of equal length, one line per row.

    Columns without text are left out. If the terminal is too narrow, columns are dropped, beginning with the last one
    in `kept_longest`, and long texts are cut off with `…`.

    Args:
        screen: The console.
        columns: The cells of each column, by its heading.
        numbers: Columns that are right-aligned.
        kept_longest: All columns, the most important one first. They get the spare width in this order.
        marked: For each row, whether it is printed in red.
        total_last: Whether the last row is a total, printed bold.
        bars: A heading and the amount of each row that has one, drawn at the right if there is room. The last column in
            `kept_longest` gives way to them.
        roomy: The width that a column may take, if it needs it, before the columns that are not listed here get any.
        styles: The style of a column.
        elide: Columns whose long texts lose their middle instead of their end.
    """
    escaped = {name: [one_line(cell) for cell in cells] for name, cells in columns.items() if any(cells)}
    wanted = {name: max(cell_len(name), *map(cell_len, cells)) for name, cells in escaped.items()}
    kept = [name for name in kept_longest if name in wanted]
    widths = _widths(wanted, kept, screen.width, roomy)
    if bars is not None and kept_longest[-1] in widths and _room(widths, screen.width) < NARROWEST_BAR:
        widths = _widths(wanted, kept[:-1], screen.width, roomy)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    shown = [name for name in escaped if name in widths]
    fits = {name: elided if name in elide else shortened for name in shown}
    for name in shown:
        table.add_column(
            name,
            width=widths[name],
            no_wrap=True,
            justify="right" if name in numbers else "left",
        )
    drawn = [] if bars is None else _bars(bars[1], _room(widths, screen.width), screen)
    if bars is not None and drawn:
        table.add_column(bars[0], no_wrap=True)
    for number, mark in enumerate(marked):
        cells = [
            Text(fit(escaped[name][number], widths[name]), style="" if mark else styles.get(name, ""))
            for name, fit in fits.items()
        ]
        cells += [Text(bar, style="cyan") for bar in drawn[number : number + 1]]
        is_total = total_last and number == len(marked) - 1
        table.add_row(*cells, style="red" if mark else "bold" if is_total else "")
    screen.print(table)


def _room(widths: Mapping[str, int], width: int) -> int:
    """Return how much of the width is left to the right of the columns."""
    return width - sum(widths.values()) - GAP * len(widths)


def _bars(amounts: Sequence[float], width: int, screen: Any) -> list[str]:
    """Return a bar for each amount, the longest as wide as there is room. Return [] if there is too little."""
    longest, width = max(amounts, default=0), min(width, WIDEST_BAR)
    if longest <= 0 or width < NARROWEST_BAR:
        return []
    if screen.options.ascii_only:
        return ["#" * round(width * amount / longest) for amount in amounts]
    eighths = [round(8 * width * amount / longest) for amount in amounts]
    return [_FULL * (number // 8) + _PARTS[number % 8] for number in eighths]


def _widths(wanted: dict[str, int], kept_longest: list[str], width: int, roomy: Mapping[str, int]) -> dict[str, int]:
    """Return the widths of the columns that fit. Columns that come first in `kept_longest` get the spare width."""
    names = list(kept_longest)
    least = {name: min(wanted[name], roomy.get(name, NARROWEST)) for name in names}

    def too_wide() -> int:
        return sum(least[name] + GAP for name in names) - GAP - width

    while names[-1] not in roomy and len(names) > 1 and too_wide() > 0:
        names.pop()
    for name in roomy:
        if name in least and too_wide() > 0:
            least[name] = max(min(least[name], NARROWEST_ROOMY), least[name] - too_wide())
    while len(names) > 1 and too_wide() > 0:
        names.pop()
    left = width - sum(least[name] + GAP for name in names) + GAP
    widths = {}
    for name in names:
        more = max(0, min(left, wanted[name] - least[name]))
        widths[name] = max(1, min(width, least[name] + more))
        left -= more
    return widths
