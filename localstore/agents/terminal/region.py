"""Lines at the bottom of a terminal that are redrawn while they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.control import Control
from rich.segment import ControlType, Segment, Segments

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Line = list[Segment]


class Region:
    """Redraws its lines in place, from the first line that changed. The cursor stays at their end.

    It may be taller than the terminal: lines that have scrolled off the top are not redrawn. Nothing else may print
    meanwhile, and only one thread may draw at a time. If the terminal changes its width, everything is drawn again
    below.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: list[Line] = []
        self._width = console.width

    def draw(self, *parts: RenderableType) -> None:
        """Replace what the region shows by these parts."""
        console = self._console
        width, height = console.size
        if width != self._width:
            self.leave()
            self._width = width
        lines = [line for part in parts for line in console.render_lines(part, console.options, pad=False)]
        old = len(self._drawn)
        same = 0
        while same < min(old, len(lines)) and self._drawn[same] == lines[same]:
            same += 1
        if same == old == len(lines):
            return
        first = max(min(same, len(lines) - 1), old - height, 0)
        self._drawn = lines
        console.print(Segments([*_move_up(old, first), *_join(lines[first:])]), end="", soft_wrap=True)

    def leave(self) -> None:
        """Keep on the screen what is shown, and continue below it."""
        if self._drawn:
            self._drawn = []
            self._console.print()


def _move_up(old: int, first: int) -> list[Segment]:
    """Return the codes that move from the end of `old` lines to the start of line `first` and erase on the way."""
    if first >= old:
        return [Segment("\n")] if old else []
    erase: list[ControlType | tuple[ControlType, int]] = [ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)]
    codes = list(erase)
    for _ in range(old - 1 - first):
        codes += [(ControlType.CURSOR_UP, 1), *erase]
    return [Control(*codes).segment]


def _join(lines: list[Line]) -> list[Segment]:
    """Return the segments of the lines, with line breaks between them."""
    segments: list[Segment] = []
    for number, line in enumerate(lines):
        segments += [Segment("\n"), *line] if number else line
    return segments
