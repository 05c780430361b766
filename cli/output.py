"""Prints the output of commands: plain text for programs, rich text for people, JSON for both.

Control characters in documents never reach a terminal or a pipe: they are written as escapes.
"""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import IO, Any, Literal

import click

from localstore.format.control_characters import CONTROL, escaped

Color = Literal["auto", "always", "never"]
COLORS: tuple[Color, ...] = ("auto", "always", "never")
_ALWAYS = f"{__name__}.always"
"""The key of a click context that says whether to print as on a terminal."""
_CONTROL = re.compile(f"[\t\n{CONTROL}]")


def prepare() -> None:
    """Make standard output and error accept any text: in UTF-8, or on a terminal with escapes where necessary.

    Warnings of the library are printed as notes, without the line of code that caused them.
    """
    if sys.stdout is not None and isinstance(sys.stdout.buffer, io.RawIOBase):
        # PYTHONUNBUFFERED: a write that is cut short by a full disk or a closed pipe would look like a complete one.
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(sys.stdout.buffer), encoding=sys.stdout.encoding)
    warnings.formatwarning = lambda message, *_, **__: f"localstore: {one_line(str(message))}\n"
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue  # closed, or replaced by a program that calls us
        if stream.isatty():
            stream.reconfigure(errors="backslashreplace")
        else:
            stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")


def arguments(args: Sequence[str] | None) -> list[str]:
    """Return `args`, or the arguments of this process if it is None."""
    return list(sys.argv[1:] if args is None else args)


def use_color(choice: Color) -> None:
    """Print in colour and as on a terminal `always`, or `never` in colour, in the rest of this command.

    `auto` leaves it to NO_COLOR, to FORCE_COLOR, and to whether standard output is a terminal. Whatever prints in this
    process and in those that it starts obeys these variables, so they are set here.
    """
    click.get_current_context().meta[_ALWAYS] = choice == "always"
    if choice != "auto":
        on, off = ("FORCE_COLOR", "NO_COLOR") if choice == "always" else ("NO_COLOR", "FORCE_COLOR")
        os.environ[on] = "1"
        os.environ.pop(off, None)


def to_terminal() -> bool:
    """Return whether standard output is a terminal, or must look like one."""
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(_ALWAYS):
        return True
    return sys.stdout is not None and sys.stdout.isatty()


def can_ask() -> bool:
    """Return whether standard input is a terminal, so that a person can answer questions."""
    return sys.stdin is not None and sys.stdin.isatty()


def is_confirmed(question: str, *, yes_would: str) -> bool:
    """Ask a person for a confirmation. `yes_would` says what `--yes` would do, for the error without a terminal.

    Raises UsageError if there is no terminal to ask on.
    """
    if not can_ask():
        raise click.UsageError(f"No terminal to ask on. Add --yes to {yes_would}", click.get_current_context())
    return click.confirm(question, err=True)


def one_line(text: str) -> str:
    """Return the text on one line, with every control character written as an escape."""
    return escaped(text)


def lines(text: str) -> str:
    """Return the text with control characters written as escapes. Newlines and tabs are kept."""
    return "\n".join(one_line(line) if "\t" not in line else _tabbed(line) for line in text.split("\n"))


def _tabbed(line: str) -> str:
    return "\t".join(map(one_line, line.split("\t")))


def write(text: str) -> None:
    """Print text unchanged. The caller must have escaped control characters."""
    if sys.stdout is not None:
        sys.stdout.write(text)


def deliver() -> None:
    """Flush standard output. Output that has not been flushed is lost on Ctrl-C."""
    if sys.stdout is not None:
        sys.stdout.flush()


def write_rows(rows: Iterable[Sequence[str]]) -> None:
    """Print rows for programs: one line each, cells separated by tabs."""
    write("".join(["\t".join(map(one_line, row)) + "\n" for row in rows]))


def write_json(value: Any) -> None:
    """Print a value as JSON."""
    write(json_text(value))


def write_json_line(value: Any) -> None:
    """Print a value as JSON on one line."""
    import json

    write(_escaped_json(json.dumps(value, ensure_ascii=False)) + "\n")


def json_text(value: Any) -> str:
    """Return a value as indented JSON. Control characters are written as escapes."""
    import json

    return _escaped_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"


def _escaped_json(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text)


def write_bytes(parts: Iterable[bytes]) -> None:
    """Print bytes. On a terminal, control characters are written as escapes."""
    if sys.stdout is None:
        return
    sys.stdout.flush()
    for part in parts:
        if to_terminal():
            sys.stdout.write(lines(part.decode(errors="backslashreplace")))
        else:
            sys.stdout.buffer.write(part)


def note(text: str) -> None:
    """Print a remark to standard error, on one line."""
    if sys.stderr is not None:
        sys.stderr.write(f"localstore: {one_line(text)}\n")


def console(pager: IO[str] | None = None) -> Any:
    """Return a rich console that does not interpret markup. It prints to standard output, or to the given pager.

    FORCE_COLOR brings colours to a terminal that is said to have none, but NO_COLOR wins.
    """
    from rich.console import Console

    class OurConsole(Console):
        def on_broken_pipe(self) -> None:
            """Leave the error to the command, which ends quietly; rich would end it with code 1."""
            raise  # the error that is being handled

    says_none = os.environ.get("TERM", "").casefold() in ("dumb", "unknown")
    forced = says_none and os.environ.get("FORCE_COLOR") and not os.environ.get("NO_COLOR")
    colors: Literal["standard", "auto"] = "standard" if forced else "auto"
    terminal = None if pager is None else True
    return OurConsole(
        file=pager, force_terminal=terminal, highlight=False, markup=False, emoji=False, color_system=colors
    )
