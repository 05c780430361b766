"""The output of a chat: drawn by rich on a terminal, otherwise plain text."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from localstore.format.control_characters import CONTROL

if TYPE_CHECKING:
    from rich.console import Console

_CONTROL = re.compile(f"[{CONTROL}]")
_MAX_LENGTH = 200
"""The default limit, in characters, for text that is shown on one line."""


def visible(text: str) -> str:
    """Return `text` with the characters that a terminal acts on, other than newline and tab, written as escapes."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def one_line(text: str, limit: int = _MAX_LENGTH) -> str:
    """Return `text` on one line: each run of whitespace becomes a space, and control characters become escapes.

    A line longer than `limit` characters is cut and ends in `...`.
    """
    line = visible(" ".join(text.split()))
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


class Screen:
    """Standard output and standard error of a chat.

    `console` is a rich console if standard output is a terminal that rich can draw on, otherwise None. Without a
    console, answers go to standard output, and notes and errors to standard error, so that a pipe receives only the
    answers.
    """

    def __init__(self) -> None:
        self.console = _console(sys.stdout)

    def show(self, text: str) -> None:
        """Print `text` and a newline to standard output. For text that the person asked for."""
        if self.console is None:
            self.write(f"{text}\n")
        else:
            self._print(text, "")

    def note(self, text: str, *, wrapped: bool = True) -> None:
        """Print a remark: dimmed on a terminal, otherwise to standard error.

        If `wrapped` is false, the text is not wrapped, so that it can be copied as one line.
        """
        if self.console is None:
            _write(sys.stderr, f"{text}\n")
        else:
            self._print(text, "dim", wrapped=wrapped)

    def show_error(self, text: str) -> None:
        """Print `text` as an error: in red on a terminal, otherwise to standard error."""
        if self.console is None:
            _write(sys.stderr, f"Error: {text}\n")
        else:
            self._print(f"Error: {text}", "red")

    def show_rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows of cells: on a terminal in columns, in which long cells wrap; otherwise separated by tabs."""
        if self.console is None:
            self.write("".join("\t".join(row) + "\n" for row in rows))
            return
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in rows[0] if rows else ():
            table.add_column(overflow="fold")
        for row in rows:
            table.add_row(*(Text(visible(cell)) for cell in row))
        self.console.print(table)

    def write(self, text: str) -> None:
        """Write plain text to standard output and flush it, with control characters as escapes."""
        _write(sys.stdout, text)

    def echo(self, text: str) -> None:
        """Print a line that was read from a pipe, so that its answer follows it. Does nothing without a terminal."""
        if self.console is not None:
            self._print(text, "")

    def write_prompt(self, prompt: str) -> None:
        """Write a prompt to standard error, so that it does not mix with the answers."""
        _write(sys.stderr, prompt)

    @property
    def width(self) -> int:
        """The number of columns available for text on one line: 200 without a terminal."""
        return _MAX_LENGTH if self.console is None else self.console.width

    def _print(self, text: str, style: str, *, wrapped: bool = True) -> None:
        from rich.text import Text

        assert self.console is not None  # noqa: S101 (for the type checker)
        self.console.print(Text(visible(text), style), soft_wrap=not wrapped)


def _console(stream: TextIO | None) -> Console | None:
    if stream is None or not stream.isatty():
        return None
    if not (stream.encoding or "utf-8").casefold().startswith("utf"):
        return None  # it cannot show the characters that rich draws with
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal and not console.is_dumb_terminal else None


def _write(stream: TextIO | None, text: str) -> None:
    """Write `text` to the stream and flush it. Does nothing if the stream is None.

    Control characters, and characters that the stream cannot encode (a pipe may be ASCII), are written as escapes.
    """
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    stream.write(visible(text).encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
