"""Lines at the end of a terminal that are drawn again while they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.control import Control
from rich.segment import ControlType, Segment, Segments

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Line = list[Segment]


class Region:
    """Draws what it is given over what it drew before, from the first line that changed; the cursor stays behind it.

    It may be higher than the terminal: what has scrolled away stays as it was. Nothing else may print meanwhile, and
    one thread draws at a time. When the terminal gets another width, everything is drawn once more below.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: list[Line] = []
        self._width = console.width

    def draw(self, *shown: RenderableType) -> None:
        """Show this in place of what was shown."""
        console = self._console
        width, height = console.size
        if width != self._width:
            self.leave()
            self._width = width
        lines = [line for one in shown for line in console.render_lines(one, console.options, pad=False)]
        old = len(self._drawn)
        same = 0
        while same < min(old, len(lines)) and self._drawn[same] == lines[same]:
            same += 1
        if same == old == len(lines):
            return
        first = max(min(same, len(lines) - 1), old - height, 0)
        self._drawn = lines
        console.print(Segments([*_back(old, first), *_joined(lines[first:])]), end="", soft_wrap=True)

    def leave(self) -> None:
        """Let what is shown stand, and go on below it."""
        if self._drawn:
            self._drawn = []
            self._console.print()


def _back(old: int, first: int) -> list[Segment]:
    """From the end of the old lines to the beginning of the line `first`, with all erased on the way."""
    if first >= old:
        return [Segment("\n")] if old else []
    erase: list[ControlType | tuple[ControlType, int]] = [ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)]
    codes = list(erase)
    for _ in range(old - 1 - first):
        codes += [(ControlType.CURSOR_UP, 1), *erase]
    return [Control(*codes).segment]


def _joined(lines: list[Line]) -> list[Segment]:
    joined: list[Segment] = []
    for number, line in enumerate(lines):
        joined += [Segment("\n"), *line] if number else line
    return joined
