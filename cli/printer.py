"""Prints a transcript to a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Iterable

from .output import console, lines, write
from .transcript import Piece


class Printer:
    """Prints pieces: wrapped and coloured for a person, else as plain text."""

    def __init__(self, person: bool) -> None:
        self.screen = console() if person else None

    def __call__(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            text = lines(piece.text)
            if self.screen is None:
                margin = " " * piece.indent
                write("".join(f"{margin}{line}".rstrip(" ") + "\n" for line in text.split("\n")))
            else:
                self.print_wrapped(text, piece)

    def print_wrapped(self, text: str, piece: Piece) -> None:
        """Print with wrapped lines that keep the indentation."""
        from rich.text import Text

        assert self.screen is not None  # noqa: S101 (for the type checker)
        margin = min(piece.indent, self.screen.width // 3)
        for line in Text(text, piece.style).wrap(self.screen, self.screen.width - margin, tab_size=4):
            line.rstrip()
            line.pad_left(margin)
            self.screen.print(line)
