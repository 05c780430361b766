"""Pieces of text: shortened, and printed wrapped and coloured on a terminal or as plain text to a pipe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from .output import lines, write

if TYPE_CHECKING:
    from rich.console import RenderableType


_MOST_LINES = 8
_LONGEST_LINE = 400


class Piece(NamedTuple):
    """Lines of text with one style and indentation. `style` is a rich style; `indent` is in columns.

    A terminal renders the text as Markdown if `markdown` is true.
    """

    text: str
    indent: int = 0
    style: str = ""
    markdown: bool = False


def folded(text: str) -> str:
    """Return the first lines of a text, each shortened, and how much is missing."""
    rows = text.split("\n")
    more = len(rows) - _MOST_LINES
    shown = rows if more <= 1 else [*rows[:_MOST_LINES], f"… {more:,} more lines"]
    return "\n".join(
        row if len(row) <= _LONGEST_LINE else f"{row[:_LONGEST_LINE]}… {len(row) - _LONGEST_LINE:,} more characters"
        for row in shown
    )


class Printer:
    """Prints pieces: wrapped and coloured on the rich console `screen`, as plain text to a pipe if it is None."""

    def __init__(self, screen: Any | None) -> None:
        self.screen = screen

    def __call__(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if self.screen is None:
                margin = " " * piece.indent
                write("".join(f"{margin}{line}".rstrip(" ") + "\n" for line in lines(piece.text).split("\n")))
            else:
                self.screen.print(self.drawn(piece))

    def drawn(self, piece: Piece) -> RenderableType:
        """Return `piece` as the screen draws it: wrapped lines keep the indentation."""
        assert self.screen is not None  # noqa: S101 (for the type checker)
        margin = min(piece.indent, self.screen.width // 3)
        if piece.markdown:
            return self._markdown(piece.text, margin)
        from rich.text import Text

        wrapped = Text(lines(piece.text), piece.style).wrap(self.screen, self.screen.width - margin, tab_size=4)
        for line in wrapped:
            line.rstrip()
            line.pad_left(margin)
        return Text("\n").join(wrapped)

    def _markdown(self, text: str, margin: int) -> RenderableType:
        """Return Markdown as the screen draws it, without the spaces that rich adds at the end of lines."""
        from rich.segment import Segment, Segments

        from localstore.agents.terminal.markdown_text import rendered

        assert self.screen is not None  # noqa: S101 (for the type checker)
        options = self.screen.options.update(width=self.screen.width - margin)
        segments: list[Segment] = []
        for line in self.screen.render_lines(rendered(text), options, pad=False):
            shown = list(line)
            while shown and not (shown[-1].style and shown[-1].style.bgcolor):
                if last := shown[-1].text.rstrip(" "):
                    shown[-1] = Segment(last, shown[-1].style)
                    break
                shown.pop()
            segments += [Segment(" " * margin), *shown] if shown else []
            segments.append(Segment("\n"))
        return Segments(segments)
