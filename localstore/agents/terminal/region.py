"""Lines at the bottom of a terminal that are redrawn while they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.control import Control
from rich.segment import ControlType, Segment, Segments

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Line = list[Segment]


class Region:
    """Lines at the bottom of a terminal, redrawn in place from the first line that changed.

    The cursor stays after the last line. The region may be taller than the terminal: lines that have scrolled off the
    top are not redrawn. Until `leave` is called, nothing else may print. Only one thread may draw at a time.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: list[Line] = []
        self._width = console.width

    def draw(self, *parts: RenderableType) -> None:
        """Replace the contents of the region with `parts`, one below the other.

        If the terminal's width has changed, the old contents stay and `parts` are drawn below them.
        """
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
        """Leave the current contents on the screen. The next `draw` starts a new region below them."""
        if self._drawn:
            self._drawn = []
            self._console.print()


def _move_up(old: int, first: int) -> list[Segment]:
    """Return the codes that move the cursor from the end of `old` lines to the start of line `first` (from 0).

    The lines passed on the way are erased. If there is no such line yet, the codes start a new line.
    """
    if first >= old:
        return [Segment("\n")] if old else []
    erase: list[ControlType | tuple[ControlType, int]] = [ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)]
    codes = list(erase)
    for _ in range(old - 1 - first):
        codes += [(ControlType.CURSOR_UP, 1), *erase]
    return [Control(*codes).segment]


def _join(lines: list[Line]) -> list[Segment]:
    """Return the segments of all lines in order, with a line break between two lines and none at the end."""
    segments: list[Segment] = []
    for number, line in enumerate(lines):
        segments += [Segment("\n"), *line] if number else line
    return segments
