"""Reads text that another program or a file sends to standard input."""

from __future__ import annotations

import sys

import click

MAX_BYTES = 4_000_000
"""About a million tokens: more than most models read."""


def piped_text() -> str:
    """Return the text of standard input, or an empty text if it is a terminal, closed or empty.

    A byte order mark is removed. Raises UsageError if it has more than MAX_BYTES, which are all that is read, or is not
    text in UTF-8.
    """
    if sys.stdin is None or sys.stdin.isatty():
        return ""
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise _refused(f"has more than {MAX_BYTES // 1_000_000} MB. Send a part of it, as with: head -c 100000 FILE")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(f"is not text in UTF-8: byte {error.start + 1:,} is wrong. Convert it first") from None
    if (end := text.find("\0")) >= 0:
        raise _refused(f"is not text: it has a NUL after {end:,} characters. Convert it to text first")
    return text


def is_text(argument: str) -> bool:
    """Return whether an argument of the command line was text in the encoding of the system."""
    return not any("\udc80" <= character <= "\udcff" for character in argument)


def _refused(problem: str) -> click.UsageError:
    return click.UsageError(f"The standard input {problem}", click.get_current_context())
