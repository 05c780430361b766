"""Where text goes: through rich to a person's terminal, or as plain text to whoever reads."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

# What a terminal would obey: control characters, separators of lines, marks that reorder text; and lone surrogates.
_CONTROL = re.compile("[^\n\t -~\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\U0010ffff]")
_SHORT = 200


def visible(text: str) -> str:
    """The text with its control characters, with which a model could drive the terminal, written as escapes."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def short(text: str, longest: int = _SHORT) -> str:
    """The text on one line, cut where it is long."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= longest else f"{line[: longest - 3]}..."


class Screen:
    """The standard output: `console` is rich's when it is a terminal that can do more than print, else None.

    Without a console, what was asked for goes to the standard output, and everything else (notes, problems) to the
    standard error, so that a pipe gets the answers alone.
    """

    def __init__(self) -> None:
        self.console = _console(sys.stdout)

    def show(self, text: str) -> None:
        """Show what was asked for, on lines of its own."""
        if self.console is None:
            self.write(f"{text}\n")
        else:
            self._print(text, "")

    def say(self, text: str, *, wrapped: bool = True) -> None:
        """Tell something that was not asked for; not `wrapped`, it can be copied as one line."""
        if self.console is None:
            _write(sys.stderr, f"{text}\n")
        else:
            self._print(text, "dim", wrapped=wrapped)

    def complain(self, text: str) -> None:
        """Say what went wrong."""
        if self.console is None:
            _write(sys.stderr, f"Error: {text}\n")
        else:
            self._print(f"Error: {text}", "red")

    def show_rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Show rows of cells: columns on a terminal, the last one wrapped; else cells with tabs between them."""
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
        """Write plain text to the standard output at once."""
        _write(sys.stdout, text)

    def echo(self, text: str) -> None:
        """Show on a terminal what was read from elsewhere, so that the answers stand below their questions."""
        if self.console is not None:
            self._print(text, "")

    def ask_aside(self, prompt: str) -> None:
        """Write a prompt where it does not get between the answers."""
        _write(sys.stderr, prompt)

    @property
    def width(self) -> int:
        """Columns for a text of one line."""
        return _SHORT if self.console is None else self.console.width

    def _print(self, text: str, style: str, *, wrapped: bool = True) -> None:
        from rich.text import Text

        assert self.console is not None  # noqa: S101 (for the type checker)
        self.console.print(Text(visible(text), style), soft_wrap=not wrapped)


def _console(stream: TextIO | None) -> Console | None:
    if stream is None or not stream.isatty():
        return None
    if not (stream.encoding or "utf-8").casefold().startswith("utf"):
        return None  # it could not show what rich draws with
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal and not console.is_dumb_terminal else None


def _write(stream: TextIO | None, text: str) -> None:
    """Write what the stream's encoding lacks (a pipe may be ASCII) as escapes, rather than fail after the answer."""
    if stream is None:
        return
    encoding = stream.encoding or "utf-8"
    stream.write(visible(text).encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
