"""What the commands print: plain text for programs, rich text for people, JSON for both.

Nothing that comes from a document reaches a terminal or a pipe with its control characters.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

# Control characters (C0, DEL, C1), line and paragraph separators, lone surrogates, and the marks that reorder text.
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def prepare() -> None:
    """Make the standard streams able to print every text: pipes get UTF-8, a terminal gets what it can show."""
    if sys.stdout is not None and isinstance(sys.stdout.buffer, io.RawIOBase):
        # PYTHONUNBUFFERED: a write that is cut short by a full disk or a closed pipe would pass for a whole one.
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(sys.stdout.buffer), encoding=sys.stdout.encoding)
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue  # closed, or replaced by a program around us
        if stream.isatty():
            stream.reconfigure(errors="backslashreplace")
        else:
            stream.reconfigure(encoding="utf-8", errors="surrogateescape", newline="\n")


def arguments(given: Sequence[str] | None) -> list[str]:
    """The words of the command line."""
    return list(sys.argv[1:] if given is None else given)


def to_terminal() -> bool:
    """Whether a person reads along."""
    return sys.stdout is not None and sys.stdout.isatty()


def can_ask() -> bool:
    """Whether a person can answer a question."""
    return sys.stdin is not None and sys.stdin.isatty()


def one_line(text: str) -> str:
    """The text with every control character written as an escape: never more than one line."""
    return text if text.isascii() and text.isprintable() else _CONTROL.sub(_escape, text)


def lines(text: str) -> str:
    """The text with its control characters written as escapes, its newlines and tabs kept."""
    return "\n".join(one_line(line) if "\t" not in line else _tabbed(line) for line in text.split("\n"))


def _tabbed(line: str) -> str:
    return "\t".join(map(one_line, line.split("\t")))


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    return _NAMED.get(char) or (f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}")


def write(text: str) -> None:
    """Print text as it is. Whoever calls has escaped it."""
    if sys.stdout is not None:
        sys.stdout.write(text)


def deliver() -> None:
    """Hand over what was printed so far: Ctrl-C discards the rest."""
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
    """A value as JSON, two spaces deep. Characters that a terminal would obey are written as escapes."""
    import json

    return _escaped_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"


def _escaped_json(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text)


def write_bytes(parts: Iterable[bytes]) -> None:
    """Print bytes as they are; to a terminal with the control characters in them written as escapes."""
    if sys.stdout is None:
        return
    sys.stdout.flush()
    for part in parts:
        if to_terminal():
            sys.stdout.write(lines(part.decode(errors="backslashreplace")))
        else:
            sys.stdout.buffer.write(part)


def note(text: str) -> None:
    """Tell the person something that is not the answer."""
    if sys.stderr is not None:
        sys.stderr.write(f"localstore: {one_line(text)}\n")


def console() -> Any:
    """A rich console that takes every text literally."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=False)


def when(text: str, now: datetime | None = None) -> str:
    """A time of a document as people say it, in ten columns; a text that is no time as it is."""
    moment = _local(text)
    if moment is None:
        return text
    now = now or datetime.now().astimezone()
    seconds = (now - moment).total_seconds()
    if 0 <= seconds < 60:
        return "just now"
    if 0 <= seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if moment.date() == now.date():
        return f"{moment:%H:%M}"
    if moment.date() == now.date() - timedelta(days=1):
        return "yesterday"
    return f"{moment:%Y-%m-%d}"


def local_time(text: str) -> str:
    """A time of a document as the clock on the wall shows it; a text that is no time as it is."""
    moment = _local(text)
    return text if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"


def _local(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        return None
